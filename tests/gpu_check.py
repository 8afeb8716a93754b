"""What only a GPU can show: `python tests/gpu_check.py --out FILE [--groups memory,ops,...]`.

Each group of cases runs in a process of its own, since a fault ends a process's use of the GPU; the
next one goes on after the case that has failed. FILE is JSON: for each case "ok", or what was
wrong. On a machine without a GPU it says so. `tests/runtime/cuda/test_gpu_check.py` runs parts of
it on a simulated device.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from gpu_cases import Case, Context, compared
from gpu_choices import choices, scatters

from sley.ir.evaluate import evaluate
from sley.runtime.cuda.device import Device
from sley.runtime.cuda.driver import Command, Copy, Fill
from sley.runtime.cuda.errors import DriverError, KernelFault
from sley.runtime.cuda.executable import CudaExecutable
from sley.runtime.cuda.staging import HALF
from sley.runtime.cuda.timing import measure

OK = "ok"
THREADS = 16  # programs that are compiled beside each other


# ------------------------------------------------------------------------------------- memory


def memory(context: Context) -> Iterator[Case]:
    """Copies of all sizes, there and back; many small ones that nobody waits for."""
    device = context.device
    rng = np.random.default_rng(0)

    def there_and_back(nbytes: int) -> None:
        data = rng.integers(0, 256, nbytes, np.uint8)
        block = device.put(data)
        assert np.array_equal(device.get(block.address, data.shape, data.dtype), data)

    for nbytes in (0, 1, 3, 511, 512, 513, HALF - 1, HALF, HALF + 1, 5 * HALF + 7):
        yield Case(f"copy {nbytes}", lambda n=nbytes: n, there_and_back)

    def many(count: int) -> None:
        data = rng.integers(0, 1 << 60, (count, 100))
        block = device.empty(data.nbytes)
        for number, row in enumerate(data):
            device.write(block.address + number * row.nbytes, row)
        assert np.array_equal(device.get(block.address, data.shape, data.dtype), data)

    yield Case("many small copies", lambda: 10_000, many)

    def kept(count: int) -> None:
        blocks = [device.put(np.full(1000, number)) for number in range(count)]
        del blocks[::2]
        more = [device.put(np.full(1000, -1)) for _ in range(count)]
        for number, block in enumerate(blocks):
            found = device.get(block.address, (1000,), np.dtype(np.int64))
            assert (found == 2 * number + 1).all()
        assert len(more) == count
        device.trim()

    yield Case("blocks that are used again", lambda: 300, kept)


# ------------------------------------------------------------------------------------- commands


def commands(context: Context) -> Iterator[Case]:
    """Fills and copies: issued, in a graph, and after their addresses have changed."""
    fills = [(1, 1), (2, 2), (4, 4), (4, 8)]
    for ways in ("issued", "graph", "changed"):
        for width, stride in fills:
            what = (ways, width, stride)
            yield Case(f"fill {what}", lambda w=what: w, lambda w: _fill(context.device, *w))
        yield Case(f"copy {ways}", lambda w=ways: w, lambda w: _copy(context.device, w))


def _perform(device: Device, command: Command, ways: str, places: Sequence[int]) -> None:
    """Runs `command` so that it works on `places` in the end."""
    device.driver.attach()
    elsewhere = [device.empty(1 << 16) for _ in places]
    first = places if ways != "changed" else [block.address for block in elsewhere]
    for which, address in enumerate(first):
        command.place(which, address)
    if ways == "issued":
        device.issue(command)
        return
    graph = device.driver.graph([command])
    if ways == "changed":
        for which, address in enumerate(places):
            command.place(which, address)
        graph.update(0)
    graph.launch()
    device.synchronize()


def _fill(device: Device, ways: str, width: int, stride: int) -> None:
    count, size = 1000, 1000 * stride
    block = device.put(np.zeros(size, np.uint8))
    value = 0x11223344 >> (32 - 8 * width)
    _perform(device, Fill(0, value, width, count, stride), ways, [block.address])
    found = device.get(block.address, (count, stride), np.dtype(np.uint8))
    expected = np.zeros((count, stride), np.uint8)
    expected[:, :width] = np.frombuffer(value.to_bytes(width, "little"), np.uint8)
    assert np.array_equal(found, expected)


def _copy(device: Device, ways: str) -> None:
    data = np.arange(1001, dtype=np.uint16)
    source, target = device.put(data), device.put(np.zeros_like(data))
    _perform(device, Copy(0, 0, data.nbytes), ways, [target.address, source.address])
    assert np.array_equal(device.get(target.address, data.shape, data.dtype), data)


# ------------------------------------------------------------------------------------- programs


def programs(context: Context) -> Iterator[Case]:
    """Random programs of every kind of op, for several sizes."""
    from random_graphs import random_arrays, random_graph

    for seed in range(60):
        graph = random_graph(seed)
        if any(not param.type.shape for param in graph.params):
            continue
        if not any("N" in str(param.type) for param in graph.params):
            continue  # no array tells what N is
        inputs = [random_arrays(graph, {"N": n}, seed) for n in (3, 1, 0, 33)]
        yield compared(context, f"program {seed}", graph, inputs)


def loops(context: Context) -> Iterator[Case]:
    """Random programs with scans, whiles and branches."""
    from random_control import random_arrays, random_control

    for seed in range(40):
        graph = random_control(seed)
        sizes = [{"N": 3, "T": 7}, {"N": 1, "T": 1}, {"N": 33, "T": 4}]
        inputs = [random_arrays(graph, s, seed) for s in sizes]
        yield compared(context, f"loops {seed}", graph, inputs)


def training(context: Context) -> Iterator[Case]:
    """20 steps as graphs and one command after the other: the same bits, and numpy's losses."""
    from training_steps import block_step, conv_step, mlp_step

    steps = {
        "perceptron": (lambda: mlp_step((784, 128, 10)), 64),
        "convolutions": (conv_step, 16),
        "blocks": (block_step, 96),
    }
    for name, (make, rows) in steps.items():
        yield Case(
            f"training {name}",
            lambda m=make, r=rows: _prepared_training(context, m, r),
            lambda prepared: _check_training(context.device, *prepared),
        )


