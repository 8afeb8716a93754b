"""Whole programs on disk: found by the trace alone, equal in every bit, never trusted damaged."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from programs import record
from training_steps import mlp_step, step_arrays

import sley.passes.pipeline as pipeline
from sley.backends.llvm.target import host_target
from sley.ir.dims import symbol
from sley.ir.dtypes import f32
from sley.ir.literal import Literal
from sley.ir.ops import OPS
from sley.ir.parser import parse
from sley.ir.types import tensor_type
from sley.runtime import executable_cache, objects, trace_key
from sley.runtime.compile import Options, compile_graph
from sley.runtime.host_calls import HostError

N = symbol("N")
PLAIN = Options(verify=False)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of its own, and the number of times that the passes have run."""
    settings = dataclasses.replace(
        objects.config(), cache_dir=tmp_path, verify=False, log=frozenset(["compile"])
    )
    for module in (objects, executable_cache):
        monkeypatch.setattr(module, "config", lambda: settings)
    monkeypatch.setattr(trace_key, "LOADED_AT", 1 << 62)
    trace_key.source_key.cache_clear()
    counted = Counted(tmp_path)
    original = pipeline.run_passes

    def run_passes(*args, **options):
        counted.runs += 1
        return original(*args, **options)

    monkeypatch.setattr(pipeline, "run_passes", run_passes)
    yield counted
    trace_key.source_key.cache_clear()


class Counted:
    def __init__(self, folder):
        self.runs = 0
        self.folder = folder

    def files(self, kind):
        return sorted((self.folder / kind).iterdir())

    def ran(self, graph, options=PLAIN):
        """Whether compiling has run the passes."""
        before = self.runs
        compile_graph(graph, options)
        return self.runs > before


def scaled(factor=2.0, size=200, width=3):
    """A program with a loop over a large constant."""

    def body(values):
        table = OPS["constant"](value=Literal(np.arange(size, dtype=np.float32) * factor))
        return [values[0] + OPS["broadcast"](table * 0.5, shape=(N, size), dims=(1,))]

    return record(body, [tensor_type(f32, (N, size))])


HOSTS = """
graph @hosts(%x: f32[N, 4], %y: f32[N, 4]) -> (f32[N, 4], i64[N, 4], f32[N, 4]) {
  %v, %i = sort(neg(%x)) {axis=0, descending=true}  // a.py:3 in f
  yield %v, %i, add(%y, %v)
}
"""


def test_a_training_step_is_found_and_equal_in_every_bit(cache):
    results = []
    for turn in range(2):
        graph, donated = mlp_step([12, 16, 16, 10])
        executable = compile_graph(graph, Options(donated=donated, verify=False))
        found = []
        for size in (32, 7, 0):
            arrays = step_arrays(graph, size)
            found += [*executable(arrays), *(arrays[i] for i in donated.values())]
        results.append(found)
        assert cache.runs == 1, turn
    for first, second in zip(*results, strict=True):
        assert np.array_equal(first, second)


def test_what_prepares_inputs_comes_back(cache):
    graph = parse("""
graph @f(%x: f32[N, 96], %w: f32[64, 96], %s: f32[64]) -> (f32[N, 64]) {
  %p = dot_general(%x, %w) {lhs_contract=[1], rhs_contract=[1], lhs_batch=[], rhs_batch=[]}
  yield mul(%p, broadcast(exp(%s)) {shape=[N, 64], dims=[1]})
}
""")
    options = Options(fixed=frozenset({1, 2}), verify=False)
    assert cache.ran(graph, options) and not cache.ran(graph, options)
    assert cache.ran(graph, PLAIN)  # what stays the same is part of the key
    rng = np.random.default_rng(0)
    x, w, s = (rng.standard_normal(n).astype(np.float32) for n in ((9, 96), (64, 96), 64))
    found = compile_graph(graph, options)
    assert {str(type) for type in found.preparation.types} == {"f32[64]", "f32[2, 96, 32]"}
    want = (x @ w.T) * np.exp(s)
    np.testing.assert_allclose(found([x, w, s])[0], want, rtol=1e-4, atol=1e-4)
    assert found.details.preparation.kernels
    for path in cache.files("objects"):
        path.unlink()
    assert cache.ran(graph, options)


