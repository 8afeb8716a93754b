"""What is too much for one kernel becomes few of them."""

import numpy as np
import pytest

from sley.ir.evaluate import evaluate
from sley.ir.graph import Graph
from sley.ir.parser import parse
from sley.passes.fuse import fuse
from sley.passes.fuse.cost import MAX_MEMBERS


def tree(leaves: int) -> tuple[Graph, int]:
    """A sum, two by two, of functions of x; and how many nodes it has."""
    lines, level = [], []
    for i in range(leaves):
        lines.append(f"  %a{i} = mul(%x, %{'y' if i % 3 else 'x'})\n  %b{i} = tanh(%a{i})")
        level.append(f"b{i}")
    while len(level) > 1:
        sums = []
        for first, second in zip(level[::2], level[1::2], strict=False):
            sums.append(f"s{len(lines)}")
            lines.append(f"  %{sums[-1]} = add(%{first}, %{second})")
        level = sums + level[len(level) - len(level) % 2 :]
    head = "graph @tree(%x: f32[5, 3], %y: f32[5, 3]) -> (f32[5, 3]) {\n"
    return parse(f"{head}{chr(10).join(lines)}\n  yield %{level[0]}\n}}"), 3 * leaves - 1


@pytest.mark.parametrize("leaves", [3, 42, 43, 64, 200, 513, 1000])
def test_a_wide_tree_makes_few_kernels(leaves):
    graph, nodes = tree(leaves)
    fused = fuse(graph)
    launches = [node for node in fused.nodes if node.op.name == "launch"]
    assert len(launches) <= max(1, 2 * nodes // MAX_MEMBERS)
    rng = np.random.default_rng(0)
    arrays = [rng.random((5, 3), dtype=np.float32) for _ in range(2)]
    for a, b in zip(evaluate(graph, arrays), evaluate(fused, arrays), strict=True):
        np.testing.assert_array_equal(a, b)
