"""Every workload runs at a tiny size and gives what numpy gives; the tables tell what was measured.

Nothing here depends on how long anything takes.
"""

from __future__ import annotations

import json
from typing import Any

import benchmark_folder  # noqa: F401 (makes what follows importable)
import numpy as np
import pytest
from source_files import ROOT

from benchmarks import counting, limits, overhead, runner, tables, worker
from benchmarks.libraries import Counting
from benchmarks.workload import Workload, build, error, results
from benchmarks.workloads import GROUPS, WORKLOADS, named

# The whole models are compiled by other tests, in examples/ and nn; here it would take too long.
_RECORDED = [w for w in WORKLOADS if w.counted]
_COMPILED = [w for w in WORKLOADS if not w.counted]


def _reference(workload: Workload) -> list[np.ndarray]:
    """torch is no part of the tests: where numpy has no form, sley's eager mode stands for it."""
    library = "sley eager" if workload.numpy is None else "numpy"
    return results(workload, build(workload, library, tiny=True))


@pytest.mark.parametrize("workload", _COMPILED, ids=lambda w: w.name)
def test_sley_gives_what_the_reference_gives(workload: Workload) -> None:
    got = results(workload, build(workload, "sley", tiny=True))
    assert error(workload, _reference(workload), got) <= workload.tolerance


@pytest.mark.parametrize(
    "workload", [w for w in _RECORDED if w.group == "inference"], ids=lambda w: w.name
)
def test_models_run(workload: Workload) -> None:
    (scores,) = _reference(workload)
    assert np.isfinite(scores).all() and scores.std() > 0


def test_a_wrong_result_is_seen() -> None:
    workload = named("product 64³")
    (right,) = _reference(workload)
    assert error(workload, [right], [right + np.float32(0.1)]) > workload.tolerance
    with pytest.raises(ValueError, match="shape"):
        error(workload, [right], [right[:1]])
    with pytest.raises(ValueError, match="shape"):
        error(workload, [right], [right, right])


def test_the_names_are_distinct_and_each_group_has_some() -> None:
    assert len({w.name for w in WORKLOADS}) == len(WORKLOADS)
    assert {w.group for w in WORKLOADS} == set(GROUPS)


def test_the_limits_run() -> None:
    assert limits.limit(named("add of 8 floats"), 1) is None
    for name in ("exact gelu of 100k", "product 64³"):
        for threads in (1, 2):
            found = limits.limit(named(name), threads)
            assert found is not None
            found[0]()


def test_operations_and_bytes_of_a_program_are_counted() -> None:
    library = Counting()

    def turn(x: Any, w: Any) -> Any:
        return x @ w

    x, w = (library.tensor(np.ones(s, np.float32)) for s in ((3, 5), (5, 5)))
    library.compile(turn)(x, w)
    library.compile(lambda x, w: library.module.scan(lambda h, _: (h @ w, h), x, length=7))(x, w)
    image, weight = (np.ones(s, np.float32) for s in ((2, 4, 6, 6), (8, 2, 3, 3)))
    conv = library.compile(lambda x, w: library.functional.conv2d(x, w, groups=2))
    conv(library.tensor(image), library.tensor(weight))
    net = library.module.nn.Linear(5, 7, bias=False)
    library.compile(net)(x)
    once, seven, windows, module = map(counting.count, library.programs)
    assert once == (2 * 3 * 5 * 5, 4 * (15 + 25 + 15))
    assert seven[0] == 7 * once[0]
    assert module[0] == 2 * 3 * 5 * 7
    assert windows[0] == 2 * (2 * 8 * 4 * 4) * (2 * 3 * 3)


def test_attention_is_counted_once_or_by_half() -> None:
    library = Counting()
    q, k, v = (library.tensor(np.ones((2, n, d), np.float32)) for n, d in ((5, 4), (7, 4), (7, 3)))
    attention = library.functional.scaled_dot_product_attention
    library.compile(lambda q, k, v: attention(q, k, v))(q, k, v)
    library.compile(lambda q, k, v: attention(q, k, v, is_causal=True))(q, k, v)
    full, causal = (counting.count(program)[0] for program in library.programs)
    assert (full, causal) == (2 * 2 * 5 * 7 * (4 + 3), 2 * 5 * 7 * (4 + 3))


