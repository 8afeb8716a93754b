"""The native profile function tells of each piece of Python code once, and of errors."""

from __future__ import annotations

import sys

import pytest

from sley.runtime import call_hook
from sley.runtime.call_hook import CallHook


def test_each_piece_of_code_is_met_once():
    def inner():
        return len([1])

    def outer():
        return inner() + inner()

    met = []
    hook = CallHook.of(lambda frame: met.append(frame.f_code))
    hook.install()
    try:
        assert sys.getprofile() is hook
        result = outer() + outer() + sum(x for x in (1, 2))
    finally:
        sys.setprofile(None)
    assert result == 7
    names = [code.co_name for code in met]
    assert names == ["outer", "inner", "<genexpr>"]
    assert met[0] is outer.__code__
    outer()
    assert len(met) == 3


def test_equal_code_of_two_functions_counts_twice():
    first, second = ({} for _ in range(2))
    for scope in (first, second):
        exec("def f(): return 1", scope)
    assert first["f"].__code__ == second["f"].__code__
    met = []
    hook = CallHook.of(lambda frame: met.append(frame.f_code))
    hook.install()
    first["f"](), second["f"](), first["f"]()
    sys.setprofile(None)
    assert len(met) == 2


def test_an_error_in_it_comes_to_the_caller():
    def note(frame):
        raise ValueError("not this one")

    def function():
        return 1

    CallHook.of(lambda frame: None).install()  # what is loaded once is loaded
    sys.setprofile(None)
    hook = CallHook.of(note)
    with pytest.raises(ValueError, match="not this one"):
        hook.install()
        function()
    assert sys.getprofile() is None  # as Python does with any that raises


def test_a_full_table_is_as_right(monkeypatch):
    functions = []
    for number in range(call_hook._SLOTS // 2 + 10):
        scope: dict = {}
        exec(compile("def f(): return 1", f"file{number}", "exec"), scope)
        functions.append(scope["f"])
    count = [0]

    def note(frame):
        count[0] += frame.f_code.co_name == "f"

    hook = CallHook.of(note)
    hook.install()
    for function in functions:
        function()
    functions[0]()
    functions[-1]()
    sys.setprofile(None)
    assert count[0] == len(functions) + 1
