"""Transformations of functions with control flow, against the same written out in Python."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import sley
from sley.frontend.tensor import Tensor

Transform = Callable[[Callable[[Tensor], Tensor]], Callable[[Tensor], Tensor]]
ROWS = sley.tensor(np.random.default_rng(0).normal(size=(4, 2)))


def scanned(x: Tensor) -> Tensor:
    last, kept = sley.scan(lambda h, row: (sley.tanh(h * x + row), h * row), x, ROWS)
    return last.sum() + (kept * kept).sum()


def scanned_plain(x: Tensor) -> Tensor:
    h, total = x, sley.zeros((), dtype=sley.float64)
    for k in range(4):
        total = total + ((h * ROWS[k]) ** 2).sum()
        h = sley.tanh(h * x + ROWS[k])
    return h.sum() + total


def counted(x: Tensor) -> Tensor:
    return sley.fori_loop(0, 3, lambda k, v: sley.sin(v) * x + k * x[0], x).sum()


def counted_plain(x: Tensor) -> Tensor:
    v = x
    for k in range(3):
        v = sley.sin(v) * x + k * x[0]
    return v.sum()


def chosen(x: Tensor) -> Tensor:
    return sley.cond(x.sum() > 2, lambda v: (v**3).sum(), lambda v: (v * v[0]).sum(), x)


def chosen_plain(x: Tensor) -> Tensor:
    return sley.where(x.sum() > 2, (x**3).sum(), (x * x[0]).sum())


def repeated(x: Tensor) -> Tensor:
    return sley.while_loop(lambda v: v.sum() < 9, lambda v: v * v + v, x).sum()


def repeated_plain(x: Tensor) -> Tensor:
    for _ in range(6):
        x = sley.where(x.sum() < 9, x * x + x, x)
    return x.sum()


def for_each(f: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda x: sley.vmap(f)(sley.stack([x, 2 * x]))


BOTH_MODES: dict[str, Transform] = {
    "grad": sley.grad,
    "jacfwd": sley.jacfwd,
    "hessian": sley.hessian,
    "jacrev of jacrev": lambda f: sley.jacrev(sley.jacrev(f)),
    "vmap of grad": lambda f: for_each(sley.grad(f)),
    "vmap of hessian": lambda f: for_each(sley.hessian(f)),
    "grad of vmap": lambda f: sley.grad(lambda x: for_each(f)(x).sum()),
}
FORWARD: dict[str, Transform] = {
    "jacfwd": sley.jacfwd,
    "jacfwd of jacfwd": lambda f: sley.jacfwd(sley.jacfwd(f)),
    "vmap of jacfwd": lambda f: for_each(sley.jacfwd(f)),
}
PROGRAMS = {
    "scan": (scanned, scanned_plain, BOTH_MODES),
    "fori_loop": (counted, counted_plain, BOTH_MODES),
    "cond": (chosen, chosen_plain, BOTH_MODES),
    "while_loop": (repeated, repeated_plain, FORWARD),
}
CASES = [
    pytest.param(program, plain, transform, id=f"{transformed} of {name}")
    for name, (program, plain, transforms) in PROGRAMS.items()
    for transformed, transform in transforms.items()
]


@pytest.mark.parametrize("program, plain, transform", CASES)
def test_as_written_out(program: Callable, plain: Callable, transform: Transform) -> None:
    x = sley.tensor([0.3, 1.1], dtype=sley.float64)
    expected = transform(plain)(x).numpy()
    for run in (transform(program), sley.compile(transform(program))):
        np.testing.assert_allclose(run(x).numpy(), expected, rtol=1e-9, atol=1e-12)


def test_reverse_mode_of_while_has_no_form_in_a_program() -> None:
    x = sley.tensor([0.3, 1.1], dtype=sley.float64)
    np.testing.assert_allclose(
        sley.grad(repeated)(x).numpy(), sley.grad(repeated_plain)(x).numpy()
    )  # eager it is a Python loop
    with pytest.raises(sley.AutogradError, match="while has no gradient"):
        sley.compile(sley.grad(repeated))(x)


def test_dropout_in_a_mapped_loop() -> None:
    def noisy(x: Tensor) -> Tensor:
        return sley.scan(lambda h, row: (h + sley.rand(2) * row, h), x, ROWS.float())[0]

    x = sley.zeros(3, 2)
    for run in (lambda f: f, sley.compile):
        sley.manual_seed(0)
        rows = run(sley.vmap(noisy, randomness="different"))(x).numpy()
        assert len({row.tobytes() for row in rows}) == 3
        sley.manual_seed(0)
        same = run(sley.vmap(noisy, randomness="same"))(x).numpy()
        sley.manual_seed(0)
        np.testing.assert_allclose(same, np.stack([noisy(x[0]).numpy()] * 3), rtol=1e-5)
