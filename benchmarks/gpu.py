"""`python -m benchmarks.gpu --out FILE --budget 420`: what only a machine with a GPU can show.

In order: what the machine is and reaches at most; whether results are right (`tests/gpu_check.py`);
kernels and whole models against torch, its compiler and jax, each library in a process of its own;
how long a second process takes to begin. FILE is JSON and is written after every step, so a run
that is cut short is still worth something. Names choose cases by words.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .__main__ import _version
from .gpu_worker import IMPLEMENTATIONS
from .libraries import PACKAGES, is_installed
from .runner import ROOT
from .workload import error
from .workloads.gpu import CASES, GpuCase

_TUNED = "torch.compile max-autotune"  # takes minutes to compile: last, with what is left
_CHECKS = 0.35  # of the budget
_LIMIT = 120.0  # seconds that a library has to build a case


class Library(Protocol):
    """Answers requests, as `gpu_worker.py` does."""

    def ask(self, limit: float, **request: Any) -> dict[str, Any]:
        """The answer; {"failure": why} where there is none within so many seconds."""


class Process:
    """A library in a process of its own, started again after it has died."""

    def __init__(
        self, implementation: str, environment: Mapping[str, str], quick: bool = False
    ) -> None:
        self._implementation = implementation
        self._environment = environment
        self._quick = quick
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, limit: float, **request: Any) -> dict[str, Any]:
        process = self._process = self._process or self._start()
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, limit))
            line = process.stdout.readline() if ready else b""
        except BrokenPipeError:
            ready, line = [process.stdout], b""
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        self.close()
        return {"failure": "the process died" if ready else f"no answer in {limit:.0f} s"}

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "benchmarks.gpu_worker", self._implementation]
        return subprocess.Popen(
            [*command, *(["--quick"] if self._quick else [])],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT,
            env={**os.environ, **self._environment},
        )  # fmt: skip

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Report:
    """What was found so far, in a file that is whole at any time.

    Attributes:
        content: see `new_content`.
    """

    def __init__(self, path: Path | None, content: dict[str, Any]) -> None:
        self._path = path
        self.content = content

    def write(self) -> None:
        """Writes the file, with the limits by what was reached so far."""
        known = {case.name: case for case in CASES}
        reached = self.content["ceilings"] = ceilings(self.content["records"])
        for record in self.content["records"]:
            record["limit"] = limit_of(known[record["name"]], reached)
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        whole = self._path.with_suffix(".new")
        whole.write_text(json.dumps(self.content, indent=1, ensure_ascii=False) + "\n")
        os.replace(whole, self._path)


def new_content(device: str) -> dict[str, Any]:
    """A report of nothing yet."""
    packages = [p for p in (*PACKAGES, "triton") if p == "sley" or is_installed(p)]
    return {
        "date": datetime.date.today().isoformat(),
        "machine": {
            "gpu": device,
            "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
        },
        "versions": {name: _version(name) for name in packages},
        "ceilings": {},
        "checks": {},
        "records": [],
        "tuned": [],
    }


def ceilings(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Bytes a second ("copy") and operations a second by precision: the most that any library has
    reached in any case."""
    found: dict[str, float] = {}
    known = {case.name: case for case in CASES}
    for record in records:
        case, best = known[record["name"]], min(record["fastest"].values(), default=None)
        if best is None:
            continue
        for what, amount in _amounts(case):
            found[what] = max(found.get(what, 0.0), amount / best)
    return found


def limit_of(case: GpuCase, reached: Mapping[str, float]) -> float | None:
    """Seconds that the case takes at least at these rates."""
    return max((n / reached[what] for what, n in _amounts(case) if what in reached), default=None)


def _amounts(case: GpuCase) -> list[tuple[str, int]]:
    amounts = [(case.precision, case.workload.flops), ("copy", case.nbytes)]
    return [(what, amount) for what, amount in amounts if amount]


def measure_case(
    case: GpuCase,
    libraries: Mapping[str, Library],
    report: Report,
    left: Callable[[], float],
    runs: int = 10,
) -> None:
    """Times a case on each library, and adds to its record."""
    record = _record_of(case, report)
    expected: list[np.ndarray] | None = None
    with tempfile.TemporaryDirectory() as folder:
        for name in sorted(libraries, key=lambda n: n != "torch"):  # the others are compared to it
            if left() <= 0 or (name == "jax" and case.workload.jax is None):
                continue
            file = str(Path(folder) / "found.npz")
            ask = libraries[name].ask
            answer = ask(min(_LIMIT, left()), do="prepare", case=case.name, file=file)
            if "failure" not in answer:
                record["first"][name] = answer["first"]
                with np.load(file) as content:
                    found = list(content.values())
                expected = found if name == "torch" else expected
                wrong = None if expected is None else _compared(case, expected, found, record, name)
                # What is wrong is not timed.
                answer = (
                    {"failure": wrong}
                    if wrong
                    else ask(min(_LIMIT, left() + 5), do="time", seconds=0.2, runs=runs)
                )
            if "failure" in answer:
                record["failures"][name] = answer["failure"]
            else:
                samples = answer["seconds"]
                record["median"][name] = statistics.median(samples)
                record["fastest"][name] = min(samples)
                record["samples"][name] = len(samples)
            report.write()


