"""One library in a process of its own: builds workloads, checks them, times them when asked.

Lines of JSON on standard input, one answer for each on standard output:
{"do": "refer", "workload": NAME, "file": F} -> {}: writes the right results there
{"do": "prepare", "workload": NAME, "file": F} -> {"error": E} or {"failure": TEXT}
{"do": "time", "seconds": S, "runs": N, "most": M} -> {"seconds": [of each sample]}
"""

from __future__ import annotations

import gc
import json
import math
import os
import sys
import time
import traceback
from typing import Any

import numpy as np

from .limits import limit
from .workload import Call, build, error, results
from .workloads import named

_LEAST = 5e-5  # seconds of a sample: shorter calls are timed several at once


class Worker:
    def __init__(self, implementation: str, threads: int) -> None:
        self.implementation = implementation
        self.threads = threads
        self.call: Call = lambda: None
        self.multiple = 1.0
        if implementation in ("torch", "torch.compile", "onnxruntime"):
            import torch

            torch.set_num_threads(threads)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["do"] == "refer":
            return self.refer(request["workload"], request["file"])
        if request["do"] == "prepare":
            return self.prepare(request["workload"], request["file"])
        return {"seconds": self.time(request["seconds"], request["runs"], request["most"])}

    def refer(self, name: str, file: str) -> dict[str, Any]:
        """Writes the right results of the workload."""
        workload = named(name)
        np.savez(file, *results(workload, build(workload, workload.reference)))
        return {}

    def prepare(self, name: str, file: str) -> dict[str, Any]:
        """Builds the workload and compares its results with those in the file."""
        workload = named(name)
        self.call = lambda: None  # frees the last one's memory
        if self.implementation == "limit":
            found = limit(workload, self.threads)
            if found is None:
                return {"failure": "no limit"}
            self.call, self.multiple = found
            return {"error": 0.0}
        call = build(workload, self.implementation)
        with np.load(file) as expected:
            wrong = error(workload, list(expected.values()), results(workload, call))
        if not wrong <= workload.tolerance:
            return {"failure": f"the result differs from {workload.reference}'s by {wrong:.2g}"}
        self.call, self.multiple = call, 1.0
        return {"error": wrong}

    def time(self, seconds: float, runs: int, most: float = math.inf) -> list[float]:
        """Seconds of one call, measured until both so many runs and so much time are done, or
        `most` seconds."""
        call, clock = self.call, time.perf_counter
        call()
        start = clock()
        call()
        inner = max(1, int(_LEAST / max(clock() - start, 1e-9)))
        samples: list[float] = []
        gc.disable()
        begin = clock()
        while not samples or clock() - begin < (seconds if len(samples) >= runs else most):
            start = clock()
            for _ in range(inner):
                call()
            samples.append((clock() - start) / inner / self.multiple)
        gc.enable()
        return samples


def main() -> None:
    implementation, threads = sys.argv[1], int(sys.argv[2])
    worker = Worker(implementation, threads)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print goes elsewhere
    for line in sys.stdin:
        request = json.loads(line)
        # Whatever a library raises is told, and the others go on.
        try:
            answer = worker.answer(request)
        except Exception as failure:
            traceback.print_exc()
            answer = {"failure": f"{type(failure).__name__}: {failure}"}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
