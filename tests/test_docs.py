"""What the pages and docstrings show is so: their blocks and examples run."""

from __future__ import annotations

import doctest
import importlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from doc_blocks import FENCE, OPTIONS, Page, blocks, commands
from source_files import ROOT, module_name, package_files

from sley.backends.llvm.emit.elementwise import RULES
from sley.ir.ops import OPS
from sley.passes.autodiff.table import GRADIENTS

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WITH_BLOCKS = [page for page in PAGES if list(blocks(page.read_text()))]
WITH_EXAMPLES = [path for path in package_files() if ">>>" in path.read_text(encoding="utf-8")]


@pytest.fixture(autouse=True)
def _tables_as_before() -> Iterator[None]:
    """A page that adds an op, and fails before it has taken it away, leaves none to other tests."""
    kept = [(table, dict(table)) for table in (OPS, GRADIENTS, RULES)]
    yield
    for table, entries in kept:
        table.clear()
        table.update(entries)


@pytest.mark.parametrize("page", WITH_BLOCKS, ids=lambda page: page.name)
def test_the_blocks_of_a_page_run(page: Path, tmp_path: Path) -> None:
    Page(page, tmp_path).run()


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_examples_of_a_module_run(path: Path) -> None:
    module = importlib.import_module(module_name(path))
    report = io.StringIO()
    runner = doctest.DocTestRunner(verbose=False, optionflags=OPTIONS)
    for test in doctest.DocTestFinder(recurse=True).find(module):
        runner.run(test, out=report.write)
    assert runner.tries, f"{path}: >>> outside of docstrings"
    assert not runner.failures, report.getvalue()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text())
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", text)
    assert [x for x in links if not (page.parent / x).exists()] == []


# The runner itself -------------------------------------------------------------------------------


def page_of(folder: Path, text: str) -> Page:
    path = folder / "page.md"
    path.write_text(text)
    return Page(path, folder)


def test_blocks_share_a_module_and_keep_the_lines_of_the_page(tmp_path) -> None:
    text = (
        "A page.\n\n```python\nx = 3\n```\n\n```text\nno code\n```\n\n```python\ny = x / 0\n```\n"
    )
    with pytest.raises(ZeroDivisionError) as raised:
        page_of(tmp_path, text).run()
    assert raised.traceback[-1].lineno == 11 and str(raised.traceback[-1].path).endswith("page.md")


def test_a_session_that_prints_something_else_fails(tmp_path) -> None:
    page_of(tmp_path, "```pycon\n>>> x = 2\n>>> x * 21\n42\n```\n").run()
    with pytest.raises(AssertionError, match="Expected"):
        page_of(tmp_path, "```pycon\n>>> 6 * 7\n41\n```\n").run()


def test_commands_that_print_something_else_fail(tmp_path) -> None:
    page_of(tmp_path, "```python file=a.py\nz = 1\n```\n```console\n$ cat a.py\nz = 1\n```\n").run()
    with pytest.raises(AssertionError, match="Expected"):
        page_of(tmp_path, "```console\n$ echo one\ntwo\n```\n").run()
    with pytest.raises(AssertionError, match="No such file"):
        page_of(tmp_path, "```console\n$ cat absent\n```\n").run()


def test_commands_are_divided() -> None:
    found = commands("$ one \\\n  more\nout\n$ two\n")
    assert found == [("one \\\n  more", "out\n"), ("two", "")]
