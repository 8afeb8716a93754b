"""What goes wrong in a user's program: what, where (the user's own line), what instead."""

from __future__ import annotations

import linecache
import os
import sys
import sysconfig
import warnings
from types import CodeType, FrameType

import numpy as np

from ..ir.graph import Location

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_ROOMS = tuple(
    os.path.join(_PACKAGE, room) + os.sep
    for room in ("frontend", "ir", "passes", "backends", "runtime")
)
_COMMAND = os.path.join(_PACKAGE, "__main__.py")
# Models that ship with the package are user code: their lines belong into dumps and errors.
_EXAMPLES = os.path.join(_PACKAGE, "frontend", "demo")
# What sley stands on: it runs inside a trace too, also out of the garbage collector.
_BENEATH = ("numpy", "llvmlite", "optree", "ml_dtypes", "tqdm", "safetensors")
_STANDARD_LIBRARY = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib"))
# Frames that stand between the user and the package: decorators, callbacks of a tree map.
_BETWEEN = tuple(os.sep + name for name in ("contextlib.py", "functools.py", "copy.py"))


class SleyError(Exception):
    """Base of everything that sley raises for a reason in the user's program.

    The message says what is wrong, shows the innermost line outside the package, and, with `hint`,
    what to write instead. `location` is another line, where the one at work is not to blame: that
    of an op in a compiled program.
    """

    def __init__(
        self, message: str, *, hint: str | None = None, location: Location | None = None
    ) -> None:
        self.message = message
        self.hint = hint
        parts = [message]
        if location is not None:
            self.location: Location | None = location
            parts.append(_show_line(location))
        else:
            frame = _user_frame(1)
            self.location = None if frame is None else _location(frame)
            if frame is not None:
                parts.append(_show(frame))
        if hint is not None:
            parts.append(f"  hint: {hint}")
        super().__init__("\n".join(parts))

    def __reduce__(self) -> tuple:
        # As it was raised: another process has not the user's frames.
        return _rebuilt, (type(self), self.message, self.hint, self.location, str(self))


def _rebuilt(
    kind: type[SleyError], message: str, hint: str | None, location: Location | None, text: str
) -> SleyError:
    error = kind.__new__(kind, text)
    error.message, error.hint, error.location, error.args = message, hint, location, (text,)
    return error


class ShapeError(SleyError, ValueError):
    """Shapes that do not fit an op or each other."""


class DTypeError(SleyError, TypeError):
    """Element types that an op does not take, or a result that does not fit where it is put."""


class ArgumentError(SleyError, ValueError):
    """An argument that a function does not take: an axis out of range, an unknown mode."""


class IndexingError(SleyError, IndexError):
    """An index that is out of range or of a kind that cannot index."""


class AutogradError(SleyError, RuntimeError):
    """A gradient that cannot be taken: freed graph, overwritten value, no graph at all."""


class LinAlgError(SleyError, RuntimeError):
    """A matrix that has no inverse or no such factor, or a method that did not converge."""


class DeviceError(SleyError, RuntimeError):
    """Tensors that lie on different devices, or a GPU that has failed."""


class OutOfMemoryError(DeviceError):
    """A GPU's memory does not suffice: how much was asked for, held and free, and what for."""


class TraceError(SleyError, RuntimeError):
    """Something that a trace cannot do: a Python branch on a traced value, a tensor from another
    trace, a size that depends on data."""


class FirstCallError(TraceError):
    """State that only a first call makes, such as what an optimizer keeps: `compile` runs that call
    as Python."""


class LoadError(SleyError, RuntimeError, ValueError):
    """A file, or a state dict, that cannot be loaded: damaged, of another kind, other names."""


class UnsupportedError(SleyError, NotImplementedError):
    """A thing that PyTorch or numpy can do and sley cannot (yet)."""


def computation_error(op: str, error: Exception, location: Location | None = None) -> Exception:
    """What to tell the user where the evaluation of `op` on the host has raised `error`; in a
    compiled program at `location`. What is no fault of the data stays what it is."""
    if isinstance(error, np.linalg.LinAlgError):
        return LinAlgError(f"{op}: {error}", location=location)
    if isinstance(error, IndexError):
        return IndexingError(f"{op}: {error}", location=location)
    error.add_note(f"in {op}" + ("" if location is None else f", at {location}"))
    return error


