"""The blocks of a Markdown page, and how each kind runs.

```python            runs, all blocks of a page in one module
```python file=NAME  is written to NAME, for the commands
```pycon             is a session: what it prints is compared
```console           commands after `$ `, run by a shell, and what they print
```text, and others  are not run

`python tests/doc_blocks.py PAGE.md...` writes anew what the commands print.
"""

from __future__ import annotations

import doctest
import io
import os
import re
import subprocess
import sys
import tempfile
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
RUN = ("python", "pycon", "console")
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
SHELL = (
    f'set -o pipefail; python() {{ "{sys.executable}" "$@"; }}; sley() {{ python -m sley "$@"; }}; '
)


@dataclass(frozen=True)
class Block:
    """One fenced block; `line` counts the lines of the page before its text."""

    kind: str
    file: str
    text: str
    line: int


def blocks(page: str) -> Iterator[Block]:
    """The blocks of a page that run, in order."""
    for match in FENCE.finditer(page):
        kind, _, rest = match["info"].strip().partition(" ")
        if kind in RUN:
            line = page.count("\n", 0, match.start("text"))
            yield Block(kind, rest.removeprefix("file=").strip(), match["text"], line)


class Page:
    """Runs the blocks of one page, files and commands in the folder `folder`."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.path = path
        self.folder = folder
        self.module = types.ModuleType(f"page_{re.sub('[^a-z0-9]', '_', path.stem)}")
        self.module.__file__ = str(path)

    def run(self) -> None:
        """Runs all blocks; raises what they raise, AssertionError where an output differs."""
        sys.modules[self.module.__name__] = self.module
        before = os.getcwd()
        os.chdir(self.folder)
        try:
            for block in blocks(self.path.read_text()):
                self.run_block(block)
        finally:
            os.chdir(before)
            del sys.modules[self.module.__name__]

    def run_block(self, block: Block) -> None:
        if block.kind == "pycon":
            self._compare_session(block)
        elif block.kind == "console":
            self._compare_commands(block)
        elif block.file:
            (self.folder / block.file).write_text(block.text)
        else:  # with the page's lines, which errors and dumps show
            code = compile("\n" * block.line + block.text, str(self.path), "exec")
            exec(code, self.module.__dict__)

    def _compare_session(self, block: Block) -> None:
        parser = doctest.DocTestParser()
        scope = self.module.__dict__
        test = parser.get_doctest(block.text, scope, self.path.name, str(self.path), block.line)
        report = io.StringIO()
        runner = doctest.DocTestRunner(verbose=False, optionflags=OPTIONS)
        runner.run(test, out=report.write, clear_globs=False)
        scope.update(test.globs)
        assert not runner.failures, report.getvalue()

    def _compare_commands(self, block: Block) -> None:
        check = doctest.OutputChecker()
        for command, want in commands(block.text):
            got = self.output(command)
            if not check.check_output(want, got, OPTIONS):
                example = doctest.Example(command, want)
                difference = check.output_difference(example, got, OPTIONS)
                raise AssertionError(f"{self.path.name}: $ {command}\n{difference}")

    def output(self, command: str) -> str:
        """What a command prints; it has to succeed unless it says so with `|| true`."""
        done = subprocess.run(
            ["bash", "-c", SHELL + command],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{self.path.name}: $ {command}\n{done.stderr}"
        return done.stdout + done.stderr


def commands(text: str) -> list[tuple[str, str]]:
    """(command, what it prints), for a console block."""
    found: list[tuple[str, str]] = []
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, want = part.partition("\n")
        while command.endswith("\\"):
            more, _, want = want.partition("\n")
            command = f"{command}\n{more}"
        found.append((command, want))
    return found


def refresh(path: Path) -> None:
    """Writes into the page what its commands print now."""
    with tempfile.TemporaryDirectory() as folder:
        page = Page(path, Path(folder))

        def renew(match: re.Match) -> str:
            (block,) = blocks(match[0])
            if block.kind != "console":
                if block.file:
                    page.run_block(block)
                return match[0]
            check, text = doctest.OutputChecker(), ""
            for command, want in commands(block.text):
                got = page.output(command)
                same = bool(want) and check.check_output(want, got, OPTIONS)
                text += f"$ {command}\n{want if same else got}"  # what is left out stays so
            return f"```console\n{text}```"

        def renew_if_run(match: re.Match) -> str:
            return renew(match) if list(blocks(match[0])) else match[0]

        path.write_text(FENCE.sub(renew_if_run, path.read_text()))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        refresh(Path(name).resolve())
