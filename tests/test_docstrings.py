"""Every public name says what it is, and files stay of a size that can be read in one go."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from source_files import ROOT, repository_files, tree

import sley
from sley.frontend.methods import METHODS

MODULES = (
    "sley", "sley.autograd", "sley.data", "sley.data.transforms", "sley.metrics",
    "sley.model_selection", "sley.nn", "sley.nn.functional", "sley.nn.init",
    "sley.nn.utils", "sley.nn.utils.parametrizations", "sley.nn.utils.parametrize",
    "sley.nn.utils.rnn", "sley.optim", "sley.optim.lr_scheduler", "sley.optim.swa_utils",
)  # fmt: skip
SHORTEST = 6  # "-input."
LINES = {"tests": 600}  # lists of cases; elsewhere:
FEW_LINES = 400
# The docstring of a file over the limit says why it is "one file", or what made it.
REASON = re.compile(r"\bone\s+file\b|\bMade by\b")


def public_names(module: ModuleType) -> list[str]:
    listed = getattr(module, "__all__", None)
    return list(listed) if listed else [n for n in vars(module) if not n.startswith("_")]


def public_objects() -> Iterator[tuple[str, Any]]:
    """(dotted name, object) of every public class, function and module; methods too."""
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        yield module_name, module
        for name in public_names(module):
            value = getattr(module, name)
            if not (inspect.isclass(value) or inspect.isroutine(value)):
                continue
            yield f"{module_name}.{name}", value
            if inspect.isclass(value) and value.__module__.startswith("sley."):
                yield from methods(f"{module_name}.{name}", value)
    for name, method in METHODS.items():
        yield f"Tensor.{name}", method


def methods(owner: str, kind: type) -> Iterator[tuple[str, Any]]:
    """The methods that a class itself defines; what they override may have told already."""
    for name, value in vars(kind).items():
        function = getattr(value, "__func__", getattr(value, "fget", value))
        if not name.startswith("_") and inspect.isroutine(function):
            yield f"{owner}.{name}", getattr(kind, name)


def test_every_public_name_has_a_docstring() -> None:
    found = dict(public_objects())
    assert len(found) > 500, "the lists of public names are read"
    silent = [n for n, v in found.items() if len((inspect.getdoc(v) or "").strip()) < SHORTEST]
    assert silent == []


def test_a_missing_docstring_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sley.where, "__doc__", "")
    with pytest.raises(AssertionError):
        test_every_public_name_has_a_docstring()


def test_every_file_says_what_it_is_for() -> None:
    silent = [p for p in repository_files() if p.read_text() and not ast.get_docstring(tree(p))]
    assert silent == []


def test_files_are_short() -> None:
    long = {}
    for path in repository_files():
        name = path.relative_to(ROOT)
        count = len(path.read_text(encoding="utf-8").splitlines())
        reason = REASON.search(ast.get_docstring(tree(path)) or "")
        if count > LINES.get(name.parts[0], FEW_LINES) and not reason:
            long[str(name)] = count
    assert long == {}
