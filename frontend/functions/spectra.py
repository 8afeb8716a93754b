"""The Fourier transform of a signal piece by piece, and its inverse."""

from __future__ import annotations

from ...ir.dtypes import DType
from ..apply import elementwise
from ..context import ambient
from ..errors import ArgumentError, DTypeError, ShapeError
from ..fft import fft, ifft, irfft, rfft
from ..tensor import Tensor, elements, here
from .arguments import cast, reshaped, shape_of, spelled
from .complex import view_as_real
from .creation import iota, ones, zeros
from .math import abs, mul, true_divide
from .select import index_add
from .shape import constant_pad, expand, transpose, unfold, unsqueeze

_PADS = ("constant", "reflect", "replicate", "circular")


def _window(name: str, window: Tensor | None, n_fft: int, win_length: int, dtype: DType) -> Tensor:
    """n_fft weights, those of the window in their middle."""
    if not 0 < win_length <= n_fft:
        raise ArgumentError(f"{name}: win_length={win_length} is not in 1 .. n_fft={n_fft}")
    if window is None:
        window = ones(win_length, dtype=dtype)
    if [spelled(n) for n in shape_of(window)] != [win_length]:
        raise ShapeError(
            f"{name}: the window has the shape {list(window.shape)}, expected [{win_length}]"
        )
    left = (n_fft - win_length) // 2
    return constant_pad(window, (left,), (n_fft - win_length - left,), 0)


def _lengths(name: str, n_fft: int, hop: int | None, win: int | None) -> tuple[int, int]:
    hop, win = n_fft // 4 if hop is None else hop, n_fft if win is None else win
    if n_fft < 1 or hop < 1:
        raise ArgumentError(f"{name}: n_fft={n_fft} and hop_length={hop} must be positive")
    return hop, win


def stft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
) -> Tensor:
    """The Fourier transforms of the pieces of a signal (B?, T), each of n_fft points weighted by
    the window and hop_length (by default a quarter of n_fft) after the last one: complex of the
    shape (B?, frequencies, pieces). With `center` piece k has its middle at k * hop_length: the
    signal is padded on both sides. `onesided` leaves out the frequencies that follow from others,
    by default for a real signal and window. `return_complex=False` gives the real and the imaginary
    part as last axis.

    Raises:
        ArgumentError: lengths or options that cannot be; a real input without `return_complex`.
        ShapeError: the signal has more than 2 axes or is too short, or the window another length.
    """
    from ..nn.functional.structure import pad

    hop, win = _lengths("stft", n_fft, hop_length, win_length)
    if input.ndim not in (1, 2):
        raise ShapeError(f"stft: a signal has one axis, or two in a batch, not {input.ndim}")
    if pad_mode not in _PADS:
        raise ArgumentError(f"stft: pad_mode={pad_mode!r} is none of {', '.join(_PADS)}")
    dtype = here(input).spec.dtype
    if not dtype.is_inexact:
        raise DTypeError(f"stft of {dtype.public}: a signal is of floats or complex numbers")
    weights = _window("stft", window, n_fft, win, dtype)
    complex_ = dtype.is_complex or here(weights).spec.dtype.is_complex
    if return_complex is None:
        if not complex_:
            raise ArgumentError(
                "stft: return_complex is to be given for real signals",
                hint="return_complex=True, and view_as_real() of the result for its parts",
            )
        return_complex = True
    onesided = not complex_ if onesided is None else onesided
    if onesided and complex_:
        raise ArgumentError("stft: a complex signal or window has no onesided transform")
    x = input if input.ndim == 2 else unsqueeze(input, 0)
    if center:
        x = pad(unsqueeze(x, 1), (n_fft // 2, n_fft // 2), mode=pad_mode).squeeze(1)
    length = spelled(shape_of(x)[1])
    if isinstance(length, int) and length < n_fft:
        raise ShapeError(f"stft: pieces of {n_fft} points from a signal of {length}")
    pieces = mul(unfold(x, 1, n_fft, hop), weights)
    norm = "ortho" if normalized else None
    found = transpose((rfft if onesided else fft)(pieces, norm=norm), 1, 2)
    found = found if input.ndim == 2 else found[0]
    return found if return_complex else view_as_real(found)


def istft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Tensor:
    """The signal (B?, T) whose `stft` with these options is nearest to `input`, of `length` points,
    or of as many as the pieces cover (without the padding of `center`): the pieces are weighted
    with the window, added where they lie, and divided by the sum of the window's squares.

    Raises:
        ArgumentError: lengths or options that cannot be; points that no window covers (eager).
        DTypeError: the input is not complex.
        ShapeError: the input has not 2 axes (3 in a batch), or not the frequencies of n_fft points.
    """
    hop, win = _lengths("istft", n_fft, hop_length, win_length)
    if not here(input).spec.dtype.is_complex:
        raise DTypeError("istft: the input is not complex", hint="make it so: view_as_complex(x)")
    if input.ndim not in (2, 3):
        raise ShapeError(f"istft: {input.ndim} axes, not frequencies and pieces, or in a batch")
    x = transpose(input if input.ndim == 3 else unsqueeze(input, 0), 1, 2)
    batch, count, found = (spelled(n) for n in shape_of(x))
    onesided = (found != n_fft and not return_complex) if onesided is None else onesided
    if found != (n_fft // 2 + 1 if onesided else n_fft):
        raise ShapeError(f"istft: {found} frequencies of pieces of {n_fft} points")
    if return_complex and onesided:
        raise ArgumentError("istft: a complex signal has no onesided transform")
    norm = "ortho" if normalized else None
    pieces = irfft(x, n=n_fft, norm=norm) if onesided else ifft(x, norm=norm)
    pieces = pieces if onesided or return_complex else pieces.real
    dtype = here(pieces).spec.dtype
    weights = _window("istft", window, n_fft, win, dtype)
    total = n_fft + hop * (count - 1)
    places = reshaped(
        elementwise("add", mul(iota((count, n_fft), 0), hop), iota((count, n_fft), 1)), (-1,)
    )
    flat = reshaped(mul(pieces, weights), (batch, count * n_fft))
    summed = index_add(zeros((batch, total), dtype=dtype), 1, places, flat)
    squares = reshaped(expand(mul(weights, weights), (count, n_fft)), (-1,))
    envelope = index_add(zeros((total,), dtype=here(weights).spec.dtype), 0, places, squares)
    start = n_fft // 2 if center else 0
    end = total - (n_fft // 2 if center and length is None else 0)
    end = end if length is None else start + length
    kept = envelope[start:end]
    known = None if ambient.trace is not None else elements(abs(kept.detach()))
    if known is not None and known.size and known.min() < 1e-11:
        raise ArgumentError(
            "istft: the windows leave points of the signal uncovered",
            hint="give a smaller hop_length, or center=True and a shorter length",
        )
    result = true_divide(summed[:, start:end], kept)
    missing = 0 if length is None else spelled(shape_of(result)[1])
    if length is not None and isinstance(missing, int) and missing < length:
        result = constant_pad(result, (0, 0), (0, length - missing), 0)
    result = cast(result, dtype)
    return result if input.ndim == 3 else result[0]
