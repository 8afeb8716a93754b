"""A multi-layer perceptron, 784-128-10, on handwritten digits of 28 x 28 pixels."""

import sley
import sley.nn as nn
import sley.optim as optim
from sley.data import Digits
from sley.data.transforms import Compose, Lambda, Resize, ToTensor
from sley.utils.data import DataLoader

# The embedded digits are 8 x 8, from 0 to 16; this brings them to the size and range of MNIST.
to_mnist = Compose([Lambda(lambda image: image * 15), Resize((28, 28)), ToTensor()])


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.flatten = nn.Flatten()
        self.hidden = nn.Linear(28 * 28, 128)
        self.relu = nn.ReLU()
        self.out = nn.Linear(128, 10)

    def forward(self, x):
        x = self.flatten(x)
        x = self.relu(self.hidden(x))
        return self.out(x)


def train(compiled: bool, epochs: int = 4):
    sley.manual_seed(0)
    model = MLP()
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr=0.2)

    def step(images, labels):
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    if compiled:
        step = sley.compile(step)
    loader = DataLoader(Digits(train=True, transform=to_mnist), batch_size=64, shuffle=True)
    losses = []
    for _ in range(epochs):
        for images, labels in loader:
            losses.append(step(images, labels).item())
    return model, losses


@sley.no_grad()
def evaluate(model):
    model.eval()
    correct = total = 0
    for images, labels in DataLoader(Digits(train=False, transform=to_mnist), batch_size=128):
        predicted = model(images).argmax(dim=1)
        correct += (predicted == labels).sum().item()
        total += labels.size(0)
    return correct / total


def main():
    model, losses = train(compiled=False)
    accuracy = evaluate(model)
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}, accuracy {accuracy:.1%}")
    assert accuracy > 0.9

    # Compiled: the same losses, but for the order in which sums are taken.
    fast_model, fast_losses = train(compiled=True)
    assert sley.allclose(sley.tensor(fast_losses), sley.tensor(losses), rtol=1e-3, atol=1e-4)
    assert abs(evaluate(fast_model) - accuracy) < 0.01


if __name__ == "__main__":
    main()
