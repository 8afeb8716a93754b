"""The compiler's own time: importing, compiling, and passing large programs."""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from .runner import ROOT, environment
from .workload import is_installed

_TRAINING = "step of the demo's net, batch 64"

# Prints the seconds from a function and its arguments to the first result; imports do not count.
_FIRST_CALL = """
import sys, time
from benchmarks.workload import build
from benchmarks.workloads import WORKLOADS
(workload,) = [w for w in WORKLOADS if w.name == sys.argv[2]]
if sys.argv[1] == "jax":
    import jax
    jax.config.update("jax_compilation_cache_dir", sys.argv[3])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.numpy.zeros(3).block_until_ready()
elif sys.argv[1] == "torch":
    import torch
else:
    import sley, sley.nn.functional
call = build(workload, sys.argv[1])
start = time.perf_counter()
call()
print(time.perf_counter() - start)
"""


def imports(libraries: Sequence[str], runs: int) -> list[dict[str, Any]]:
    """Seconds of a fresh process that imports each library, the start of Python included. All
    have their bytecode, as installed packages do."""
    samples: dict[str, list[float]] = {name: [] for name in libraries}
    with tempfile.TemporaryDirectory() as folder:
        surroundings = {**os.environ, "PYTHONPYCACHEPREFIX": folder}
        surroundings.pop("PYTHONDONTWRITEBYTECODE", None)
        for turn in range(1 + runs):
            for name in libraries:
                command = [sys.executable, "-c", f"import {name}"]
                start = time.perf_counter()
                subprocess.run(command, check=True, cwd=ROOT, env=surroundings)
                if turn > 0:  # the first one writes the bytecode
                    samples[name].append(time.perf_counter() - start)
    return [_record("import", "import in a fresh process", samples)]


def compile_times(libraries: Sequence[str], runs: int) -> list[dict[str, Any]]:
    """Seconds of the training step's first call in fresh processes: with an empty cache on disk,
    and with one that an earlier process has filled."""
    cold: dict[str, list[float]] = {}
    warm: dict[str, list[float]] = {}
    for _ in range(runs):
        for name in libraries:
            with tempfile.TemporaryDirectory() as folder:
                cold.setdefault(name, []).append(_first_call(name, folder))
                warm.setdefault(name, []).append(_first_call(name, folder))
    return [
        _record("compile", "first training step, nothing in the cache", cold),
        _record("compile", "first training step, from the cache on disk", warm),
    ]


def _first_call(name: str, cache: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", _FIRST_CALL, name, _TRAINING, cache],
        check=True, cwd=ROOT, env={**environment(2), "SLEY_CACHE_DIR": cache},
        capture_output=True, text=True,
    )  # fmt: skip
    return float(done.stdout.split()[-1])


def large_program(nodes: int, runs: int) -> list[dict[str, Any]]:
    """Microseconds a node of building a program of so many ops, and of each pass over it."""
    from sley.backends.llvm.target import host_target
    from sley.ir.verifier import verify
    from sley.passes.pipeline import run_passes

    samples: dict[str, list[float]] = {}

    def timed(name: str, function: Callable[[Any], Any], argument: Any) -> Any:
        start = time.perf_counter()
        result = function(argument)
        samples.setdefault(name, []).append((time.perf_counter() - start) / nodes)
        return result

    for _ in range(runs):
        graph = timed("build", _random_program, nodes)
        timed("print", str, graph)
        timed("verify", verify, graph)
        marks = [("", time.perf_counter())]
        note: Callable[[str, Any], None] = partial(_note, marks)
        run_passes(graph, host_target("host"), dump=note)
        for (_, start), (name, end) in pairwise(marks):
            samples.setdefault(name, []).append((end - start) / nodes)
    del samples["trace"]  # what was given
    return [
        _record("compiler", f"{name}, {nodes} ops, for each", {"sley": times})
        for name, times in samples.items()
    ]


def _note(marks: list[tuple[str, float]], name: str, program: Any) -> None:
    marks.append((name, time.perf_counter()))


def _random_program(nodes: int) -> Any:
    """Elementwise ops, reductions with broadcasts, and products, each on recent values."""
    from sley.ir.builder import Recording
    from sley.ir.dtypes import f32
    from sley.ir.ops import OPS
    from sley.ir.types import tensor_type

    rng = random.Random(0)
    builder = Recording()
    values = [builder.param(tensor_type(f32, (32, 32)), f"p{k}") for k in range(4)]
    product: dict[str, Any] = {
        "lhs_contract": (1,), "rhs_contract": (0,), "lhs_batch": (), "rhs_batch": (),
    }  # fmt: skip
    made = 0
    with builder:
        while made < nodes:
            a, b = rng.choice(values[-8:]), rng.choice(values[-8:])
            kind = rng.random()
            if kind < 0.9:
                values.append(OPS[rng.choice(("add", "mul", "maximum", "sub"))](a, b))
                made += 1
            elif kind < 0.97:
                total = OPS["reduce_sum"](a, axes=(1,))
                values.append(OPS["broadcast"](total, shape=(32, 32), dims=(0,)))
                made += 2
            else:
                values.append(OPS["dot_general"](a, b, **product))
                made += 1
        return builder.finish("large", values[-4:])


def _record(group: str, name: str, samples: dict[str, list[float]]) -> dict[str, Any]:
    return {
        "group": group,
        "name": name,
        "threads": 1 if group == "compiler" else 2,
        "seconds": {key: statistics.median(times) for key, times in samples.items()},
        "samples": {key: len(times) for key, times in samples.items()},
        "fastest": {key: min(times) for key, times in samples.items()},
    }


def measure(quick: bool) -> list[dict[str, Any]]:
    """All of these."""
    peers = [name for name in ("jax", "torch") if is_installed(name)]
    runs = 2 if quick else 10
    return [
        *imports(["sley", "numpy", *peers], runs),
        *compile_times(["sley", *(p for p in peers if p == "jax")], 1 if quick else 3),
        *large_program(1000 if quick else 10_000, 1 if quick else 3),
    ]
