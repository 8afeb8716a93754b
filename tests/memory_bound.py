"""How many bytes of an arena every order of a program's launches needs."""

from __future__ import annotations

from collections.abc import Mapping

from sley.ir.dims import evaluate
from sley.ir.graph import Node
from sley.ir.plan import Plan
from sley.passes.inplace import may_overwrite
from sley.passes.launch_order import launch_order


def lower_bound(plan: Plan, sizes: Mapping[str, int]) -> int:
    """Bytes that are alive at some launch of `plan`, in whatever order they run.

    At a launch all values are alive that something before it makes and something after it reads,
    before and after by the program's dependences; and what it makes, unless it may lie where an
    operand dies. New contents of an input come after the readers of the old.
    """
    graph = plan.graph
    before = _before(plan)
    makers = {v: n for n in graph.nodes for v in n.results if v not in set(graph.yields)}
    readers = {v: [n for n in graph.nodes if v in n.operands] for v in makers}
    best = 0
    for node in graph.nodes:
        arriving = leaving = either = 0
        for value, maker in makers.items():
            nbytes = evaluate(value.type.nbytes, sizes)
            waits = any(node in before[r] for r in readers[value])
            arrives = maker in before[node] and (waits or node in readers[value])
            leaves = waits and (maker is node or maker in before[node])
            arriving += arrives * nbytes
            leaving += leaves * nbytes
            either += (arrives or leaves) * nbytes
        best = max(best, max(arriving, leaving) if _overwrites(node) else either)
    return best


def _before(plan: Plan) -> dict[Node, set[Node]]:
    """For each node, those that run before it in every order."""
    graph = plan.graph
    order = {node: n for n, node in enumerate(launch_order(graph, plan.donated))}
    direct: dict[Node, set[Node]] = {n: {o.node for o in n.operands if o.node} for n in order}
    for result, source in plan.donated.items():
        maker = graph.yields[result].node
        for node in order:
            reads = graph.params[source] in node.operands
            if maker is not None and reads and order[node] < order[maker]:
                direct[maker].add(node)
    before: dict[Node, set[Node]] = {}
    for node in order:
        before[node] = direct[node].union(*(before[n] for n in direct[node]))
    return before


def _overwrites(node: Node) -> bool:
    kernel = node.attrs.get("kernel")
    if kernel is None:
        return False
    pairs = ((i, o) for i in range(len(kernel.inputs)) for o in range(kernel.outs))
    return any(may_overwrite(kernel, i, o) for i, o in pairs)
