"""Around the running: importing, compiling, memory, sizes on disk, passes over large programs."""

from __future__ import annotations

import importlib.metadata
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from .runner import ROOT, environment, summary
from .workload import Workload
from .workloads import WORKLOADS

# Prints the seconds from a function and its arguments to the first result, imports not counted, and
# the bytes of memory that three calls take at most beyond what the libraries and the arguments had
# taken. jax is also asked to keep what it compiled on disk.
_FIRST_CALL = """
import sys, time
from benchmarks.overhead import peak_memory, present_memory
from benchmarks.workload import build
from benchmarks.workloads import named
workload = named(sys.argv[2])
if sys.argv[1] == "jax":
    import jax
    jax.config.update("jax_compilation_cache_dir", sys.argv[3])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.numpy.zeros(3).block_until_ready()
elif sys.argv[1].startswith("torch"):
    import torch
else:
    import sley, sley.nn.functional
call = build(workload, sys.argv[1])
peak_memory()
before = present_memory()
start = time.perf_counter()
call()
print(time.perf_counter() - start)
call(), call()
print(peak_memory() - before)
"""


def peak_memory() -> int:
    """The most bytes of memory that this process has had since the last call; 0 where the system
    does not tell."""
    reset = Path("/proc/self/clear_refs")
    peak = _memory("VmHWM")
    if reset.exists():
        reset.write_text("5")
    return peak


def present_memory() -> int:
    """The bytes of memory that this process has now; 0 where the system does not tell."""
    return _memory("VmRSS")


def _memory(name: str) -> int:
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    (row,) = [row for row in status.read_text().splitlines() if row.startswith(name)]
    return 1024 * int(row.split()[1])


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
    return [summary("import", "import in a fresh process", 1, samples)]


def compile_times(
    workloads: Sequence[Workload], libraries: Sequence[str], runs: int
) -> Iterator[dict[str, Any]]:
    """Of each workload's first call in fresh processes: the seconds with an empty cache on disk and
    with one that an earlier process has filled, and the memory of the latter. torch.compile, which
    takes long, once. sley has its bytecode, as the installed packages do."""
    with tempfile.TemporaryDirectory() as bytecode, tempfile.TemporaryDirectory() as folder:
        if workloads and "sley" in libraries:
            _first_call("sley", workloads[0].name, folder, bytecode)  # writes the bytecode
        yield from _compile_times(workloads, libraries, runs, bytecode)


def _compile_times(
    workloads: Sequence[Workload], libraries: Sequence[str], runs: int, bytecode: str
) -> Iterator[dict[str, Any]]:
    for workload in workloads:
        cold: dict[str, list[float]] = {}
        warm: dict[str, list[float]] = {}
        memory: dict[str, list[float]] = {}
        for name in filter(workload.runs_on, libraries):
            for _ in range(1 if name == "torch.compile" else runs):
                with tempfile.TemporaryDirectory() as folder:
                    seconds = _first_call(name, workload.name, folder, bytecode)[0]
                    again, peak = _first_call(name, workload.name, folder, bytecode)
                memory.setdefault(name, []).append(peak)
                if name != "torch":  # has nothing to compile
                    cold.setdefault(name, []).append(seconds)
                    warm.setdefault(name, []).append(again)
        yield summary("compile, cold", workload.name, 2, cold)
        yield summary("compile, from the cache on disk", workload.name, 2, warm)
        yield summary("peak memory beyond the arguments", workload.name, 2, memory, "B")


def _first_call(library: str, workload: str, cache: str, bytecode: str) -> tuple[float, float]:
    """(seconds, bytes)."""
    caches = {"SLEY_CACHE_DIR": cache, "TORCHINDUCTOR_CACHE_DIR": cache}
    surroundings = {**environment(2), **caches}
    if library == "sley":
        surroundings["PYTHONPYCACHEPREFIX"] = bytecode
        surroundings.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        [sys.executable, "-c", _FIRST_CALL, library, workload, cache],
        check=True, cwd=ROOT, env=surroundings, capture_output=True, text=True,
    )  # fmt: skip
    seconds, peak = done.stdout.split()[-2:]
    return float(seconds), float(peak)


def installed_sizes(libraries: Sequence[str]) -> dict[str, Any]:
    """Bytes on disk of each library with all that it requires."""
    sizes = {name: [float(sum(map(_size, _required(name))))] for name in libraries}
    return summary("installed", "on disk, with what it requires", 1, sizes, "B")


def _required(name: str, known: frozenset[str] = frozenset()) -> frozenset[str]:
    """The distributions that a distribution needs, itself included; extras are not."""
    known |= {name}
    for entry in _requirements(name):
        needed = re.split(r"[^\w.-]", entry)[0].lower().replace("_", "-")
        if "extra ==" not in entry and needed not in known and _is_there(needed):
            known = _required(needed, known)
    return known


def _requirements(name: str) -> Sequence[str]:
    if name == "sley":
        return list(_settings()["project"]["dependencies"])
    return importlib.metadata.requires(name) or ()


def _settings() -> dict[str, Any]:
    """What pyproject.toml says of sley, which may be here without being installed."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def _is_there(distribution: str) -> bool:
    return any(True for _ in importlib.metadata.distributions(name=distribution))


def _size(distribution: str) -> int:
    if distribution == "sley":
        packages = _settings()["tool"]["setuptools"]["packages"]
        folders = [ROOT.joinpath(*package.split(".")[1:]) for package in packages]
        return sum(f.stat().st_size for folder in folders for f in folder.glob("*.*"))
    files = importlib.metadata.files(distribution) or ()
    places = [Path(str(f.locate())) for f in files if not str(f).endswith(".pyc")]
    return sum(place.stat().st_size for place in places if place.exists())


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
        summary("compiler", f"{name}, {nodes} ops, for each", 1, {"sley": times})
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


def measure(
    words: Sequence[str], libraries: Sequence[str], quick: bool
) -> Iterator[dict[str, Any]]:
    """Those of these whose group has one of the words in its name; all without words."""

    def wanted(*groups: str) -> bool:
        return not words or any(word in group for word in words for group in groups)

    runs = 1 if quick else 3
    imported = [name for name in libraries if "." not in name]
    if wanted("import"):
        yield from imports(imported, 3 * runs)
    if wanted("installed"):
        yield installed_sizes(imported)
    if wanted("compile, cold", "compile, from the cache on disk", "peak memory"):
        compiling = [name for name in libraries if name not in ("numpy", "onnxruntime")]
        chosen = [w for w in WORKLOADS if w.group in ("inference", "training")]
        chosen = [w for w in chosen if not quick or "demo" in w.name]
        yield from compile_times(chosen, compiling, runs)
    if wanted("compiler"):
        yield from large_program(1000 if quick else 10_000, runs)