def test_a_worker_answers(tmp_path: Any) -> None:
    file = str(tmp_path / "right.npz")
    assert (
        worker.Worker("reference", 1).answer(
            {"do": "refer", "workload": "add of 8 floats", "file": file}
        )
        == {}
    )
    small = worker.Worker("sley", 1)
    assert small.prepare("add of 8 floats", file)["error"] == 0.0
    assert len(small.time(seconds=0.0, runs=3)) == 3
    assert len(small.time(seconds=1.0, runs=3, most=0.0)) == 1
    assert "failure" in worker.Worker("limit", 1).prepare("add of 8 floats", file)
    np.savez(file, np.zeros(8, np.float32))
    assert "differs" in small.prepare("add of 8 floats", file)["failure"]


def test_each_pass_over_a_large_program_is_measured() -> None:
    names = [record["name"] for record in overhead.large_program(nodes=120, runs=1)]
    for step in ("build", "verify", "simplify", "fuse", "schedule", "plan memory"):
        assert f"{step}, 120 ops, for each" in names


def test_sizes_and_memory_are_measured() -> None:
    median = overhead.installed_sizes(["sley", "numpy"])["median"]
    assert median["sley"] > median["numpy"] > 1e6
    if overhead.peak_memory() == 0:
        pytest.skip("the system does not tell the memory of a process")
    before = overhead.peak_memory()
    assert np.ones(1 << 23).nbytes == 1 << 26
    assert overhead.peak_memory() > before + (1 << 25)  # though the block is gone


def test_a_budget_shortens_the_runs() -> None:
    effort = runner.Effort(rounds=5, runs=4, seconds=0.1, most=0.25)
    assert effort.within(budget=1000, turns=10) == effort
    assert effort.within(budget=5, turns=10).most == pytest.approx(0.1)


def _record(name: str = "a thing", group: str = "g", unit: str = "s", **median: float) -> Any:
    return {"group": group, "name": name, "threads": 1, "unit": unit, "median": median}


def test_ratio_and_percent() -> None:
    times = {"sley": 2.0, "numpy": 6.0, "torch": 3.0, "limit": 1.0}
    assert runner.ratio(times) == 1.5 and runner.percent_of_limit(times) == 50
    assert runner.ratio({"sley": 1.0}) is None and runner.ratio({"numpy": 1.0}) is None
    assert runner.percent_of_limit({"sley": 1.0}) is None
    assert runner.geometric_mean([1.0, 4.0]) == pytest.approx(2.0)


_MACHINE = {"cpu": "A CPU", "cores": 2, "system": "Linux x86_64", "python": "3.12.1"}


def test_tables_have_what_was_measured() -> None:
    result = {
        "date": "2026-01-02",
        "machine": _MACHINE,
        "versions": {"sley": "0.1.0"},
        "records": [
            _record(sley=0.002, numpy=0.004, limit=0.001),
            _record("a big thing", sley=0.002, torch=0.001),
            _record("a size", "h", "B", sley=2e6),
            _record("one", "attention", sley=1.0, jax=2.0),
            _record("two", "attention", sley=1.0, jax=8.0),
        ],
    }
    text = tables.markdown(result)
    assert "|  | threads | sley | torch | numpy | ratio | of the limit |" in text
    assert "| a thing | 1 | 2 ms |  | 4 ms | 2.00 | 50 % |" in text
    assert "| a big thing | 1 | 2 ms | 1 ms |  | 0.50 |  |" in text
    assert "| a size | 1 | 2 MB |  |  |" in text
    for page in (text, tables.summary(result)):
        assert "| attention | 2 | 4.00 | 2.00 (one) | " in page
        assert "A CPU" in page and "2026-01-02" in page
    first, last = "<!-- figures: begin -->", "<!-- figures: end -->"
    page = f"before\n{first}\nold\n{last}\nafter\n"
    assert tables.insert(page, text) == f"before\n{first}\n{text}{last}\nafter\n"
    with pytest.raises(ValueError, match="figures"):
        tables.insert("a page", text)


@pytest.mark.parametrize("name", tables.PAGES)
def test_the_pages_have_the_figures_of_the_result_file(name: str) -> None:
    result = json.loads((tables.RESULTS / "latest.json").read_text())
    page = (ROOT / name).read_text()
    assert tables.insert(page, tables.PAGES[name](result)) == page


def test_values_are_spelled_with_three_digits() -> None:
    spelled = [tables.spell(s) for s in (1.5, 0.0123456, 4.2e-6, 3e-9)]
    assert spelled == ["1.5 s", "12.3 ms", "4.2 µs", "3 ns"]
    assert tables.spell(12_345_678, "B") == "12.3 MB"
