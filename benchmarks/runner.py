"""Processes of the libraries, taking turns: A B C A B C, so that a slow moment hits all alike."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .workload import Workload

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Effort:
    """How long to measure: in each of `rounds` turns, `runs` calls and at least `seconds`."""

    rounds: int = 5
    runs: int = 4
    seconds: float = 0.1


QUICK = Effort(rounds=2, runs=2, seconds=0.02)


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
    report: Callable[[dict[str, Any]], None],
) -> list[dict[str, Any]]:
    """Times each workload on each library; `report` is called with each finished record."""
    chosen = [w for w in workloads if threads in w.threads]
    processes = [Process(name, threads) for name in (*implementations, "limit")]
    records = []
    try:
        for workload in chosen:
            record = _compare_one(workload, processes, threads, effort)
            records.append(record)
            report(record)
    finally:
        for process in processes:
            process.close()
    return records


def _compare_one(
    workload: Workload, processes: Sequence[Process], threads: int, effort: Effort
) -> dict[str, Any]:
    failures, ready = {}, []
    for process in processes:
        answer = process.ask(do="prepare", workload=workload.name)
        if "failure" not in answer:
            ready.append(process)
        elif process.implementation != "limit":
            failures[process.implementation] = answer["failure"]
    samples: dict[str, list[float]] = {p.implementation: [] for p in ready}
    for _ in range(effort.rounds):
        for process in ready:
            answer = process.ask(do="time", seconds=effort.seconds, runs=effort.runs)
            samples[process.implementation] += answer["seconds"]
    record = {
        "group": workload.group,
        "name": workload.name,
        "threads": threads,
        "seconds": {name: statistics.median(times) for name, times in samples.items()},
        "samples": {name: len(times) for name, times in samples.items()},
        "fastest": {name: min(times) for name, times in samples.items()},
    }
    return {**record, **({"failures": failures} if failures else {})}


def ratio(seconds: Mapping[str, float]) -> float | None:
    """The best peer's time over sley's."""
    peers = [t for name, t in seconds.items() if name not in ("sley", "limit")]
    return min(peers) / seconds["sley"] if peers and "sley" in seconds else None


def percent_of_limit(seconds: Mapping[str, float]) -> float | None:
    """How much of what the machine can do sley reaches."""
    if "limit" not in seconds or "sley" not in seconds:
        return None
    return 100 * seconds["limit"] / seconds["sley"]
