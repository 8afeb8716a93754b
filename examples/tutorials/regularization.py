"""Against overfitting: dropout, batch norm, weight decay, early stopping, train() and eval()."""

import copy

import sley
import sley.nn as nn
import sley.optim as optim
from sley.data import Digits
from sley.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Dropout(0.3),
            nn.Linear(128, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.3),
            nn.Linear(64, 10),
        )  # fmt: skip

    def forward(self, x):
        return self.layers(x)


def make_sets(train_size: int = 200):
    digits = Digits(train=True)
    x, y = digits.data.flatten(1).float() / 16, digits.targets
    train = TensorDataset(x[:train_size], y[:train_size])
    return train, (x[train_size:500], y[train_size:500])


@sley.no_grad()
def validation_loss(model, x, y):
    model.eval()  # no dropout, the running statistics of batch norm
    loss = nn.functional.cross_entropy(model(x), y).item()
    model.train()
    return loss


def train(compiled: bool, patience: int = 3, epochs: int = 20):
    sley.manual_seed(0)
    model = Net()
    optimizer = optim.AdamW(model.parameters(), lr=0.005, weight_decay=0.1)

    def step(x, y):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    if compiled:
        step = sley.compile(step)
    train_set, held_out = make_sets()
    loader = DataLoader(train_set, batch_size=50, shuffle=True)
    best, best_state, since, losses = float("inf"), None, 0, []
    for _ in range(epochs):
        losses += [step(x, y).item() for x, y in loader]
        now = validation_loss(model, *held_out)
        if now < best:
            best, best_state, since = now, copy.deepcopy(model.state_dict()), 0
        elif (since := since + 1) == patience:
            break
    model.load_state_dict(best_state)
    return model, losses, best


def main():
    model, losses, best = train(compiled=False)
    print(f"stopped after {len(losses)} steps, validation loss {best:.3f}")
    assert best == validation_loss(model, *make_sets()[1]), "the best epoch is loaded again"

    test = Digits(train=False)
    x, y = test.data.flatten(1).float() / 16, test.targets
    model.eval()
    accuracy = (model(x).argmax(1) == y).float().mean().item()
    assert accuracy > 0.85

    # eval() gives the same answer twice; train() drops other units each time.
    assert sley.equal(model(x), model(x))
    model.train()
    assert not sley.equal(model(x), model(x))

    # Compiled, dropout draws the same masks; the losses differ by the order of sums.
    _, fast_losses, _ = train(compiled=True)
    first = slice(0, 12)
    assert sley.allclose(sley.tensor(fast_losses[first]), sley.tensor(losses[first]), rtol=1e-3)


if __name__ == "__main__":
    main()
