"""LLVM text to machine code in memory: the only file that calls llvmlite's bindings.

Text is parsed, verified, optimised and emitted as an object file (`compile_object`); object files
are linked together in memory (`Library`). `host` says which processor to emit for.
"""

from __future__ import annotations

import ctypes
import functools
import os
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .loading import load

if TYPE_CHECKING:
    import llvmlite.binding as llvm


# Threads. llvmlite wraps each C function with one process-wide lock, so compiling from several
# Python threads takes turns although ctypes releases the GIL. LLVM itself only asks that no two
# threads share a context. Each compilation here has a context, a module, a target machine and a
# pass manager of its own, hence the three long calls (parse, optimise, emit) go to the C function
# behind the lock, and compilations run beside each other. Where a future llvmlite hides that
# function, the locked one serves: right, but one at a time.


class LLVMError(RuntimeError):
    """LLVM refused a program or a library. `path` is the file that holds the text, or None."""

    def __init__(self, message: str, path: str | None = None):
        super().__init__(message if path is None else f"{message}\nThe LLVM text is in {path}")
        self.path = path


# ---------------------------------------------------------------------------- the processor


@dataclass(frozen=True)
class HostInfo:
    """The processor that code is emitted for; cache sizes and cores are always this machine's."""

    cpu: str
    features: str
    triple: str
    vector_bytes: int  # 16, 32 or 64: the widest register worth using
    l1d: int  # bytes, of one core
    l2: int  # bytes, of one core
    l3: int  # bytes, as shared by however many cores the machine says
    cores: int  # that this process may use
    runnable: bool  # whether this machine can run the code


# Name: (features a machine must have to run it, vector bytes). The names are LLVM's own.
_X86_LEVELS = {
    "x86-64": ((), 16),
    "x86-64-v3": (("avx2", "fma", "bmi2", "f16c", "lzcnt", "movbe"), 32),
    "x86-64-v4": (("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"), 64),
}
_AARCH64_TRIPLE = "aarch64-unknown-linux-gnu"
CPU_NAMES = ("host", *_X86_LEVELS, "aarch64")


class Identity(NamedTuple):
    """What LLVM says of this machine: its processor, that one's features, the system."""

    cpu: str
    features: tuple[tuple[str, bool], ...]
    triple: str


@functools.cache
def identity() -> Identity:
    """This machine's, from LLVM."""
    llvm = _binding()
    features = tuple(sorted(llvm.get_host_cpu_features().items()))
    return Identity(llvm.get_host_cpu_name() or "generic", features, llvm.get_process_triple())


@functools.cache
def host(cpu: str = "host", known: Identity | None = None) -> HostInfo:
    """Describe this machine, or a plainer processor to emit for instead.

    `cpu` is "host", "x86-64" (SSE2), "x86-64-v3" (AVX2 and FMA), "x86-64-v4" (AVX-512) or
    "aarch64" (NEON). Code for another processor can always be emitted, see `runnable`. `known`:
    this machine's identity, where that need not be asked for.
    """
    name, flags, triple = known or identity()
    has = dict(flags)
    is_x86 = triple.startswith("x86_64")
    if cpu == "host":
        width = _x86_vector_bytes(has) if is_x86 else 16
        features = _flatten(has)
        return _info(name, features, triple, width, runnable=True)
    if cpu == "aarch64":
        runnable = triple.startswith(("aarch64", "arm64"))
        return _info("generic", "+neon", triple if runnable else _AARCH64_TRIPLE, 16, runnable)
    if cpu in _X86_LEVELS:
        needs, width = _X86_LEVELS[cpu]
        runnable = is_x86 and all(has.get(feature, False) for feature in needs)
        triple = triple if is_x86 else "x86_64-unknown-linux-gnu"
        features = _flatten({"avx512f": True}) if width == 64 else ""
        return _info(cpu, features, triple, width, runnable)
    raise ValueError(f"unknown processor {cpu!r}; use one of {', '.join(CPU_NAMES)}")


def _info(cpu: str, features: str, triple: str, width: int, runnable: bool) -> HostInfo:
    return HostInfo(
        cpu,
        features,
        triple,
        width,
        cache_bytes(1),
        cache_bytes(2),
        cache_bytes(3),
        _cores(),
        runnable,
    )


def _x86_vector_bytes(has: Mapping[str, bool]) -> int:
    for needs, width in sorted(_X86_LEVELS.values(), key=lambda level: -level[1]):
        if all(has.get(feature, False) for feature in needs):
            return width
    return 16


