"""The simulated GPU with kernels as they are: their Triton text, run by the interpreter."""

from __future__ import annotations

import numpy as np
from simulated_gpu import Kernel, SimulatedCompiler, SimulatedDriver, SimulatedGpu
from triton_interpreter import interpret

from sley.backends.triton.emit.kernel import kernel_text
from sley.backends.triton.kernel import TritonKernel
from sley.ir.dims import evaluate as size_of
from sley.ir.graph import Graph
from sley.ir.kernel_symbols import kernel_symbols
from sley.runtime.cuda.device import Device


class TextCompiler(SimulatedCompiler):
    """Every kernel has its own text."""

    def emit(self, kernel: Graph, schedule: object, target: object) -> TritonKernel:
        text = kernel_text(kernel, schedule, f"kernel{len(self.graphs)}")
        self.graphs[text.source] = kernel
        return text


class InterpretingDriver(SimulatedDriver):
    """A launch runs the text of its kernel."""

    def _launch(self, kernel: Kernel, grid: tuple[int, int, int], words: list[int]) -> None:
        graph, name = kernel.graph, f"kernel @{kernel.graph.name}"
        addresses = words[: len(graph.params)]
        sizes = dict(zip(kernel_symbols(graph), words[len(addresses) : -2], strict=True))
        nbytes = [size_of(value.type.nbytes, sizes) for value in graph.params]
        self._check_overlaps(graph, addresses, nbytes)
        first = len(graph.inputs)
        # Two inputs may begin at one address, as a tensor and its first row do.
        keys = [(a, n) if n else (-k, 0) for k, (a, n) in enumerate(zip(addresses, nbytes))]
        buffers: dict[tuple[int, int], np.ndarray] = {}
        for k, (value, address) in enumerate(zip(graph.params, addresses, strict=True)):
            shape = tuple(size_of(d, sizes) for d in value.type.shape)
            if keys[k] in buffers:
                continue  # a result over an input
            if k < first:
                content = self.load_bytes(address, nbytes[k], f"{name}, input %{value.name},")
            else:
                content = self.find(address, nbytes[k], name)[0].data
                where = self.find(address, nbytes[k], name)[1]
                content = content[where]
            array = np.frombuffer(content.tobytes(), value.type.dtype.numpy).reshape(shape)
            buffers[keys[k]] = array.copy()
        arrays = [buffers[key] for key in keys]
        interpret(kernel.text, arrays, sizes)
        self._fill_scratch(kernel, grid, words)
        for k in range(first, len(addresses)):
            self.store_bytes(addresses[k], np.frombuffer(arrays[k].tobytes(), np.uint8), name)


class InterpretedGpu(SimulatedGpu):
    """A device whose kernels are interpreted."""

    def __init__(self, total_bytes: int = 64 << 20) -> None:
        self.compiler = TextCompiler()
        self.driver = InterpretingDriver(self.compiler, total_bytes)
        self.device = Device(self.driver)
