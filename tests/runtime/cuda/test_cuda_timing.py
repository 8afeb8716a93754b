"""Times of commands, by marks: the simulated device's are the numbers of commands between."""

from __future__ import annotations

import numpy as np
import pytest
from simulated_gpu import SimulatedGpu

from sley.runtime.cuda.driver import Copy
from sley.runtime.cuda.timing import measure


@pytest.mark.parametrize("cold", [True, False])
def test_only_the_work_is_measured(cold):
    gpu = SimulatedGpu()
    source, target = (gpu.device.put(np.zeros(64, np.uint8)) for _ in range(2))
    before = gpu.driver.issued

    def work():
        for _ in range(3):
            gpu.device.issue(Copy(target.address, source.address, 64))

    assert measure(gpu.device, work, calls=4, cold=cold) == [pytest.approx(0.003)] * 4
    assert gpu.driver.issued - before == 3 * 5 + 4 * cold
    assert gpu.device.pool.statistics.allocated == 2 * 512
