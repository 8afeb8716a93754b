"""Cases of the script that checks a GPU, about what there is to choose between."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from gpu_cases import Case, Context, compared, near

from sley.ir.evaluate import evaluate
from sley.ir.graph import Graph
from sley.ir.numerics import Numerics
from sley.passes.block_choices import MOST
from sley.runtime.build import CompileError
from sley.runtime.cuda.executable import CudaExecutable


def scatters(context: Context) -> Iterator[Case]:
    """Sums at places that data name, in order: many updates meet, every call gives one result."""
    import sley

    rng = np.random.default_rng(3)
    forms: dict[str, tuple[Callable[..., Any], tuple[int, ...], tuple[int, ...], int]] = {
        "rows": (lambda x, i, u: x.index_add(0, i, u), (100, 65), (3000, 65), 100),
        "columns": (lambda x, i, u: x.index_add(1, i, u), (3, 50, 7), (3, 999, 7), 50),
        "elements": (lambda x, i, u: x.scatter_add(1, i, u), (5, 40), (5, 777), 40),
    }
    for name, (function, shape, updates, rows) in forms.items():
        count = updates if name == "elements" else (max(updates),)
        arrays = [
            rng.standard_normal(shape).astype(np.float32),
            rng.integers(0, rows, count),
            rng.standard_normal(updates).astype(np.float32),
        ]
        graph = sley.compile(function).lower(*map(sley.tensor, arrays)).graph
        order = Numerics(deterministic=True)
        yield compared(context, f"in order: {name}", graph, [arrays], calls=5, numerics=order)


def choices(context: Context) -> Iterator[Case]:
    """Every schedule that a tuner tries out."""
    import sley

    forms: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]]]] = {
        "loop": (lambda x: x.exp() * 2, [(5000,)]),
        "turned": (lambda x: (x.transpose(1, 2) + 1).contiguous(), [(3, 100, 130)]),
        "rows": (lambda x: x.softmax(-1), [(33, 700)]),
        "long rows": (lambda x: x.logsumexp(-1), [(3, 20_000)]),
        "columns": (lambda x: x.square().sum(0), [(300, 200)]),
        "product": (lambda x, w: (x @ w).relu(), [(200, 130), (130, 300)]),
        "attention": (
            sley.nn.functional.scaled_dot_product_attention, [(2, 3, 130, 32)] * 3,
        ),
    }  # fmt: skip
    rng = np.random.default_rng(4)
    for name, (function, shapes) in forms.items():
        arrays = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
        graph = sley.compile(function).lower(*map(sley.tensor, arrays)).graph
        for number in range(MOST):
            yield Case(
                f"{name}, choice {number}",
                lambda g=graph, a=arrays, n=number: _chosen(context, g, a, n),
                lambda prepared: _check_choice(*prepared),
            )


def _chosen(
    context: Context, graph: Graph, arrays: list[np.ndarray], number: int
) -> tuple[CudaExecutable | None, list[np.ndarray], Sequence[np.ndarray]]:
    try:
        executable = context.build(graph, {}, number=number)
    except CompileError:
        if number == 0:
            raise
        return None, arrays, ()
    return executable, arrays, evaluate(graph, arrays)


def _check_choice(
    executable: CudaExecutable | None, arrays: list[np.ndarray], expected: Sequence[np.ndarray]
) -> str | None:
    if executable is None:
        return "there is no machine code of it"
    near(executable(arrays), expected)
    return None
