"""On a GPU, too, kernels that differ in numbers alone are one, which reads them from a table."""

import numpy as np
from interpreted_gpu import InterpretedGpu
from triton_texts import needs_triton

from sley.ir.evaluate import evaluate
from sley.ir.parser import parse
from sley.passes.pipeline import run_passes

pytestmark = needs_triton

TURN = """
  %a{i} = constant 0.{n} : f32[]
  %b{i} = broadcast(%a{i}) {{shape=[5, 7], dims=[]}}
  %c{i} = mul(%x{i}, %b{i})
  %s{i} = reduce_sum(%c{i}) {{axes=[0]}}
  %e{i} = broadcast(%s{i}) {{shape=[5, 7], dims=[1]}}
  %d{i} = sub(%e{i}, %c{i})
  %x{j} = dot_general(%d{i}, %w) {{lhs_contract=[1], rhs_contract=[0], lhs_batch=[], rhs_batch=[]}}
"""


def test_shared_kernels_read_the_numbers_of_their_launch():
    body = "".join(TURN.format(i=i, j=i + 1, n=i + 2) for i in range(8))
    head = "graph @g(%x0: f32[5, 7], %w: f32[7, 7]) -> (f32[5, 7]) {"
    graph = parse(f"{head}{body}  yield %x8\n}}")
    gpu = InterpretedGpu()
    lowered = run_passes(graph, gpu.device.target)
    launches = [node for node in lowered.plan.graph.walk() if node.op.name == "launch"]
    assert len({node.attrs["kernel"] for node in launches}) <= len(launches) // 2
    rng = np.random.default_rng(0)
    arrays = [rng.random(p.type.shape, dtype=np.float32) for p in graph.params]
    (found,) = gpu.build(lowered)(arrays)
    np.testing.assert_allclose(found, evaluate(graph, arrays)[0], rtol=1e-5)
