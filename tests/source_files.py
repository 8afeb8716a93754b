"""Where the repository's Python files are, for the tests that read them as text."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Folders of the root that are no part of the package.
BESIDE = {"tests", "benchmarks", "examples", "docs", "build", "dist", "dumps"}


def package_files() -> list[Path]:
    """Every Python file of the package, the root's own first."""
    return [path for path in repository_files() if _top(path) not in BESIDE]


def package_folders() -> set[str]:
    """The dotted name of every folder of the package that has an `__init__.py`."""
    folders = [path.parent for path in package_files() if path.name == "__init__.py"]
    return {".".join(("sley", *folder.relative_to(ROOT).parts)) for folder in folders}


def repository_files() -> list[Path]:
    """Every Python file of the repository; what tools write (dot folders, build) left out."""
    return _python_files(ROOT)


def module_name(path: Path) -> str:
    """The name under which a file of the package is imported."""
    parts = ("sley", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def _top(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


def _python_files(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.iterdir() if path.suffix == ".py")
    for sub in sorted(path for path in folder.iterdir() if path.is_dir()):
        if not sub.name.startswith((".", "__pycache__")) and sub not in (
            ROOT / "build",
            ROOT / "dist",
        ):
            files += _python_files(sub)
    return files
