"""The ambient settings: per thread, restored, part of one frozen object."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import sley.frontend.methods  # noqa: F401
from sley.frontend import context
from sley.frontend.construct import tensor
from sley.frontend.context import ambient, no_grad, setting
from sley.frontend.errors import ArgumentError, DTypeError
from sley.frontend.trace import Trace
from sley.ir.dtypes import f32, f64, i64


def test_the_context_is_frozen_and_hashable():
    with pytest.raises(AttributeError):
        ambient.context.grad_enabled = False
    before = ambient.context
    with setting(deterministic=True):
        assert ambient.context != before and ambient.context.deterministic
        assert hash(ambient.context) is not None
    assert ambient.context == before


def test_settings_nest_and_come_back():
    block = no_grad()
    with block, setting(matmul_precision="high"):
        with block:
            assert not context.is_grad_enabled()
        assert not context.is_grad_enabled()
        assert context.get_float32_matmul_precision() == "high"
    assert context.is_grad_enabled() and context.get_float32_matmul_precision() == "highest"


def test_what_is_set_inside_a_block_lasts():
    with no_grad():
        context.set_default_dtype(f64)
    try:
        assert tensor(1.0).dtype is f64 and context.is_grad_enabled()
        assert context.get_default_dtype() is f64
    finally:
        context.set_default_dtype(f32)


def test_bad_settings():
    with pytest.raises(DTypeError):
        context.set_default_dtype(i64)
    with pytest.raises(ArgumentError, match="medium"):
        context.set_float32_matmul_precision("low")


def test_inference_mode():
    with context.inference_mode():
        assert context.is_inference_mode_enabled() and not context.is_grad_enabled()
    assert not context.is_inference_mode_enabled()


def in_a_thread(function):
    results = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


def test_modes_belong_to_a_thread():
    with no_grad():
        assert in_a_thread(context.is_grad_enabled)


def test_a_decorated_function_runs_in_two_threads_at_once():
    inside, leave = threading.Event(), threading.Event()

    @no_grad()
    def run(*actions):
        for action in actions:
            action()

    thread = threading.Thread(target=lambda: run(inside.set, leave.wait))
    with no_grad():
        thread.start()
        inside.wait(10)
        run(leave.set, thread.join)  # entered second, left last
        assert not context.is_grad_enabled()
    assert context.is_grad_enabled()


def test_a_trace_belongs_to_a_thread():
    x = tensor(np.ones(3, np.float32), requires_grad=True)
    with Trace() as trace:
        traced = x * 2.0

        def eager():
            y = x * 3.0
            y.backward(tensor([1.0, 1.0, 1.0]))
            with no_grad():
                x.add_(1.0)
            return y.tolist(), x.grad.tolist()

        assert in_a_thread(eager) == ([3.0, 3.0, 3.0], [3.0, 3.0, 3.0])
        again = x + traced
    assert len(trace.captures) == 1 and again.storage.trace is trace
    assert x.tolist() == [2.0, 2.0, 2.0]
