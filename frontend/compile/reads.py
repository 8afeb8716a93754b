"""Guards on Python state: what a traced call has read, and whether it is still so.

Two ways lead here. Attributes of modules and optimizers report themselves to the trace; they are
compared again only when the epoch has moved. Globals, closure cells and the arguments' plain
objects are found from the code that ran, and compared at each call: by identity, numbers and
strings by value, containers and plain objects with what they hold.
"""

from __future__ import annotations

import dis
import functools
import gc
import sys
import types
from collections.abc import Callable
from typing import Any

from ...runtime.call_hook import CallHook
from ..epoch import epoch
from ..errors import TraceError, _known, is_library_file
from ..trace import MISSING, Read, Trace
from .captures import is_followed, read_again
from .snapshot import Snapshot, is_library

# Attributes of modules that hold their parts.
_TABLES = (
    "_parameters", "_buffers", "_modules", "_not_saved", "_forward_hooks", "_forward_pre_hooks",
    "_backward_hooks", "_backward_pre_hooks",
)  # fmt: skip


def _is_native(profiler: Any) -> bool:
    """Whether it is a profiler as `cProfile` has them, neither of ours nor a function."""
    return profiler is not None and not callable(profiler) and not isinstance(profiler, CallHook)


class Watch:
    """Finds the user's code that runs inside `with Watch(function) as watch:`."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.cells: dict[int, tuple[str, Any, Snapshot]] = {}
        self.names: dict[tuple[int, str], tuple[dict, str, Snapshot]] = {}
        self.defaults: list[tuple[str, Any, Snapshot]] = []
        self._functions: dict[types.CodeType, types.FunctionType] = {}
        self._hook = CallHook.of(self._called)
        self._outer: Any = None
        self._note_function(function)

    def __enter__(self) -> Watch:
        # Callbacks of the garbage collector would look like code that the function has called.
        self._collects = gc.isenabled()
        gc.disable()
        self._outer = sys.getprofile()
        if _is_native(self._outer):
            self._outer.disable()
        self._hook.install()
        return self

    def __exit__(self, *exc: object) -> None:
        sys.setprofile(None)
        if isinstance(self._outer, CallHook):
            self._outer.install()
        elif _is_native(self._outer):
            self._outer.enable()
        else:
            sys.setprofile(self._outer)
        if self._collects:
            gc.enable()

    def _called(self, frame: types.FrameType) -> None:
        code = frame.f_code
        if not _known(code)[1] or is_library_file(code.co_filename):
            return
        for name in _global_names(code, "LOAD_GLOBAL", "LOAD_NAME"):
            if name in frame.f_globals:
                self._note_global(frame.f_globals, name)
        for name in _global_names(code, "STORE_GLOBAL", "DELETE_GLOBAL"):
            self._note_global(frame.f_globals, name)
        function = self._functions.get(code)
        if function is not None:
            self._note_cells(function)
            self._note_defaults(function)

    def _note_global(self, scope: dict, name: str) -> None:
        key = (id(scope), name)
        if key in self.names:
            return
        seen = Snapshot(scope.get(name, MISSING))
        self.names[key] = (scope, name, seen)
        self._note_functions(seen)

    def _note_cells(self, function: types.FunctionType) -> None:
        for name, cell in zip(
            function.__code__.co_freevars, function.__closure__ or (), strict=True
        ):
            if id(cell) in self.cells:
                continue
            seen = Snapshot(_contents(cell))
            self.cells[id(cell)] = (name, cell, seen)
            self._note_functions(seen)

    def _note_defaults(self, function: types.FunctionType) -> None:
        """Defaults of parameters that can change inside."""
        code, values = function.__code__, function.__defaults__ or ()
        names = code.co_varnames[code.co_argcount - len(values) : code.co_argcount]
        given = dict(zip(names, values, strict=True)) | (function.__kwdefaults__ or {})
        for name, value in given.items():
            seen = Snapshot(value)
            if seen.parts is not None:
                self.defaults.append((f"the default of {name}", value, seen))
                self._note_functions(seen)

    def _note_functions(self, seen: Snapshot) -> None:
        for value in seen.everything():
            self._note_function(value)

    def _note_function(self, value: Any) -> None:
        while isinstance(value, (types.MethodType, functools.partial)):
            value = value.__func__ if isinstance(value, types.MethodType) else value.func
        while isinstance(value, types.FunctionType):
            self._functions.setdefault(value.__code__, value)
            value = getattr(value, "__wrapped__", None)

    def restore(self) -> list[str]:
        """Puts back variables, lists and dicts that have changed since; their names."""
        changed: list[str] = []
        for scope, name, seen in self.names.values():
            now = scope.get(name, MISSING)
            if seen.same(now):
                continue
            changed.append(name)
            seen.restore()
            if seen.value is MISSING:
                del scope[name]
            else:
                scope[name] = seen.value
        for name, cell, seen in self.cells.values():
            if seen.same(_contents(cell)):
                continue
            changed.append(name)
            seen.restore()
            if seen.value is MISSING:
                del cell.cell_contents
            else:
                cell.cell_contents = seen.value
        for name, value, seen in self.defaults:
            if not seen.same(value):
                changed.append(name)
                seen.restore()
        return changed


def _contents(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return MISSING


@functools.lru_cache(maxsize=4096)
def _global_names(code: types.CodeType, *instructions: str) -> tuple[str, ...]:
    """The names that these instructions of a function use."""
    return tuple({i.argval: None for i in dis.get_instructions(code) if i.opname in instructions})


class Guards:
    """The conditions on Python state under which a program is valid.

    Attributes:
        names: (scope, name, what was seen) of globals.
        cells: (name, cell, what was seen) of closures.
        objects: (name, object, what was seen) of what else can change inside.
        epoch: the count at which attributes of modules were last compared.
    """

    def __init__(self, watch: Watch, trace: Trace, extra: dict[str, Any]) -> None:
        self._state = [(read, Snapshot(read.value)) for read in trace.reads if _is_compared(read)]
        # Writing into what an attribute holds moves no epoch.
        mutable = {
            id(r.value): (f"{type(r.owner).__name__}.{r.name}", r.value, seen)
            for r, seen in self._state
            if seen.parts is not None and not _is_told(r)
        }
        names = [(scope, name, seen) for scope, name, seen in watch.names.values()]
        cells = [(name, cell, seen) for name, cell, seen in watch.cells.values()]
        self.names, self.cells = tuple(names), tuple(cells)
        self.objects = [(name, value, Snapshot(value)) for name, value in extra.items()]
        self.objects += mutable.values()
        self.objects += watch.defaults
        self.epoch = epoch.count

    def failing(self) -> str | None:
        """The first guard that does not hold, with old and new value; None if all do."""
        for scope, name, seen in self.names:
            now = scope.get(name, MISSING)
            if not seen.same(now):
                return seen.change(f"the global {name}", now)
        for name, cell, seen in self.cells:
            now = _contents(cell)
            if not seen.same(now):
                return seen.change(f"the closure's {name}", now)
        for name, value, seen in self.objects:
            if not seen.same(value):
                return seen.change(name, value)
        if epoch.count == self.epoch:
            return None
        for read, seen in self._state:
            now = read_again(read)
            if not seen.same(now):
                owner = type(read.owner).__name__
                return seen.change(f"{owner}.{read.name}", now)
        self.epoch = epoch.count
        return None


def _is_compared(read: Read) -> bool:
    """Whether this is the place that looks after it; `Captures` does after the others."""
    return read.kind != "grad" and not is_followed(read)


def _is_told(read: Read) -> bool:
    """Whether every change in what an attribute holds moves the epoch."""
    return read.name in _TABLES or is_library(type(read.owner))  # type: ignore[arg-type]


def check_no_hidden_writes(watch: Watch, trace: Trace) -> None:
    """Raises where the traced call has changed Python state that only the trace would change.

    Raises:
        TraceError: a number attribute was read and then written; a global, a closure variable or
            something that these hold was changed. Variables, lists and dicts are put back.
    """
    reads = {(id(r.owner), r.name): r for r in trace.reads}
    for write in trace.attribute_writes:
        read = reads.get((id(write.owner), write.name))
        is_number = isinstance(write.old, (int, float)) and not isinstance(write.old, bool)
        if read is not None and is_number:
            raise TraceError(
                f"{type(write.owner).__name__}.{write.name}, a Python number, is read (at "
                f"{read.line}) and changed in a compiled function: it would change only while the "
                "function is recorded",
                hint=f"make it a buffer: register_buffer({write.name!r}, sley.tensor(...))",
            )
    names = ", ".join(watch.restore())
    if names:
        raise TraceError(
            f"{names} changed while the function was recorded; a compiled call would not do that",
            hint="return the value, or keep it in a tensor that is written in place",
        )