def _prepared_training(context: Context, make: Callable[[], Any], rows: int) -> Any:
    from training_steps import step_arrays

    graph, donated = make()
    return context.build(graph, donated), step_arrays(graph, rows)


def _check_training(
    device: Device, executable: CudaExecutable, arrays: Sequence[np.ndarray], steps: int = 20
) -> None:
    graph, donated = executable.graph, executable.donated
    sizes = tuple(
        next(a.shape[0] for a, p in zip(arrays, graph.params, strict=True) if p.name == "x")
        for _ in executable.symbols
    )
    found = []
    for blocking in (False, True):
        blocks = [device.put(array) for array in arrays]
        device.blocking = blocking
        losses = [executable.run([b.address for b in blocks], sizes)[0] for _ in range(steps)]
        device.blocking = False
        found.append([device.get(b.address, (), np.dtype(np.float32)).item() for b in losses])
    assert found[0] == found[1], "graphs and single commands differ"
    own, expected = list(arrays), []
    for _ in range(steps):
        results = evaluate(graph, own)
        expected.append(results[0].item())
        for k, source in donated.items():
            own[source] = results[k]
    np.testing.assert_allclose(found[0], expected, rtol=1e-3)


def ops(context: Context) -> Iterator[Case]:
    """Every op of the table of samples, of every dtype."""
    from op_samples import ALL_SAMPLES
    from programs import record

    from sley.ir.literal import array_type

    for sample in ALL_SAMPLES:
        for dtype in sample.dtypes:
            arrays = sample.arrays(dtype)
            graph = record(sample.emit, [array_type(a) for a in arrays])
            yield compared(context, f"{sample} {dtype}", graph, [arrays], calls=1)


def gradients(context: Context) -> Iterator[Case]:
    """The gradient of every smooth op."""
    from op_samples import ALL_SAMPLES
    from programs import record

    from sley.ir.literal import array_type
    from sley.passes.autodiff.transform import vjp

    for sample in (s for s in ALL_SAMPLES if s.smooth):
        arrays = sample.arrays("f32")
        graph = vjp(record(sample.emit, [array_type(a) for a in arrays]))
        rng = np.random.default_rng(5)
        for param in graph.params[len(arrays) :]:
            seed = np.asarray(rng.normal(size=param.type.shape))
            arrays.append(seed.astype(param.type.dtype.numpy))
        yield compared(context, f"gradient of {sample}", graph, [arrays], calls=1)