def test_host_steps_constants_and_sizes_come_back(cache):
    for graph in (parse(HOSTS), scaled()):
        rng = np.random.default_rng(0)
        made, found = (compile_graph(graph, PLAIN) for _ in range(2))
        for n in (1, 5, 200):
            arrays = [
                rng.standard_normal([n, p.type.shape[1]]).astype(np.float32) for p in graph.params
            ]
            for a, b in zip(made(arrays), found(arrays), strict=True):
                assert np.array_equal(a, b)
            assert made.arena_bytes({"N": n}) == found.arena_bytes({"N": n})
        assert made.object_hashes == found.object_hashes
    assert cache.runs == 2


def test_an_error_on_the_host_has_its_line(cache):
    text = (
        "graph @f(%x: f32[2, 2]) -> (f32[2, 2]) {\n  %y = linalg_cholesky(%x)  // a.py:LINE in f\n"
    )
    for line in (3, 3, 4):
        graph = parse(text.replace("LINE", str(line)) + "  yield %y\n}\n")
        executable = compile_graph(graph, PLAIN)
        with pytest.raises(HostError, match=f"a.py:{line} in f"):
            executable([-np.eye(2, dtype=np.float32)])
    assert cache.runs == 2


def test_what_tools_show_is_made_when_asked(cache):
    made, found = (compile_graph(scaled(), PLAIN) for _ in range(2))
    assert cache.runs == 1
    assert found.llvm() == made.llvm()
    assert [name for name, _ in found.stages] == [name for name, _ in made.stages]
    assert str(found.plan) == str(made.plan)
    assert found.assembly() == made.assembly()
    assert cache.runs == 2  # once for all of it


def test_the_passes_run_for_whoever_wants_to_see_them(cache):
    seen = []
    compile_graph(scaled(), PLAIN)
    compile_graph(scaled(), Options(verify=False, dump=lambda name, program: seen.append(name)))
    assert seen and cache.ran(scaled(), Options(verify=True))


def test_what_changes_the_code_changes_the_key(cache):
    assert cache.ran(scaled())
    assert not cache.ran(scaled())
    assert cache.ran(scaled(factor=3.0))
    assert cache.ran(scaled(size=201))
    assert cache.ran(scaled(), Options(verify=False, cpu="x86-64"))
    assert cache.ran(scaled(), Options(verify=False, donated={0: 0}))
    trace_key.source_key.cache_clear()
    original = trace_key._ROOMS
    trace_key._ROOMS = ("ir",)
    try:
        assert cache.ran(scaled())
    finally:
        trace_key._ROOMS = original


def test_names_and_lines_do_not_change_it(cache):
    text = "graph @f(%x: f32[4]) -> (f32[4]) {\n  %y = exp(%x)  // a.py:3 in f\n  yield %y\n}\n"
    assert cache.ran(parse(text))
    changed = text.replace("%x", "%z").replace("@f", "@g").replace("a.py:3", "b.py:9")
    assert not cache.ran(parse(changed))


def test_attributes_and_types_count():
    texts = [
        "graph @f(%x: f32[3, 3]) -> (f32[3]) {\n  yield reduce_sum(%x) {axes=[0]}\n}\n",
        "graph @f(%x: f32[3, 3]) -> (f32[3]) {\n  yield reduce_sum(%x) {axes=[1]}\n}\n",
        "graph @f(%x: f64[3, 3]) -> (f64[3]) {\n  yield reduce_sum(%x) {axes=[1]}\n}\n",
        "graph @f(%x: f64[3, N]) -> (f64[3]) {\n  yield reduce_sum(%x) {axes=[1]}\n}\n",
        "graph @f(%x: f64[3, M]) -> (f64[3]) {\n  yield reduce_sum(%x) {axes=[1]}\n}\n",
        "graph @f(%x: f64[3, M]) -> (f64[3]) {\n  yield reduce_prod(%x) {axes=[1]}\n}\n",
        "graph @f(%x: f64[3, M]) -> (f64[3], f64[3]) {\n"
        "  %y = reduce_prod(%x) {axes=[1]}\n  yield %y, %y\n}\n",
    ]
    assert len({trace_key.trace_key(parse(text))[0] for text in texts}) == len(texts)


def test_source_that_has_changed_since_it_was_loaded_is_not_trusted(monkeypatch):
    trace_key.source_key.cache_clear()
    monkeypatch.setattr(trace_key, "LOADED_AT", 0)
    assert trace_key.source_key() is None
    trace_key.source_key.cache_clear()


