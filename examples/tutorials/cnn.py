"""A convolutional net on 1 x 28 x 28 images: two convolutions, pooling, a linear layer."""

import sley
import sley.nn as nn
import sley.nn.functional as F
import sley.optim as optim
from sley.data import Digits
from sley.data.transforms import Compose, Lambda, Resize, ToTensor
from sley.utils.data import DataLoader, Subset

to_mnist = Compose([Lambda(lambda image: image * 15), Resize((28, 28)), ToTensor()])


class CNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=3, padding=1)
        self.pool = nn.MaxPool2d(2, 2)
        self.fc1 = nn.Linear(64 * 7 * 7, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))  # [N, 32, 14, 14]
        x = self.pool(F.relu(self.conv2(x)))  # [N, 64, 7, 7]
        x = x.view(-1, 64 * 7 * 7)
        x = F.relu(self.fc1(x))
        return self.fc2(x)


def train(compiled: bool, images: int = 480, epochs: int = 4):
    sley.manual_seed(0)
    model = CNN()
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.Adam(model.parameters(), lr=0.002)

    def step(images, labels):
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    if compiled:
        step = sley.compile(step)
    train_set = Subset(Digits(train=True, transform=to_mnist), range(images))
    loader = DataLoader(train_set, batch_size=32, shuffle=True)
    losses = []
    for _ in range(epochs):
        for batch, labels in loader:
            losses.append(step(batch, labels).item())
    return model, losses


@sley.no_grad()
def evaluate(model):
    model.eval()
    correct = 0
    test_set = Digits(train=False, transform=to_mnist)
    for images, labels in DataLoader(test_set, batch_size=64):
        correct += (model(images).argmax(1) == labels).sum().item()
    return correct / len(test_set)


def main():
    model, losses = train(compiled=True)
    accuracy = evaluate(model)
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}, accuracy {accuracy:.1%}")
    assert accuracy > 0.85

    # Eager for the first steps: the same numbers, but for the order in which sums are taken.
    _, eager_losses = train(compiled=False, images=96, epochs=1)
    _, again = train(compiled=True, images=96, epochs=1)
    assert sley.allclose(sley.tensor(again), sley.tensor(eager_losses), rtol=1e-3)


if __name__ == "__main__":
    main()
