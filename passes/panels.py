"""A weight laid out once for many products: panels of columns, side by side for each k.

Before: %y = dot_general(%x, %w) {.. rhs_contract=[1] ..}                // w: f32[n, k]
After:  %p = transpose(reshape(%w) {shape=[n / c, c, k]}) {perm=[0, 2, 1]}
        %y = reshape(dot_general(%x, %p) {.. rhs_contract=[1] ..})       // p: f32[n / c, k, c]

A product reads panels in place (see `schedule_contract`), where it would have to pack the weight.
"""

from __future__ import annotations

from ..ir.builder import Recording
from ..ir.dims import Dim, product
from ..ir.dtypes import DType
from ..ir.graph import Node, Value
from ..ir.ops.contraction import DOT_GENERAL
from ..ir.ops.view import RESHAPE, TRANSPOSE
from ..ir.target import AnyTarget, Target
from .schedule_contract import DOT_ROWS


def panel_width(dtype: DType, target: AnyTarget) -> int:
    """Columns of a panel: those of the usual register tile."""
    assert isinstance(target, Target), "blocks are not read from panels"
    lanes = target.lanes(dtype)
    return lanes * (2 if target.registers < 32 or lanes >= 8 else 3)


def takes_panels(node: Node, target: AnyTarget) -> bool:
    """Whether the right side of a product is a matrix whose columns fill panels."""
    if node.op is not DOT_GENERAL or node.attrs["rhs_batch"]:
        return False
    weight = node.operands[1].type
    if weight.ndim != 2 or not weight.dtype.is_float or weight.dtype.is_low_precision:
        return False
    contracted = tuple(node.attrs["rhs_contract"])
    if len(contracted) != 1:
        return False
    k, columns = weight.shape[contracted[0]], weight.shape[1 - contracted[0]]
    if not (isinstance(k, int) and isinstance(columns, int)):
        return False
    return columns > 0 and columns % panel_width(weight.dtype, target) == 0


def rows_of(node: Node) -> Dim:
    """The points of a product's left side that are not summed."""
    contracted = node.attrs["lhs_contract"]
    return product(n for a, n in enumerate(node.operands[0].type.shape) if a not in contracted)


def packs(node: Node, target: AnyTarget) -> bool:
    """Whether a product copies its right side, and can read it in another layout in place (see
    `schedule_contract`): few rows are summed along k, or read rows of the weight, in place."""
    if not isinstance(target, Target):
        return False
    rows, along = rows_of(node), tuple(node.attrs["rhs_contract"]) == (1,)
    tile = (target.registers - 4) // 2
    few = isinstance(rows, int) and rows <= (DOT_ROWS if along else tile)
    if few:
        return False
    if takes_panels(node, target):
        return True
    weight = node.operands[1].type
    plain = weight.ndim == 2 and along and not node.attrs["rhs_batch"]
    return plain and isinstance(rows, int) and rows <= tile


def laid_in_panels(builder: Recording, weight: Value, contracted: int, target: AnyTarget) -> Value:
    """`weight` as [columns / c, k, c]; its axis `contracted` is k."""
    width = panel_width(weight.type.dtype, target)
    k, n = weight.type.shape[contracted], weight.type.shape[1 - contracted]
    shape: tuple[Dim, ...] = (n // width, width, k) if contracted else (k, n // width, width)
    perm = (0, 2, 1) if contracted else (1, 0, 2)
    apart = builder.emit(RESHAPE, (weight,), {"shape": shape})
    found: Value = builder.emit(TRANSPOSE, (apart,), {"perm": perm})
    return found


def product_of_panels(builder: Recording, node: Node, x: Value, panels: Value) -> Value:
    """The result of the product `node`, with its right side in panels."""
    attrs = {**node.attrs, "rhs_contract": (1,)}
    found = builder.emit(DOT_GENERAL, (x, panels), attrs)
    result: Value = builder.emit(RESHAPE, (found,), {"shape": node.results[0].type.shape})
    return result
