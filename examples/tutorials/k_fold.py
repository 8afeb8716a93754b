"""K-fold cross-validation: every example is held out once, a fresh model for each fold."""

import sley
import sley.nn as nn
import sley.optim as optim
from sley.data import Digits
from sley.metrics import accuracy
from sley.model_selection import kfold, stratified_kfold
from sley.utils.data import DataLoader, Subset, TensorDataset


def make_dataset(count: int = 480):
    digits = Digits(train=True)
    return TensorDataset(digits.data[:count].flatten(1).float() / 16, digits.targets[:count])


def train(dataset, compiled: bool, epochs: int = 5):
    sley.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    def step(x, y):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    if compiled:
        step = sley.compile(step)
    for _ in range(epochs):
        for x, y in DataLoader(dataset, batch_size=32, shuffle=True):
            step(x, y)
    return model


def cross_validate(dataset, folds, compiled: bool):
    scores = []
    for train_indices, held_out in folds:
        model = train(Subset(dataset, train_indices), compiled)
        x, y = dataset[held_out]
        with sley.no_grad():
            scores.append(accuracy(y, model(x).argmax(1)).item())
    return scores


def main():
    dataset = make_dataset()
    folds = list(kfold(dataset, n_splits=4, shuffle=True, random_state=0))
    scores = cross_validate(dataset, folds, compiled=False)
    mean = sum(scores) / len(scores)
    print(f"accuracy of the folds: {', '.join(f'{s:.1%}' for s in scores)}; mean {mean:.1%}")
    assert mean > 0.85

    # Compiled: another order of sums may change the class of an example or two out of 120.
    fast_scores = cross_validate(dataset, folds, compiled=True)
    assert all(abs(a - b) <= 2 / 120 for a, b in zip(fast_scores, scores, strict=True))

    # Stratified folds have the same share of each digit.
    labels = dataset.tensors[1]
    for _, held_out in stratified_kfold(labels, n_splits=4):
        counts = sley.bincount(labels[held_out], minlength=10)
        assert (counts - sley.bincount(labels) / 4).abs().max() < 1


if __name__ == "__main__":
    main()
