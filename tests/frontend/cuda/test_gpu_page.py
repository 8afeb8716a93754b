"""The page about GPUs runs where there is one, too."""

from __future__ import annotations

from pathlib import Path

import pytest
from cuda_device import as_cuda
from doc_blocks import Page
from simulated_gpu import SimulatedGpu

import sley

DOCS = Path(__file__).resolve().parents[3] / "docs"


@pytest.mark.filterwarnings("ignore:.*no kernel for GPUs")
def test_the_page_runs_on_a_gpu(tmp_path, capsys):
    with as_cuda(SimulatedGpu()) as gpu:
        page = Page(DOCS / "gpu.md", tmp_path)
        page.run()
        assert page.module.device == sley.device("cuda") and page.module.losses[0].is_cuda
        assert page.module.weights["0.weight"].device == sley.device("cpu")
    assert gpu.driver.replays and "KiB at most" in capsys.readouterr().out
