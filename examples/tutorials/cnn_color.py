"""A convolutional net on 3 x 32 x 32 pictures, trained by SGD with momentum.

The pictures are drawn here: a disc, a square or a cross of random size and place, in a bright
random colour on a dark one, with noise.
"""

import numpy as np

import sley
import sley.nn as nn
import sley.optim as optim
from sley.data import transforms
from sley.utils.data import DataLoader, Dataset

to_input = transforms.Compose(
    [transforms.ToTensor(), transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))]
)
SHAPES = ("disc", "square", "cross")


def draw(shape: str, rng: np.random.Generator) -> np.ndarray:
    ground, ink = 0.5 * rng.random((2, 3, 1, 1)) + np.array([0, 0.5]).reshape(2, 1, 1, 1)
    radius = rng.integers(6, 11)
    cy, cx = rng.integers(radius, 32 - radius, 2)
    y, x = np.mgrid[:32, :32] - np.array([cy, cx]).reshape(2, 1, 1)
    inside = {
        "disc": x**2 + y**2 <= radius**2,
        "square": (abs(x) <= radius * 0.85) & (abs(y) <= radius * 0.85),
        "cross": ((abs(x) <= 2) | (abs(y) <= 2)) & (abs(x) <= radius) & (abs(y) <= radius),
    }[shape]
    picture = np.where(inside, ink, ground) + 0.05 * rng.standard_normal((3, 32, 32))
    return picture.transpose(1, 2, 0).astype(np.float32)  # [height, width, channels]


class Shapes(Dataset):
    def __init__(self, count: int, seed: int):
        rng = np.random.default_rng(seed)
        self.labels = rng.integers(0, len(SHAPES), count)
        self.pictures = [draw(SHAPES[label], rng) for label in self.labels]

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return to_input(self.pictures[index]), self.labels[index]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Linear(32 * 8 * 8, 64), nn.ReLU(), nn.Linear(64, len(SHAPES))
        )

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


def train(compiled: bool, pictures: int = 480, epochs: int = 14):
    sley.manual_seed(0)
    model = Net()
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr=0.03, momentum=0.9)

    def step(x, y):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    if compiled:
        step = sley.compile(step)
    loader = DataLoader(Shapes(pictures, seed=0), batch_size=32, shuffle=True)
    losses = [step(x, y).item() for _ in range(epochs) for x, y in loader]
    return model, losses


def main():
    model, losses = train(compiled=True)
    test = Shapes(200, seed=1)
    x, y = next(iter(DataLoader(test, batch_size=len(test))))
    with sley.no_grad():
        accuracy = (model(x).argmax(1) == y).float().mean().item()
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}, accuracy {accuracy:.1%}")
    assert accuracy > 0.9

    # Eager for the first steps: the same numbers, but for the order in which sums are taken.
    _, eager_losses = train(compiled=False, pictures=96, epochs=1)
    _, again = train(compiled=True, pictures=96, epochs=1)
    assert sley.allclose(sley.tensor(again), sley.tensor(eager_losses), rtol=1e-3)


if __name__ == "__main__":
    main()
