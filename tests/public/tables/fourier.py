"""Fourier transforms, complex numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from public.samples import COMPLEX, FLOATS, Table, binary, drawn, find, public, unary

import sley

TABLE = Table()
WIDE = ("float64", "float32")
EVERY = (*WIDE, *COMPLEX)


def as_complex(dtype: str) -> str:
    return {"float64": "complex128", "float32": "complex64"}.get(dtype, dtype)


def as_real(dtype: str) -> str:
    return {"complex128": "float64", "complex64": "float32"}.get(dtype, dtype)


def transformed(name: str, label: str, shape: tuple[int, ...], **options: Any) -> None:
    """numpy has them all by the same names; hfft2, hfftn and their inverses are composed."""
    takes_reals = name in ("rfft", "rfft2", "rfftn", "ihfft", "ihfft2", "ihfftn")
    gives_reals = name in ("irfft", "irfft2", "irfftn", "hfft", "hfft2", "hfftn")
    numpy_options = {{"dim": "axis" if name.endswith("t") else "axes"}.get(k, k): v
                     for k, v in options.items()}  # fmt: skip
    reference = getattr(np.fft, name, None) or COMPOSED[name]
    for dtype in WIDE if takes_reals else EVERY if not label else COMPLEX[:1]:
        TABLE.shaped(
            f"fft.{name}", public(f"fft.{name}", **options),
            lambda x: reference(x, **numpy_options), [shape], label=f"{label}{dtype}",
            dtypes=[dtype], result=as_real(dtype) if gives_reals else as_complex(dtype),
            batch=[0] if not label and len(shape) == 3 else None, tolerance=1e-5,
            empty=False,
        )  # fmt: skip


def hfftn(x: np.ndarray, s: Any = None, axes: Any = None, norm: Any = None) -> np.ndarray:
    *outer, last = axes or range(x.ndim)
    return np.fft.hfft(np.fft.fftn(x, axes=outer) if outer else x, axis=last)


def ihfftn(x: np.ndarray, s: Any = None, axes: Any = None, norm: Any = None) -> np.ndarray:
    *outer, last = axes or range(x.ndim)
    half = np.fft.ihfft(x, axis=last)
    return np.fft.ifftn(half, axes=outer) if outer else half


COMPOSED = {
    "hfftn": hfftn, "hfft2": lambda x: hfftn(x, axes=(-2, -1)), "ihfftn": ihfftn,
    "ihfft2": lambda x: ihfftn(x, axes=(-2, -1)),
}  # fmt: skip
for _name in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft"):
    transformed(_name, "", (3, 6))
    transformed(_name, "dim-", (5, 3), dim=0)
    transformed(_name, "longer-", (3, 5), n=8)
    transformed(_name, "shorter-", (3, 7), n=4, norm="ortho")
    transformed(_name, "forward-", (3, 6), norm="forward")
    TABLE.wrong(f"fft.{_name}", "norm", lambda n=_name: find(f"fft.{n}")(sley.ones(4), norm="x"),
                ValueError, "x")  # fmt: skip
    TABLE.wrong(f"fft.{_name}", "points", lambda n=_name: find(f"fft.{n}")(sley.ones(4), 0),
                ValueError, "0 points")  # fmt: skip
    TABLE.wrong(f"fft.{_name}", "dim", lambda n=_name: find(f"fft.{n}")(sley.ones(4), dim=1),
                IndexError, "")  # fmt: skip
    TABLE.wrong(f"fft.{_name}", "0-d", lambda n=_name: find(f"fft.{n}")(sley.tensor(1.0)),
                IndexError, "0-d")  # fmt: skip
for _name in ("fft2", "ifft2", "rfft2", "irfft2", "hfft2", "ihfft2", "fftn", "ifftn", "rfftn",
              "irfftn", "hfftn", "ihfftn"):  # fmt: skip
    transformed(_name, "", (2, 4, 6) if _name.endswith("2") else (4, 6))
    TABLE.wrong(f"fft.{_name}", "norm", lambda n=_name: find(f"fft.{n}")(sley.ones(4, 4), norm="x"),
                ValueError, "x")  # fmt: skip
    TABLE.wrong(f"fft.{_name}", "twice",
                lambda n=_name: find(f"fft.{n}")(sley.ones(4, 4), dim=(0, 0)), ValueError,
                "twice")  # fmt: skip
    TABLE.wrong(f"fft.{_name}", "lengths",
                lambda n=_name: find(f"fft.{n}")(sley.ones(4, 4), (2,), (0, 1)), ValueError,
                "lengths")  # fmt: skip
for _name in ("fft2", "ifftn"):
    transformed(_name, "sizes-", (2, 4, 6), s=(3, 8), dim=(0, 2))
for _n in (1, 4, 5):
    for _name, _of in (("fftfreq", np.fft.fftfreq), ("rfftfreq", np.fft.rfftfreq)):
        TABLE.case(f"fft.{_name}", str(_n),
                   lambda k=_n, n=_name: find(f"fft.{n}")(k, 0.5, dtype=sley.float64), [],
                   lambda k=_n, f=_of: f(k, 0.5), dtype="float64")  # fmt: skip
for _name, _of in (("fftshift", np.fft.fftshift), ("ifftshift", np.fft.ifftshift)):
    TABLE.shaped(f"fft.{_name}", public(f"fft.{_name}"), _of, [(3, 4)],
                 dtypes=(*EVERY, "int64"))  # fmt: skip
    TABLE.shaped(f"fft.{_name}", public(f"fft.{_name}", 1), lambda x, f=_of: f(x, 1), [(3, 5)],
                 label="dim", dtypes=WIDE, batch=[0])  # fmt: skip
    TABLE.wrong(f"fft.{_name}", "dim", lambda n=_name: find(f"fft.{n}")(sley.ones(2), 1),
                IndexError, "")  # fmt: skip
for _name in ("fftfreq", "rfftfreq"):
    TABLE.wrong(f"fft.{_name}", "points", lambda n=_name: find(f"fft.{n}")(0), ValueError, "0")

# ---------------------------------------------------------------------------------- complex numbers

for _name, _of, _result in (
    ("real", np.real, "real"), ("imag", np.imag, "real"), ("angle", np.angle, "real"),
    ("conj", np.conj, "same"), ("conj_physical", np.conj, "same"), ("resolve_conj", lambda x: x,
                                                                    "same"),
):  # fmt: skip
    unary(TABLE, _name, _of, dtypes=COMPLEX, result=_result, special=False)
unary(TABLE, "angle", lambda x: np.where(x < 0, np.pi, 0 * x), dtypes=WIDE, smooth=False,
      special=False)  # fmt: skip
TABLE.case("angle", "special", public("angle"), [np.array([np.nan, np.inf, -np.inf, -0.0])],
           lambda x: np.array([np.nan, 0, np.pi, 0]), special=True)  # fmt: skip
unary(TABLE, "positive", np.positive, dtypes=(*FLOATS, *COMPLEX))
TABLE.shaped("adjoint", public("adjoint"), lambda x: np.conj(x).swapaxes(-1, -2), [(2, 3, 4)],
             dtypes=EVERY, batch=[0])  # fmt: skip
TABLE.shaped("view_as_real", public("view_as_real"), lambda x: np.stack([x.real, x.imag], -1),
             [(3, 4)], dtypes=COMPLEX, result="real", batch=[0])  # fmt: skip
TABLE.shaped("view_as_complex", lambda x: sley.view_as_complex(x.contiguous()),
             lambda x: x[..., 0] + 1j * x[..., 1], [(3, 4, 2)], dtypes=WIDE[:1],
             result="complex128", batch=[0])  # fmt: skip
binary(TABLE, "complex", lambda a, b: a + 1j * b, dtypes=WIDE[:1], result="complex128",
       special=False)  # fmt: skip
binary(TABLE, "polar", lambda a, b: a * np.exp(1j * b), dtypes=WIDE[:1], result="complex128",
       low=0.2, special=False)  # fmt: skip
for _name in ("is_complex", "is_conj", "is_floating_point"):
    TABLE.case(_name, "complex", lambda x, n=_name: sley.tensor(find(n)(x)), [np.ones(2) + 1j],
               lambda x, n=_name: np.array(n == "is_complex"))  # fmt: skip
for _label, _call, _error in (
    ("complex", lambda: sley.complex(sley.ones(2), sley.ones(2).double()), TypeError),
    ("complex", lambda: sley.complex(sley.arange(2), sley.arange(2)), TypeError),
    ("polar", lambda: sley.polar(sley.arange(2), sley.arange(2)), TypeError),
    ("view_as_real", lambda: sley.view_as_real(sley.ones(2)), (TypeError, ValueError)),
    ("view_as_complex", lambda: sley.view_as_complex(sley.ones(3)), (TypeError, ValueError)),
    ("imag", lambda: sley.imag(sley.ones(2)), (TypeError, ValueError)),
    ("adjoint", lambda: sley.adjoint(sley.ones(2)), ValueError),
):
    TABLE.wrong(_label, "input", _call, _error, "")
TABLE.case("Tensor.mH", "complex", lambda x: x.mH, [drawn((2, 3, 4), "complex128", -1, 1)],
           lambda x: np.conj(x).swapaxes(-1, -2), gradient=True)  # fmt: skip
TABLE.case("Tensor.H", "complex", lambda x: x.H, [drawn((3, 4), "complex128", -1, 1)],
           lambda x: np.conj(x).T, gradient=True)  # fmt: skip
