"""How a tensor is printed: as PyTorch prints it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ir import dtypes
from .context import ambient
from .device import CPU
from .errors import ArgumentError

if TYPE_CHECKING:
    from .tensor import Tensor

_IMPLIED = (dtypes.i64, dtypes.bool_)
_BEGIN = "tensor("


@dataclass(frozen=True)
class PrintOptions:
    """What `set_printoptions` sets."""

    precision: int = 4
    threshold: int = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_PROFILES = {
    "default": PrintOptions(),
    "short": PrintOptions(precision=2, edgeitems=2),
    "full": PrintOptions(threshold=2**63),
}
_options = PrintOptions()


def set_printoptions(
    precision: int | None = None,
    threshold: int | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """How tensors are printed from now on.

    Args:
        precision: digits behind the point (4).
        threshold: tensors with more elements (1000) are printed in part.
        edgeitems: elements at each end of an axis printed in part (3).
        linewidth: characters of a line (80).
        profile: "default", "short" or "full": all of these at once.
        sci_mode: always (True) or never (False) with an exponent; None: where needed.

    Raises:
        ArgumentError: there is no such profile.
    """
    global _options
    if profile is not None and profile not in _PROFILES:
        raise ArgumentError(f"profile {profile!r} is none of {', '.join(_PROFILES)}")
    base = _options if profile is None else _PROFILES[profile]
    given = {
        "precision": precision, "threshold": threshold, "edgeitems": edgeitems,
        "linewidth": linewidth,
    }  # fmt: skip
    changes: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
    _options = replace(base, **changes, sci_mode=sci_mode)


def tensor_text(tensor: Tensor) -> str:
    """`tensor([1., 2.])`, with the dtype where it is not implied, and what made it."""
    type = tensor.spec
    notes = []
    array = _shown(tensor)
    if array is None:
        body = f"<traced {type}>"
    else:
        default = ambient.context.default_dtype
        implied = [default]
        if 0 in type.shape:
            body = "[]"
            if len(type.shape) > 1:
                notes.append(f"size={type.shape}")
        else:
            body = _elements(array, type.dtype)
            implied += [default.to_complex(), *_IMPLIED]
        if type.dtype not in implied:
            notes.append(f"dtype={type.dtype!r}")
    if tensor.device is not CPU:
        notes.append(f"device='{tensor.device}'")
    if tensor.requires_grad:
        name = getattr(tensor, "grad_fn", None)
        notes.append("requires_grad=True" if name is None else f"grad_fn={name!r}")
    return _with_notes(_BEGIN + body, notes)


def _shown(tensor: Tensor) -> np.ndarray | None:
    """What a tensor holds at this point, where that is known."""
    storage, trace = tensor.storage, ambient.trace
    if storage.trace is not None or (trace is not None and trace.written(storage)):
        return None
    if storage.place is not None:
        return storage.place.get(storage, tensor.path, tensor.spec)
    return tensor._array


def _with_notes(text: str, notes: list[str]) -> str:
    """The text with its notes, on a new line where they do not fit into the last one."""
    room = _options.linewidth - len(text.rpartition("\n")[2])
    for note in notes:
        if len(note) + 2 > room:
            text += ",\n" + " " * len(_BEGIN) + note
            room = _options.linewidth - len(_BEGIN) - len(note)
        else:
            text += f", {note}"
            room -= len(note) + 2
    return text + ")"


def _elements(array: np.ndarray, dtype: dtypes.DType) -> str:
    if dtype.is_floating_point:
        array = array.astype(np.float64)
    elif dtype.is_complex:
        array = array.astype(np.complex128)
    in_part = array.size > _options.threshold
    write, width = _writer(_ends(array) if in_part else array)
    if array.ndim == 0:
        return write(array[()]).lstrip()
    return _nested(array, len(_BEGIN), write, width, in_part)


def _ends(array: np.ndarray) -> np.ndarray:
    """The elements of an array printed in part."""
    edge = _options.edgeitems
    for axis, size in enumerate(array.shape):
        if size > 2 * edge:
            places = [*range(edge), *range(size - edge, size)]
            array = np.take(array, places, axis)
    return array


def _nested(
    array: np.ndarray, indent: int, write: Callable[[Any], str], width: int, in_part: bool
) -> str:
    """The elements in brackets, from column `indent` on."""
    edge, size = _options.edgeitems, array.shape[0]
    cut = in_part and size > 2 * edge
    shown = [*range(edge), *range(size - edge, size)] if cut else range(size)
    if array.ndim == 1:
        parts = [write(array[k]) for k in shown]
        if cut:
            parts.insert(edge, " ...")
        each = max(1, (_options.linewidth - indent) // (width + 2))
        lines = [", ".join(parts[k : k + each]) for k in range(0, len(parts), each)]
        return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
    parts = [_nested(array[k], indent + 1, write, width, in_part) for k in shown]
    if cut:
        parts.insert(edge, "...")
    return "[" + ("," + "\n" * (array.ndim - 1) + " " * (indent + 1)).join(parts) + "]"


def _writer(shown: np.ndarray) -> tuple[Callable[[Any], str], int]:
    """How one of the elements is written, and how wide."""
    if shown.dtype.kind == "c":
        real, real_width = _float_writer(shown.real)
        imaginary, width = _float_writer(shown.imag)

        def both(value: Any) -> str:
            text = imaginary(value.imag).strip()
            return f"{real(value.real)}{text if text[0] == '-' else '+' + text}j"

        return both, real_width + width + 1
    if shown.dtype.kind == "f":
        return _float_writer(shown)
    width = max(len(str(v)) for v in shown.reshape(-1).tolist())
    return lambda value: str(value).rjust(width), width


def _float_writer(shown: np.ndarray) -> tuple[Callable[[Any], str], int]:
    """Whole numbers as "3.", others with digits, with an exponent where these would be many."""
    finite = shown[np.isfinite(shown) & (shown != 0)]
    sizes = np.abs(finite)
    whole = bool(np.all(finite == np.trunc(finite)))
    digits, with_exponent = _options.precision, _options.sci_mode
    if with_exponent is None:
        with_exponent = bool(finite.size) and bool(
            sizes.max() / sizes.min() > 1000
            or sizes.max() > 1e8
            or (not whole and sizes.min() < 1e-4)
        )

    def plain(value: Any) -> str:
        if not np.isfinite(value):
            return str(float(value))
        if with_exponent:
            return f"{value:.{digits}e}"
        return f"{value:.0f}." if whole else f"{value:.{digits}f}"

    width = max((len(plain(v)) for v in finite.reshape(-1)), default=1)
    return lambda value: plain(value).rjust(width), width
