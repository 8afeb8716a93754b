"""Training on the digits, and what is measured of it."""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

from ..compile import CompiledFunction
from ..compile import compile as compile_function
from ..context import no_grad
from ..data.digits import load_digits, split
from ..tensor import Tensor, of_array
from .model import Net, make_training

BATCH = 32
EPOCHS = 20
HELD_OUT = 0.2


@dataclass(frozen=True)
class Digits:
    """Images float32[n, 1, 8, 8] in [0, 1] and labels int64[n], for training and held out."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


@dataclass
class Run:
    """What one training gave.

    Attributes:
        accuracy: on the held-out images, from 0 to 1.
        losses: of each step.
        seconds: that each step took.
        epoch_steps: steps of one epoch.
        step: the compiled function, if it was.
    """

    name: str
    accuracy: float
    losses: list[float] = field(repr=False)
    seconds: list[float] = field(repr=False)
    epoch_steps: int
    step: CompiledFunction | None = None

    @property
    def step_seconds(self) -> float:
        """The median time of a step."""
        return statistics.median(self.seconds)

    @property
    def compile_seconds(self) -> float:
        """What the calls that compiled took beyond a step."""
        if self.step is None:
            return 0.0
        slow = sorted(self.seconds)[-len(self.step.programs) :]
        return sum(slow) - len(slow) * self.step_seconds


def load_data(seed: int) -> Digits:
    """The digits, a fifth held out by a permutation drawn from `seed`."""
    images, labels = load_digits()
    scaled = (images.astype(np.float32) / 16.0)[:, None]
    train, test = split(len(labels), HELD_OUT, seed)
    return Digits(scaled[train], labels[train], scaled[test], labels[test])


def train(data: Digits, seed: int, epochs: int, compiled: bool, progress: bool = True) -> Run:
    """Trains from the weights and in the order that `seed` gives."""
    model, step, schedule = make_training(seed, epochs)
    name = "compiled" if compiled else "eager"
    fast: CompiledFunction | None = compile_function(step) if compiled else None
    call = fast or step
    order = np.random.default_rng(seed)
    losses, seconds = [], []
    count = len(data.train_labels)
    steps = epochs * -(-count // BATCH)
    seldom = 0.1 if sys.stderr.isatty() else 10.0  # a log file has no line to draw over
    with tqdm(total=steps, desc=f"{name:>8}", disable=not progress, mininterval=seldom) as bar:
        for _ in range(epochs):
            shuffled = order.permutation(count)
            for start in range(0, count, BATCH):
                rows = shuffled[start : start + BATCH]
                x, y = of_array(data.train_images[rows]), of_array(data.train_labels[rows])
                began = time.perf_counter()
                loss = call(x, y)
                seconds.append(time.perf_counter() - began)
                losses.append(loss.item())
                bar.update()
            schedule.step()
            bar.set_postfix(loss=f"{losses[-1]:.4f}", refresh=False)
    accuracy = evaluate(model, data)
    return Run(name, accuracy, losses, seconds, -(-count // BATCH), fast)


@no_grad()
def evaluate(model: Net, data: Digits) -> float:
    """The share of held-out images that the model names rightly."""
    model.eval()
    scores: Tensor = model(of_array(data.test_images))
    model.train()
    return float((scores.numpy().argmax(1) == data.test_labels).mean())
