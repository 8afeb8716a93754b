"""`sley.compile`: calls become programs, found again by their arguments and guards."""

from __future__ import annotations

import functools
import inspect
import threading
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from ...ir.dims import Dim, symbol
from ...ir.dtypes import f64, i64
from ...ir.graph import Location
from ...ir.types import tensor_type
from ..context import ambient
from ..errors import ArgumentError, FirstCallError, Retrace, SleyError, TraceError
from ..nn.module import Module
from ..storage import Storage
from ..tensor import Tensor
from ..trace import Trace
from ..trees import flatten_tree
from .captures import CapturedTensor, over
from .direct import NOT_KNOWN, DirectCalls, Known
from .family import Family, Place, Sizes, shape_of
from .log import log_compilation
from .lowered import Lowered, dump
from .making import check_devices, compiled, variant
from .outcome import Outcome
from .program import Program
from .reads import Guards, Watch, check_no_hidden_writes
from .reasons import argument_names, new_family, new_sizes
from .signature import (
    Static,
    call_key,
    family_key,
    leaf_owners,
    recognise,
    unflatten,
)

Dynamic = bool | Mapping[str, Mapping[int, str]] | None
_MAX_RETRACES = 64
_MANY_PROGRAMS = 4  # variants of one family after which a warning is given


