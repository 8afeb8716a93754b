"""Plans computed in one real arena give what the program says, and waste little memory."""

from __future__ import annotations

import numpy as np
import pytest
from launches import add, launch, program, random_arrays, random_program, reverse, scale
from memory_bound import lower_bound
from training_steps import block_step, conv_step, mlp_step, step_arrays

from sley.backends.llvm.target import host_target
from sley.ir.builder import Recording
from sley.ir.dims import symbol
from sley.ir.dtypes import f32
from sley.ir.evaluate import evaluate
from sley.ir.evaluate_plan import evaluate_plan
from sley.ir.ops import OPS
from sley.ir.plan import (
    ALIGNMENT,
    Copy,
    HostCall,
    Interval,
    Launch,
    Place,
    assign_offsets,
    intervals,
    peak_live_bytes,
    place,
)
from sley.ir.types import tensor_type
from sley.passes.fuse import fuse
from sley.passes.inplace import copies
from sley.passes.pipeline import run_passes
from sley.passes.plan_memory import plan_memory

N, M = symbol("N"), symbol("M")
SIZES = (N, 3 * M + 40, 1000)


def check(graph, donated=None, sizes=None, seed=0):
    plan = plan_memory(graph, donated)
    arrays = random_arrays(graph, seed, sizes)
    expected = evaluate(graph, arrays, sizes)
    for k, (array, wanted) in enumerate(
        zip(evaluate_plan(plan, arrays, sizes), expected, strict=True)
    ):
        assert np.array_equal(array, wanted), f"result {k} of\n{plan}"
    return plan


@pytest.mark.parametrize("seed", range(30))
def test_random_programs_in_the_arena(seed):
    graph = random_program(seed, 5 + seed, SIZES)
    for sizes in ({"N": 0, "M": 0}, {"N": 1, "M": 7}, {"N": 600, "M": 100}):
        plan = check(graph, sizes=sizes, seed=seed)
        best = peak_live_bytes(intervals(plan, sizes), ALIGNMENT)
        assert assign_offsets(plan, sizes)[1] <= 1.3 * best


@pytest.mark.parametrize("seed", range(20))
def test_random_programs_with_donation(seed):
    """Every input takes a result of its type, where there is one."""
    graph = random_program(seed, 12, (N, 10))
    rng = np.random.default_rng(seed)
    donated = {}
    free = list(rng.permutation(len(graph.params)))
    for k, value in enumerate(graph.yields):
        fitting = [i for i in free if graph.params[i].type is value.type]
        if fitting:
            donated[k] = int(fitting[0])
            free.remove(fitting[0])
    check(graph, donated, {"N": 33}, seed)


def random_blocks(seed, count):
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        first = int(rng.integers(0, count))
        last = first + int(rng.geometric(0.1))
        found.append(Interval(int(2 ** rng.uniform(6, 20)), first, last))
    return found


@pytest.mark.parametrize("seed", range(20))
def test_placement_of_random_lifetimes(seed):
    blocks = random_blocks(seed, 150)
    offsets, total = place(blocks)
    assert total <= 1.3 * peak_live_bytes(blocks)
    for a, (left, at) in enumerate(zip(blocks, offsets, strict=True)):
        assert at % ALIGNMENT == 0 and at + left.nbytes <= total
        for right, other in list(zip(blocks, offsets, strict=True))[:a]:
            together = left.first <= right.last and right.first <= left.last
            apart = at + left.nbytes <= other or other + right.nbytes <= at
            assert apart or not together


def test_a_chain_runs_in_the_result():
    def body(x, y):
        for _ in range(5):
            x = launch(add((N,)), x, y)
        return [x]

    plan = check(program([(N,), (N,)], body), sizes={"N": 9})
    assert not plan.blocks
    assert set(plan.places.values()) == {Place("input", 0), Place("input", 1), Place("output", 0)}


def test_what_cannot_be_overwritten_gets_a_block():
    def body(x):
        for _ in range(3):
            x = launch(reverse(N), x)
        return [x]

    plan = check(program([(N,)], body), sizes={"N": 9})
    assert len(plan.blocks) == 2


def test_an_input_is_never_overwritten_unless_donated():
    graph = program([(N,)], lambda x: [launch(scale((N,)), x)])
    plan = check(graph, sizes={"N": 5})
    assert plan.places[graph.yields[0]] == Place("output", 0)


def test_a_donated_result_is_written_to_its_input():
    graph = program([(N,), (N,)], lambda p, g: [launch(add((N,)), p, g)])
    plan = check(graph, {0: 0}, {"N": 5})
    assert plan.places[graph.yields[0]] == Place("input", 0)
    assert len(plan.steps) == 1 and not plan.fresh


def test_readers_of_the_old_value_run_before_it_is_replaced():
    def body(p, g):
        new = launch(add((N,)), p, g)
        return [new, launch(reverse(N), p)]  # recorded after the update

    graph = program([(N,), (N,)], body)
    plan = check(graph, {0: 0}, {"N": 5})
    assert [s.node for s in plan.steps if isinstance(s, Launch)] == list(reversed(graph.nodes))
    assert plan.places[graph.yields[0]] == Place("input", 0)


def test_a_state_that_is_read_after_its_update_is_copied_at_the_end():
    def body(p, g):
        new = launch(add((N,)), p, g)
        return [new, launch(add((N,)), new, p)]  # needs both the old and the new

    plan = check(program([(N,), (N,)], body), {0: 0}, {"N": 5})
    last = plan.steps[-1]
    assert isinstance(last, Copy) and last.target == Place("input", 0)
    assert [type(s) for s in plan.steps] == [Launch, Launch, Copy]


