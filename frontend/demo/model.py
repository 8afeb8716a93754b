"""The net of the demo, written as for PyTorch, and its training step."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .. import nn, optim
from ..nn import functional as F
from ..random_state import manual_seed
from ..tensor import Tensor

Step = Callable[[Tensor, Tensor], Tensor]


class Net(nn.Module):
    """Two convolutions with pooling, two linear layers: images [N, 1, 8, 8] to scores [N, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.fc1 = nn.Linear(32 * 2 * 2, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        return self.fc2(x)


class Training(NamedTuple):
    """A net, the function that trains it by one batch, and the schedule of its learning rate."""

    model: Net
    step: Step
    schedule: optim.lr_scheduler.LRScheduler


def make_training(seed: int, epochs: int) -> Training:
    """A net with weights drawn from `seed`, to be trained for `epochs`."""
    manual_seed(seed)
    model = Net()
    opt = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    def train_step(x: Tensor, y: Tensor) -> Tensor:
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y, label_smoothing=0.1)
        loss.backward()
        opt.step()
        return loss

    return Training(model, train_step, optim.lr_scheduler.CosineAnnealingLR(opt, epochs))
