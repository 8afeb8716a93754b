"""Whatever a public function is given: a clear error, never one from inside."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import pytest
from public.coverage import NAMESPACES, methods, names_of

import sley
import sley.nn as nn

# What takes anything at all, makes something of it, calls it later, or opens a file.
TAKES_ANYTHING = {
    "as_tensor", "is_tensor", "is_conj", "compile", "save", "load", "seed", "default_convert",
    "get_gradient_edge", "set_detect_anomaly", "no_grad", "set_grad_enabled", "vmap", "grad",
}  # fmt: skip


def _functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    for namespace in NAMESPACES:
        module = importlib.import_module(namespace)
        for name in names_of(namespace):
            function = getattr(module, name)
            if isinstance(function, FunctionType) and name not in TAKES_ANYTHING:
                yield f"{namespace}.{name}", function


def _required(function: Callable[..., Any]) -> int:
    parameters = inspect.signature(function).parameters.values()
    return sum(p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)


class _Thing:
    """No tensor, no number, nothing."""


@pytest.mark.parametrize("thing", [_Thing(), None, "x", {}], ids=["object", "None", "str", "dict"])
def test_functions_of_no_tensors(thing: Any) -> None:
    strange = []
    for name, function in _functions():
        count = _required(function)
        try:
            if count:
                function(*[thing] * count)
        except sley.SleyError as error:
            assert ".py" in str(error), f"{name}: {error}"
        except Exception as error:  # the point of this test: which one is not sley's own
            strange.append(f"{name}: {type(error).__name__}: {error}")
    assert not strange, "\n".join(strange)


def test_methods_with_strange_arguments() -> None:
    strange = []
    for name in methods():
        method = getattr(sley.Tensor, name)
        if not isinstance(method, FunctionType) or not hasattr(method, "__wrapped__"):
            continue  # sizes and the like: nothing is called inside of them
        try:
            method(sley.ones(2, 3), *[_Thing()] * max(_required(method) - 1, 1))
        except sley.SleyError:
            pass
        except Exception as error:  # as above
            strange.append(f"{name}: {type(error).__name__}: {error}")
    assert not strange, "\n".join(strange)


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda: sley.is_complex(3), "is_complex: input is the int 3, not a tensor"),
        (lambda: sley.inner(1, sley.ones(2)), "inner: input is the int 1, not a tensor"),
        (lambda: sley.ones(3).split("x"), "split_size_or_sections=the str 'x'"),
        (lambda: sley.roll(sley.ones(3), None), r"roll does not take .*shifts=None"),
        (lambda: sley.stack(3), "stack: tensors is the int 3"),
        (lambda: nn.functional.relu(), r"relu\(\) missing 1 required positional argument: 'input'"),
        (lambda: nn.Linear(3), r"Linear\(\) missing .*out_features"),
        (lambda: nn.Linear(3, 2)(5), "Linear: input is the int 5, not a tensor"),
        (lambda: nn.Linear(3, 2)(sley.ones(3), 1), r"Linear\(\) takes 2 positional arguments"),
        (lambda: nn.Dropout("x"), "Dropout: p is the str 'x', not float"),
        (lambda: nn.Conv2d(1, None, 3), "Conv2d: .*out_channels is None, not int"),
        (lambda: sley.optim.SGD(5), "SGD does not take"),
        (lambda: sley.utils.data.DataLoader(5), "given as dataset is of type int"),
    ],
)
def test_which_argument_it_was(call: Callable[[], Any], text: str) -> None:
    with pytest.raises((sley.DTypeError, sley.ArgumentError), match=text) as caught:
        call()
    assert "test_wrong_arguments.py" in str(caught.value)


def test_errors_of_the_users_own_functions_stay_what_they_are() -> None:
    def mine(x: sley.Tensor) -> sley.Tensor:
        return x + {}["missing"]

    class Net(nn.Module):
        def forward(self, x: sley.Tensor) -> sley.Tensor:
            return mine(x)

    for call in (lambda: sley.vmap(mine)(sley.ones(2)), lambda: Net()(sley.ones(2))):
        with pytest.raises(KeyError, match="missing"):
            call()


def test_what_is_meant_is_raised_as_it_is() -> None:
    with pytest.raises(KeyError):
        nn.ModuleDict().pop("x")
    with pytest.raises(AttributeError, match="no attribute 'x'"):
        nn.Sequential().get_submodule("x")