class Retrace(BaseException):
    """Ends a trace that must be taken again under other assumptions; the compile driver alone
    catches it (hence no `Exception`: user code must not).

    Attributes:
        kind: "unify" (two symbols are one), "specialize" (symbols become numbers), "number" (a
            weak Python number becomes part of the signature), "sizes" (those of the call at hand
            must decide comparisons) or "alias" (two inputs that share memory must be seen as views
            of one storage).
        subject: the symbol names, or the storage, or the number's name.
        location: the user's line that made it necessary.
    """

    def __init__(self, kind: str, subject: tuple, reason: str) -> None:
        super().__init__(f"{kind} {subject}: {reason}")
        self.kind = kind
        self.subject = subject
        self.reason = reason
        self.location = user_location(2)


# By the id of a code object: the object (kept alive, so that the id stays its own), whether it
# is the user's, and a Location per instruction.
_CODES: dict[int, tuple[CodeType, bool, dict[int, Location]]] = {}
_INSIDE: set[int] = set()  # the ids of those of the package


def _known(code: CodeType) -> tuple[CodeType, bool, dict[int, Location]]:
    entry = _CODES.get(id(code))
    if entry is None:
        file = code.co_filename
        inside = file.startswith(_ROOMS) and not file.startswith(_EXAMPLES)
        inside = inside or file == os.path.join(_PACKAGE, "__init__.py")
        inside = inside or file.endswith(_BETWEEN) or f"{os.sep}optree{os.sep}" in file
        entry = _CODES[id(code)] = (code, not inside, {})
        if inside:
            _INSIDE.add(id(code))
    return entry


def caller_is_user(skip: int = 1) -> bool:
    """Whether the function that asks was called from outside of the package."""
    caller = sys._getframe(skip + 1)
    return not caller.f_code.co_filename.startswith(_ROOMS) or _known(caller.f_code)[1]


def is_user_code(code: CodeType) -> bool:
    """Whether a code object is neither the package's nor a library's."""
    file = code.co_filename
    return _known(code)[1] and (file.startswith("<") or not is_library_file(file))


def is_library_file(file: str) -> bool:
    """Whether code in `file` is of Python's library, or of what sley stands on."""
    if any(f"site-packages{os.sep}{name}{os.sep}" in file for name in _BENEATH):
        return True
    standard = file.startswith(_STANDARD_LIBRARY) and "site-packages" not in file
    return standard or (file.startswith("<") and "ipython" not in file)


def _user_frame(skip: int) -> FrameType | None:
    frame: FrameType | None = sys._getframe(skip + 1)
    inside = _INSIDE
    while frame is not None:
        # Every eager op with a history comes here: frames of the package are passed without a call.
        if id(frame.f_code) not in inside and _known(frame.f_code)[1]:
            break
        frame = frame.f_back
    if frame is not None and frame.f_code.co_filename == _COMMAND:
        return None  # below the command line there is no user's code
    return frame


def _location(frame: FrameType) -> Location:
    code, _, lines = _known(frame.f_code)
    found = lines.get(frame.f_lasti)
    if found is None:
        name = code.co_qualname.rpartition("<locals>.")[2]
        found = Location(code.co_filename, frame.f_lineno or 0, name)
        lines[frame.f_lasti] = found
    return found


def user_location(skip: int = 1) -> Location | None:
    """The innermost line on the stack that lies outside the package."""
    frame = _user_frame(skip)
    return None if frame is None else _location(frame)


def warn_user(message: str) -> None:
    """A warning at the user's line."""
    line = user_location()
    if line is None:
        warnings.warn(message, stacklevel=2)
    else:
        warnings.warn_explicit(message, UserWarning, line.file, line.line)


def _show(frame: FrameType) -> str:
    """`file:line in function`, the source line, and carets below the failing expression."""
    location = _location(frame)
    source = linecache.getline(location.file, location.line).rstrip()
    if not source:
        return f"  at {location}"
    text = source.lstrip()
    lines = [f"  at {location}", f"    {text}"]
    span = _columns(frame)
    if span is not None:
        cut = len(source) - len(text)
        # Columns count utf-8 bytes of the line.
        raw = source.encode()
        begin = len(raw[: span[0]].decode(errors="replace")) - cut
        end = len(raw[: span[1]].decode(errors="replace")) - cut
        if 0 <= begin < end <= len(text):
            lines.append("    " + " " * begin + "^" * (end - begin))
    return "\n".join(lines)


def _show_line(location: Location) -> str:
    text = linecache.getline(location.file, location.line).strip()
    return f"  at {location}" + (f"\n    {text}" if text else "")


def _columns(frame: FrameType) -> tuple[int, int] | None:
    """First and last column of the instruction at work, if it lies on one line."""
    for number, (line, end_line, column, end_column) in enumerate(frame.f_code.co_positions()):
        if number * 2 != frame.f_lasti:
            continue
        if line != end_line or column is None or end_column is None:
            return None
        return column, end_column
    return None
