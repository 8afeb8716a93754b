"""Ops as programs over blocks: every op of the table of samples, sizes that become symbols."""

from __future__ import annotations

import numpy as np
import pytest
from op_samples import ALL_SAMPLES
from simulated_gpu import SimulatedGpu

from sley.backends.triton.target import gpu_target
from sley.ir.dtypes import f32, i64
from sley.ir.literal import array_type
from sley.ir.ops import OPS
from sley.ir.ops.base import TypeRuleError
from sley.ir.types import tensor_type
from sley.passes.pipeline import run_passes
from sley.runtime.cuda.programs import Operand, Programs, pattern_of

pytestmark = pytest.mark.filterwarnings("ignore::sley.runtime.cuda.executable.HostStepWarning")


class Eager:
    """Arrays in, arrays out; counts what is compiled."""

    def __init__(self):
        self.gpu = SimulatedGpu()
        self.programs = Programs(self.compile)
        self.compiled = []

    def compile(self, graph, donated):
        self.compiled.append(graph)
        return self.gpu.build(run_passes(graph, gpu_target("sm_90"), donated=donated))

    def __call__(self, key, record, *arrays, donated=None):
        device = self.gpu.device
        blocks = [device.put(array) for array in arrays]
        operands = [Operand(b.address, array_type(a)) for b, a in zip(blocks, arrays, strict=True)]
        made = self.programs.run(key, record, operands, donated)
        for source in (donated or {}).values():
            arrays[source][...] = device.get(
                blocks[source].address, arrays[source].shape, arrays[source].dtype
            )
        return [device.get(b.address, t.shape, t.dtype.numpy) for b, t in made]


@pytest.fixture
def eager():
    return Eager()


def test_every_op_of_the_table(eager):
    for sample in ALL_SAMPLES:
        dtype = sample.dtypes[0]
        arrays = sample.arrays(dtype)
        found = eager((str(sample), dtype), sample.emit, *arrays)
        with np.errstate(all="ignore"):
            expected = OPS[sample.op].evaluate(arrays, sample.attrs)
        for a, b in zip(found, expected, strict=True):
            assert a.shape == b.shape and a.dtype == b.dtype, sample
            wide = np.complex128 if a.dtype.kind == "c" else np.float64
            near = np.allclose(a.astype(wide), b.astype(wide), 1e-4, 1e-5, equal_nan=True)
            assert near, sample
    count = len(eager.compiled)
    for sample in ALL_SAMPLES[:20]:
        eager((str(sample), sample.dtypes[0]), sample.emit, *sample.arrays(sample.dtypes[0]))
    assert len(eager.compiled) == count


def product(values):
    attrs = {"lhs_contract": (1,), "rhs_contract": (0,), "lhs_batch": (), "rhs_batch": ()}
    return [OPS["dot_general"](*values, **attrs)]


def test_sizes_that_vary_become_symbols(eager):
    rng = np.random.default_rng(0)
    for m, k, n in ((3, 4, 5), (3, 4, 5), (6, 7, 8), (9, 2, 3), (10, 11, 12), (3, 4, 5)):
        x, y = rng.standard_normal((m, k)), rng.standard_normal((k, n))
        (found,) = eager("product", product, x, y)
        np.testing.assert_allclose(found, x @ y)
    assert [str(g.params[0].type) for g in eager.compiled] == ["f64[3, 4]", "f64[s0, s1]"]
    # Other equal sizes are another pattern, and so are sizes of 1.
    for m, k, n in ((4, 4, 4), (1, 4, 5), (5, 5, 5), (1, 2, 3)):
        x, y = rng.standard_normal((m, k)), rng.standard_normal((k, n))
        (found,) = eager("product", product, x, y)
        np.testing.assert_allclose(found, x @ y)
    assert [str(g.params[0].type) for g in eager.compiled[2:]] == [
        "f64[4, 4]", "f64[1, 4]", "f64[s0, s0]", "f64[1, s0]",
    ]  # fmt: skip


def test_what_needs_numbers_gets_them(eager):
    def halves(values):
        (x,) = values
        size = x.type.shape[0]
        if not isinstance(size, int):
            raise TypeRuleError("the size must be a number")
        return [OPS["slice"](x, starts=(size // 2,), sizes=(size - size // 2,), steps=(1,))]

    for size in (4, 5, 6, 5):
        (found,) = eager("halves", halves, np.arange(size))
        assert found.tolist() == list(range(size // 2, size))
    assert len(eager.compiled) == 3


def test_errors_of_an_op_come_as_they_are(eager):
    with pytest.raises(TypeRuleError):
        eager("product", product, np.ones((2, 3)), np.ones((4, 5)))
    assert eager.compiled == []


def test_views_are_read_in_place_and_written_through(eager):
    """A write into a view is a program of the whole memory, which it is donated."""

    def write(values):
        whole, new = values
        turned = OPS["transpose"](new, perm=(1, 0))
        return [OPS["update_slice"](whole, turned, starts=(1, 0), steps=(1, 2))]

    whole, new = np.zeros((4, 6), np.float32), np.arange(9, dtype=np.float32).reshape(3, 3)
    assert eager("write", write, whole, new, donated={0: 0}) == []
    expected = np.zeros((4, 6), np.float32)
    expected[1:, ::2] = new.T
    assert np.array_equal(whole, expected)
    (found,) = eager("write", write, np.zeros((4, 6), np.float32), new)
    assert np.array_equal(found, expected)
    assert len(eager.compiled) == 2  # with a donated operand it is another program


def test_one_memory_as_two_operands(eager):
    block = eager.gpu.device.put(np.arange(5, dtype=np.float32))
    operand = Operand(block.address, tensor_type(f32, (5,)))
    (made,) = eager.programs.run("add", lambda v: [v[0] + v[1]], [operand, operand])
    found = eager.gpu.device.get(made.block.address, (5,), np.dtype(np.float32))
    assert made.type is operand.type and np.array_equal(found, 2 * np.arange(5))


def test_patterns():
    types = [tensor_type(f32, (3, 1, 4)), tensor_type(i64, (4, 0)), tensor_type(f32)]
    found = pattern_of(types)
    assert [str(t) for t in found.types] == ["f32[s0, 1, s1]", "i64[s1, 0]", "f32[]"]
    assert found.sizes == (3, 4)