def test_an_update_that_is_not_in_place_goes_through_the_arena():
    plan = check(program([(N,)], lambda p: [launch(reverse(N), p)]), {0: 0}, {"N": 5})
    assert [type(s) for s in plan.steps] == [Launch, Copy]


def test_states_that_change_places():
    def body(a, b, c):
        return [b, c, a, a]

    plan = check(program([(N,)] * 3, body), {0: 0, 1: 1, 2: 2}, {"N": 5})
    assert all(isinstance(s, Copy) for s in plan.steps)


def test_a_value_that_is_several_results():
    def body(x, y):
        z = launch(add((N,)), x, y)
        return [z, z, x, z]

    check(program([(N,), (N,)], body), sizes={"N": 5})
    check(program([(N,), (N,)], body), {1: 0, 3: 1}, {"N": 5})


def test_a_better_order_is_found():
    """Many large values made first and consumed one by one later: making each when it is needed
    keeps one of them alive instead of all."""

    def body(x):
        large = [launch(reverse(N), x) for _ in range(10)]
        total = launch(reverse(N), x)
        for value in large:
            total = launch(add((N,)), total, value)
        return [launch(reverse(N), total)]

    plan = check(program([(N,)], body), sizes={"N": 64})
    assert peak_live_bytes(intervals(plan, {"N": 64})) <= 3 * 64 * 4


def test_donations_that_do_not_fit():
    graph = program([(N,), (M,)], lambda x, y: [launch(scale((N,)), x), launch(scale((N,)), x)])
    with pytest.raises(ValueError, match=r"result 0 is f32\[N\], the input 1 donated to it f32"):
        plan_memory(graph, {0: 1})
    with pytest.raises(ValueError, match="two results"):
        plan_memory(graph, {0: 0, 1: 0})


def test_a_plan_prints():
    graph = program([(N,), (N,)], lambda p, g: [launch(reverse(N), launch(add((N,)), p, g))])
    assert str(plan_memory(graph, {0: 0})).splitlines() == [
        "plan @program {",
        "  0: @add(input 0, input 1) -> arena 0",
        "  1: @reverse(arena 0) -> input 0",
        "  arena 0: N*4 bytes, steps 0 to 1",
        "  result 0 in input 0",
        "}",
    ]


STEPS = {
    "twelve layers": lambda: mlp_step([24] * 12 + [10]),
    "twelve layers, 16 rows": lambda: mlp_step([24] * 12 + [10], 16),
    "convolutions": conv_step,
    "blocks": block_step,
}


@pytest.mark.parametrize("make", STEPS.values(), ids=STEPS)
def test_training_steps(make):
    """All state is updated where it lies, and the arena is little larger than what must live."""
    graph, donated = make()
    lowered = run_passes(graph, host_target(), donated=donated)
    plan = lowered.plan
    assert all(isinstance(s, Launch) for s in plan.steps)
    for rows in (64, 7, 1, 0):
        sizes = {"N": rows}
        # A handful of bytes takes a cache line: of a tiny batch the lines are counted.
        needed = peak_live_bytes(intervals(plan, sizes), 1 if rows >= 16 else ALIGNMENT)
        assert assign_offsets(plan, sizes)[1] <= 1.3 * needed
    arrays = step_arrays(graph, 16)
    constants = [literal.array for literal in lowered.constants]
    expected = evaluate(graph, arrays)
    for array, wanted in zip(evaluate_plan(plan, [*arrays, *constants]), expected, strict=True):
        np.testing.assert_allclose(array, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "step",
    [
        lambda: mlp_step([24] * 12 + [10]),
        lambda: mlp_step([784, 512, 256, 10], 64),
        conv_step,
        block_step,
        lambda: block_step(33, 10, 5),
    ],
)
def test_the_arena_is_near_the_least_that_any_order_needs(step):
    graph, donated = step()
    plan = run_passes(graph, host_target(), donated=donated).plan
    sizes = {"N": 50}
    least, arena = lower_bound(plan, sizes), assign_offsets(plan, sizes)[1]
    aligned = arena - ALIGNMENT * len(plan.blocks)
    assert least <= peak_live_bytes(intervals(plan, sizes)), "a bound"
    assert least > 0 and aligned <= 1.2 * least, f"{arena} bytes, {arena / least:.2f} of the least"


def test_what_only_changes_its_shape_is_not_copied():
    builder = Recording()
    x = builder.param(tensor_type(f32, (N, 6)), "x")
    with builder:
        ordered = OPS["order"](x, descending=False)
        turned = OPS["transpose"](ordered, perm=(1, 0))
        found = [OPS["reshape"](ordered, shape=(2 * N, 3)), OPS["reshape"](turned, shape=(6 * N,))]
    for yields, count in ((found[:1], 0), (found[1:], 0), ([ordered, *found], 1)):
        graph = fuse(builder.finish("f", yields))
        steps = check(graph, sizes={"N": 5}).steps
        # What can lie where the rows were ordered does, unless these are wanted themselves.
        copied = [s for s in steps if isinstance(s, Launch) and copies(s.node.attrs["kernel"])]
        assert len(copied) == count
        assert sum(isinstance(s, HostCall) for s in steps) == 1
