"""Convolutional models: windows of every kind, batch norm, residual blocks, a small U-Net."""

import numpy as np
import pytest
from model_training import check_training, labelled, plain, usual_step

import sley
import sley.nn.functional as F
from sley import nn, optim

STACKS = {
    "strides that do not divide": (
        (3, 22, 19),
        lambda: [
            nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 8, 5, stride=3, padding=1),
            nn.ReLU(), nn.Flatten(), nn.Linear(8 * 3 * 3, 5),
        ],
    ),
    "dilated, grouped, depthwise, 1x1": (
        (4, 10, 10),
        lambda: [
            nn.Conv2d(4, 8, 3, dilation=2, padding=2, groups=2), nn.ReLU(),
            nn.Conv2d(8, 8, 5, padding=2, groups=8), nn.ReLU(), nn.Conv2d(8, 12, 1),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 5),
        ],
    ),
    "one axis": (
        (3, 50),
        lambda: [
            nn.Conv1d(3, 8, 5, stride=2, padding=1), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(8, 8, 3, dilation=3), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(),
            nn.Linear(8, 5),
        ],
    ),
    "pools": (
        (1, 15, 15),
        lambda: [
            nn.Conv2d(1, 6, 3, padding="same"), nn.MaxPool2d(3, stride=2, padding=1),
            nn.Conv2d(6, 6, 3), nn.AvgPool2d(2, ceil_mode=True), nn.AdaptiveMaxPool2d(2),
            nn.Flatten(), nn.Linear(24, 5),
        ],
    ),
}  # fmt: skip


def classify(model, x, y):
    return F.cross_entropy(model(x), y)


@pytest.mark.parametrize("name", STACKS)
def test_stack(name):
    shape, layers = STACKS[name]

    def make():
        model = nn.Sequential(*layers())
        return usual_step(model, optim.SGD(model.parameters(), lr=0.05, momentum=0.9), classify)

    check_training(make, labelled((8, 3, 1, 5), shape, 5), programs=2)


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, inner, outer, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, stride=stride, padding=1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(outer), nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1, bias=False)
        plain = stride == 1 and inner == outer
        self.short = nn.Identity() if plain else nn.Conv2d(inner, outer, 1, stride=stride)

    def forward(self, x):
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(y + self.short(x))


def residual_net():
    return nn.Sequential(
        Block(1, 6), Block(6, 8, stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    )


def test_residual_blocks():
    def make():
        model = residual_net()
        return usual_step(model, optim.SGD(model.parameters(), lr=0.05, momentum=0.9), classify)

    batches = labelled((8, 3, 5), (1, 8, 8), 5)
    check_training(make, batches, programs=2, rtol=2e-3, atol=2e-4)


def test_running_statistics_are_used_in_evaluation():
    sley.manual_seed(3)
    model = residual_net()

    @sley.compile
    def predict(x):
        with sley.no_grad():
            return model(x)

    x = sley.randn(6, 1, 8, 8)
    for _ in range(3):
        predict(x)
    model.eval()
    expected = plain(model(x))
    np.testing.assert_allclose(plain(predict(x)), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(plain(predict(x[:2])), expected[:2], rtol=1e-4, atol=1e-5)
    model.train()
    assert not np.allclose(plain(predict(x)), expected, rtol=1e-3)


class UNet(nn.Module):
    """Down once and up again, with the way across joined in."""

    def __init__(self):
        super().__init__()
        self.down, self.middle = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 8, 3, padding=1)
        self.up, self.out = nn.Conv2d(14, 6, 3, padding=1), nn.Conv2d(6, 1, 1)

    def forward(self, x):
        across = F.relu(self.down(x))
        deep = F.relu(self.middle(F.max_pool2d(across, 2)))
        wide = F.interpolate(deep, scale_factor=2)
        return self.out(F.relu(self.up(sley.cat([wide, across], dim=1))))


def test_unet():
    def make():
        model = UNet()

        def segment(model, x):
            return F.binary_cross_entropy_with_logits(model(x), (x > 0.5).float())

        return usual_step(model, optim.Adam(model.parameters(), lr=1e-3), segment)

    rng = np.random.default_rng(4)
    batches = [(rng.standard_normal((n, 1, 8, 8)).astype(np.float32),) for n in (4, 2, 3)]
    check_training(make, batches, programs=2)
