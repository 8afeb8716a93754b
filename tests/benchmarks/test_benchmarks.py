"""Every workload runs at a tiny size and gives what numpy gives; the tables tell what was measured.

Nothing here depends on how long anything takes.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from typing import Any

import numpy as np
import pytest
from source_files import ROOT


def _import_benchmarks() -> None:
    """The folder beside the package, under its own name: with the root on the path the rooms of
    sley could be imported twice."""
    folder = ROOT / "benchmarks"
    spec = importlib.util.spec_from_file_location(
        "benchmarks", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None and spec.loader is not None
    sys.modules["benchmarks"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


_import_benchmarks()

from benchmarks import limits, overhead, runner, tables, worker  # noqa: E402
from benchmarks.workload import Workload, build, error  # noqa: E402
from benchmarks.workloads import WORKLOADS  # noqa: E402


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda w: w.name)
def test_sley_gives_what_numpy_gives(workload: Workload) -> None:
    assert error(workload, build(workload, "sley", tiny=True), tiny=True) <= workload.tolerance


def test_a_wrong_result_is_seen() -> None:
    workload = next(w for w in WORKLOADS if w.group == "matrix products")
    right = build(workload, "numpy", tiny=True)
    assert error(workload, lambda: right() + np.float32(0.1), tiny=True) > workload.tolerance
    with pytest.raises(ValueError, match="shape"):
        error(workload, lambda: right()[:1], tiny=True)


def test_the_names_are_distinct() -> None:
    assert len({w.name for w in WORKLOADS}) == len(WORKLOADS)


def test_the_limits_run() -> None:
    found = [limits.limit(w, threads) for w in WORKLOADS[:3] for threads in (1, 2)]
    assert [f is None for f in found] == [True, True, False, False, False, False]
    for item in found[2:]:
        assert item is not None
        item[0]()


def test_a_worker_answers() -> None:
    small = worker.Worker("sley", 1)
    assert small.prepare("add of 8 floats")["error"] == 0.0
    assert len(small.time(seconds=0.0, runs=3)) == 3
    assert "failure" in worker.Worker("limit", 1).prepare("add of 8 floats")


def test_each_pass_over_a_large_program_is_measured() -> None:
    names = [record["name"] for record in overhead.large_program(nodes=120, runs=1)]
    for step in ("build", "verify", "simplify", "fuse", "schedule", "plan memory"):
        assert f"{step}, 120 ops, for each" in names


def _record(**seconds: float) -> dict[str, Any]:
    return {"group": "g", "name": "a thing", "threads": 1, "seconds": seconds}


def test_ratio_and_percent() -> None:
    times = {"sley": 2.0, "numpy": 6.0, "torch": 3.0, "limit": 1.0}
    assert runner.ratio(times) == 1.5 and runner.percent_of_limit(times) == 50
    assert runner.ratio({"sley": 1.0}) is None and runner.ratio({"numpy": 1.0}) is None
    assert runner.percent_of_limit({"sley": 1.0}) is None


def test_tables_have_what_was_measured() -> None:
    result = {
        "date": "2026-01-02",
        "machine": {"cpu": "A CPU", "cores": 2, "system": "Linux x86_64", "python": "3.12.1"},
        "versions": {"sley": "0.1.0"},
        "records": [_record(sley=0.002, numpy=0.004, limit=0.001)],
    }
    text = tables.markdown(result)
    assert "| a thing | 1 | 2 ms | 4 ms |  |  | 2.00 | 50 % |" in text
    assert "A CPU" in text and "2026-01-02" in text
    page = f"before\n{tables.BEGIN}\nold\n{tables.END}\nafter\n"
    assert tables.insert(page, text) == f"before\n{tables.BEGIN}\n{text}{tables.END}\nafter\n"
    with pytest.raises(ValueError, match="figures"):
        tables.insert("a page", text)


def test_the_readme_has_the_figures_of_the_result_file() -> None:
    result = json.loads((tables.RESULTS / "latest.json").read_text())
    page = (ROOT / "README.md").read_text()
    assert tables.insert(page, tables.markdown(result)) == page


def test_times_are_spelled_with_three_digits() -> None:
    spelled = [tables.spell(s) for s in (1.5, 0.0123456, 4.2e-6, 3e-9)]
    assert spelled == ["1.5 s", "12.3 ms", "4.2 µs", "3 ns"]
