"""Fourier transforms against numpy's: values, dtypes, gradients, compiled, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import sley
import sley.fft

SHAPE = (3, 4, 5)
REAL = ("rfft", "ihfft", "rfft2", "rfftn", "ihfft2", "ihfftn")  # of real numbers
ONE = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
SEVERAL = ("fft2", "ifft2", "rfft2", "irfft2", "fftn", "ifftn", "rfftn", "irfftn")


def drawn(name: str, width: int = 64, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape)
    if name not in REAL:
        x = x + 1j * rng.normal(size=shape)
    return x if width == 64 else x.astype(np.float32 if name in REAL else np.complex64)


def near(found: Any, expected: np.ndarray, rtol: float = 1e-12) -> None:
    assert found.shape == expected.shape
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol, rtol * scale)


@pytest.mark.parametrize("norm", [None, "backward", "ortho", "forward"])
@pytest.mark.parametrize("name", ONE)
def test_one_axis(name: str, norm: str | None) -> None:
    x = drawn(name)
    function, reference = getattr(sley.fft, name), getattr(np.fft, name)
    for n in (None, 3, 4, 7):
        for dim in (-1, 0, 1):
            expected = reference(x, n, dim, norm)
            near(function(sley.tensor(x), n, dim, norm), expected)
    near(function(sley.tensor(x), axis=1, n=6), reference(x, axis=1, n=6))
    single = function(sley.tensor(drawn(name, 32)))
    assert single.dtype in (sley.float32, sley.complex64)
    near(single, reference(x), 1e-5)


@pytest.mark.parametrize("norm", [None, "ortho", "forward"])
@pytest.mark.parametrize("name", SEVERAL)
def test_several_axes(name: str, norm: str | None) -> None:
    x = drawn(name)
    function, reference = getattr(sley.fft, name), getattr(np.fft, name)
    near(function(sley.tensor(x), norm=norm), reference(x, norm=norm))
    near(function(sley.tensor(x), (2, 8), (0, 2), norm), reference(x, (2, 8), (0, 2), norm))
    kept = function(sley.tensor(x), (-1, 6), (2, 0), norm)  # -1: the axis as it is
    near(kept, reference(x, (SHAPE[2], 6), (2, 0), norm))
    if name.endswith("n"):
        near(function(sley.tensor(x), (6, 3)), reference(x, (6, 3), (1, 2)))
        near(function(sley.tensor(x), dim=(1,)), reference(x, None, (1,)))


@pytest.mark.parametrize("norm", [None, "ortho", "forward"])
def test_several_axes_of_hermitian_signals(norm: str | None) -> None:
    """By their definition: `hfft` along the last axis, plain transforms along the others."""
    z, x = (drawn(name) for name in ("hfft2", "ihfft2"))
    for name, axes in (("hfft2", (1, 2)), ("hfftn", (0, 1, 2))):
        expected = np.fft.hfft(np.fft.fftn(z, axes=axes[:-1], norm=norm), norm=norm)
        near(getattr(sley.fft, name)(sley.tensor(z), norm=norm), expected)
        expected = np.fft.ifftn(np.fft.ihfft(x, norm=norm), axes=axes[:-1], norm=norm)
        near(getattr(sley.fft, f"i{name}")(sley.tensor(x), norm=norm), expected)
    near(sley.fft.hfftn(sley.tensor(z), (2, 6), (1, 0)),
         np.fft.hfft(np.fft.fft(z[:, :2], axis=1), 6, axis=0))  # fmt: skip


@pytest.mark.parametrize(
    ("given", "name", "expected"),
    [
        (sley.float32, "fft", sley.complex64),
        (sley.float64, "fft", sley.complex128),
        (sley.int64, "fft", sley.complex64),
        (sley.bool, "rfft", sley.complex64),
        (sley.complex128, "irfft", sley.float64),
        (sley.float32, "irfft", sley.float32),
        (sley.float64, "ihfft", sley.complex128),
        (sley.complex64, "hfft", sley.float32),
    ],
    ids=str,
)
def test_dtypes(given: Any, name: str, expected: Any) -> None:
    assert getattr(sley.fft, name)(sley.ones(4).to(given)).dtype is expected


@pytest.mark.parametrize("n", [1, 4, 5])
def test_frequencies(n: int) -> None:
    near(sley.fft.fftfreq(n, 0.5, dtype=sley.float64), np.fft.fftfreq(n, 0.5))
    near(sley.fft.rfftfreq(n, d=2.0, dtype=sley.float64), np.fft.rfftfreq(n, 2.0))
    assert sley.fft.fftfreq(n).dtype is sley.float32
    x = drawn("rfft")
    for dim in (None, 1, (0, 2)):
        near(sley.fft.fftshift(sley.tensor(x), dim), np.fft.fftshift(x, dim))
        near(sley.fft.ifftshift(sley.tensor(x), dim), np.fft.ifftshift(x, dim))


@pytest.mark.parametrize(
    ("use", "kind", "message"),
    [
        (lambda x: sley.fft.rfft(x + 1j), sley.DTypeError, "takes real numbers, got complex64"),
        (lambda x: sley.fft.ihfft(x * 1j), sley.DTypeError, "ihfft takes real"),
        (lambda x: sley.fft.fft(x.half()), sley.DTypeError, "float16"),
        (lambda x: sley.fft.fft(x, 0), sley.ArgumentError, "0 points"),
        (lambda x: sley.fft.irfft(x[:1, :1], dim=0), sley.ArgumentError, "0 points"),
        (lambda x: sley.fft.fft(x[:0], dim=0), sley.ArgumentError, "0 points"),
        (lambda x: sley.fft.fft(x, norm="both"), sley.ArgumentError, "none of 'backward'"),
        (lambda x: sley.fft.fft(x[0, 0]), sley.IndexingError, "0-d"),
        (lambda x: sley.fft.fft(x, dim=2), sley.IndexingError, "out of range"),
        (lambda x: sley.fft.fft2(x[0]), sley.IndexingError, "out of range"),
        (lambda x: sley.fft.fftn(x, (1, 2, 3)), sley.ArgumentError, "3 lengths"),
        (lambda x: sley.fft.fftn(x, (1, 2), (0,)), sley.ArgumentError, "2 lengths for 1"),
        (lambda x: sley.fft.fftn(x, dim=(1, -1)), sley.ArgumentError, "twice"),
        (lambda x: sley.fft.fftfreq(0), sley.ArgumentError, "0 points"),
        (lambda x: sley.fft.fft([1.0]), sley.DTypeError, "list"),
    ],
)
def test_errors(use: Callable, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        use(sley.ones(2, 3))


@pytest.mark.parametrize("name", [*ONE, *SEVERAL])
def test_gradients(name: str) -> None:
    """Along a random direction by differences, first and second order, eager and compiled."""
    function = getattr(sley.fft, name)
    rng = np.random.default_rng(1)
    start = drawn(name, shape=(2, 3, 4))
    turn = rng.normal(size=start.shape) * (1 if name in REAL else 1 + 0.5j)
    step = 1e-5

    def loss(x: sley.Tensor) -> sley.Tensor:
        y = function(x)
        return (y.abs() ** 2 * y.real).sum() if y.is_complex() else (y**3).sum()

    def gradient(x: sley.Tensor) -> sley.Tensor:
        (g,) = sley.autograd.grad(loss(x), x, create_graph=True)
        return g

    def along(g: sley.Tensor) -> sley.Tensor:
        return (g * sley.tensor(turn).conj()).real.sum()

    def slopes(x: sley.Tensor) -> tuple[sley.Tensor, sley.Tensor]:
        g = gradient(x)
        (second,) = sley.autograd.grad(along(g), x)
        return g, second

    x = sley.tensor(start, requires_grad=True)
    g, second = slopes(x)
    near_by = [sley.tensor(start + s * step * turn, requires_grad=True) for s in (1, -1)]
    values = [loss(v).item() for v in near_by]
    np.testing.assert_allclose(along(g).item(), (values[0] - values[1]) / (2 * step), rtol=1e-6)
    found = [gradient(v).detach().numpy() for v in near_by]
    near(second, (found[0] - found[1]) / (2 * step), 1e-6)
    for compiled, eager in zip(sley.compile(slopes)(x), (g, second), strict=True):
        near(compiled, eager.detach().numpy())


@pytest.mark.parametrize("name", [*ONE, *SEVERAL])
def test_compiled_with_a_symbolic_batch(name: str) -> None:
    function = getattr(sley.fft, name)
    last = {"dim": (1, 2)} if name.endswith("n") else {}
    compiled = sley.compile(lambda x: function(x * 2, **last) * 0.5)
    for count in (3, 5, 8):
        x = drawn(name, 32, (count, 4, 6))
        expected = getattr(np.fft, name)(x, **({"axes": (1, 2)} if last else {}))
        near(compiled(sley.tensor(x)), expected, 1e-5)
    assert len(compiled.programs) <= 2


def test_a_symbolic_number_of_points() -> None:
    @sley.compile
    def smooth(x: sley.Tensor) -> sley.Tensor:
        n = x.shape[-1]
        spectrum = sley.fft.rfft(x)
        kept = sley.fft.rfftfreq(n).abs() < 0.2
        moved = sley.fft.ifftshift(sley.fft.fftshift(x, -1), -1)
        return sley.fft.irfft(spectrum * kept, n=n) + moved

    for n in (6, 7, 9, 12):
        x = np.random.default_rng(n).normal(size=(2, n)).astype(np.float32)
        spectrum = np.fft.rfft(x) * (np.abs(np.fft.rfftfreq(n)) < 0.2)
        near(smooth(sley.tensor(x)), np.fft.irfft(spectrum, n) + x, 1e-5)
    assert len(smooth.programs) <= 3


def test_a_transform_is_one_call_of_numpy_between_kernels() -> None:
    lowered = sley.compile(lambda x: sley.fft.fft(x * 2).abs()).lower(sley.randn(4, 8))
    text = lowered.text("split complex")
    assert text.count("paired(") == 1 and 'op="fft"' in text and "c64" not in text


def test_many_at_once() -> None:
    x = sley.randn(3, 4, 8, dtype=sley.complex64)
    for function in (sley.fft.fft2, sley.fft.ifft, sley.fft.irfft):
        found = sley.vmap(function)(x)
        near(found, np.stack([function(row).numpy() for row in x]), 1e-5)