class CompiledFunction:
    """A function whose calls run as fused machine code. Made by `sley.compile`."""

    __name__: str

    def __init__(
        self, function: Callable[..., Any], dynamic: Dynamic = None, tune: bool | None = None
    ) -> None:
        self.__name__ = type(function).__name__  # of an object that is called, if it has no other
        functools.update_wrapper(self, function)
        self._function = function
        self._dynamic = dynamic
        self._tune = tune
        self._known: dict[Hashable, list[Known]] = {}  # by key, newest first
        self._direct = DirectCalls()
        self._families: dict[Hashable, Family] = {}
        self._numbers: frozenset[int] = frozenset()
        self._lock = threading.RLock()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        direct = self._direct
        if direct.positional is not None and not kwargs:
            result = direct.positional(*args)
            if result is not NOT_KNOWN:
                return result
        if ambient.trace is not None or ambient.differentiates:
            return self._function(*args, **kwargs)
        if direct.trees:
            result = direct.of_trees(args, kwargs)
            if result is not NOT_KNOWN:
                return result
        leaves, key = recognise(args, kwargs, self._numbers)
        for known in self._known.get(key, ()):
            if known.program.failing(leaves) is None:
                if known.record is None:
                    return known.program.run(leaves, known.sizes)
                return direct.serve(known, leaves, args, kwargs)
        try:
            program, sizes = self._find(key, leaves, key[0])
        except FirstCallError as error:
            log_compilation(self.__name__, f"not compiled, this call runs as Python: {error}")
            return self._function(*args, **kwargs)
        return program.run(leaves, sizes)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """A method: each instance is an argument of its own."""
        return self if instance is None else functools.partial(self, instance)

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy begins without programs: these hold machine code, and memory of this one.
        return (
            CompiledFunction,
            (self._function, self._dynamic, self._tune),
            {"__name__": self.__name__},
        )

    @property
    def captures(self) -> list[CapturedTensor]:
        """Every tensor from outside that a program reads or writes, with the line that met it."""
        found: dict[Storage, Location | None] = {}
        for family in self._families.values():
            for program in family.programs:
                for storage, line in program.captures:
                    found.setdefault(storage, line)
        return [CapturedTensor(over(storage), line) for storage, line in found.items()]

    @property
    def programs(self) -> list[Program]:
        """All variants that were compiled, oldest first in each family."""
        return [p for family in self._families.values() for p in family.programs]

    def lower(self, *args: Any, **kwargs: Any) -> Lowered:
        """The program for these arguments after each pass; compiled if need be, not run."""
        leaves, key = recognise(args, kwargs, self._numbers)
        for known in self._known.get(key, ()):
            if known.program.failing(leaves) is None:
                return Lowered(known.program.executable)
        return Lowered(self._find(key, leaves, key[0])[0].executable)

    # Finding or making a program -----------------------------------------------------------

    def _find(
        self, key: tuple, leaves: Sequence[Any], structure: Hashable
    ) -> tuple[Program, tuple[int, ...]]:
        with self._lock:
            family = self._families.setdefault(family_key(leaves, structure), Family())
            reason = None
            for program in reversed(family.programs):
                sizes = program.bind(leaves)
                if sizes is None:
                    continue
                failing = program.failing(leaves)
                if failing is None:
                    self._note(key, program, sizes)
                    return program, sizes
                reason = reason or failing
            reason = reason or self._new_arguments(family, leaves, structure)
            self._learn_sizes(family, leaves, structure)
            program = self._make(family, leaves, structure, reason)
            sizes = program.bind(leaves)
            assert sizes is not None, "a new program fits the call that it was made for"
            family.programs.append(program)
            key = call_key(leaves, structure, self._numbers)
            self._note(key, program, sizes)
            self._warn(family, reason)
            return program, sizes

    def _note(self, key: tuple, program: Program, sizes: tuple[int, ...]) -> None:
        self._known.setdefault(key, []).insert(0, Known(program, sizes, key))

    def _new_arguments(self, family: Family, leaves: Sequence[Any], structure: Hashable) -> str:
        """How the arguments differ from those that there are programs for."""
        names = argument_names(self._function, structure)
        if family.programs:
            return new_sizes(leaves, names, family.seen, family.programs[-1].numbers)
        others = [key for key, known in self._families.items() if known.programs]
        return new_family(family_key(leaves, structure), others, names)

    def _learn_sizes(self, family: Family, leaves: Sequence[Any], structure: Hashable) -> None:
        """Axes whose size has changed become symbols."""
        named: dict[Place, str] = {}
        if isinstance(self._dynamic, Mapping):
            named = self._named_axes(leaves, structure)
        for position, leaf in enumerate(leaves):
            if not isinstance(leaf, Tensor):
                continue
            for axis, size in enumerate(shape_of(leaf)):
                place = (position, axis)
                seen = family.seen.setdefault(place, set())
                seen.add(size)
                varies = len(seen) > 1 and self._dynamic is None
                if place in named:
                    family.symbols[place] = named[place]
                elif (varies or self._dynamic is True) and place not in family.fixed:
                    family.symbols.setdefault(place, f"s{len(family.symbols)}")

    def _named_axes(self, leaves: Sequence[Any], structure: Hashable) -> dict[Place, str]:
        """What `dynamic={"x": {0: "N"}}` says, by leaf and axis."""
        assert isinstance(self._dynamic, Mapping)
        names = list(inspect.signature(self._function).parameters)
        owners = leaf_owners(names, structure)
        found: dict[Place, str] = {}
        for name, axes in self._dynamic.items():
            if name not in names:
                raise ArgumentError(
                    f"dynamic= names {name!r}, {self.__name__} takes {', '.join(names)}"
                )
            for position, owner in enumerate(owners):
                if owner == name and isinstance(leaves[position], Tensor):
                    for axis, text in axes.items():
                        rank = leaves[position].spec.ndim
                        if not -rank <= axis < rank:
                            raise ArgumentError(f"dynamic= names axis {axis} of {name!r}")
                        found[position, axis % rank] = text
        return found

    def _warn(self, family: Family, reason: str) -> None:
        if len(family.programs) < _MANY_PROGRAMS or family.warned:
            return
        family.warned = True
        warnings.warn(
            f"{self.__name__} was compiled {len(family.programs)} times; the last time because "
            f"{reason}. SLEY_LOG=compile tells the reason of each.",
            stacklevel=4,
        )

    # Tracing -------------------------------------------------------------------------------

    def _make(
        self, family: Family, leaves: Sequence[Any], structure: Hashable, reason: str
    ) -> Program:
        """Traces until no assumption is broken any more, and compiles."""
        sizes = Sizes(family.symbols)
        # Each attempt may find that two more symbols are equal.
        for _ in range(_MAX_RETRACES + len(family.symbols)):
            try:
                return self._attempt(family, sizes, leaves, structure, reason)
            except Retrace as retrace:
                self._adapt(family, sizes, leaves, retrace)
            except FirstCallError:
                raise
            except SleyError:
                if not family.symbols:
                    raise
                if sizes.exact:
                    return self._make_with_numbers(family, leaves, structure, reason)
                sizes = Sizes(family.symbols, exact=True)
        raise TraceError(f"{self.__name__} cannot be traced: it changes at every attempt")

    def _make_with_numbers(
        self, family: Family, leaves: Sequence[Any], structure: Hashable, reason: str
    ) -> Program:
        """What fails with symbolic sizes may do with numbers; if not, its message tells them."""
        symbols = dict(family.symbols)
        family.symbols.clear()
        try:
            program = self._make(family, leaves, structure, f"{reason}; its sizes are numbers")
        except SleyError:
            family.symbols.update(symbols)
            raise
        family.fixed |= set(symbols)
        return program

    def _adapt(self, family: Family, sizes: Sizes, leaves: Sequence[Any], retrace: Retrace) -> None:
        if retrace.kind == "unify":
            keep, other = sorted(retrace.subject)
            present = sizes.at(leaves)
            if present[keep] != present[other]:
                sizes.exact = True
                return
            for place, name in sizes.symbols.items():
                if name == other:
                    sizes.symbols[place] = keep
        elif retrace.kind == "specialize":
            for place, name in list(sizes.symbols.items()):
                if name not in retrace.subject:
                    continue
                del sizes.symbols[place]
                if shape_of(leaves[place[0]])[place[1]] != 1:  # a size of 1 is special: this time
                    family.fixed.add(place)
                    family.symbols.pop(place, None)
            log_compilation(self.__name__, f"{retrace.reason} at {retrace.location}: now a number")
        elif retrace.kind == "number":
            positions = {int(name.removeprefix("number")) for name in retrace.subject}
            family.numbers |= positions
            self._numbers |= positions
        elif retrace.kind == "sizes":
            sizes.exact = True
        else:
            (storage,) = retrace.subject
            for position, leaf in enumerate(leaves):
                if isinstance(leaf, Tensor) and leaf.storage is storage:
                    family.whole.add(position)

    def _attempt(
        self,
        family: Family,
        sizes: Sizes,
        leaves: Sequence[Any],
        structure: Hashable,
        reason: str,
    ) -> Program:
        trace = Trace(self._hints(family, sizes, leaves))
        watch = Watch(self._function)
        try:
            with trace:
                shadows, shapes, positions = self._shadow(trace, family, sizes, leaves)
                args, kwargs = unflatten(structure, shadows)
                with watch:
                    results = self._function(*args, **kwargs)
                check_no_hidden_writes(watch, trace)
                self._check_guards(trace, sizes, leaves)
                flat, tree = flatten_tree(results)
                check_devices(trace)
                outcome = Outcome(trace, positions, {p: leaves[p] for p in family.whole}, flat)
                graph = trace.finish(self.__name__, outcome.yields)
                if outcome.gradient is not None:
                    graph = outcome.gradient.with_attention(graph)
            log_compilation(self.__name__, reason)
            executable = compiled(graph, outcome, self._tune, sizes.at(leaves))
            if outcome.gradient is not None:
                outcome.gradient.tune = self._tune
        except BaseException as error:
            trace.undo_attribute_writes()
            if isinstance(error, FirstCallError):
                watch.restore()  # the call is made again
            raise
        dump(self.__name__, executable)
        names = argument_names(self._function, structure)
        extra = {
            f"the argument {n}": x.value for n, x in zip(names, leaves) if isinstance(x, Static)
        }
        numbers = {p: leaves[p] for p in family.numbers if not isinstance(leaves[p], Tensor)}
        whole = {p: leaves[p] for p in family.whole}
        guards = Guards(watch, trace, extra)
        return variant(graph, executable, outcome, guards, shapes, numbers, whole, tree)

    def _hints(self, family: Family, sizes: Sizes, leaves: Sequence[Any]) -> dict[str, int]:
        """Sizes to decide comparisons by: at first the largest seen, as 0 and 1 are special."""
        if sizes.exact:
            return sizes.at(leaves)
        return {name: max(family.seen[place]) for place, name in sizes.symbols.items()}

    def _check_guards(self, trace: Trace, sizes: Sizes, leaves: Sequence[Any]) -> None:
        """Raises Retrace where a comparison has another outcome for the call at hand."""
        present = sizes.at(leaves)
        for guard in trace.guards:
            if not guard.holds(present):
                raise Retrace("sizes", tuple(present), f"{guard} does not hold for this call")

    def _shadow(
        self, trace: Trace, family: Family, sizes: Sizes, leaves: Sequence[Any]
    ) -> tuple[list[Any], list[tuple[Dim, ...] | None], list[int]]:
        """What the function is called with; shapes by leaf; which leaves are inputs."""
        shadows: list[Any] = []
        shapes: list[tuple[Dim, ...] | None] = []
        positions: list[int] = []
        for position, leaf in enumerate(leaves):
            shape: tuple[Dim, ...] | None = None
            if isinstance(leaf, Tensor):
                shape = tuple(
                    symbol(sizes.symbols[position, axis])
                    if (position, axis) in sizes.symbols
                    else size
                    for axis, size in enumerate(leaf.spec.shape)
                )
                is_whole = position in family.whole
                shadows.append(trace.add_input(leaf, shape, whole=is_whole))
                if not is_whole:
                    positions.append(position)
            elif isinstance(leaf, (int, float)) and position not in family.numbers:
                number = tensor_type(f64 if isinstance(leaf, float) else i64)
                shadows.append(trace.add_number(number, f"number{position}"))
                positions.append(position)
            else:
                shadows.append(leaf.value if hasattr(leaf, "value") else leaf)
            shapes.append(shape)
        return shadows, shapes, positions


