"""The tutorial programs run, and their own assertions hold."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest
from source_files import ROOT

import sley

FOLDER = ROOT / "examples" / "tutorials"
PROGRAMS = sorted(FOLDER.glob("*.py"))


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_the_program_runs(path: Path, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)  # the plot is drawn here
    monkeypatch.setattr(sys, "argv", [str(path)])
    state = sley.get_rng_state()
    runpy.run_path(str(path), run_name="__main__")
    sley.set_rng_state(state)


def test_the_list_is_complete() -> None:
    text = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"\[(\w+)\.py\]\(tutorials/\1\.py\)", text)
    assert sorted(listed) == [path.stem for path in PROGRAMS]


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_programs_read_in_one_go(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert 40 <= len(lines) <= 125
    assert any("sley.compile" in line for line in lines)
