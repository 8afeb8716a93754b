"""A compiled program: run with pointers, or called with arrays."""

from __future__ import annotations

import ctypes
import functools
import struct
from collections.abc import Callable, Mapping, Sequence
from ctypes import addressof
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy import ndarray

from ..backends.llvm.entry import FIRST_SYMBOL, HOST_STATUS, IS_SHORT, SYMBOL
from ..backends.llvm.native import Library, assembly
from ..ir.dims import Dim, evaluate
from ..ir.evaluate import bind_sizes
from ..ir.graph import Graph, Value
from ..ir.plan import Plan, assign_offsets, intervals, peak_live_bytes
from ..ir.target import Target
from .config import config
from .guarded import run_guarded
from .host_calls import HostCalls
from .image import Image, PreparationImage
from .lease import Binding, Lease, Memory, NewArray
from .memory import SMALL, result_allocator
from .preparation import Preparation
from .processor import host
from .threads import ThreadPool, default_pool

_MAX_BINDINGS = 256  # bindings of the symbols that are remembered


@dataclass(frozen=True, slots=True)
class KernelCode:
    """A kernel of an executable.

    Attributes:
        name: of the kernel graph that was met first.
        graph: that kernel graph, and `schedule` its schedule.
        hash: of graph, schedule and target; equal kernels are compiled once.
        symbol: the name of its function.
        text: its LLVM text.
        code: the object file, and `object_key` its key on disk.
        scratch, extent: bytes of scratch of one thread, and number of tasks, over the program's
            symbols.
    """

    name: str
    graph: Graph
    schedule: Any
    hash: str
    symbol: str
    text: str
    code: bytes
    object_key: str
    scratch: Dim
    extent: Dim


@dataclass(frozen=True, slots=True, eq=False)
class Details:
    """What tools show of a program; running it needs none of this.

    Attributes:
        plan: where the values lie.
        kernels: the distinct kernels.
        entry_text: the LLVM text of the entry.
        stages: (name of a pass, program after it), in order.
        preparation: the same of what makes its prepared inputs, if it has any.
    """

    plan: Plan
    kernels: tuple[KernelCode, ...]
    entry_text: str
    stages: tuple[tuple[str, Any], ...]
    preparation: Details | None = None


