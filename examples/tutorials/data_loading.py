"""A Dataset of one's own, and a DataLoader with worker processes."""

import numpy as np

import sley
import sley.nn as nn
import sley.optim as optim
from sley.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info


class Waves(Dataset):
    """Example i is a noisy wave of 64 samples, and its frequency; made when it is asked for."""

    def __init__(self, count: int):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        frequency = rng.uniform(1, 4)
        t = np.linspace(0, 1, 64, dtype=np.float32)
        wave = np.sin(2 * np.pi * frequency * t) + 0.1 * rng.standard_normal(64)
        return {"wave": wave.astype(np.float32), "frequency": np.float32(frequency)}


class Counting(IterableDataset):
    """A stream, divided among the workers."""

    def __iter__(self):
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        return iter(range(first, 12, step))


def train(compiled: bool, workers: int, epochs: int = 8):
    sley.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
    optimizer = optim.Adam(model.parameters(), lr=0.005)

    def step(wave, frequency):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(wave).squeeze(1), frequency)
        loss.backward()
        optimizer.step()
        return loss

    if compiled:
        step = sley.compile(step)
    loader = DataLoader(
        Waves(512),
        batch_size=32,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    losses = []
    for _ in range(epochs):
        for batch in loader:
            losses.append(step(batch["wave"], batch["frequency"]).item())
    return losses


def main():
    losses = train(compiled=False, workers=2)
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}")
    assert losses[-1] < 0.1

    # Workers change nothing but the time: the same order, the same bits.
    assert train(compiled=False, workers=0) == losses

    # Compiled, sums are taken in another order.
    fast_losses = train(compiled=True, workers=2)
    assert sley.allclose(sley.tensor(fast_losses), sley.tensor(losses), rtol=1e-2, atol=1e-4)

    batches = [batch.tolist() for batch in DataLoader(Counting(), batch_size=3, num_workers=2)]
    assert batches == [[0, 2, 4], [1, 3, 5], [6, 8, 10], [7, 9, 11]]


if __name__ == "__main__":
    main()
