"""Transformations as calls of the transformed function, and metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from public.samples import Table, find

import sley
from sley import func
from sley.autograd import functional

TABLE = Table()
WIDE = ("float64", "float32")
X, V = (3,), (3,)


def cubic(x: sley.Tensor) -> sley.Tensor:
    """A number: its gradient is 3 x**2, its second derivatives 6 x on the diagonal."""
    return (x**3).sum()


def squares(x: sley.Tensor) -> sley.Tensor:
    """A vector: its Jacobian is 2 x on the diagonal."""
    return x * x


def of_slope(x: np.ndarray) -> np.ndarray:
    return 3 * x * x


def of_bend(x: np.ndarray) -> np.ndarray:
    return np.diag(6 * x)


def shaped(name: str, call: Callable[..., Any], reference: Callable[..., Any], *shapes: Any,
           **rest: Any) -> None:  # fmt: skip
    TABLE.shaped(name, call, reference, shapes or [X], dtypes=WIDE, **rest)


shaped("func.grad", lambda x: func.grad(cubic)(x), of_slope, batch=[0])
shaped("func.grad", lambda x, y: func.grad(lambda a, b: (a * b * b).sum(), (0, 1))(x, y),
       lambda x, y: (y * y, 2 * x * y), X, X, label="two")  # fmt: skip
shaped("func.grad", lambda x: func.grad(lambda a: func.grad(cubic)(a).sum())(x), lambda x: 6 * x,
       label="twice")  # fmt: skip
shaped("func.value_and_grad", lambda x: func.value_and_grad(cubic)(x),
       lambda x: ((x**3).sum(), of_slope(x)), batch=[0])  # fmt: skip
shaped("func.grad_and_value", lambda x: func.grad_and_value(cubic)(x),
       lambda x: (of_slope(x), (x**3).sum()))  # fmt: skip
shaped("func.vjp", lambda x, v: pulled(x, v), lambda x, v: (x * x, 2 * x * v), X, V,
       batch=[0, 0])  # fmt: skip
shaped("func.jvp", lambda x, v: func.jvp(squares, (x,), (v,)), lambda x, v: (x * x, 2 * x * v), X,
       V, batch=[0, 0])  # fmt: skip
shaped("func.linearize", lambda x, v: pushed(x, v), lambda x, v: (x * x, 2 * x * v), X, V)
for _name in ("jacrev", "jacfwd"):
    shaped(f"func.{_name}", lambda x, n=_name: getattr(func, n)(squares)(x),
           lambda x: np.diag(2 * x))  # fmt: skip
shaped("func.hessian", lambda x: func.hessian(cubic)(x), of_bend)
shaped("func.vmap", lambda x: func.vmap(lambda row: row * row.sum())(x),
       lambda x: x * x.sum(1, keepdims=True), (4, 3), batch=[0])  # fmt: skip
shaped("func.vmap", lambda x, y: func.vmap(sley.dot, (0, 1))(x, y), lambda x, y: (x * y.T).sum(1),
       (4, 3), (3, 4), label="axes")  # fmt: skip
shaped("func.vmap", lambda x: func.vmap(func.grad(cubic))(x), of_slope, (4, 3), label="of grad")
LINEAR = sley.nn.Linear(3, 2, bias=False)
shaped("func.functional_call", lambda x, w: func.functional_call(LINEAR, {"weight": w}, (x,)),
       lambda x, w: x @ w.T, (4, 3), (2, 3))  # fmt: skip
TABLE.case("func.stack_module_state", "two",
           lambda: func.stack_module_state([LINEAR, LINEAR])[0]["weight"].detach(), [],
           lambda: np.stack([LINEAR.weight.detach().numpy()] * 2), compiled=False)  # fmt: skip


def pulled(x: sley.Tensor, v: sley.Tensor) -> Any:
    value, back = func.vjp(squares, x)
    return value, back(v)


def pushed(x: sley.Tensor, v: sley.Tensor) -> Any:
    value, push = func.linearize(squares, x)
    return value, push(v)


def with_graph(name: str, f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *t: getattr(functional, name)(f, *t, create_graph=True)


_F = "autograd.functional."
shaped(f"{_F}jacobian", with_graph("jacobian", squares), lambda x: np.diag(2 * x))
shaped(f"{_F}hessian", with_graph("hessian", cubic), of_bend)
shaped(f"{_F}vjp", with_graph("vjp", squares), lambda x, v: (x * x, 2 * x * v), X, V)
shaped(f"{_F}jvp", with_graph("jvp", squares), lambda x, v: (x * x, 2 * x * v), X, V)
for _name in ("hvp", "vhp"):
    shaped(f"{_F}{_name}", with_graph(_name, cubic), lambda x, v: ((x**3).sum(), 6 * x * v), X, V)
for _name, _call, _error in (
    ("func.grad", lambda: func.grad(squares)(sley.ones(3)), Exception),
    ("func.vjp", lambda: func.vjp(squares, sley.ones(3))[1](sley.ones(2)), Exception),
    ("func.jvp", lambda: func.jvp(squares, (sley.ones(3),), (sley.ones(2),)), Exception),
    ("func.vmap", lambda: func.vmap(sley.dot)(sley.ones(3, 2), sley.ones(4, 2)), ValueError),
    ("func.vmap", lambda: func.vmap(sley.sin, in_dims=1)(sley.ones(3)), Exception),
):
    TABLE.wrong(_name, "bad", _call, _error, "")

# ----------------------------------------------------------------------------------------- metrics

TRUE, FOUND = np.array([0, 1, 1, 0, 1, 1]), np.array([0, 1, 0, 1, 1, 1])
HITS, FALSE, MISSED = 3, 1, 1
for _name, _value in {
    "accuracy": 4 / 6, "precision": HITS / (HITS + FALSE), "recall": HITS / (HITS + MISSED),
    "f1_score": 2 * HITS / (2 * HITS + FALSE + MISSED),
    "confusion_matrix": np.array([[1, 1], [1, 3]]),
}.items():  # fmt: skip
    _given = {} if _name == "accuracy" else {"labels": [0, 1]}
    TABLE.case(f"metrics.{_name}", "two classes",
               lambda t, y, n=_name, g=_given: find(f"metrics.{n}")(t, y, **g), [TRUE, FOUND],
               lambda t, y, v=_value: np.asarray(v), tolerance=1e-6)  # fmt: skip
    TABLE.wrong(f"metrics.{_name}", "sizes",
                lambda n=_name: find(f"metrics.{n}")([0, 1], [0, 1, 1]), ValueError,
                "")  # fmt: skip
for _average, _value in (("micro", 4 / 6), ("macro", (1 / 2 + 3 / 4) / 2), ("weighted", 4 / 6)):
    TABLE.case("metrics.recall", _average, lambda t, y, a=_average: sley.metrics.recall(
        t, y, average=a, labels=[0, 1]), [TRUE, FOUND], lambda t, y, v=_value: np.asarray(v),
        tolerance=1e-6)  # fmt: skip
for _name, _of in {
    "mean_squared_error": lambda t, y: ((t - y) ** 2).mean(),
    "mean_absolute_error": lambda t, y: np.abs(t - y).mean(),
    "r2_score": lambda t, y: (1 - ((t - y) ** 2).sum(0) / ((t - t.mean(0)) ** 2).sum(0)).mean(),
}.items():  # fmt: skip
    TABLE.shaped(f"metrics.{_name}", lambda t, y, n=_name: find(f"metrics.{n}")(t, y), _of,
                 [(6,), (6,)], dtypes=WIDE, batch=[0, 0], empty=False, smooth=False,
                 result="float64")  # fmt: skip
    TABLE.shaped(f"metrics.{_name}", lambda t, y, n=_name: find(f"metrics.{n}")(t, y), _of,
                 [(6, 2), (6, 2)], label="outputs", dtypes=WIDE[:1], smooth=False)  # fmt: skip
    TABLE.wrong(
        f"metrics.{_name}",
        "sizes",
        lambda n=_name: find(f"metrics.{n}")([0.0, 1], [0.0, 1, 1]),
        ValueError,
        "",
    )


def area(t: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The share of pairs of both classes that are in order; half where they are equal."""
    gap = y[t == 1][:, None] - y[t == 0][None]
    return ((gap > 0) + 0.5 * (gap == 0)).mean()


TABLE.case("metrics.roc_auc", "ties", lambda t, y: sley.metrics.roc_auc(t, y),
           [TRUE, np.array([0.1, 0.4, 0.35, 0.4, 0.8, 0.05])], area, tolerance=1e-6)  # fmt: skip
TABLE.wrong("metrics.roc_auc", "sizes", lambda: sley.metrics.roc_auc([0, 1], [0.5]), ValueError, "")