class Executable:
    """A program as machine code. Calls from several threads may overlap: each leases an arena.

    Attributes:
        graph: the program as it was given.
        image: what running needs.
        inputs: the parameters of the program.
        symbols: names of the size symbols, in the order in which `run` takes their values.
        donated: result number -> number of the input whose buffer takes it.
        constants: arrays that follow the caller's arrays, and what is prepared of them, as inputs
            of the planned program; `constant_pointers`: where they are.
        preparation: what computes the prepared ones; None where there are none.
        buffers_at: bytes of a frame before its pointers.
        idle: leases that no call uses.
        target: the processor; where this machine cannot run its code, `run` raises RuntimeError.
    """

    def __init__(
        self,
        graph: Graph,
        image: Image,
        target: Target,
        donated: Mapping[int, int],
        details: Callable[[], Details],
    ) -> None:
        """`details` is called once, when the first of the properties below is asked for."""
        self.graph = graph
        self.image = image
        self.target = target
        self.donated = dict(donated)
        self.frame = image.frame
        self.symbols = image.frame.symbols
        self.constants = tuple(np.asarray(a, order="C") for a in image.constants)
        self._make_details = details
        self.preparation = self._preparation(image.preparation)
        hosts = image.hosts
        self._hosts = HostCalls(hosts, self.frame, HOST_STATUS, FIRST_SYMBOL) if hosts else None
        self._is_runnable = host(target.name).runnable
        self._entry = self._link([item.code for item in image.objects])
        # As the program was given: the planned one may see complex buffers as pairs of numbers.
        self.inputs = graph.params
        self._result_types = [value.type for value in graph.yields]
        self.constant_pointers = tuple(a.ctypes.data for a in self.constants)
        self._count = len(self.inputs)
        buffers = self.frame.inputs + len(self.frame.fresh)
        self._pack = struct.Struct(f"{buffers}q").pack_into
        self.buffers_at = 8 * self.frame.first_buffer
        self._bindings: dict[tuple[int, ...], Binding] = {}
        self.idle: list[Lease] = []
        self._guard = config().guard

    def _link(self, objects: Sequence[bytes]) -> Callable[[int], None]:
        if not self._is_runnable:
            return self._refuse
        self._library = Library(objects)
        entry = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self._library.address(SYMBOL))
        return entry if self._hosts is None else partial(self._hosts.enter, entry)

    def _preparation(self, made: PreparationImage | None) -> Preparation | None:
        if made is None:
            return None
        params, results = (tuple(map(Value, types)) for types in (made.inputs, made.results))
        graph = Graph(f"{self.graph.name}_prepared", params, (), results)
        inner = Executable(graph, made.image, self.target, {}, self._details_of_preparation)
        return Preparation(made.slots, inner)

    def _details_of_preparation(self) -> Details:
        found = self.details.preparation
        assert found is not None, "a program with prepared inputs has what prepares them"
        return found

    @property
    def native_entry(self) -> int:
        """The address of what runs a frame; 0 where a call is more than that."""
        if self._hosts is not None or self._guard is not None or not self._is_runnable:
            return 0
        return self._library.address(SYMBOL)

    @property
    def is_short(self) -> bool:
        """Whether it takes so little time that other threads may wait for it."""
        return bool(ctypes.c_int64.from_address(self._library.address(IS_SHORT)).value)

    def binding(self, sizes: tuple[int, ...]) -> Binding:
        """What is known of calls with these values of `symbols`."""
        return self._bindings.get(sizes) or self._bind(sizes)

    @property
    def may_fail(self) -> bool:
        """Whether a step runs on the host, which may raise an error."""
        return self._hosts is not None

    def _refuse(self, frame: int) -> None:
        raise RuntimeError(
            f"@{self.graph.name} was compiled for {self.target.name}: this machine is another"
        )

    # ------------------------------------------------------------------ running

    def run(self, pointers: Sequence[int], sizes: tuple[int, ...] = ()) -> list[np.ndarray]:
        """The fast way: inputs as addresses of dense row-major memory; new arrays of the results
        that are not donated. Arguments and errors are those of `run_placed`."""
        return self.run_placed(pointers, sizes)[0]

    def run_placed(
        self,
        pointers: Sequence[int],
        sizes: tuple[int, ...] = (),
        prepared: Sequence[int] | None = None,
    ) -> tuple[list[np.ndarray], list[int]]:
        """As `run`, with where the results lie.

        Args:
            pointers: one for each input; a donated input's memory is overwritten.
            sizes: the values of `symbols`.
            prepared: where the results of `preparation` lie that were made of these inputs; None:
                they are made now.

        Returns:
            New arrays, for the results that are not donated, in order, and their addresses.

        Raises:
            ValueError: another number of pointers.
            HostError: a step that runs on the host has failed; no input was written.
        """
        if len(pointers) != self._count:
            raise ValueError(f"@{self.graph.name} takes {self._count} inputs, got {len(pointers)}")
        held: Sequence[np.ndarray] = ()  # as long as the call
        if prepared is None:
            prepared = ()
            if self.preparation is not None:
                held, prepared = self.preparation.run(pointers)
        if self._guard is not None:
            guarded = run_guarded(self, self._entry, [*pointers, *prepared], sizes, self._guard)
            return guarded, [a.ctypes.data for a in guarded]
        binding = self._bindings.get(sizes) or self._bind(sizes)
        try:
            lease = self.idle.pop()
        except IndexError:
            lease = Lease(self.frame.slots)
        pool = default_pool()
        if lease.binding is not binding or lease.pool is not pool:
            self._prepare(lease, binding, pool)
        if not pool.running:
            pool.start()  # the threads of a forked child
        results, addresses = [], []
        for shape, dtype, allocate, _ in binding.results:
            block = allocate()
            addresses.append(addressof(block))
            results.append(ndarray(shape, dtype, block))
        self._pack(
            lease.frame,
            self.buffers_at,
            *pointers,
            *prepared,
            *self.constant_pointers,
            *addresses,
        )
        self._entry(lease.address)
        self.idle.append(lease)
        del held
        return results, addresses

    def __call__(
        self, arrays: Sequence[np.ndarray], sizes: Mapping[str, int] | None = None
    ) -> list[np.ndarray]:
        """Runs the program on arrays of the inputs' dtypes and shapes.

        Args:
            arrays: one for each input; a donated one must be dense and writeable.
            sizes: values of symbols that the shapes do not tell.

        Returns:
            New arrays, for the results that are not donated, in order.

        Raises:
            ValueError: a wrong number of arrays, dtype or shape; a donated array that is not dense
                or cannot be written to.
            KeyError: a symbol whose value neither a shape nor `sizes` tells.
        """
        known = bind_sizes(self.inputs, arrays, sizes)
        donated = set(self.donated.values())
        held = [self._dense(i, a, i in donated) for i, a in enumerate(arrays)]
        pointers = [a.ctypes.data for a in held]
        return self.run(pointers, tuple(known[name] for name in self.symbols))

    def _dense(self, number: int, array: np.ndarray, donated: bool) -> np.ndarray:
        if donated and not (array.flags.c_contiguous and array.flags.writeable):
            raise ValueError(f"input {number} is overwritten: it must be dense and writeable")
        return np.ascontiguousarray(array)

    def _bind(self, sizes: tuple[int, ...]) -> Binding:
        known = dict(zip(self.symbols, sizes, strict=True))
        offsets, arena = assign_offsets(self.image, known)
        scratch = max((evaluate(dim, known) for dim in self.image.scratch), default=0)
        results = []
        for number in self.frame.fresh:
            type = self._result_types[number]
            shape = tuple(evaluate(dim, known) for dim in type.shape)
            nbytes = evaluate(type.nbytes, known)
            allocate = result_allocator(nbytes)
            results.append(NewArray(shape, type.dtype.numpy, allocate, nbytes < SMALL))
        # Two cache lines between the scratch of two threads: processors fetch lines in pairs.
        stride = -(-scratch // 128) * 128
        binding = Binding(sizes, tuple(offsets), arena, stride, tuple(results))
        if len(self._bindings) >= _MAX_BINDINGS:
            self._bindings = {}
        self._bindings[sizes] = binding
        return binding

    def _prepare(self, lease: Lease, binding: Binding, pool: ThreadPool) -> None:
        """Writes what stays the same from call to call into the frame."""
        lease.binding = None
        if lease.arena.nbytes < binding.arena:
            lease.arena = Memory(binding.arena)
        if lease.scratch.nbytes < binding.stride * pool.threads:
            lease.scratch = Memory(binding.stride * pool.threads)
        alone = pool.threads == 1
        frame = lease.frame
        frame[: self.frame.first_buffer] = [
            pool.address,
            0 if alone else pool.run_address,
            lease.scratch.address,
            binding.stride,
            self.host_address,
            0,
            *binding.sizes,
        ]
        base = lease.arena.address
        blocks = slice(self.frame.first_block, self.frame.first_pointer)
        frame[blocks] = [base + offset for offset in binding.offsets]
        lease.binding, lease.pool = binding, pool

    @property
    def host_address(self) -> int:
        """Of the function that runs steps on the host; 0 where there are none."""
        return 0 if self._hosts is None else self._hosts.address

    # ------------------------------------------------------------------ what tools show

    @functools.cached_property
    def details(self) -> Details:
        """What the passes and the emitters made. A program that was found on disk goes through
        them now."""
        return self._make_details()

    @property
    def plan(self) -> Plan:
        """Where the values lie."""
        return self.details.plan

    @property
    def kernels(self) -> tuple[KernelCode, ...]:
        """The distinct kernels."""
        return self.details.kernels

    @property
    def entry_text(self) -> str:
        """The LLVM text of the entry."""
        return self.details.entry_text

    @property
    def stages(self) -> tuple[tuple[str, Any], ...]:
        """(name of a pass, program after it), in order."""
        return self.details.stages

    def loops(self) -> list[Graph]:
        """Each kernel with its schedule as explicit loops."""
        from ..backends.llvm.expand import expand  # for tools: running needs no emitter

        return [expand(k.graph, k.schedule, self.target) for k in self.kernels]

    def llvm(self) -> str:
        """The LLVM text of all kernels and of the entry."""
        return "\n".join([*(k.text for k in self.kernels), self.entry_text])

    def assembly(self) -> str:
        """The assembly text of all kernels."""
        cpu, features, triple = self.target.cpu, self.target.features, self.target.triple
        return "\n".join(
            assembly(k.text, cpu=cpu, features=features, triple=triple) for k in self.kernels
        )

    @property
    def object_hashes(self) -> tuple[str, ...]:
        """The hashes of the distinct kernels, sorted."""
        return tuple(sorted(self.image.kernels))

    def arena_bytes(self, sizes: Mapping[str, int] | None = None) -> int:
        """Bytes of the arena for these values of the symbols."""
        return assign_offsets(self.image, sizes or {})[1]

    def peak_live_bytes(self, sizes: Mapping[str, int] | None = None) -> int:
        """The most bytes of the arena that are in use at one step."""
        return peak_live_bytes(intervals(self.image, sizes or {}))