def test_what_source_that_changes_while_it_runs_compiles_is_not_kept(cache, monkeypatch, capsys):
    compile_graph(scaled(), PLAIN)
    assert len(cache.files("executables")) == 1
    assert trace_key.source_key() is not None
    monkeypatch.setattr(trace_key, "LOADED_AT", 0)  # as if a file had been written since
    compile_graph(parse("graph @f(%x: f32[3]) -> (f32[3]) {\n  yield exp(%x)\n}\n"), PLAIN)
    assert len(cache.files("executables")) == 1
    assert "the source has changed" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["executables", "objects"])
def test_damage_anywhere_is_survived(cache, kind):
    graph = scaled()
    arrays = [np.ones((5, 200), np.float32)]
    expected = compile_graph(graph, PLAIN)(arrays)[0]
    whole = {path: path.read_bytes() for path in cache.files(kind)}
    for path, content in whole.items():
        regions = [0, 16, 31, 32, 40, len(content) // 2, len(content) - 1]
        damages = [content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :] for at in regions]
        for damaged in (*damages, content[:20], content[:-1], b"", content + b"more"):
            path.write_bytes(damaged)
            before = cache.runs
            assert np.array_equal(compile_graph(graph, PLAIN)(arrays)[0], expected)
            assert cache.runs == before + 1
            assert path.read_bytes() == content  # written anew


def test_a_whole_file_that_is_no_image_counts_as_absent(cache, capsys):
    graph = scaled()
    compile_graph(graph, PLAIN)
    (path,) = cache.files("executables")
    images = executable_cache._images_in(cache.folder)
    content = images.get(path.stem)
    for wrong in (b"", b"{}", b"[]\n", content.replace(b'"format": 1', b'"format": 9'), b"\xff"):
        images.put(path.stem, wrong)
        assert cache.ran(graph)
        assert "damaged" in capsys.readouterr().err
        assert not cache.ran(graph)
        assert "found on disk" in capsys.readouterr().err


def test_writers_beside_each_other(cache):
    arrays = [np.ones((5, 200), np.float32)]
    results, errors = [], []

    def work():
        try:
            for _ in range(4):
                for path in cache.folder.glob("*/*"):
                    path.unlink(missing_ok=True)
                results.append(compile_graph(scaled(), PLAIN)(arrays)[0])
        except Exception as error:
            errors.append(error)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not errors
    assert all(np.array_equal(r, results[0]) for r in results)
    assert not cache.ran(scaled()) or not cache.ran(scaled())


_WARM = """
import sys
import numpy as np
import sley
import sley.nn.functional as F

sley.manual_seed(0)
net = sley.nn.Sequential(sley.nn.Linear(8, 16), sley.nn.Tanh(), sley.nn.Linear(16, 3))
optimizer = sley.optim.Adam(net.parameters(), lr=0.01)

@sley.compile
def step(x, y):
    optimizer.zero_grad()
    loss = F.cross_entropy(net(x), y)
    loss.backward()
    optimizer.step()
    return loss

x, y = sley.randn(6, 8), sley.arange(6) % 3
losses = [float(step(x, y)) for _ in range(3)]
loaded = "sley.passes.pipeline" in sys.modules or "sley.backends.llvm.emit" in sys.modules
print(*(loss.hex() for loss in losses), net[0].weight.detach().numpy().tobytes().hex(), loaded)
"""


def test_a_new_process_runs_no_pass(tmp_path):
    surroundings = {
        **os.environ, "SLEY_CACHE_DIR": str(tmp_path), "SLEY_VERIFY": "0", "SLEY_LOG": "compile",
        "PYTHONPATH": os.pathsep.join(filter(None, [_parent(), os.environ.get("PYTHONPATH")])),
    }  # fmt: skip
    outputs = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", _WARM],
            env=surroundings, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        outputs.append((done.stdout.split(), done.stderr))
    (cold, cold_log), (warm, warm_log) = outputs
    assert warm[:-1] == cold[:-1]
    assert (cold[-1], warm[-1]) == ("True", "False")  # no pass was so much as loaded
    assert "step: not on disk" in cold_log and "step: found on disk" in warm_log


def _parent() -> str:
    """The folder that holds the package."""
    import sley

    return str(Path(sley.__path__[0]).parent)


def test_the_target_is_part_of_the_key():
    graph = scaled()
    targets = [host_target(), host_target("x86-64"), host_target(threads=7)]
    entries = [executable_cache.entry_of(graph, target, {}) for target in targets]
    if all(entries):
        assert len({entry.key for entry in entries}) == 3
