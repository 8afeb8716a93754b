"""SGD, RMSprop and Adam on the same problem, with a plot of their losses.

The plot is in `losses.png`, or the file named on the command line, if matplotlib is there
(`pip install sley[examples]`).
"""

import sys

import sley
import sley.nn as nn
import sley.optim as optim
from sley.data import Digits

OPTIMIZERS = {
    "SGD": lambda parameters: optim.SGD(parameters, lr=0.2),
    "SGD, momentum": lambda parameters: optim.SGD(parameters, lr=0.1, momentum=0.9),
    "RMSprop": lambda parameters: optim.RMSprop(parameters, lr=0.003),
    "Adam": lambda parameters: optim.Adam(parameters, lr=0.01),
}


def train(name: str, compiled: bool, steps: int = 60):
    sley.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10))
    optimizer = OPTIMIZERS[name](model.parameters())

    def step(x, y):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    if compiled:
        step = sley.compile(step)
    digits = Digits(train=True)
    x, y = digits.data.flatten(1).float() / 16, digits.targets
    losses = []
    for _ in range(steps):
        rows = sley.randint(0, len(y), (64,))
        losses.append(step(x[rows], y[rows]).item())
    return losses


def plot(curves: dict, path: str):
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        print("no plot: matplotlib is not installed (pip install sley[examples])")
        return
    for name, losses in curves.items():
        plt.plot(losses, label=name)
    plt.xlabel("step")
    plt.ylabel("cross entropy")
    plt.legend()
    plt.savefig(path)
    print(f"the losses are drawn in {path}")


def main(path: str | None = None):
    curves = {}
    for name in OPTIMIZERS:
        curves[name] = train(name, compiled=True)
        eager = train(name, compiled=False)
        # The same numbers, but for the order of sums, which grows with the steps.
        assert sley.allclose(sley.tensor(curves[name]), sley.tensor(eager), rtol=1e-2, atol=1e-3)
    ends = {name: sum(losses[-10:]) / 10 for name, losses in curves.items()}
    for name, end in ends.items():
        print(f"{name:14} {curves[name][0]:.3f} -> {end:.3f}")
    assert all(end < 1.3 for end in ends.values())
    assert ends["Adam"] < ends["SGD"] and ends["SGD, momentum"] < ends["SGD"]
    if path is not None:
        plot(curves, path)


if __name__ == "__main__":
    main(*sys.argv[1:2] or ["losses.png"])
