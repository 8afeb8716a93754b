"""Processes of the libraries, taking turns: A B C A B C, so that a slow moment hits all alike."""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .workload import Workload

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Effort:
    """How long to measure: in each of `rounds` turns, `runs` calls and at least `seconds`, but no
    call more after `most`. So 20 runs or 1 s by default, and more of what is short."""

    rounds: int = 5
    runs: int = 4
    seconds: float = 0.1
    most: float = 0.25

    def within(self, budget: float, turns: int) -> Effort:
        """Such that so many workloads of a library take about `budget` seconds at most."""
        most = budget / (turns * self.rounds)
        return replace(self, seconds=min(self.seconds, most / 2), most=min(self.most, most))


QUICK = Effort(rounds=2, runs=2, seconds=0.02, most=0.1)


class Process:
    """A worker process of one library, confined to as many cores as it has threads."""

    def __init__(self, implementation: str, threads: int) -> None:
        self.implementation = implementation
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", implementation, str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
            env=environment(threads), preexec_fn=lambda: confine(threads),
        )  # fmt: skip

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process of {self.implementation} ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def environment(threads: int) -> dict[str, str]:
    """The environment of a process whose libraries use so many threads."""
    names = ("OMP", "MKL", "OPENBLAS", "SLEY")
    return {**os.environ, **{f"{name}_NUM_THREADS": str(threads) for name in names}}


def confine(threads: int) -> None:
    """Keep this process to its last `threads` cores: jax asks for the cores, not a variable."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])


def compare(
    workloads: Sequence[Workload],
    implementations: Sequence[str],
    threads: int,
    effort: Effort,
) -> Iterator[dict[str, Any]]:
    """Times each workload on each library; yields each finished record."""
    chosen = [w for w in workloads if w.threads is None or threads in w.threads]
    if not chosen:
        return
    processes = [Process(name, threads) for name in (*implementations, "limit", "reference")]
    try:
        for workload in chosen:
            yield _compare_one(workload, processes, threads, effort)
    finally:
        for process in processes:
            process.close()


def _compare_one(
    workload: Workload, processes: Sequence[Process], threads: int, effort: Effort
) -> dict[str, Any]:
    ready, failures = _prepare(workload, processes)
    samples: dict[str, list[float]] = {p.implementation: [] for p in ready}
    for _ in range(effort.rounds):
        for process in ready:
            answer = process.ask(
                do="time", seconds=effort.seconds, runs=effort.runs, most=effort.most
            )
            samples[process.implementation] += answer["seconds"]
    record = summary(workload.group, workload.name, threads, samples)
    return {**record, **({"failures": failures} if failures else {})}


def _prepare(
    workload: Workload, processes: Sequence[Process]
) -> tuple[list[Process], dict[str, str]]:
    """The processes that give right results, and what the others say."""
    *libraries, reference = processes
    ready, failures = [], {}
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "right.npz")
        answer = reference.ask(do="refer", workload=workload.name, file=file)
        if "failure" in answer:
            return [], {"reference": answer["failure"]}
        for process in libraries:
            if not workload.runs_on(process.implementation):
                continue
            answer = process.ask(do="prepare", workload=workload.name, file=file)
            if "failure" not in answer:
                ready.append(process)
            elif process.implementation != "limit":
                failures[process.implementation] = answer["failure"]
    return ready, failures


def summary(
    group: str, name: str, threads: int, samples: Mapping[str, Sequence[float]], unit: str = "s"
) -> dict[str, Any]:
    """The record of a row of a table. `unit` is that of the samples: "s" or "B"."""
    return {
        "group": group,
        "name": name,
        "threads": threads,
        "unit": unit,
        "median": {key: statistics.median(values) for key, values in samples.items()},
        "samples": {key: len(values) for key, values in samples.items()},
        "fastest": {key: min(values) for key, values in samples.items()},
    }


def geometric_mean(values: Sequence[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, values)))


def ratio(median: Mapping[str, float]) -> float | None:
    """The best peer's time over sley's."""
    peers = [t for name, t in median.items() if name not in ("sley", "limit")]
    return min(peers) / median["sley"] if peers and "sley" in median else None


def percent_of_limit(median: Mapping[str, float]) -> float | None:
    """How much of what the machine can do sley reaches."""
    if "limit" not in median or "sley" not in median:
        return None
    return 100 * median["limit"] / median["sley"]
