"""Transforms of a signal's pieces: against numpy's of each piece, and back."""

from __future__ import annotations

import numpy as np
import pytest

import sley

RNG = np.random.default_rng(0)


def pieces(x: np.ndarray, n_fft: int, hop: int, window: np.ndarray, mode: str) -> np.ndarray:
    """Of one centred signal, as the definition has it."""
    padded = np.pad(x, n_fft // 2, mode=mode)  # type: ignore[call-overload]
    left = (n_fft - len(window)) // 2
    weights = np.pad(window, (left, n_fft - len(window) - left))
    count = (len(padded) - n_fft) // hop + 1
    return np.stack([padded[k * hop : k * hop + n_fft] * weights for k in range(count)], -1)


@pytest.mark.parametrize("length", [16, 23])
@pytest.mark.parametrize(("n_fft", "hop", "points"), [(8, 2, 8), (8, 3, 5), (7, 1, 7)])
@pytest.mark.parametrize("mode", ["reflect", "constant"])
def test_pieces_of_a_signal(length: int, n_fft: int, hop: int, points: int, mode: str) -> None:
    x, window = RNG.standard_normal((2, length)), RNG.random(points) + 0.5
    found = sley.stft(
        sley.tensor(x), n_fft, hop, points, sley.tensor(window), pad_mode=mode, return_complex=True
    )
    expected = [np.fft.rfft(pieces(row, n_fft, hop, window, mode), axis=0) for row in x]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    parts = sley.tensor(x[0]).stft(
        n_fft, hop, points, sley.tensor(window), pad_mode=mode, return_complex=False
    )
    np.testing.assert_allclose(parts[..., 1], expected[0].imag, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"normalized": True}, {"onesided": False}])
def test_there_and_back(options: dict) -> None:
    x = sley.tensor(RNG.standard_normal((2, 40)))
    window = sley.hann_window(16, dtype=sley.float64)
    shared = {"n_fft": 16, "hop_length": 4, "window": window, **options}
    there = sley.stft(x, return_complex=True, **shared)
    np.testing.assert_allclose(sley.istft(there, length=40, **shared), x, rtol=1e-9, atol=1e-12)
    assert there[0].istft(**shared).shape == (40,)
    both = sley.complex(x, x.flip(1))
    of_complex = {**shared, "onesided": False}
    there = sley.stft(both, **of_complex)
    back = sley.istft(there, length=40, return_complex=True, **of_complex)
    np.testing.assert_allclose(back, both, rtol=1e-9, atol=1e-12)


def test_compiled_for_any_length_and_differentiated() -> None:
    window = sley.hann_window(8, dtype=sley.float64)

    def loss(x: sley.Tensor) -> sley.Tensor:
        x = x.detach().requires_grad_()
        there = sley.stft(x, 8, 2, window=window, return_complex=True)
        back = sley.istft(there * 2, 8, 2, window=window)
        (there.abs() + 1).log().sum().backward()
        assert x.grad is not None
        return x.grad[..., : back.shape[-1]] + back.detach()

    compiled = sley.compile(loss)
    for length in (20, 24, 31):
        x = sley.tensor(RNG.standard_normal((2, length)))
        np.testing.assert_allclose(compiled(x), loss(x), rtol=1e-9, atol=1e-10)


def test_what_cannot_be() -> None:
    x = sley.ones(20)
    with pytest.raises(ValueError, match="return_complex is to be given"):
        sley.stft(x, 8)
    with pytest.raises(ValueError, match=r"win_length=9 is not in 1 \.\. n_fft=8"):
        sley.stft(x, 8, win_length=9, return_complex=True)
    with pytest.raises(ValueError, match=r"shape \[7\], expected \[8\]"):
        sley.stft(x, 8, window=sley.ones(7), return_complex=True)
    with pytest.raises(ValueError, match="pieces of 8 points from a signal of 5"):
        sley.stft(x[:5], 8, center=False, return_complex=True)
    there = sley.stft(x, 8, window=sley.hann_window(8), return_complex=True)
    with pytest.raises(ValueError, match="uncovered"):
        sley.istft(there, 8, window=sley.hann_window(8), center=False)
    with pytest.raises(ValueError, match="5 frequencies of pieces of 6 points"):
        sley.istft(there, 6)
