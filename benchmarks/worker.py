"""One library in a process of its own: builds workloads, checks them, times them when asked.

Lines of JSON on standard input, one answer for each on standard output:
{"do": "prepare", "workload": NAME} -> {"error": E} or {"failure": TEXT}
{"do": "time", "seconds": S, "runs": N} -> {"seconds": [of each sample]}
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
import traceback
from typing import Any

from .limits import limit
from .workload import Call, build, error
from .workloads import WORKLOADS

_LEAST = 5e-5  # seconds of a sample: shorter calls are timed several at once


class Worker:
    def __init__(self, implementation: str, threads: int) -> None:
        self.implementation = implementation
        self.threads = threads
        self.call: Call = lambda: None
        self.multiple = 1.0

    def prepare(self, name: str) -> dict[str, Any]:
        workload = next(w for w in WORKLOADS if w.name == name)
        if self.implementation == "limit":
            found = limit(workload, self.threads)
            if found is None:
                return {"failure": "no limit"}
            self.call, self.multiple = found
            self.call()
            return {"error": 0.0}
        self.call, self.multiple = build(workload, self.implementation), 1.0
        wrong = error(workload, self.call)
        if not wrong <= workload.tolerance:
            return {"failure": f"the result differs from numpy's by {wrong:.2g}"}
        return {"error": wrong}

    def time(self, seconds: float, runs: int) -> list[float]:
        """Seconds of one call, measured until both so many runs and so much time are done."""
        call, clock = self.call, time.perf_counter
        call()
        start = clock()
        call()
        inner = max(1, int(_LEAST / max(clock() - start, 1e-9)))
        samples: list[float] = []
        gc.disable()
        end = clock() + seconds
        while clock() < end or len(samples) < runs:
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
            if request["do"] == "prepare":
                answer = worker.prepare(request["workload"])
            else:
                answer = {"seconds": worker.time(request["seconds"], request["runs"])}
        except Exception as failure:
            traceback.print_exc()
            answer = {"failure": f"{type(failure).__name__}: {failure}"}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
