"""Random programs of views and in-place writes over shared memory: eager = compiled, in results, in
what is written, and in what shares memory with what afterwards."""

from __future__ import annotations

import random
import warnings
from typing import Any

import numpy as np
import pytest

import sley

VIEWS = [
    "{}[1:]", "{}[:, ::2]", "{}.t()", "{}.flatten()", "{}[0]", "{}.reshape(-1, 2)", "{}.flip(0)",
    "{}.unsqueeze(0)[0]", "{}[..., -1]", "{}.view(-1)[::3]", "{}.detach()",
    "{}.transpose(0, 1)[1:]", "{}.chunk(2, 0)[0]", "{}[:2].split(1)[1]",
    "{}.expand(2, *{}.shape)[1]",
]  # fmt: skip
WRITES = [
    "{}.add_(1.0)", "{}.mul_(0.5)", "{}.zero_()", "{}[0] = 7.0", "{}[..., -1:] = 3.0", "{} -= 2.0",
    "{}.copy_({}.flip(0))", "{}.sub_(shared.sum())", "{}[-1:].add_({}[:1].clone())",
    "{}.fill_(outside[0, 0])", "{}.clamp_(max=4.0)", "{}[::2] *= 2.0",
]  # fmt: skip
# What the two arguments are: views of one memory, of the captured one, of one another.
ARGUMENTS = [
    lambda base, outside: (base, base),
    lambda base, outside: (base[:4], base[2:6]),
    lambda base, outside: (base[:4], base[4:8]),
    lambda base, outside: (base[:4], sley.ones(4, 4)),
    lambda base, outside: (base[::2], base[1::2]),
    lambda base, outside: (outside, base[:4]),
    lambda base, outside: (outside[:2], outside.t()),
    lambda base, outside: (base[:4].t(), base[:4]),
]


def program_text(seed: int) -> str:
    """`def program(x, y)` over `outside` and `shared`, two views of one captured memory."""
    rng = random.Random(seed)
    names = ["x", "y", "outside", "shared"]
    lines = []
    for number in range(rng.randint(4, 9)):
        name = rng.choice(names[-4:])
        if rng.random() < 0.5:
            lines.append(
                f"v{number} = either(lambda: {rng.choice(VIEWS).replace('{}', name)}, {name})"
            )
            names.append(f"v{number}")
        else:
            text = rng.choice(WRITES).replace("{}", name)
            kind = "exec_" if "=" in text.split("(")[0] else ""
            lines.append(
                f"{kind or 'attempt'}({text!r}, dict(locals(), outside=outside, shared=shared))"
            )
    lines.append(f"return {', '.join(names)}, {names[-1]} * 1.0")
    return "def program(x, y):\n" + "\n".join(f"    {line}" for line in lines) + "\n"


def either(view: Any, tensor: sley.Tensor) -> sley.Tensor:
    """The view, or the tensor itself where its shape does not allow it."""
    try:
        return view()
    except (sley.SleyError, IndexError):
        return tensor


def attempt(text: str, scope: dict[str, Any]) -> None:
    """A write, unless shapes or overlaps do not allow it."""
    try:
        exec(text, {}, scope)
    except (sley.SleyError, IndexError):
        return


def outcome(program: Any, scope: dict[str, Any], kind: int, start: np.ndarray) -> list[np.ndarray]:
    """All that a call gives and changes, twice, and then how the results share memory."""
    scope["outside"].copy_(sley.tensor(start[8:]))
    base = sley.tensor(start[:8])
    x, y = ARGUMENTS[kind](base, scope["outside"])
    found = []
    for _ in range(2):
        results = program(x, y)
        found += [t.numpy().copy() for t in (*results, base, scope["outside"])]
    assert results[0] is x and results[1] is y and results[2] is scope["outside"]
    for number, tensor in enumerate(results):
        attempt("tensor[...] = number", {"tensor": tensor, "number": 100.0 + number})
        found += [t.numpy().copy() for t in (*results, base, scope["outside"])]
    return found


@pytest.mark.parametrize("seed", range(48))
def test_random_programs_over_shared_memory(seed: int) -> None:
    # Small whole numbers: sums are exact in any order.
    start = np.random.default_rng(seed).integers(-4, 5, (12, 4)).astype(np.float32)
    outside = sley.tensor(start[8:])
    scope = {
        "outside": outside, "shared": outside[1:], "either": either, "attempt": attempt,
        "exec_": attempt,
    }  # fmt: skip
    text = program_text(seed)
    exec(compile(text, "<program>", "exec"), scope)
    program = scope["program"]
    kind = seed % len(ARGUMENTS)
    expected = outcome(program, scope, kind, start)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = outcome(sley.compile(program), scope, kind, start)
    for number, (a, b) in enumerate(zip(expected, found, strict=True)):
        np.testing.assert_array_equal(b, a, err_msg=f"{number} of\n{text}")


@pytest.mark.parametrize("dynamic", [False, True])
def test_strides_are_part_of_the_signature(dynamic: bool) -> None:
    """Whether a reshape is a view depends on them."""

    def program(x: sley.Tensor) -> sley.Tensor:
        y = x.reshape(-1)
        y.add_(1.0)
        return y

    compiled = sley.compile(program, dynamic=dynamic)
    grid = sley.arange(12.0).reshape(3, 4)
    for make in (
        lambda g: g, lambda g: g.t(), lambda g: g[:, :2], lambda g: g[1:], lambda g: g[::2],
        lambda g: g.flip(0), lambda g: g.unsqueeze(1).expand(3, 1, 4),
    ):  # fmt: skip
        outcomes = []
        for call in (program, compiled):
            base = grid.clone()
            result = call(make(base))
            before = base.numpy().copy()
            result.mul_(2.0)
            outcomes.append((before, base.numpy().copy(), result.numpy().copy()))
        for a, b in zip(*outcomes, strict=True):
            np.testing.assert_array_equal(b, a)


def test_results_share_memory_alike_for_every_size() -> None:
    def program(x: sley.Tensor) -> tuple:
        y = x * 2.0
        a, b = y.chunk(2, 1)
        return x, x[1:], x.t(), y, a, b, b.detach(), y[0]

    compiled = sley.compile(program)
    for rows in (3, 5, 1, 8):
        outcomes = []
        for call in (program, compiled):
            results = call(sley.ones(rows, 4))
            for number, tensor in enumerate(results):
                tensor.add_(float(10**number))
            outcomes.append([t.numpy().copy() for t in results])
        for a, b in zip(*outcomes, strict=True):
            np.testing.assert_array_equal(b, a)
    assert len(compiled.programs) == 2


def test_views_of_parameters_that_are_results_keep_or_lose_their_history() -> None:
    w = sley.ones(3, 2, requires_grad=True)
    for call in (lambda: (w, w[0], w.detach()), sley.compile(lambda: (w, w[0], w.detach()))):
        same, row, bare = call()
        assert same is w and row.requires_grad and not bare.requires_grad
        bare[0, 0] = 5.0
        assert row.detach().numpy()[0] == 5.0
        bare.fill_(1.0)
        w.grad = None
        row.sum().backward()
        assert w.grad is not None and w.grad.numpy().tolist() == [[1, 1], [0, 0], [0, 0]]
