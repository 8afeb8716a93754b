"""Attention as a group of its own: where its results stand, and the kernel's regions."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.dims import Dim
from ...ir.graph import Node, Region, Value
from ...ir.ops.attend import AXES, LETTERS, parts_axis, uses_result
from ...ir.ops.attention import operand_count, optional, sizes_of, wide
from ...ir.ops.base import Kind
from ...ir.types import tensor_type
from .groups import Form, Group, Index, is_view, rename
from .writer import Writer

_KERNELS = {"attention": "attend", "attention_gradient": "attend_gradient"}


def attention_group(node: Node) -> Group:
    """A group made for `node`, with the places of its results."""
    name = _KERNELS[node.op.name]
    group = Group(Form.ATTEND, [n for extents in _extents(node).values() for n in extents])
    uses = [letters for part, letters in AXES[name].items() if uses_result(name, part)]
    for letters, value in zip(uses, node.results, strict=True):
        group.place[value] = _axes_of(group, node, letters)
    return group


def write_attention(writer: Writer, group: Group, outs: Sequence[Value]) -> None:
    """The one node of the group's kernel."""
    node = next(n for n in group.members if n.op.kind is Kind.ATTENTION)
    name = _KERNELS[node.op.name]
    dtype = node.operands[0].type.dtype
    acc = wide(dtype)
    operands, parts = _operands(node), _extents(node)
    results = iter(node.results)
    regions = []
    for part, letters in AXES[name].items():
        extents = [n for letter in letters for n in parts[letter]]
        with writer.scope(0, extents) as (scope, params, axes):
            if uses_result(name, part):
                total = Value(tensor_type(acc, ()), name="acc")
                writer.depths[total] = scope.depth
                _use(writer, group, outs, next(results), axes, total)
                regions.append(Region((*params, total), tuple(scope.nodes)))
                continue
            operand = operands[part]
            if operand is None:
                element = writer.constant(1, acc, 0)
            else:
                element = writer.at(operand, axes)
            regions.append(Region(params, tuple(scope.nodes), (element,)))
    sizes = {key: parts[letter] for letter, key in LETTERS.items()}
    writer.builder.line = node.line
    attrs = {**sizes, "dtype": dtype, "acc": acc, **node.attrs}
    writer.emit(name, (), attrs, tuple(regions))


def _use(
    writer: Writer, group: Group, outs: Sequence[Value], result: Value, axes: Index, total: Value
) -> None:
    """Stores of `result`, whose element at `axes` is `total`, what the group has as roots."""
    writer.given[result, axes] = writer.cast(total, result.type.dtype)
    for out, (value, index) in zip(outs, group.roots, strict=True):
        if _computed(value) is result:
            index = rename(index, group.place[result], axes)
            writer.store(out, index, writer.at(value, index))


def _extents(node: Node) -> dict[str, tuple[Dim, ...]]:
    """The extents that each letter stands for."""
    sizes = sizes_of(*(o.type for o in node.operands[:3]))
    return {
        "p": parts_axis(node.attrs), "b": sizes.batch, "g": sizes.groups, "l": (sizes.queries,),
        "s": (sizes.keys,), "e": (sizes.features,), "v": (sizes.width,),
    }  # fmt: skip


def _axes_of(group: Group, node: Node, letters: str) -> Index:
    """The axes of the group that `letters` name."""
    start, found = 0, {}
    for letter, extents in _extents(node).items():
        found[letter] = group.axes[start : start + len(extents)]
        start += len(extents)
    return tuple(axis for letter in letters for axis in found[letter])


def _operands(node: Node) -> dict[str, Value | None]:
    """The operand for each region that computes one."""
    query, key, value = node.operands[:3]
    count = operand_count(node.attrs)
    mask, factor = optional(node.operands[:count], node.attrs)
    found = {"query": query, "key": key, "value": value, "mask": mask, "factor": factor}
    for name, operand in zip(("sums", "mean", "cotangent"), node.operands[count:], strict=False):
        found[name] = operand
    return found


def _computed(value: Value) -> Value:
    """The value that `value` is a reordering of."""
    while is_view(value) and value.node is not None:
        value = value.node.operands[0]
    return value
