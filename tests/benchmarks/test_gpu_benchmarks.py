"""The benchmarks of a GPU on a simulated one, as far as that goes: every case runs at a tiny size
and gives what the processor gives; a cut run leaves a whole file; tables tell what it has.

Nothing here depends on how long anything takes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import benchmark_folder  # noqa: F401 (makes what follows importable)
import numpy as np
import pytest
from cuda_device import as_cuda
from simulated_gpu import SimulatedGpu
from source_files import ROOT

import sley
from benchmarks import gpu, gpu_tables, gpu_worker, tables
from benchmarks.workload import build, error, results
from benchmarks.workloads.gpu import CASES, GROUPS, GpuCase, named
from sley.runtime.cache import ObjectCache
from sley.runtime.cuda.tuned import Memory, Tuned

_SMALL = [case for case in CASES if not case.stateful]


@pytest.fixture
def simulated() -> Iterator[SimulatedGpu]:
    before = sley.get_float32_matmul_precision()
    with as_cuda(SimulatedGpu(1 << 30)) as device:
        yield device
    sley.set_float32_matmul_precision(before)


@pytest.mark.filterwarnings("ignore::sley.runtime.cuda.executable.HostStepWarning")
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_each_case_gives_what_the_processor_gives(
    simulated: SimulatedGpu, case: GpuCase, tmp_path: Path
) -> None:
    worker = gpu_worker.Worker("sley", tiny=True)
    answer = worker.answer({"do": "prepare", "case": case.name, "file": tmp_path / "found.npz"})
    assert answer["first"] > 0
    with np.load(tmp_path / "found.npz") as content:
        found = list(content.values())
    call = build(case.workload, "sley eager", tiny=True)
    expected = [array.reshape(-1) for array in results(case.workload, call)]
    exact = 5e-2 if case.precision == "bf16" else case.workload.tolerance
    assert error(case.workload, expected, found) <= exact
    assert len(worker.answer({"do": "time", "seconds": 0, "runs": 1})["seconds"]) == 1


def test_names_are_distinct_and_groups_known() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert {case.group for case in CASES} == set(GROUPS)
    for case in _SMALL:
        assert case.workload.flops or case.nbytes, case.name


class Told:
    """A library that answers what the test says."""

    def __init__(self, seconds: float, off: float = 0.0, fails: tuple[str, ...] = ()) -> None:
        self.seconds, self.off, self.fails = seconds, off, fails
        self.asked: list[dict[str, Any]] = []

    def ask(self, limit: float, **request: Any) -> dict[str, Any]:
        self.asked.append(request)
        if request.get("case") in self.fails:
            return {"failure": "the process died"}
        if request["do"] == "prepare":
            np.savez(request["file"], np.arange(1.0, 5) + self.off)
            return {"first": 2.5}
        return {"seconds": [self.seconds, 2 * self.seconds, 3 * self.seconds]}


def _measured(path: Path, left: Any = lambda: 100.0) -> gpu.Report:
    report = gpu.Report(path, gpu.new_content("A GPU"))
    copy, product = CASES[0], named("product 8192³, bf16")
    libraries = {
        "sley": Told(1e-3, off=0.01, fails=(named("layer norm 16384x4096, bf16").name,)),
        "torch": Told(2e-3), "jax": Told(4e-3), "torch.compile": Told(1e-9, off=np.nan),
    }  # fmt: skip
    for case in (copy, product, named("layer norm 16384x4096, bf16")):
        gpu.measure_case(case, libraries, report, left)
    gpu.measure_warm([product], "sley", Told(1.0), report, left)
    return report


def test_a_report_has_medians_errors_failures_and_limits(tmp_path: Path) -> None:
    _measured(tmp_path / "r.json")
    content = json.loads((tmp_path / "r.json").read_text())
    copy, product, norm = content["records"]
    assert product["median"] == {"sley": 2e-3, "torch": 4e-3, "jax": 8e-3}
    assert product["first"]["torch"] == 2.5 and product["warm"] == {"sley": 2.5}
    assert product["error"]["torch"] == 0 and 0 < product["error"]["sley"] < 0.01
    assert norm["failures"]["sley"] == "the process died" and "sley" not in norm["median"]
    assert norm["failures"]["torch.compile"] == "the result differs from torch's by nan"
    assert content["ceilings"]["bf16"] == pytest.approx(2 * 8192**3 / 1e-3)
    assert product["limit"] == pytest.approx(1e-3)
    assert norm["limit"] == pytest.approx(2e-3 * norm_bytes() / CASES[0].nbytes)
    assert copy["samples"] == {"torch": 3, "jax": 3}  # what is not right to the bit is not timed


def norm_bytes() -> int:
    return named("layer norm 16384x4096, bf16").nbytes


def test_nothing_is_begun_when_the_time_is_over(tmp_path: Path) -> None:
    report = _measured(tmp_path / "r.json", left=lambda: 0.0)
    assert all(not record["median"] for record in report.content["records"])


def test_tables_of_gpus(tmp_path: Path) -> None:
    text = gpu_tables.markdown([_measured(tmp_path / "r.json").content])
    assert "A GPU, " in text and "### Products (GPU)" in text
    row = "| product 8192³, bf16 | 2 | 4 | 8 | 2.00 | 50 % | 2.50 | 2.50 |"
    assert row in text and "| layer norm 16384x4096, bf16 | 4 | 8 |" in text
    assert gpu_tables.markdown([]) == "Nothing was measured yet.\n"


def test_what_was_tuned_becomes_a_table(tmp_path: Path) -> None:
    info = SimulatedGpu().driver.info
    store = ObjectCache(tmp_path / "tuned", suffix=".json")
    kernel = Tuned("abc", False, (), "BlockSchedule(nests=())", 1.0, 2.0, 3, "A GPU", 0, None)
    Memory(replace(info, name="A GPU"), store).put(kernel)
    Memory(info, store).put(replace(kernel, device="simulated"))
    report = gpu.Report(None, gpu.new_content("A GPU"))
    gpu.keep_tuned(tmp_path, report)
    path = gpu_tables.write_table(report.content, tmp_path)
    assert path.name == "A_GPU.jsonl" and path.read_text() == kernel.line() + "\n"


def test_the_page_has_the_figures_of_the_result_files() -> None:
    page = (ROOT / tables.GPU_PAGE).read_text()
    assert tables.with_gpu_figures(page) == page


def test_a_process_that_dies_is_an_answer() -> None:
    process = gpu.Process("no such library", {})
    assert "failure" in process.ask(60.0, do="prepare", case=CASES[0].name, file="x")
    process.close()


def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    from sley.runtime.cuda.device import why_none

    if why_none() is None:
        pytest.skip("there is a GPU")
    assert gpu.main(["--out", "/nowhere/x.json"]) == 2
    assert "no GPU" in capsys.readouterr().out
