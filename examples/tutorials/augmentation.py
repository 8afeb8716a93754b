"""random_split into training and validation, and augmentation of the training images alone."""

import sley
import sley.nn as nn
import sley.optim as optim
from sley.data import Digits, transforms
from sley.utils.data import DataLoader, Dataset, random_split

SCALE = transforms.Lambda(lambda image: image * 15)  # 0 .. 16 to 0 .. 240
PLAIN = transforms.Compose([SCALE, transforms.ToTensor()])
AUGMENTED = transforms.Compose(
    [
        SCALE,
        transforms.RandomRotation(10, interpolation="bilinear"),
        transforms.RandomCrop(8, padding=1),
        transforms.ToTensor(),
        transforms.RandomErasing(p=0.2, scale=(0.02, 0.1)),
    ]
)


class Transformed(Dataset):
    """A part of a dataset with a transform of its own."""

    def __init__(self, part, transform):
        self.part, self.transform = part, transform

    def __len__(self):
        return len(self.part)

    def __getitem__(self, index):
        image, label = self.part[index]
        return self.transform(image), label


def make_loaders(count: int):
    _, train, valid = random_split(
        Digits(train=None), [1797 - count - 300, count, 300], generator=sley.Generator(0)
    )
    assert not set(train.indices) & set(valid.indices)
    train_loader = DataLoader(Transformed(train, AUGMENTED), 32, shuffle=True, num_workers=2)
    return train_loader, DataLoader(Transformed(valid, PLAIN), 100)


def train(compiled: bool, count: int = 600, epochs: int = 8):
    sley.manual_seed(0)
    train_loader, valid_loader = make_loaders(count)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(16 * 4 * 4, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip
    optimizer = optim.AdamW(model.parameters(), lr=0.005)

    def step(x, y):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    if compiled:
        step = sley.compile(step)
    losses = [step(x, y).item() for _ in range(epochs) for x, y in train_loader]
    return losses, validate(model, valid_loader)


@sley.no_grad()
def validate(model, loader):
    right = [(model(x).argmax(1) == y).float().mean().item() for x, y in loader]
    return sum(right) / len(right)


def main():
    image, _ = Digits()[0]
    sley.manual_seed(0)
    assert not sley.equal(AUGMENTED(image), AUGMENTED(image)), "every time another picture"

    losses, accuracy = train(compiled=True)
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}, validation accuracy {accuracy:.1%}")
    assert accuracy > 0.85

    # The same seed gives the same augmented images; only the order of sums differs.
    eager, _ = train(compiled=False, count=256, epochs=1)
    fast, _ = train(compiled=True, count=256, epochs=1)
    assert sley.allclose(sley.tensor(fast), sley.tensor(eager), rtol=1e-3)


if __name__ == "__main__":
    main()
