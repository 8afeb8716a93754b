"""Every public name is in the tables of samples, and the page of them is of today."""

from __future__ import annotations

import functools
import re
from pathlib import Path

from public import coverage
from public.tables.others import OTHERS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "coverage.md"


def test_each_public_name_has_samples_or_a_reason() -> None:
    assert coverage.without_samples() == [], (
        "add samples to tests/public/tables, or say in tables/others.py where these are tested"
    )


def test_no_reason_is_left_over() -> None:
    """What has samples, or is gone, needs no reason."""
    keys = {key for _, entries in coverage.sections() for _, key in entries}
    assert sorted(set(OTHERS) - keys) == []
    assert sorted(set(OTHERS) & set(coverage.by_name())) == []


def test_reasons_name_files_that_use_the_name() -> None:
    missing = []
    for key, reason in OTHERS.items():
        name = key.rpartition(".")[2]
        paths = [p for pattern in coverage.files_of(reason) for p in coverage.TESTS.rglob(pattern)]
        used = any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text(path)) for path in paths)
        if paths and not used:
            missing.append(f"{key}: {reason}")
    assert missing == []


@functools.cache
def text(path: Path) -> str:
    return path.read_text()


def test_the_page_is_what_the_script_writes() -> None:
    assert PAGE.read_text() == coverage.document(), (
        "docs/coverage.md is stale: python tests/public/coverage.py > docs/coverage.md"
    )
