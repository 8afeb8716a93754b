"""`python -m benchmarks [NAME ...]`: time the workloads whose name contains one of the words."""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from . import overhead, tables
from .libraries import IMPLEMENTATIONS, PACKAGES, is_installed
from .runner import QUICK, Effort, compare
from .workload import Workload
from .workloads import GROUPS, WORKLOADS

_ORDER = [
    *GROUPS, "compile, cold", "compile, from the cache on disk", "peak memory beyond the arguments",
    "import", "installed", "compiler",
]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    implementations = [i for i in options.impl.split(",") if is_installed(i)]
    chosen = _chosen(options.names, options.group)
    numbers = [int(number) for number in options.threads.split(",")]
    effort = QUICK if options.quick else Effort()
    if options.budget:
        turns = len(implementations) * max(1, len(chosen)) * len(numbers)
        effort = effort.within(options.budget, turns)
    records: list[dict[str, Any]] = []
    print(tables.head(implementations))
    for record in _measured(options, chosen, implementations, numbers, effort):
        records.append(record)
        _report(implementations, record)
        if options.output:  # each time: a long run may be ended early
            _write(Path(options.output), records)
    for row in tables.overview(records):
        print(row)


def _measured(
    options: argparse.Namespace,
    chosen: Sequence[Workload],
    implementations: Sequence[str],
    numbers: Sequence[int],
    effort: Effort,
) -> Iterator[dict[str, Any]]:
    for threads in numbers:
        yield from compare(chosen, implementations, threads, effort)
    if not options.names:
        yield from overhead.measure(options.group, implementations, options.quick)


def _chosen(names: Sequence[str], groups: Sequence[str]) -> list[Workload]:
    """Those with one of the words in the name and one in the group's, where there are words."""
    return [
        w for w in WORKLOADS
        if (not names or any(word in w.name for word in names))
        and (not groups or any(word in w.group for word in groups))
    ]  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="words; all workloads by default")
    parser.add_argument(
        "--group", action="append", default=[], metavar="WORD",
        help="only groups with this word: " + ", ".join(_ORDER),
    )  # fmt: skip
    parser.add_argument("--impl", default=",".join(IMPLEMENTATIONS), help="libraries to compare")
    parser.add_argument("--threads", default="2", help="numbers of threads, as 1,2 (default 2)")
    parser.add_argument("--quick", action="store_true", help="few runs: to see that it works")
    parser.add_argument(
        "--budget", type=float, metavar="SECONDS",
        help="time at most this long in all; building and compiling come on top",
    )  # fmt: skip
    parser.add_argument("--output", metavar="FILE", help="write the results as JSON")
    return parser


def _report(implementations: Sequence[str], record: dict[str, Any]) -> None:
    print(tables.text(record, implementations), flush=True)
    for name, failure in record.get("failures", {}).items():
        print(f"    {name} failed: {failure}", flush=True)


def _write(path: Path, records: Sequence[dict[str, Any]]) -> None:
    packages = [p for p in PACKAGES if p == "sley" or is_installed(p)]
    result = {
        "date": datetime.date.today().isoformat(),
        "machine": {
            "cpu": _cpu(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
            "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "load": [round(x, 2) for x in os.getloadavg()] if hasattr(os, "getloadavg") else None,
        },
        "versions": {name: _version(name) for name in packages},
        "records": sorted(records, key=lambda r: _ORDER.index(r["group"])),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


def _version(name: str) -> str:
    if name == "sley":
        from sley import __version__

        return __version__
    return importlib.metadata.version(name)


def _cpu() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for row in info.read_text().splitlines():
            if row.startswith("model name"):
                return row.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
