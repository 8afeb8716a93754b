"""Save in the middle of a training, load, and go on to the very same loss."""

import tempfile
from pathlib import Path

import sley
import sley.nn as nn
import sley.optim as optim
from sley.data import Digits


class Training:
    """A model with all that its training depends on."""

    def __init__(self, compiled: bool):
        sley.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 10))
        self.optimizer = optim.Adam(self.model.parameters(), lr=0.02)
        self.scheduler = optim.lr_scheduler.StepLR(self.optimizer, step_size=25, gamma=0.5)
        self.step = sley.compile(self._step) if compiled else self._step
        digits = Digits(train=True)
        self.x, self.y = digits.data.flatten(1).float() / 16, digits.targets

    def _step(self, x, y):
        self.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss

    def run(self, steps: int):
        losses = []
        for _ in range(steps):
            rows = sley.randint(0, len(self.y), (32,))
            losses.append(self.step(self.x[rows], self.y[rows]).item())
            self.scheduler.step()
        return losses

    def save(self, path: Path):
        checkpoint = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "random": sley.get_rng_state(),
        }
        sley.save(checkpoint, path)

    def load(self, path: Path):
        checkpoint = sley.load(path)
        self.model.load_state_dict(checkpoint["model"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.scheduler.load_state_dict(checkpoint["scheduler"])
        sley.set_rng_state(checkpoint["random"])


def resumed_losses(compiled: bool, folder: Path):
    training = Training(compiled)
    training.run(40)
    training.save(folder / "checkpoint.sley")
    straight_on = training.run(20)

    fresh = Training(compiled)
    fresh.load(folder / "checkpoint.sley")
    assert fresh.run(20) == straight_on, "bit by bit: weights, moments, rate, dropout, batches"
    return straight_on


def main():
    with tempfile.TemporaryDirectory() as name:
        losses = resumed_losses(compiled=False, folder=Path(name))
        print(f"loss at the checkpoint {losses[0]:.4f}, after 20 more steps {losses[-1]:.4f}")
        fast_losses = resumed_losses(compiled=True, folder=Path(name))
    # Eager and compiled differ by the order in which sums are taken.
    assert sley.allclose(sley.tensor(fast_losses), sley.tensor(losses), rtol=1e-2)
    assert sum(losses[-5:]) / 5 < 0.5


if __name__ == "__main__":
    main()
