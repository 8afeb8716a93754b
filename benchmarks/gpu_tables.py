"""Results of GPUs (`benchmarks.gpu`) as tables for docs/performance.md.

`python -m benchmarks.gpu_tables FILE` makes what was tuned the table of that product in the package
(`runtime/cuda/tables/`), in place of the last one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .gpu_worker import IMPLEMENTATIONS
from .runner import ROOT, geometric_mean, percent_of_limit, ratio
from .workloads.gpu import GROUPS

TARGETS = {
    "memory-bound": "90 % of the copy rate, backward passes of norms 80 %",
    "products": "0.95 of torch's product from 2048³ on, 0.9 elsewhere; with an epilogue faster",
    "attention": "500 TFLOP/s forward at 128 features, 350 backward",
    "training": "1.1 times the geometric mean of torch.compile max-autotune",
}


def markdown(results: Sequence[dict[str, Any]]) -> str:
    """The tables of result files, each with what it was measured on."""
    if not results:
        return "Nothing was measured yet.\n"
    return "\n".join(line for result in results for line in _of_result(result))


def _of_result(result: dict[str, Any]) -> list[str]:
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    lines = [f"{result['machine']['gpu']}, {result['date']}; {versions}.", ""]
    reached = [f"{what} {_rate(what, value)}" for what, value in result["ceilings"].items()]
    lines += [f"The most that any library has reached: {', '.join(reached)}.", ""]
    for group in GROUPS:
        records = [r for r in result["records"] if r["group"] == group and r["median"]]
        if not records:
            continue
        lines += [f"### {group[0].upper()}{group[1:]} (GPU)", ""]
        if group in TARGETS:
            lines += [f"Target: {TARGETS[group]}.", ""]
        lines += [*_table(records), ""]
        ratios = [value for r in records if (value := ratio(r["median"])) is not None]
        if ratios:
            lines += [f"Geometric mean of the ratios: {geometric_mean(ratios):.2f}.", ""]
    return lines


def _table(records: Sequence[Mapping[str, Any]]) -> list[str]:
    shown = [i for i in IMPLEMENTATIONS if any(i in r["median"] for r in records)]
    models = any(r["warm"] for r in records)
    head = ["", *(f"{name}, ms" for name in shown), "ratio", "of the limit"]
    head += ["first call, s", "warm, s"] if models else []
    rows = [head]
    for record in records:
        median = record["median"]
        best = ratio(median)
        percent = percent_of_limit({**median, **_limit(record)})
        row = [record["name"], *(_milliseconds(median.get(name)) for name in shown)]
        row += ["" if best is None else f"{best:.2f}"]
        row += ["" if percent is None else f"{percent:.0f} %"]
        if models:
            row += [_seconds(record["first"].get("sley")), _seconds(record["warm"].get("sley"))]
        rows.append(row)
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return [lines[0], "|---" * len(head) + "|", *lines[1:]]


def _limit(record: Mapping[str, Any]) -> dict[str, float]:
    return {} if record["limit"] is None else {"limit": record["limit"]}


def _rate(what: str, value: float) -> str:
    return f"{value / 1e12:.2f} TB/s" if what == "copy" else f"{value / 1e12:.0f} TFLOP/s"


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{1e3 * value:.3g}"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def write_table(result: Mapping[str, Any], folder: Path) -> Path:
    """Writes the lines that tuning has found as the table of the product; the file."""
    path = folder / f"{result['machine']['gpu'].replace(' ', '_')}.jsonl"
    path.write_text("".join(f"{line}\n" for line in result["tuned"]))
    return path


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[1]).read_text())
    print(write_table(given, ROOT / "runtime" / "cuda" / "tables"))
