"""Segmentation by a small U-Net: which pixels belong to the disc, which to the box?

The pictures are drawn here: a dark disc and a bright box over noise.
"""

import numpy as np

import sley
import sley.nn as nn
import sley.nn.functional as F
import sley.optim as optim

SIZE, CLASSES = 32, 3  # ground, disc, box


def draw(count: int, seed: int):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE]
    pictures = rng.standard_normal((count, 1, SIZE, SIZE)).astype(np.float32) * 0.3
    masks = np.zeros((count, SIZE, SIZE), np.int64)
    for picture, mask in zip(pictures, masks, strict=True):
        cy, cx, radius = rng.integers(6, SIZE - 6, 2).tolist() + [rng.integers(4, 7)]
        mask[(y - cy) ** 2 + (x - cx) ** 2 <= radius**2] = 1
        top, left = rng.integers(0, SIZE - 10, 2)
        mask[top : top + rng.integers(5, 10), left : left + rng.integers(5, 10)] = 2
        picture[0] += np.choose(mask, [0.0, -1.0, 1.0])
    return sley.tensor(pictures), sley.tensor(masks)


def block(inputs: int, outputs: int):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(),
    )  # fmt: skip


class UNet(nn.Module):
    def __init__(self, width: int = 8):
        super().__init__()
        self.down1 = block(1, width)
        self.down2 = block(width, 2 * width)
        self.middle = block(2 * width, 4 * width)
        self.up2 = nn.ConvTranspose2d(4 * width, 2 * width, 2, stride=2)
        self.join2 = block(4 * width, 2 * width)
        self.up1 = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.join1 = block(2 * width, width)
        self.out = nn.Conv2d(width, CLASSES, 1)

    def forward(self, x):
        fine = self.down1(x)
        middle = self.down2(F.max_pool2d(fine, 2))
        deep = self.middle(F.max_pool2d(middle, 2))
        x = self.join2(sley.cat([self.up2(deep), middle], dim=1))
        x = self.join1(sley.cat([self.up1(x), fine], dim=1))
        return self.out(x)


def overlap(scores, masks):
    """Intersection over union, the mean of the classes."""
    found = scores.argmax(1)
    ratios = []
    for number in range(CLASSES):
        a, b = found == number, masks == number
        ratios.append(((a & b).sum() / (a | b).sum()).item())
    return sum(ratios) / CLASSES


def train(compiled: bool, epochs: int = 8, pictures: int = 96):
    sley.manual_seed(0)
    model = UNet()
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    if compiled:
        step = sley.compile(step)
    x, y = draw(pictures, seed=0)
    losses = []
    for _ in range(epochs):
        for rows in sley.randperm(pictures).split(16):
            losses.append(step(x[rows], y[rows]).item())
    return model, losses


def main():
    model, losses = train(compiled=True)
    model.eval()
    x, y = draw(40, seed=1)
    with sley.no_grad():
        score = overlap(model(x), y)
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}, overlap {score:.2f}")
    assert score > 0.8

    # Eager for the first steps: the same numbers, but for the order in which sums are taken.
    _, eager_losses = train(compiled=False, epochs=1, pictures=48)
    _, fast_losses = train(compiled=True, epochs=1, pictures=48)
    assert sley.allclose(sley.tensor(fast_losses), sley.tensor(eager_losses), rtol=1e-3)


if __name__ == "__main__":
    main()