def _record_of(case: GpuCase, report: Report) -> dict[str, Any]:
    for known in report.content["records"]:
        if known["name"] == case.name:
            return known
    record: dict[str, Any] = {"group": case.group, "name": case.name, "limit": None}
    keys = ("first", "warm", "median", "fastest", "samples", "error", "failures")
    record |= {key: {} for key in keys}
    report.content["records"].append(record)
    return record


def _compared(
    case: GpuCase,
    expected: Sequence[np.ndarray],
    found: Sequence[np.ndarray],
    record: dict[str, Any],
    name: str,
) -> str | None:
    """Notes by how much results differ from torch's; says so where that is too much."""
    try:
        off = error(case.workload, expected, found)
    except ValueError as wrong:
        return str(wrong)
    if not off <= case.workload.tolerance:
        return f"the result differs from torch's by {off:.2g}"
    record["error"][name] = off
    return None


def measure_warm(
    cases: Sequence[GpuCase],
    name: str,
    library: Library,
    report: Report,
    left: Callable[[], float],
) -> None:
    """The first calls of a new process that finds on disk what another one has compiled."""
    for case in cases:
        if left() <= 0:
            return
        with tempfile.TemporaryDirectory() as folder:
            file = str(Path(folder) / "found.npz")
            answer = library.ask(min(_LIMIT, left()), do="prepare", case=case.name, file=file)
        if "first" in answer:
            _record_of(case, report)["warm"][name] = answer["first"]
            report.write()


def check(report: Report, seconds: float) -> None:
    """What `tests/gpu_check.py` says: "ok" or what is wrong, by groups of cases."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "checks.json"
        script = ROOT / "tests" / "gpu_check.py"
        command = [sys.executable, str(script), "--out", str(out), "--seconds", str(seconds)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if out.exists():
            report.content["checks"] = json.loads(out.read_text())
        else:
            report.content["checks"] = {"failure": (done.stdout + done.stderr)[-2000:]}
    report.write()


def keep_tuned(cache: Path, report: Report) -> None:
    """Notes which schedules were found to be the fastest (see `gpu_tables.write_table`)."""
    from sley.runtime.cuda.tuned import lines_in

    report.content["tuned"] = lines_in(cache, report.content["machine"]["gpu"])
    report.write()


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0, or 2 without a GPU."""
    options = _parser().parse_args(arguments)
    from sley.runtime.cuda.device import device, why_none

    if (reason := why_none()) is not None:
        print(f"no GPU: {reason}")
        return 2
    end = time.monotonic() + options.budget
    left: Callable[[], float] = lambda: end - time.monotonic()
    report = Report(options.out, new_content(device().info.name))
    report.write()
    wanted = [i for i in options.impl.split(",") if is_installed(i.partition(" ")[0])]
    cases = [c for c in CASES if not options.names or any(w in c.name for w in options.names)]
    folder = tempfile.mkdtemp(prefix="sley-gpu-")
    try:
        _run(options, wanted, cases, report, left, Path(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _run(
    options: argparse.Namespace,
    wanted: Sequence[str],
    cases: Sequence[GpuCase],
    report: Report,
    left: Callable[[], float],
    folder: Path,
) -> None:
    environment = {
        "SLEY_CACHE_DIR": str(folder / "sley"),  # so the first calls are cold
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "torch"),
        "TRITON_CACHE_DIR": str(folder / "triton"),
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # memory is shared with the others
        "SLEY_TUNE": "1" if options.tune else "0",
    }
    libraries = {name: Process(name, environment, options.quick) for name in wanted}
    usual = {name: library for name, library in libraries.items() if name != _TUNED}
    runs = 2 if options.quick else 10
    try:
        if not options.no_checks:
            check(report, _CHECKS * options.budget)
        for case in cases:
            measure_case(case, usual, report, left, runs)
            _tell(report, case)
        for name in ("sley", "torch.compile"):
            if name in libraries:
                again = Process(name, environment, options.quick)
                models = [c for c in cases if c.group in ("training", "inference")]
                measure_warm(models, name, again, report, left)
                again.close()
        if _TUNED in libraries:
            for case in cases:
                measure_case(case, {_TUNED: libraries[_TUNED]}, report, left, runs)
    finally:
        keep_tuned(folder / "sley", report)
        for library in libraries.values():
            library.close()


def _tell(report: Report, case: GpuCase) -> None:
    record = _record_of(case, report)
    times = ", ".join(f"{name} {1e3 * t:.3f} ms" for name, t in record["median"].items())
    print(f"{case.name}: {times or record['failures']}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks.gpu", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="words; all cases by default")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the results as JSON")
    parser.add_argument("--budget", type=float, default=420.0, help="seconds in all")
    parser.add_argument("--impl", default=",".join(IMPLEMENTATIONS), help="libraries to compare")
    parser.add_argument("--quick", action="store_true", help="small sizes: to see that it works")
    parser.add_argument("--no-checks", action="store_true", help="without tests/gpu_check.py")
    parser.add_argument("--tune", action="store_true", help="sley times schedules of kernels first")
    return parser


if __name__ == "__main__":
    sys.exit(main())
