"""How much a kernel computes: an expression over its size symbols, in scalar instructions."""

from __future__ import annotations

from .access import axes
from .dims import Dim, add_all, free_of_axes, product
from .graph import Node, Region
from .ops.attend import AXES, region_axes

SOFTMAX = 16  # scalar instructions for a score
MULTIPLY_ADDS = 4  # of a product: its operands are in registers, others' in memory


def work(region: Region) -> Dim:
    """Scalar instructions that one run of `region` takes, roughly."""
    return add_all(_work_of(node) for node in region.nodes)


def _work_of(node: Node) -> Dim:
    if node.op.name == "contract":
        batch, m, n, k = (product(node.attrs[name]) for name in ("batch", "m", "n", "k"))
        lhs, rhs, out = (work(region) for region in node.regions)
        terms = m * n * k // MULTIPLY_ADDS
        return batch * (m * k * lhs + k * n * rhs + m * n * out + terms)
    if node.op.name in AXES:
        return _work_of_attention(node)
    if node.op.name == "many":
        return add_all(node.attrs["extents"]) * work(node.regions[0])
    inside = add_all(work(region) for region in node.regions)
    if node.op.name == "for":
        turns = node.attrs["hi"] - node.attrs["lo"]
        return inside * turns if free_of_axes(turns) else inside
    if node.regions:
        return product(axes(node)[1]) * inside
    return node.op.cost


def _work_of_attention(node: Node) -> Dim:
    """Two products of queries and keys, or five for the gradient, and what the regions do."""
    name = node.op.name
    total: Dim = 0
    for number, region in enumerate(node.regions):
        total = total + product(region_axes(name, node.attrs, number)) * work(region)
    sizes = {key: product(node.attrs[key]) for key in ("features", "width")}
    features, width = sizes["features"], sizes["width"]
    products = features + width if name == "attend" else features * 3 + width * 2
    scores = product(product(node.attrs[key]) for key in ("batch", "groups", "queries", "keys"))
    return total + scores * (products + SOFTMAX)
