"""Results as tables: on the terminal, and between two markers in docs/performance.md and README.md.

`python -m benchmarks.tables [FILE]` writes the tables of a result file into both pages: all of it
into the first, the geometric means of the groups into the other; into the first also those of all
results of GPUs (`results/h200-*.json`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from . import gpu_tables
from .libraries import IMPLEMENTATIONS
from .runner import ROOT, geometric_mean, percent_of_limit, ratio

FIGURES, GPU_FIGURES = "figures", "gpu figures"  # names of the places for tables
RESULTS = ROOT / "benchmarks" / "results"


@dataclass(frozen=True)
class Target:
    """What sley is to reach: the least ratio of any workload, and of the geometric mean."""

    least: float | None = None
    mean: float | None = None
    words: str = ""

    def __str__(self) -> str:
        parts = [self.words] if self.words else []
        if self.least is not None:
            parts.append(f"every ratio at least {self.least}")
        if self.mean is not None:
            parts.append(f"their geometric mean {self.mean}")
        return "; ".join(parts)


TARGETS: Mapping[str, Target] = {
    "rows and elementwise": Target(1.0, 1.8),
    "matrix products": Target(0.95, 1.2, "up to 128³ 1.5"),
    "attention": Target(2.0, 2.5, "causal in half the time of full"),
    "conv and pooling": Target(0.9, 1.3),
    "data movement and sorting": Target(1.0, 2.0),
    "inference": Target(0.95, 1.2),
    "training": Target(1.2, 1.7),
    "eager": Target(words="within 3 times numpy's time"),
    "dispatch": Target(words="4 µs for one op, 10 µs with 50 tensors"),
    "compile, cold": Target(words="faster than jax; a tenth of torch.compile's time"),
    "compile, from the cache on disk": Target(words="150 ms for any model"),
    "peak memory beyond the arguments": Target(words="never above torch's eager mode"),
}


def spell(value: float, unit: str = "s") -> str:
    """Three digits and a unit."""
    if unit == "B":
        return f"{value / 1e6:.3g} MB"
    for name, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= scale:
            return f"{value / scale:.3g} {name}"
    return f"{value / 1e-9:.3g} ns"


def line(record: dict[str, Any], implementations: Sequence[str]) -> list[str]:
    """The cells of one record: name, threads, medians, ratio, percent of the limit."""
    median, unit = record["median"], record.get("unit", "s")
    values = [spell(median[i], unit) if i in median else "" for i in implementations]
    best, percent = ratio(median), percent_of_limit(median)
    return [
        record["name"],
        str(record["threads"]),
        *values,
        "" if best is None else f"{best:.2f}",
        "" if percent is None else f"{percent:.0f} %",
    ]


def _head(first: str, implementations: Sequence[str]) -> list[str]:
    return [first, "threads", *implementations, "ratio", "of the limit"]


def markdown(result: dict[str, Any]) -> str:
    """The tables of a result file, with what they were measured on."""
    lines = [*_origin(result), *_means(result["records"]), ""]
    for group, found in groupby(result["records"], lambda r: r["group"]):
        records = list(found)
        shown = [i for i in IMPLEMENTATIONS if any(i in r["median"] for r in records)]
        lines += [f"### {group[0].upper()}{group[1:]}", ""]
        if group in TARGETS:
            lines += [f"Target: {TARGETS[group]}.", ""]
        lines += _table([_head("", shown), *(line(r, shown) for r in records)]) + [""]
    return "\n".join(lines)


def summary(result: dict[str, Any]) -> str:
    """The geometric means alone, with what they were measured on."""
    return "\n".join([*_origin(result), *_means(result["records"]), ""])


def _origin(result: dict[str, Any]) -> list[str]:
    machine = result["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    return [
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}, {result['date']}; "
        f"Python {machine['python']}, {versions}.",
        "Medians. *ratio*: the best peer's time over sley's (above 1: sley is faster). *of the "
        "limit*: of numpy's copy of as many bytes, or of multiply-adds in registers, measured "
        "beside it.",
        "",
    ]


def _means(records: Sequence[dict[str, Any]]) -> list[str]:
    """A table of the groups that are compared by ratios."""
    rows = [["", "workloads", "geometric mean of ratios", "least", "target"]]
    for group, target in TARGETS.items():
        found = [(ratio(r["median"]), r["name"]) for r in records if r["group"] == group]
        ratios = [(value, name) for value, name in found if value is not None]
        if target.mean is None or not ratios:
            continue
        least, name = min(ratios)
        mean = geometric_mean([value for value, _ in ratios])
        rows.append([group, str(len(ratios)), f"{mean:.2f}", f"{least:.2f} ({name})", str(target)])
    return _table(rows)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return [lines[0], "|---" * len(rows[0]) + "|", *lines[1:]]


def overview(records: Sequence[dict[str, Any]]) -> Iterator[str]:
    """For a terminal, at the end."""
    yield ""
    yield from _means(records)


def text(record: dict[str, Any], implementations: Sequence[str]) -> str:
    """A line for a terminal."""
    name, *cells = line(record, implementations)
    return f"{name:58}" + "".join(f"{cell:>14}" for cell in cells)


def head(implementations: Sequence[str]) -> str:
    return f"{'':58}" + "".join(f"{cell:>14}" for cell in _head("", implementations)[1:])


def insert(page: str, tables: str, place: str = FIGURES) -> str:
    """The page with the tables between the markers of the place.

    Raises:
        ValueError: the page lacks them.
    """
    first, last = f"<!-- {place}: begin -->", f"<!-- {place}: end -->"
    before, begin, rest = page.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"the page has no {first} ... {last}")
    return f"{before}{first}\n{tables}{last}{after}"


PAGES = {"docs/performance.md": markdown, "README.md": summary}
GPU_PAGE = "docs/performance.md"


def main(arguments: Sequence[str]) -> None:
    file = Path(arguments[0]) if arguments else RESULTS / "latest.json"
    result = json.loads(file.read_text())
    for name, tables in PAGES.items():
        page = ROOT / name
        page.write_text(insert(page.read_text(), tables(result)))
    page = ROOT / GPU_PAGE
    page.write_text(with_gpu_figures(page.read_text()))


def with_gpu_figures(page: str) -> str:
    """The page with the tables of all results of GPUs."""
    found = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("h200-*.json"))]
    return insert(page, gpu_tables.markdown(found), GPU_FIGURES)


if __name__ == "__main__":
    main(sys.argv[1:])
