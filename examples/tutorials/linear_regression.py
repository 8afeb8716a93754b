"""Linear regression: find the line behind noisy points of y = 2x + 3."""

import sley
import sley.nn as nn
import sley.optim as optim


def make_data(count: int = 200):
    x = sley.rand(count, 1) * 10
    y = 2 * x + 3 + 0.5 * sley.randn(count, 1)
    return x, y


def train(compiled: bool, epochs: int = 300):
    sley.manual_seed(0)
    x, y = make_data()
    model = nn.Linear(1, 1)
    criterion = nn.MSELoss()
    optimizer = optim.SGD(model.parameters(), lr=0.02)

    def step(x, y):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    if compiled:
        step = sley.compile(step)
    losses = [step(x, y).item() for _ in range(epochs)]
    return model, losses


def main():
    model, losses = train(compiled=False)
    weight, bias = model.weight.item(), model.bias.item()
    print(f"y = {weight:.3f} x + {bias:.3f}, loss {losses[-1]:.4f}")
    assert abs(weight - 2) < 0.1 and abs(bias - 3) < 0.1

    # The same numbers from machine code. Sums are taken in another order, so the last bits differ.
    fast_model, fast_losses = train(compiled=True)
    assert sley.allclose(sley.tensor(fast_losses), sley.tensor(losses), rtol=1e-4)
    assert sley.allclose(fast_model.weight, model.weight, rtol=1e-4)


if __name__ == "__main__":
    main()
