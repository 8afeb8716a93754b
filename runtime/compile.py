"""A graph becomes an executable: found on disk, or made by the passes and the backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..backends.llvm.native import LLVMError
from ..ir.graph import Graph
from ..ir.numerics import EXACT, Numerics
from ..ir.target import Target
from . import processor
from .collector import no_collection
from .config import config
from .executable import Details, Executable
from .executable_cache import entry_of

if TYPE_CHECKING:
    from ..passes.pipeline import Hook, Lowered

# Passes, emitters and the verifier are loaded where they are asked for: a program that is found on
# disk needs none of them, and loading them takes longer than all else that it needs.


@dataclass(frozen=True)
class Options:
    """How to compile a program.

    Attributes:
        cpu: the processor, see `backends.llvm.native.host`; None: what `SLEY_CPU` says.
        donated: result number -> input number whose buffer takes the result at each call.
        fixed: numbers of inputs that stay the same over many calls: what follows from them alone
            is computed when they have changed (see `Executable.preparation`).
        numerics: how exact it is to be, where a GPU has faster ways.
        tune: whether several schedules of each kernel are timed on a GPU; None: what `SLEY_TUNE`
            says. A processor's schedules follow from its description.
        sizes: what the symbols are usually, for timing.
        dump: called with the name of each pass and the program after it.
        verify: whether programs are verified between passes; None: what `SLEY_VERIFY` says.
    """

    cpu: str | None = None
    donated: Mapping[int, int] = field(default_factory=dict)
    fixed: frozenset[int] = frozenset()
    numerics: Numerics = EXACT
    tune: bool | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    dump: Hook | None = None
    verify: bool | None = None

    def target(self) -> Target:
        return processor.target(self.cpu or config().cpu)

    @property
    def tuned(self) -> bool:
        return config().tune if self.tune is None else self.tune

    @property
    def verified(self) -> bool:
        return config().verify if self.verify is None else self.verify


def compile_graph(graph: Graph, options: Options | None = None) -> Executable:
    """Compiles a tensor program, or finds it on disk.

    Who wants to see the passes at work, by `dump` or by verifying between them, has them run.

    Raises:
        CompileError: a kernel cannot be compiled.
    """
    options = options or Options()
    if options.dump is not None or options.verified:
        return _make(graph, options)
    entry = entry_of(graph, options.target(), options.donated, options.fixed)
    if entry is None:
        return _make(graph, options)
    image = entry.load()
    if image is not None:
        try:
            return Executable(
                graph, image, options.target(), options.donated, lambda: _details(graph, options)
            )
        except LLVMError as error:
            entry.refuse(str(error))
    executable = _make(graph, options)
    entry.store(executable.image)
    return executable


def compile_launches(graph: Graph, options: Options | None = None) -> Executable:
    """Compiles a program that is fused already, as `compile_graph` does any other."""
    from ..passes.pipeline import lower_launches
    from .build import build

    options = options or Options()
    lowered = lower_launches(graph, options.target(), donated=options.donated)
    return build(lowered, options.target())


def _make(graph: Graph, options: Options) -> Executable:
    with no_collection():  # loading all that compiles makes as many objects as compiling
        from .build import build

        return build(_lower(graph, options), options.target())


def _details(graph: Graph, options: Options) -> Details:
    """What tools show of a program that was found on disk: it is compiled after all."""
    from .build import assemble

    return assemble(_lower(graph, options), options.target())[1]


def _lower(graph: Graph, options: Options) -> Lowered:
    from ..ir.verifier import verify
    from ..passes.pipeline import run_passes

    return run_passes(
        graph,
        options.target(),
        donated=options.donated,
        fixed=options.fixed,
        dump=options.dump,
        verify=verify if options.verified else None,
    )