def _flatten(has: Mapping[str, bool]) -> str:
    """The feature string. Several AVX-512 models are tuned to prefer 256 bits, for the clock that
    older ones lost with 512; the emitter chooses the width itself, so the tuning is removed."""
    flags = [("+" if on else "-") + name for name, on in sorted(has.items())]
    if has.get("avx512f", False):
        flags.append("-prefer-256-bit")
    return ",".join(flags)


_CACHE_FALLBACK = {1: 32 << 10, 2: 1 << 20, 3: 8 << 20}


def cache_bytes(level: int, root: str = "/sys/devices/system/cpu/cpu0/cache") -> int:
    """Size of the data cache of a level; a common size where the system does not say."""
    for folder in sorted(Path(root).glob("index*")):
        try:
            found = int((folder / "level").read_text())
            kind = (folder / "type").read_text().strip()
            size = (folder / "size").read_text().strip()
        except (OSError, ValueError):
            continue
        if found == level and kind in ("Data", "Unified"):
            return _parse_size(size) or _CACHE_FALLBACK[level]
    return _CACHE_FALLBACK[level]


def _parse_size(text: str) -> int:
    unit = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:], 1)
    digits = text.rstrip("KMG")
    return int(digits) * unit if digits.isdigit() else 0


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# ---------------------------------------------------------------------------- text to code


def compile_object(
    text: str,
    *,
    cpu: str,
    features: str,
    opt_level: int = 2,
    triple: str | None = None,
    vectorize: bool = False,
) -> bytes:
    """Compile LLVM text to an object file. Safe from several threads, which run in parallel.

    `vectorize` runs LLVM's whole pipeline with its loop and SLP vectorisers; kernels are explicit
    SIMD already and get a short one.
    """
    with _optimized(text, cpu, features, opt_level, triple, vectorize) as (machine, module):
        return _emit(machine, module, as_object=True)


def assembly(
    text: str,
    *,
    cpu: str,
    features: str,
    opt_level: int = 2,
    triple: str | None = None,
    vectorize: bool = False,
) -> str:
    """Compile LLVM text to assembly text, for reading and for tests."""
    with _optimized(text, cpu, features, opt_level, triple, vectorize) as (machine, module):
        return _emit(machine, module, as_object=False).decode()


def optimized(
    text: str,
    *,
    cpu: str,
    features: str,
    opt_level: int = 2,
    triple: str | None = None,
    vectorize: bool = False,
) -> str:
    """The LLVM text after the optimiser, before instruction selection."""
    with _optimized(text, cpu, features, opt_level, triple, vectorize) as (_machine, module):
        return str(module)


@functools.cache
def _binding() -> Any:
    """`llvmlite.binding`, loaded at its first use: that takes as long as a quarter of sley."""
    import llvmlite.binding

    return llvmlite.binding


@functools.cache
def _initialize() -> None:
    llvm = _binding()
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    # Inline assembly needs the parser of its target, and llvmlite has the host's only: inline
    # assembly for another target makes LLVM abort the process.
    llvm.initialize_native_asmparser()


def _unlocked(name: str) -> Any:
    function = getattr(_binding().ffi.lib, name)
    return getattr(function, "_cfn", function)


@contextmanager
def _optimized(
    text: str, cpu: str, features: str, opt_level: int, triple: str | None, vectorize: bool
) -> Iterator[tuple[llvm.TargetMachine, llvm.ModuleRef]]:
    """Parse, verify and run the pass pipeline. Everything is closed at the end, in order: were it
    left to the garbage collector, a context could go before its module, which crashes."""
    _initialize()
    llvm = _binding()
    target = llvm.Target.from_triple(triple or llvm.get_process_triple())
    # Position independent code of the small model: the linker reaches what is far by stubs.
    with (
        target.create_target_machine(
            cpu=cpu, features=features, opt=opt_level, reloc="pic", codemodel="small"
        ) as machine,
        llvm.create_context() as context,
        _parse(text, context) as module,
    ):
        module.triple = target.triple
        with machine.target_data as layout:
            module.data_layout = str(layout)
        try:
            module.verify()
        except RuntimeError as error:
            raise LLVMError(f"LLVM does not accept the program: {error}", _keep(text)) from None
        _run_passes(machine, module, opt_level, vectorize)
        yield machine, module


# Kernels come with their loops in final form, what is invariant outside of them and nothing
# computed twice: LLVM's own pipeline would spend most of its time on finding nothing.
PASSES = (
    "always_inliner",
    "simplify_cfg",
    "instruction_combine",
    "loop_unroll",
    "instruction_combine",
)


