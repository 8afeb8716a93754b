"""Results as tables: on the terminal, and in README.md between two markers.

`python -m benchmarks.tables [FILE]` writes the tables of a result file into the README.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from .runner import ROOT, percent_of_limit, ratio
from .workload import IMPLEMENTATIONS

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
RESULTS = ROOT / "benchmarks" / "results"


def spell(seconds: float) -> str:
    """Three digits and a unit."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def line(record: dict[str, Any]) -> list[str]:
    """The cells of one record: name, threads, times, ratio, percent of the limit."""
    seconds = record["seconds"]
    times = [spell(seconds[i]) if i in seconds else "" for i in IMPLEMENTATIONS]
    best, percent = ratio(seconds), percent_of_limit(seconds)
    return [
        record["name"],
        str(record["threads"]),
        *times,
        "" if best is None else f"{best:.2f}",
        "" if percent is None else f"{percent:.0f} %",
    ]


HEAD = ["", "threads", *IMPLEMENTATIONS, "ratio", "of the limit"]


def markdown(result: dict[str, Any]) -> str:
    """The tables of a result file, with what they were measured on."""
    machine = result["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}, {result['date']}; "
        f"Python {machine['python']}, {versions}.",
        "Medians. *ratio*: the best peer's time over sley's (above 1: sley is faster). *of the "
        "limit*: of numpy's copy of as many bytes, or of multiply-adds in registers, measured "
        "beside it.",
        "",
    ]
    for group, records in groupby(result["records"], lambda r: r["group"]):
        head = [group, *HEAD[1:]]
        lines += ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
        lines += ["| " + " | ".join(line(r)) + " |" for r in records]
        lines.append("")
    return "\n".join(lines)


def text(records: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Lines for a terminal."""
    for record in records:
        name, *cells = line(record)
        yield f"{name:44}" + "".join(f"{cell:>10}" for cell in cells)


def head() -> str:
    return f"{'':44}" + "".join(f"{cell:>10}" for cell in HEAD[1:-1]) + "     limit"


def insert(page: str, tables: str) -> str:
    """The page with the tables between the markers.

    Raises:
        ValueError: the page lacks them.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} ... {END}")
    return f"{before}{BEGIN}\n{tables}{END}{after}"


def main(arguments: Sequence[str]) -> None:
    file = Path(arguments[0]) if arguments else RESULTS / "latest.json"
    page = ROOT / "README.md"
    tables = markdown(json.loads(file.read_text()))
    page.write_text(insert(page.read_text(), tables))


if __name__ == "__main__":
    main(sys.argv[1:])
