"""Schedules that are timed on the simulated GPU, by a clock of the test, and remembered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from programs import record
from simulated_gpu import Code, Kernel, SimulatedCompiler, SimulatedGpu

from sley.backends.triton.compile import CompileFailure
from sley.ir.block_schedule import BlockSchedule
from sley.ir.dims import symbol
from sley.ir.dtypes import f32, i64
from sley.ir.graph import Graph
from sley.ir.numerics import EXACT, Numerics
from sley.ir.ops import OPS
from sley.ir.types import tensor_type
from sley.passes.block_choices import block_choices
from sley.passes.pipeline import run_passes
from sley.runtime.cache import ObjectCache
from sley.runtime.cuda import tuned as tuned_module
from sley.runtime.cuda.build import build
from sley.runtime.cuda.tuned import Memory, tuned_of
from sley.runtime.cuda.tuning import Chooser

N = symbol("N")


class Compiler(SimulatedCompiler):
    """Texts that tell their schedule; some of which fail or spill."""

    def __init__(self) -> None:
        super().__init__()
        self.schedules: dict[str, BlockSchedule] = {}
        self.fails: Callable[[BlockSchedule], bool] = lambda schedule: False
        self.spills: Callable[[BlockSchedule], int] = lambda schedule: 0

    def emit(self, kernel, schedule, target):
        text = super().emit(kernel, schedule, target)
        self.schedules[text.source] = schedule
        return text

    def _compile(self, text) -> Code | CompileFailure:
        schedule = self.schedules[text.source]
        if self.fails(schedule):
            return CompileFailure(text, "limit", "needs too much")
        code = replace(super()._compile(text), spill_bytes=self.spills(schedule))
        self.kernels[code.cubin] = replace(self.kernels[code.cubin], code=code)
        return code


class Tuning:
    """A simulated GPU whose launches take as long as `cost` of their schedule says."""

    def __init__(self, cost: Callable[[BlockSchedule], float], store=None) -> None:
        self.gpu = SimulatedGpu()
        self.compiler = self.gpu.compiler = self.gpu.driver.compiler = Compiler()
        self.gpu.driver.clock = self.clock
        self.cost = cost
        self.measured: list[BlockSchedule] = []
        self.store = store

    def clock(self, kernel: Kernel) -> float:
        schedule = self.compiler.schedules[kernel.text.source]
        self.measured.append(schedule)
        return self.cost(schedule)

    def build(self, graph: Graph, tune: bool = True, numerics=EXACT, sizes=None):
        device, compiler = self.gpu.device, self.compiler
        lowered = run_passes(graph, device.target, numerics=numerics)
        chooser = Chooser(
            device, compiler.emit, compiler.compile_all, Memory(device.info, self.store),
            numerics=numerics, sizes=sizes or {}, tune=tune,
        )  # fmt: skip
        return build(lowered, device, compiler.emit, compiler.compile_all, choose=chooser.choose)

    def used(self, executable) -> list[BlockSchedule]:
        """The schedules of what the program launches."""
        handles = [kernel.function.handle for kernel in executable.kernels.values()]
        return [self.compiler.schedules[handle.text.source] for handle in handles]


def scaled(*shape) -> Graph:
    return record(lambda x: [OPS["exp"](x[0]) * 2.0], [tensor_type(f32, shape)])


def rows() -> Graph:
    def program(values):
        return [OPS["reduce_max"](values[0] + values[0], axes=(1,), ties="even")]

    return record(program, [tensor_type(f32, (64, 300))])


def by_warps(schedule: BlockSchedule) -> float:
    return 1.0 if schedule.warps == 8 else 2.0


def test_the_fastest_is_taken_and_computes_the_same():
    tuning = Tuning(by_warps)
    executable = tuning.build(scaled(10_000))
    (used,) = tuning.used(executable)
    assert used.warps == 8
    choices = block_choices(
        next(iter(executable.kernels)).attrs["kernel"], tuning.gpu.device.target
    )
    assert choices[0].warps == 4 and 2 < len(choices) <= 12
    assert set(tuning.measured) == set(choices)
    x = np.linspace(-1, 1, 10_000, dtype=np.float32)
    np.testing.assert_allclose(executable([x])[0], np.exp(x) * 2, rtol=1e-6)


def test_what_fails_or_spills_is_out_of_the_question():
    tuning = Tuning(lambda s: {8: 1.0, 4: 3.0}.get(s.warps, 2.0))
    tuning.compiler.fails = lambda s: s.warps == 8
    tuning.compiler.spills = lambda s: 100 if s.warps == 16 else 64
    executable = tuning.build(scaled(10_000))
    (used,) = tuning.used(executable)
    assert used.warps == 2
    assert {s.warps for s in tuning.measured} == {4, 2}


def test_where_only_the_first_choice_compiles_it_is_taken():
    tuning = Tuning(by_warps)
    graph = scaled(10_000)
    (first,) = tuning.used(tuning.build(graph, tune=False))
    tuning.compiler.fails = lambda s: s != first
    tuning.compiler.spills = lambda s: 1000
    assert tuning.used(tuning.build(graph)) == [first]


def test_what_was_measured_is_not_measured_again(tmp_path):
    store = ObjectCache(tmp_path / "tuned", suffix=".json")
    Tuning(by_warps, store).build(rows())
    for tune in (True, False):  # as another process would
        later = Tuning(by_warps, ObjectCache(tmp_path / "tuned", suffix=".json"))
        (used,) = later.used(later.build(rows(), tune=tune))
        assert used.warps == 8 and not later.measured and len(later.compiler.compiled) == 1
    (line,) = [path.read_bytes()[32:].decode() for path in (tmp_path / "tuned").glob("*.json")]
    tuned = tuned_of(line)
    assert tuned.device == "simulated" and tuned.schedule == str(used)
    assert tuned.microseconds == 1000 and tuned.first == 2000 and tuned.tried > 2


def test_other_devices_drivers_and_settings_are_other_questions(tmp_path):
    store = ObjectCache(tmp_path / "tuned", suffix=".json")
    Tuning(by_warps, store).build(rows())
    for change in ({"name": "another"}, {"driver_version": 13000}):
        other = Tuning(by_warps, store)
        other.gpu.device.info = replace(other.gpu.device.info, **change)
        (used,) = other.used(other.build(rows(), tune=False))
        assert used.warps == 4
    other = Tuning(by_warps, store)
    (used,) = other.used(other.build(rows(), tune=False, numerics=Numerics(tf32=True)))
    assert used.warps == 4


def test_nothing_is_measured_unless_asked_for():
    tuning = Tuning(by_warps)
    (used,) = tuning.used(tuning.build(rows(), tune=False))
    assert used.warps == 4 and not tuning.measured


def test_symbols_are_measured_at_the_sizes_given(tmp_path):
    store = ObjectCache(tmp_path / "tuned", suffix=".json")
    tuning = Tuning(by_warps, store)
    (used,) = tuning.used(tuning.build(scaled(N)))
    assert used.warps == 4 and not tuning.measured
    (used,) = tuning.used(tuning.build(scaled(N), sizes={"N": 5000}))
    assert used.warps == 8
    for size, warps in ((8000, 8), (5, 4)):  # as many, or very many less
        (used,) = tuning.used(tuning.build(scaled(N), tune=False, sizes={"N": size}))
        assert used.warps == warps


def test_indices_are_within_what_they_read():
    def program(values):
        return [OPS["gather"](values[1], values[0], axis=0) * 2.0]

    types = [tensor_type(i64, (500,)), tensor_type(f32, (70, 90))]
    tuning = Tuning(by_warps)
    (used,) = tuning.used(tuning.build(record(program, types)))
    assert used.warps == 8


def test_the_table_of_a_product_counts_for_every_driver(tmp_path, monkeypatch):
    tuning = Tuning(by_warps, ObjectCache(tmp_path / "tuned", suffix=".json"))
    tuning.build(rows())
    (path,) = (tmp_path / "tuned").glob("*.json")
    (tmp_path / "simulated.jsonl").write_bytes(path.read_bytes()[32:] + b"\n")
    monkeypatch.setattr(tuned_module, "_TABLES", tmp_path)
    tuned_module.table.cache_clear()
    try:
        other = Tuning(by_warps)
        other.gpu.device.info = replace(other.gpu.device.info, driver_version=13000)
        (used,) = other.used(other.build(rows(), tune=False))
    finally:
        tuned_module.table.cache_clear()
    assert used.warps == 8


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"kernel": 1}', b"\xff", None])
def test_a_line_that_says_nothing_is_as_none(tmp_path, content):
    store = ObjectCache(tmp_path / "tuned", suffix=".json")
    Tuning(by_warps, store).build(rows())
    (path,) = (tmp_path / "tuned").glob("*.json")
    if content is None:  # a schedule of another version
        content = path.read_bytes()[32:].replace(b"BlockNest", b"Another")
    store.put(path.stem, content)
    tuning = Tuning(by_warps, store)
    (used,) = tuning.used(tuning.build(rows(), tune=False))
    assert used.warps == 4


def test_the_table_of_the_package_can_be_read():
    assert isinstance(tuned_module.table("NVIDIA H200"), dict)
