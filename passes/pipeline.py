"""All passes, in order: from what a trace recorded to what a backend compiles."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ..ir.block_schedule import BlockSchedule
from ..ir.builder import Recording
from ..ir.gpu_target import GpuTarget
from ..ir.graph import Graph, Node, Value
from ..ir.literal import Literal
from ..ir.numerics import EXACT, Numerics
from ..ir.plan import Plan
from ..ir.schedule import Schedule
from ..ir.target import AnyTarget, Target
from .attention import recognise_attention
from .decompose import decompose
from .fold_in_rows import fold_in_rows
from .fuse import fuse
from .hoist import hoist
from .lift_constants import lift_constants
from .lower_order import lower_order
from .lower_sort import lower_sort
from .phases import separate_phases
from .picks import pick
from .plan_memory import plan_memory
from .prepare import prepare
from .rewrite import rewrite
from .schedule import schedule
from .schedule_blocks import schedule_blocks
from .share_numbers import share_numbers
from .simplify import simplify
from .split_attention import split_attention
from .split_complex import split_complex
from .split_contracts import split_contracts
from .split_products import split_products
from .split_reductions import split_reductions
from .split_updates import split_updates
from .spread_scatters import spread_scatters
from .trim import trim

Program = Graph | Plan
Hook = Callable[[str, Program], None]


@dataclass(frozen=True, slots=True, eq=False)
class Lowered:
    """What the passes made of a program.

    Attributes:
        stages: (name of a pass, program after it), from the program as it was given on.
        plan: the last of them.
        constants: arrays for the last parameters of `plan.graph`, which the given program has not.
        preparation: the program that makes what the parameters before these hold, and `slots` the
            numbers of the given program's parameters that it takes; None where there are none.
    """

    stages: tuple[tuple[str, Program], ...]
    plan: Plan
    constants: tuple[Literal, ...]
    preparation: Lowered | None = None
    slots: tuple[int, ...] = ()


def run_passes(
    graph: Graph,
    target: AnyTarget,
    *,
    donated: Mapping[int, int] | None = None,
    fixed: Collection[int] = (),
    numerics: Numerics = EXACT,
    dump: Hook | None = None,
    verify: Callable[[Graph], None] | None = None,
) -> Lowered:
    """Lowers a tensor program for `target`.

    Args:
        donated: result number -> input number whose buffer takes the result.
        fixed: numbers of inputs that stay the same over many calls.
        numerics: how exact it is to be, for a GPU.
        dump: called with the name of each pass and the program after it.
        verify: called with each program; raises where it breaks a rule.
    """
    stages: list[tuple[str, Program]] = []

    def stage(name: str, program: Graph) -> Graph:
        _keep(stages, dump, name, program)
        if verify is not None:
            try:
                verify(program)
            except ValueError as error:
                error.add_note(f"So it is after the pass {name!r}.")
                raise
        return program

    graph = stage("trace", graph)
    if (real := split_complex(graph)) is not graph:
        graph = stage("split complex", real)
    graph = stage("simplify", simplify(graph))
    if (trimmed := trim(graph)) is not graph:
        graph = stage("trim", trimmed)
    if (hoisted := hoist(graph, target)) is not graph:
        graph = stage("hoist", hoisted)
    preparation: Lowered | None = None
    slots: tuple[int, ...] = ()
    if (prepared := prepare(graph, fixed, target)) is not None:
        stage("preparation", prepared.preparation)
        graph, slots = stage("prepare", prepared.graph), prepared.slots
        preparation = run_passes(prepared.preparation, target, numerics=numerics, verify=verify)
    if (separated := separate_phases(graph)) is not graph:
        graph = stage("separate phases", separated)
    if (lowered := lower_sort(graph)) is not graph:
        graph = stage("lower sort", lowered)
    if isinstance(target, GpuTarget) and (lowered := lower_order(graph)) is not graph:
        graph = stage("lower order", lowered)
    if (found := recognise_attention(graph)) is not graph:
        graph = stage("attention", found)
    graph = stage("decompose", decompose(graph, target))
    if isinstance(target, Target) and (cut := split_products(graph)) is not graph:
        graph = stage("split products", cut)
    if isinstance(target, Target) and (cut := split_attention(graph)) is not graph:
        graph = stage("split attention", cut)
    if (picked := pick(graph)) is not graph:
        graph = stage("pick", picked)
    # Again: what an op is made of meets the neighbours, and equal pieces become one.
    graph = stage("simplify again", simplify(graph))
    graph = stage("fuse", fuse(graph))
    if isinstance(target, Target) and (folded := fold_in_rows(graph)) is not graph:
        graph = stage("fold in rows", folded)
    if isinstance(target, Target) and (split := split_updates(graph)) is not graph:
        graph = stage("split updates", split)
    if (split := split_reductions(graph)) is not graph:
        graph = stage("split reductions", split)
    if isinstance(target, GpuTarget) and (split := split_contracts(graph, target)) is not graph:
        graph = stage("split contracts", split)
    if isinstance(target, GpuTarget) and (spread := spread_scatters(graph, numerics)) is not graph:
        graph = stage("spread scatters", spread)
    if (shared := share_numbers(graph)) is not graph:
        graph = stage("share numbers", shared)
    # After fuse, which computes small constants inside the kernels.
    graph, constants = lift_constants(graph)
    graph = stage("lift constants", graph)
    graph = stage("schedule", schedule_kernels(graph, target, numerics))
    plan = plan_memory(graph, donated)
    _keep(stages, dump, "plan memory", plan)
    return Lowered(tuple(stages), plan, constants, preparation, slots)


def lower_launches(
    graph: Graph, target: AnyTarget, *, donated: Mapping[int, int] | None = None
) -> Lowered:
    """The last passes alone, for a program that is fused already."""
    stages: list[tuple[str, Program]] = [("trace", graph)]
    lifted, constants = lift_constants(graph)
    scheduled = schedule_kernels(lifted, target)
    plan = plan_memory(scheduled, donated)
    stages += [("schedule", scheduled), ("plan memory", plan)]
    return Lowered(tuple(stages), plan, constants)


def _keep(
    stages: list[tuple[str, Program]], dump: Hook | None, name: str, program: Program
) -> None:
    stages.append((name, program))
    if dump is not None:
        dump(name, program)


def schedule_kernels(graph: Graph, target: AnyTarget, numerics: Numerics = EXACT) -> Graph:
    """`graph` with a schedule beside every kernel; a launch that has one keeps it."""
    known: dict[Graph, Schedule | BlockSchedule] = {}

    def rule(node: Node, operands: tuple[Value, ...]) -> Any:
        if node.op.name != "launch" or node.attrs.get("schedule") is not None:
            return None
        kernel = node.attrs["kernel"]
        if kernel not in known:
            known[kernel] = _scheduled(kernel, target, numerics)
        return node.op(*operands, kernel=kernel, schedule=known[kernel])

    return rewrite(graph, rule, Recording())


def _scheduled(kernel: Graph, target: AnyTarget, numerics: Numerics) -> Schedule | BlockSchedule:
    if isinstance(target, Target):
        return schedule(kernel, target)
    return schedule_blocks(kernel, target, numerics)
