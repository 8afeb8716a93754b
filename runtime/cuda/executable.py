"""A compiled program on a GPU: run with addresses, or called with arrays."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np

from ...ir.dims import Dim, evaluate, symbols
from ...ir.evaluate import bind_sizes
from ...ir.graph import Graph, Location, Node, Value
from ...ir.plan import HostCall, Plan, assign_offsets, walk
from ...ir.plan import Launch as LaunchStep
from ...passes.pipeline import Lowered
from .actions import Action, Actions, Commands, Run, perform
from .device import Device
from .driver import Copy
from .errors import show_bytes
from .memory import Block
from .recorder import HostKernel, Layout, LoadedKernel
from .uninterrupted import Uninterrupted

_MAX_BINDINGS = 256  # bindings of the symbols that are remembered
_ALIGNMENT = 16  # bytes: what kernels take for granted of a buffer's address
_SHOWN = 6  # of the largest values, where there is no memory


class HostStepWarning(UserWarning):
    """An op or kernel has no code for GPUs: what it reads is copied to the host, its results
    back."""


@dataclass(frozen=True, slots=True, eq=False)
class _Binding:
    """What is known once the symbols have values.

    `results`: shape, dtype and bytes of each fresh result.
    """

    layout: Layout
    actions: tuple[Action, ...]
    results: tuple[tuple[tuple[int, ...], np.dtype, int], ...]
    sizes: dict[str, int]


class CudaExecutable:
    """A program as kernels of one GPU. Calls from several threads follow one another.

    Attributes:
        graph: the program as it was given.
        device: the GPU.
        inputs: the parameters of the program.
        symbols: names of the size symbols, in the order in which `run` takes their values.
        donated: result number -> number of the input whose buffer takes it.
        constants: arrays that follow the caller's as inputs of the planned program.
        kernels: what each launch runs.
        may_fail: whether a step runs on the host, which may raise an error.
        native_entry, preparation: 0 and None: the processor's programs have more ways to be called.
    """

    native_entry = 0
    preparation: None = None

    def __init__(
        self, lowered: Lowered, device: Device, kernels: Mapping[Node, LoadedKernel | HostKernel]
    ) -> None:
        given = lowered.stages[0][1]
        assert isinstance(given, Graph)
        self.graph = given
        self.device = device
        self.plan: Plan = lowered.plan
        self.stages = lowered.stages
        self.kernels = kernels
        self.inputs = given.params
        self.symbols = tuple(program_symbols(self.plan))
        self.donated = dict(self.plan.donated)
        self._result_types = [value.type for value in given.yields]
        # Kept alive, and at fixed addresses, as long as the program.
        self.constants = lowered.constants
        self._constants = [device.put(literal.array) for literal in lowered.constants]
        self._constant_addresses = [block.address for block in self._constants]
        self._bindings: dict[tuple[int, ...], _Binding] = {}
        self._hosts = [step.node for step in self.plan.walk() if isinstance(step, HostCall)]
        for node in self._hosts:
            _warn(f"{node.op.name} has no kernel for GPUs", node.line)
        for node, kernel in kernels.items():
            if isinstance(kernel, HostKernel):
                _warn(f"kernel @{kernel.name} has no code for GPUs ({kernel.reason})", node.line)
        self.may_fail = bool(self._hosts) or self.on_host > 0

    @property
    def on_host(self) -> int:
        """How many kernels numpy evaluates, since there is no code of them."""
        return sum(isinstance(kernel, HostKernel) for kernel in self.kernels.values())

    def run(self, pointers: Sequence[int], sizes: tuple[int, ...] = ()) -> list[Block]:
        """Inputs as addresses on the GPU, of dense row-major memory; a new block for each result
        that is not donated. Returns before the GPU is done; what is issued later waits for it.

        Args:
            pointers: one for each input; a donated input's memory is overwritten.
            sizes: the values of `symbols`.

        Raises:
            ValueError: another number of pointers.
            OutOfMemoryError: the GPU's memory does not suffice; no input was written.
            HostError: a step that runs on the host has failed; no input was written.
            LaunchError: the GPU does not take a kernel.
            KernelFault: a kernel that ran before has failed.
        """
        if len(pointers) != len(self.inputs):
            raise ValueError(
                f"@{self.graph.name} takes {len(self.inputs)} inputs, got {len(pointers)}"
            )
        device = self.device
        with device.lock:
            device.driver.attach()
            binding = self._bindings.get(sizes) or self._bind(sizes)
            # Last first: the pool gives what came back last, so where a caller has just given up
            # the results of the last run, in order, the new ones lie where these did.
            results = [
                device.pool.take(nbytes, lambda: self._largest(binding))
                for _, _, nbytes in reversed(binding.results)
            ]
            results.reverse()
            arena = device.workspace(binding.layout.arena_bytes, lambda: self._largest(binding))
            placed, copies = self._aligned(pointers, binding)
            bases = [
                *placed,
                *self._constant_addresses,
                *(block.address for block in results),
                arena.address,
            ]
            bases += [0] * (binding.layout.bases - len(bases))
            device.begin(self)
            self._perform(Run(device, bases), binding, pointers, copies)
        return results

    def _perform(
        self, run: Run, binding: _Binding, pointers: Sequence[int], copies: Mapping[int, Block]
    ) -> None:
        """Issues everything; what is one segment, or may fail between two, needs no more care."""
        together = (len(binding.actions) > 1 or copies) and not self.may_fail
        with Uninterrupted() if together else nullcontext():
            perform(binding.actions, run)
            for number, block in copies.items():
                if number in self.donated.values():
                    run.copy(pointers[number], block.address, block.nbytes)

    def _aligned(
        self, pointers: Sequence[int], binding: _Binding
    ) -> tuple[list[int], dict[int, Block]]:
        """Addresses that kernels can read vectors from. Inputs that lie elsewhere are copied: by
        their numbers the copies, which must live until all is issued."""
        placed, copies = list(pointers), {}
        for number, pointer in enumerate(pointers):
            if pointer % _ALIGNMENT == 0:
                continue
            nbytes = evaluate(self.inputs[number].type.nbytes, binding.sizes)
            block = self.device.pool.take(nbytes, lambda: self._largest(binding))
            if nbytes:
                self.device.issue(Copy(block.address, pointer, nbytes), "a copy")
            placed[number], copies[number] = block.address, block
        return placed, copies

    def __call__(
        self, arrays: Sequence[np.ndarray], sizes: Mapping[str, int] | None = None
    ) -> list[np.ndarray]:
        """Runs the program on arrays of the inputs' dtypes and shapes, copied to the GPU.

        Args:
            arrays: one for each input; a donated one must be dense and writeable.
            sizes: values of symbols that the shapes do not tell.

        Returns:
            New arrays, for the results that are not donated, in order.

        Raises:
            ValueError: a wrong number of arrays, dtype or shape; a donated array that is not dense
                or cannot be written to.
            KeyError: a symbol whose value neither a shape nor `sizes` tells.
            OutOfMemoryError, HostError, KernelFault: see `run`.
        """
        known = bind_sizes(self.inputs, arrays, sizes)
        for number in self.donated.values():
            if not (arrays[number].flags.c_contiguous and arrays[number].flags.writeable):
                raise ValueError(f"input {number} is overwritten: it must be dense and writeable")
        bound = tuple(known[name] for name in self.symbols)
        blocks = [self.device.put(array) for array in arrays]
        found = self.run([block.address for block in blocks], bound)
        results = [
            self.device.get(block.address, shape, dtype)
            for block, (shape, dtype, _) in zip(found, self._bindings[bound].results, strict=True)
        ]
        for number in self.donated.values():
            self.device.read(blocks[number].address, arrays[number])
        return results

    # ------------------------------------------------------------------ sizes

    def _bind(self, sizes: tuple[int, ...]) -> _Binding:
        known = dict(zip(self.symbols, sizes, strict=True))
        offsets, arena = assign_offsets(self.plan, known)
        inputs, fresh = len(self.plan.graph.params), self.plan.fresh
        layout = Layout(inputs, fresh, self.plan.pointers, offsets, arena, known)
        actions = Actions(layout, self.kernels).of(self.plan.steps)
        results = tuple(
            (
                tuple(evaluate(dim, known) for dim in type.shape),
                type.dtype.numpy,
                evaluate(type.nbytes, known),
            )
            for type in (self._result_types[number] for number in fresh)
        )
        binding = _Binding(layout, actions, results, known)
        if len(self._bindings) >= _MAX_BINDINGS:
            self._bindings = {}
        self._bindings[sizes] = binding
        return binding

    def arena_bytes(self, sizes: Mapping[str, int] | None = None) -> int:
        """Bytes of the arena for these values of the symbols."""
        return assign_offsets(self.plan, sizes or {})[1]

    # ------------------------------------------------------------------ what tools and errors show

    def replayed(self, sizes: tuple[int, ...] = ()) -> bool:
        """Whether calls with these sizes are one graph of the driver's."""
        binding = self._bindings.get(sizes)
        if binding is None or len(binding.actions) != 1:
            return False
        (action,) = binding.actions
        return isinstance(action, Commands) and action.segment.replayed

    def kernel_lines(self) -> list[str]:
        """The names of the kernels, with the user's lines."""
        steps = (step for step in walk(self.plan.steps) if isinstance(step, LaunchStep))
        return [f"@{self.kernels[s.node].name}{_where(s.node.line)}" for s in steps]

    def _largest(self, binding: _Binding) -> list[str]:
        """The largest values of the program, with the user's lines."""
        sized = []
        for value in self.plan.places:
            sized.append((evaluate(value.type.nbytes, binding.sizes), value))
        sized.sort(key=lambda pair: -pair[0])
        head = f"@{self.graph.name} needs {show_bytes(binding.layout.arena_bytes)} while it runs"
        return [head, *(_line_of(nbytes, value) for nbytes, value in sized[:_SHOWN])]


def program_symbols(plan: Plan) -> list[str]:
    """The size symbols of a program: those of its inputs in order, then any others."""
    values = [*plan.graph.params, *(v for node in plan.graph.walk() for v in node.results)]
    dims: list[Dim] = [dim for value in values for dim in value.type.shape]
    return symbols(dims)


def _line_of(nbytes: int, value: Value) -> str:
    if value.node is None:
        return f"{show_bytes(nbytes)}: the input %{value.name or '?'}: {value.type}"
    return f"{show_bytes(nbytes)}: {value.type}{_where(value.node.line)}"


def _where(line: Location | None) -> str:
    return "" if line is None else f" ({line})"


_warned: set[tuple[str, Location | None]] = set()


def _warn(what: str, line: Location | None) -> None:
    """Says once for each line that something goes through the host."""
    if (what, line) in _warned:
        return
    _warned.add((what, line))
    message = f"{what}: it runs on the host, and data goes to and fro"
    if line is None:
        warnings.warn(message, HostStepWarning, stacklevel=2)
    else:
        warnings.warn_explicit(message, HostStepWarning, line.file, line.line)