def _run_passes(
    machine: llvm.TargetMachine, module: llvm.ModuleRef, opt_level: int, vectorize: bool
) -> None:
    llvm = _binding()
    with llvm.create_pipeline_tuning_options(opt_level) as options:
        options.loop_vectorization = vectorize
        options.loop_interleaving = vectorize
        options.slp_vectorization = vectorize
        with (
            llvm.create_pass_builder(machine, options) as builder,
            _pipeline(builder, opt_level > 0 and not vectorize) as passes,
        ):
            _unlocked("LLVMPY_RunNewModulePassManager")(passes, module, builder)


def _pipeline(builder: llvm.PassBuilder, short: bool) -> llvm.ModulePassManager:
    """The passes for kernels if `short`, else LLVM's own."""
    if not short:
        return builder.getModulePassManager()
    passes = _binding().create_new_module_pass_manager()
    for name in PASSES:
        getattr(passes, f"add_{name}_pass")()
    return passes


def _parse(text: str, context: llvm.ContextRef) -> llvm.ModuleRef:
    with _binding().ffi.OutputString() as message:
        pointer = _unlocked("LLVMPY_ParseAssembly")(context, text.encode(), message)
        if message:
            raise LLVMError(f"LLVM cannot parse the program: {message}", _keep(text))
    return _binding().ModuleRef(pointer, context)


def _emit(machine: llvm.TargetMachine, module: llvm.ModuleRef, as_object: bool) -> bytes:
    ffi = _binding().ffi
    with ffi.OutputString() as message:
        buffer = _unlocked("LLVMPY_TargetMachineEmitToMemory")(
            machine, module, int(as_object), message
        )
        if not buffer:
            raise LLVMError(f"LLVM cannot emit the program: {message}", _keep(str(module)))
    try:
        start = ffi.lib.LLVMPY_GetBufferStart(buffer)
        return ctypes.string_at(start, ffi.lib.LLVMPY_GetBufferSize(buffer))
    finally:
        ffi.lib.LLVMPY_DisposeMemoryBuffer(buffer)


def _keep(text: str) -> str:
    import tempfile  # for refused texts only

    handle, path = tempfile.mkstemp(prefix="sley-", suffix=".ll")
    with os.fdopen(handle, "w") as file:
        file.write(text)
    return path


# ---------------------------------------------------------------------------- code in memory


class Library:
    """Object files linked together in memory; unloaded when the last reference goes.

    A symbol is looked for in the objects, then in `symbols` (name to address), then among what
    the process has loaded (libc, libm). An address is good only while the library is referenced.
    """

    def __init__(self, objects: Iterable[bytes], symbols: Mapping[str, int] | None = None):
        contents = list(objects)
        self._loaded = load(contents, symbols or {})
        if self._loaded is None:
            self._link(contents, symbols or {})

    def _link(self, objects: Sequence[bytes], symbols: Mapping[str, int]) -> None:
        """By LLVM."""
        _initialize()
        binding = _binding()
        # One JIT for each library costs a millisecond and gives all its memory back at the end;
        # libraries of a shared one would leave their names behind. JITLink (unlike the older
        # linker) makes stubs where a callee is more than 2 GiB away.
        self._jit = binding.create_lljit_compiler(use_jit_link=True)
        builder = binding.JITLibraryBuilder().add_current_process()
        for content in objects:
            builder.add_object_img(content)
        for name, address in symbols.items():
            builder.import_symbol(name, address)
        self._trackers: dict[str, Any] = {}
        # Not __del__: in a reference cycle the JIT could then be closed before its trackers.
        weakref.finalize(self, _unload, self._jit, self._trackers).atexit = False
        try:
            self._trackers[""] = builder.link(self._jit, "sley")
        except RuntimeError as error:
            raise LLVMError(f"cannot link the library: {error}") from None

    def address(self, symbol: str) -> int:
        """The address of a function or a global variable of this library."""
        if self._loaded is not None:
            if symbol not in self._loaded.addresses:
                raise LLVMError(f"cannot resolve {symbol!r}: it is not defined")
            return self._loaded.addresses[symbol]
        tracker = self._trackers.get(symbol)
        if tracker is None:
            try:
                tracker = self._jit.lookup("sley", symbol)
            except RuntimeError as error:
                raise LLVMError(f"cannot resolve {symbol!r}: {error}") from None
            self._trackers[symbol] = tracker
        return tracker[symbol]


def _unload(jit: llvm.LLJIT, trackers: dict[str, llvm.ResourceTracker]) -> None:
    for tracker in trackers.values():
        tracker.close()
    jit.close()