def compile(
    function: Callable[..., Any] | None = None,
    *,
    dynamic: Dynamic = None,
    tune: bool | None = None,
) -> Any:
    """Compiles a function of tensors: a decorator, or called with the function or a module (then
    it gives a module whose forward pass is compiled).

    The first call with arguments of a kind records what the function does and compiles it; later
    ones run the machine code. Tensors that the function meets on the way (parameters, buffers,
    optimizer state, random state) are read anew at each call, and what it writes to them is
    written. Python numbers are inputs, unless they reach a shape or an index; other hashable values
    are part of the signature.

    Args:
        dynamic: None makes an axis symbolic when its size changes for the first time; True all axes
            from the start; False none. {"x": {0: "N"}} names the symbolic axes of arguments.
        tune: whether up to 12 schedules of each kernel are timed on the GPU, of which the fastest
            is kept, on disk too; None: what `SLEY_TUNE` says. What was timed once is used whether
            this is set or not. On a processor it means nothing.

    Raises:
        SleyError: as the function itself would, and `TraceError` for what a trace cannot do.
    """
    if function is None:
        return functools.partial(compile, dynamic=dynamic, tune=tune)
    if not callable(function):
        raise ArgumentError(f"sley.compile takes a function, not a {type(function).__name__}")
    if isinstance(function, Module):
        from .module import CompiledModule

        return CompiledModule(function, dynamic, tune)
    return CompiledFunction(function, dynamic, tune)
