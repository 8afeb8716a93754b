"""`python -m benchmarks [NAME ...]`: time the workloads whose name contains one of the words."""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import overhead, tables
from .runner import QUICK, Effort, compare
from .workload import IMPLEMENTATIONS, PEERS, is_installed
from .workloads import WORKLOADS


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    wanted = options.impl.split(",")
    implementations = [i for i in wanted if is_installed(i)]
    chosen = [w for w in WORKLOADS if not options.names or any(n in w.name for n in options.names)]
    effort = QUICK if options.quick else Effort()
    records: list[dict[str, Any]] = []
    print(tables.head())
    for threads in map(int, options.threads.split(",")):
        records += compare(chosen, implementations, threads, effort, _report)
    if not options.names:
        for record in overhead.measure(options.quick):
            records.append(record)
            _report(record)
    records.sort(key=lambda r: GROUPS.index(r["group"]))
    if options.output:
        _write(Path(options.output), records)


GROUPS = [*dict.fromkeys(w.group for w in WORKLOADS), "import", "compile", "compiler"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="words; all workloads by default")
    parser.add_argument("--impl", default=",".join(IMPLEMENTATIONS), help="libraries to compare")
    parser.add_argument("--threads", default="1,2", help="numbers of threads (default 1,2)")
    parser.add_argument("--quick", action="store_true", help="few runs: to see that it works")
    parser.add_argument("--output", metavar="FILE", help="write the results as JSON")
    return parser


def _report(record: dict[str, Any]) -> None:
    for row in tables.text([record]):
        print(row, flush=True)
    for name, failure in record.get("failures", {}).items():
        print(f"    {name} failed: {failure}", flush=True)


def _write(path: Path, records: Sequence[dict[str, Any]]) -> None:
    packages = [p for p in ("sley", "llvmlite", *PEERS) if p == "sley" or is_installed(p)]
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
        "records": list(records),
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
