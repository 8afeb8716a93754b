"""An LSTM over the rows of an image: each of the 8 rows of a digit is one time step."""

import sley
import sley.nn as nn
import sley.optim as optim
from sley.data import Digits
from sley.utils.data import DataLoader, TensorDataset

INPUT, HIDDEN, LAYERS, CLASSES = 8, 32, 2, 10


class RowReader(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(INPUT, HIDDEN, LAYERS, batch_first=True)
        self.fc = nn.Linear(HIDDEN, CLASSES)

    def forward(self, x):
        h0 = sley.zeros(LAYERS, x.size(0), HIDDEN)
        c0 = sley.zeros(LAYERS, x.size(0), HIDDEN)
        out, _ = self.lstm(x, (h0, c0))  # [N, steps, HIDDEN]
        return self.fc(out[:, -1, :])  # of the last step


def sequences(train: bool):
    digits = Digits(train)
    return TensorDataset(digits.data.float() / 16, digits.targets)


def train(compiled: bool, epochs: int = 12, batches: int | None = None):
    sley.manual_seed(0)
    model = RowReader()
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    def step(x, y):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    if compiled:
        step = sley.compile(step)
    loader = DataLoader(sequences(train=True), batch_size=64, shuffle=True)
    losses: list[float] = []
    for _ in range(epochs):
        for x, y in loader:
            if batches is None or len(losses) < batches:
                losses.append(step(x, y).item())
    return model, losses


def main():
    model, losses = train(compiled=True)
    x, y = sequences(train=False).tensors
    with sley.no_grad():
        accuracy = (model(x).argmax(dim=1) == y).float().mean().item()
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}, accuracy {accuracy:.1%}")
    assert accuracy > 0.85

    # Eager for the first ten steps: the same numbers, but for the order in which sums are taken.
    _, eager_losses = train(compiled=False, epochs=1, batches=10)
    assert sley.allclose(sley.tensor(losses[:10]), sley.tensor(eager_losses), rtol=1e-3)


if __name__ == "__main__":
    main()
