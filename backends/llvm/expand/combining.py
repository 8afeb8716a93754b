"""What the combine region of a reduction is: some need fewer instructions than it says."""

from __future__ import annotations

from ....ir.graph import Node, Region, Value


def is_sum(region: Region) -> bool:
    """Whether a combine region adds each element to its accumulator, and nothing else."""
    half = len(region.params) // 2
    return len(region.nodes) == half and all(
        value.node is not None
        and value.node.op.name == "add"
        and set(value.node.operands) == {region.params[k], region.params[half + k]}
        for k, value in enumerate(region.yields)
    )


def ordered_members(node: Node, region: Region) -> list[int]:
    """The number of the member of which `node` asks whether the left one is smaller, if any."""
    half = len(region.params) // 2
    pairs = zip(region.params[:half], region.params[half:], strict=True)
    if node.op.name != "lt":
        return []
    return [k for k, pair in enumerate(pairs) if pair == node.operands]


def factors(value: Value) -> tuple[Value, Value] | None:
    """The operands, where `value` is a product of floats."""
    made = value.node
    if made is None or made.op.name != "mul" or value.type.dtype.name not in ("f32", "f64"):
        return None
    return made.operands[0], made.operands[1]