def times(context: Context) -> Iterator[Case]:
    """What the device and its driver need: bytes a second, microseconds of a launch."""
    device = context.device

    def rate(nbytes: int, work: Callable[[], object]) -> str:
        best = min(measure(device, work, 20))
        return f"{nbytes / best / 1e9:.3f} TB/s"

    def copies(size: int) -> str:
        source, target = device.empty(size), device.empty(size)
        device.issue(Fill(source.address, 0, 4, size // 4, 4))
        command = Copy(target.address, source.address, size)
        return rate(2 * size, lambda: device.issue(command))

    def fills(size: int) -> str:
        block = device.empty(size)
        return rate(size, lambda: device.issue(Fill(block.address, 0, 4, size // 4, 4)))

    def across(size: int) -> str:
        data = np.zeros(size, np.uint8)
        block = device.put(data)
        start = time.perf_counter()
        device.write(block.address, data)
        device.synchronize()
        middle = time.perf_counter()
        device.read(block.address, data)
        there, back = middle - start, time.perf_counter() - middle
        return f"{size / there / 1e9:.1f} GB/s there, {size / back / 1e9:.1f} GB/s back"

    def on_the_host(count: int) -> str:
        blocks = [device.put(np.zeros(64, np.uint8)) for _ in range(2)]
        commands = [Copy(blocks[0].address, blocks[1].address, 64) for _ in range(count)]
        graph = device.driver.graph(commands)
        graph.launch()
        device.synchronize()
        start = time.perf_counter()
        for command in commands:
            device.issue(command)
        single = time.perf_counter() - start
        device.synchronize()
        start = time.perf_counter()
        graph.launch()
        whole = time.perf_counter() - start
        device.synchronize()
        end = time.perf_counter() - start
        return (
            f"{1e6 * single / count:.2f} us a command, graph of {count}: {1e6 * whole:.1f} us to "
            f"issue, {1e6 * end / count:.2f} us a node to run"
        )

    for work, size in ((copies, 1 << 30), (fills, 1 << 30), (across, 1 << 28), (on_the_host, 1000)):
        size = min(size, device.info.total_bytes // 16) if work is not on_the_host else size
        yield Case(work.__name__, lambda n=size: n, work)


GROUPS: dict[str, Callable[[Context], Iterator[Case]]] = {
    group.__name__: group
    for group in (
        memory,
        commands,
        times,
        programs,
        loops,
        training,
        scatters,
        choices,
        ops,
        gradients,
    )
}


# ------------------------------------------------------------------------------------- running


def run_group(name: str, context: Context, skip: int = 0) -> Iterator[tuple[str, str]]:
    """(case, "ok .." or what was wrong) for all but the first `skip`; a fault is the last."""
    cases = list(GROUPS[name](context))[skip:]
    with ThreadPoolExecutor(THREADS) as executor:
        prepared = [executor.submit(case.prepare) for case in cases]
        for case, future in zip(cases, prepared, strict=True):
            try:
                found = case.check(future.result())
            except (KernelFault, DriverError) as error:
                for other in prepared:
                    other.cancel()
                yield case.name, f"FAULT {error}"
                return
            except Exception as error:  # of whatever kind: it is what the report is for
                yield case.name, f"{type(error).__name__}: {error}"[:2000]
            else:
                yield case.name, OK if found is None else f"{OK}, {found}"


def real_context() -> Context:
    """The GPU of this machine."""
    from sley.runtime.cuda.compile import compile_all, emit
    from sley.runtime.cuda.device import device

    return Context(device(), emit, compile_all)


def child(name: str, skip: int) -> None:
    """One line of JSON for each case."""
    for result in run_group(name, real_context(), skip):
        print(json.dumps(result), flush=True)


def main() -> int:
    """The exit status: 0 where everything was right, 1 where not, 2 without a GPU."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--groups", default=",".join(GROUPS))
    parser.add_argument("--seconds", type=float, default=420.0, help="for all groups together")
    parser.add_argument("--child", nargs=2)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], int(options.child[1]))
        return 0
    from sley.runtime.cuda.device import why_none

    reason = why_none()
    if reason is not None:
        print(f"no GPU: {reason}")
        return 2
    report: dict[str, dict[str, str]] = {}
    end = time.monotonic() + options.seconds
    for name in options.groups.split(","):
        report[name] = run_in_processes(name, end)
        wrong = {c: what for c, what in report[name].items() if not what.startswith(OK)}
        told = {c: what for c, what in report[name].items() if what != OK}
        print(f"{name}: {len(report[name]) - len(wrong)} of {len(report[name])} right")
        for case, what in told.items():
            print(f"  {case}: {what.splitlines()[0][:150]}")
        if options.out is not None:
            options.out.write_text(json.dumps(report, indent=1))
    results = [what for group in report.values() for what in group.values()]
    return int(not all(what.startswith(OK) for what in results))


def run_in_processes(name: str, end: float) -> dict[str, str]:
    """The results of a group; a process that dies is followed by one for the cases behind."""
    found: dict[str, str] = {}
    while True:
        left = end - time.monotonic()
        if left <= 0:
            found["(time)"] = "there was none left"
            return found
        command = [sys.executable, __file__, "--child", name, str(len(found))]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=left)
            output, status, told = done.stdout, done.returncode, done.stderr[-500:]
        except subprocess.TimeoutExpired as error:
            output = (error.stdout or b"").decode()
            status, told = -1, "out of time"
        results = [json.loads(line) for line in output.splitlines() if line.startswith("[")]
        found.update(results)
        faulted = bool(results) and results[-1][1].startswith("FAULT")
        if status == 0 and not faulted:
            return found
        if not faulted:
            found[f"(case {len(found)})"] = f"the process has died: {status} {told}"
        if told == "out of time":
            return found


if __name__ == "__main__":
    sys.exit(main())
