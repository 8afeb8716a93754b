"""The table of ops is complete: each op has what its kind needs."""

from __future__ import annotations

import pytest

from sley.ir.evaluate_kernel import METHODS as KERNEL_METHODS
from sley.ir.evaluate_loop import METHODS as LOOP_METHODS
from sley.ir.ops import OPS, Kind, Op
from sley.ir.sugar import NEUTRAL

ALL = list(OPS.values())
STRUCTURE = (Kind.KERNEL, Kind.LOOP)


def of(*kinds: Kind) -> list[Op]:
    return [op for op in ALL if op.kind in kinds]


@pytest.mark.parametrize("op", ALL, ids=repr)
def test_every_op(op: Op) -> None:
    assert OPS[op.name] is op
    assert op.doc.strip(), "an op has a docstring"
    assert set(op.optional) <= set(op.attributes)
    assert len(op.region_names) == op.regions
    assert op.cost >= 0


@pytest.mark.parametrize("op", ALL, ids=repr)
def test_only_views_have_an_index_map(op: Op) -> None:
    assert (op.index_map is not None) == (op.kind is Kind.VIEW)


@pytest.mark.parametrize("op", ALL, ids=repr)
def test_only_reductions_have_a_monoid(op: Op) -> None:
    assert (op.monoid is not None) == (op.kind in (Kind.REDUCTION, Kind.CUMULATIVE))


@pytest.mark.parametrize("op", of(Kind.REDUCTION, Kind.CUMULATIVE), ids=repr)
def test_monoids_combine_by_an_op(op: Op) -> None:
    assert op.monoid is not None
    assert OPS[op.monoid.combine].kind is Kind.ELEMENTWISE
    if not op.monoid.arg:
        assert NEUTRAL[op.monoid.combine] is op.monoid.identity


@pytest.mark.parametrize("op", of(Kind.ELEMENTWISE), ids=repr)
def test_elementwise_ops_have_a_fixed_arity(op: Op) -> None:
    assert op.arity is not None
    assert not op.commutative or op.arity == 2


@pytest.mark.parametrize("op", of(*STRUCTURE), ids=repr)
def test_structure_is_evaluated(op: Op) -> None:
    methods = KERNEL_METHODS if op.kind is Kind.KERNEL else LOOP_METHODS
    assert op.name in methods or op.name == "prefetch"


def test_methods_name_ops() -> None:
    assert set(KERNEL_METHODS) | set(LOOP_METHODS) <= set(OPS)
