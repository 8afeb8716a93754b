"""Which word was said? A 1-D convolutional net on raw sound, 2,000 samples at 4 kHz.

The "words" are made here, as in speech: each is a sequence of two vowels, a vowel is a pair of
formants (tones), and pitch, length, loudness, start and noise differ from speaker to speaker.
"""

import numpy as np

import sley
import sley.nn as nn
import sley.optim as optim
from sley.utils.data import DataLoader, TensorDataset

RATE, SAMPLES = 4000, 2000
VOWELS = {"a": (700, 1100), "i": (300, 1800), "u": (320, 800)}  # Hz
WORDS = ("ai", "ia", "au", "ui")


def say(word: str, rng: np.random.Generator) -> np.ndarray:
    wave = np.zeros(SAMPLES)
    speaker = rng.uniform(0.9, 1.1)
    place = rng.integers(0, 300)
    for vowel in word:
        length = rng.integers(500, 800)
        t = np.arange(length) / RATE
        tones = [np.sin(2 * np.pi * f * speaker * t + rng.uniform(0, 6)) for f in VOWELS[vowel]]
        wave[place : place + length] = (tones[0] + 0.6 * tones[1]) * np.hanning(length)
        place += length
    return wave * rng.uniform(0.5, 1.0) + 0.1 * rng.standard_normal(SAMPLES)


def make_set(count: int, seed: int):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(WORDS), count)
    waves = np.stack([say(WORDS[label], rng) for label in labels])[:, None].astype(np.float32)
    return TensorDataset(sley.tensor(waves), sley.tensor(labels))


class SoundNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(1, 16, 40, stride=8), nn.BatchNorm1d(16), nn.ReLU(),
            nn.Conv1d(16, 32, 5, stride=2), nn.BatchNorm1d(32), nn.ReLU(), nn.MaxPool1d(4),
            nn.Conv1d(32, 32, 3), nn.BatchNorm1d(32), nn.ReLU(), nn.AdaptiveAvgPool1d(4),
            nn.Flatten(), nn.Linear(4 * 32, len(WORDS)),
        )  # fmt: skip

    def forward(self, x):
        return self.layers(x)


def train(compiled: bool, count: int = 240, epochs: int = 6):
    sley.manual_seed(0)
    model = SoundNet()
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    def step(x, y):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    if compiled:
        step = sley.compile(step)
    loader = DataLoader(make_set(count, seed=0), batch_size=24, shuffle=True)
    losses = [step(x, y).item() for _ in range(epochs) for x, y in loader]
    return model, losses


def main():
    model, losses = train(compiled=True)
    model.eval()
    x, y = make_set(100, seed=1).tensors
    with sley.no_grad():
        accuracy = (model(x).argmax(1) == y).float().mean().item()
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}, accuracy {accuracy:.1%}")
    assert accuracy > 0.9

    # Eager for the first steps: the same numbers, but for the order in which sums are taken.
    _, eager_losses = train(compiled=False, count=96, epochs=1)
    _, fast_losses = train(compiled=True, count=96, epochs=1)
    assert sley.allclose(sley.tensor(fast_losses), sley.tensor(eager_losses), rtol=1e-3)


if __name__ == "__main__":
    main()
