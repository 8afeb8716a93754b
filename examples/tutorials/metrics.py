"""Metrics: accuracy, precision, recall, F1, the confusion matrix, ROC; MSE, MAE, R2."""

import math

import sley
import sley.nn as nn
import sley.optim as optim
from sley.data import Digits
from sley.metrics import (
    accuracy,
    confusion_matrix,
    f1_score,
    mean_absolute_error,
    mean_squared_error,
    precision,
    r2_score,
    recall,
    roc_auc,
)


def load(train: bool):
    digits = Digits(train)
    return digits.data.flatten(1).float() / 16, digits.targets


def train_classifier(steps: int = 60):
    sley.manual_seed(0)
    x, y = load(train=True)
    model = nn.Linear(64, 10)
    optimizer = optim.Adam(model.parameters(), lr=0.05)

    @sley.compile
    def step():
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    for _ in range(steps):
        step()
    return model


def classification():
    model = train_classifier()
    x, y = load(train=False)
    with sley.no_grad():
        probabilities = model(x).softmax(1)
    predicted = probabilities.argmax(1)

    print(f"accuracy  {accuracy(y, predicted):.3f}")
    for metric in (precision, recall, f1_score):
        print(f"{metric.__name__:9} {metric(y, predicted, average='macro'):.3f}")
    matrix = confusion_matrix(y, predicted)
    print(matrix)

    # They tell the same story: the diagonal is what is right.
    assert accuracy(y, predicted) > 0.9
    assert sley.allclose(matrix.diag().sum() / matrix.sum(), accuracy(y, predicted).float())
    assert sley.allclose(matrix.diag() / matrix.sum(1), recall(y, predicted, average=None).float())
    assert roc_auc(y, probabilities.double(), multi_class="ovr") > 0.98

    # The same in a compiled function, where the classes must be named; counts are exact.
    @sley.compile
    def report(y, predicted):
        return (
            accuracy(y, predicted),
            f1_score(y, predicted, average="macro", labels=range(10)),
            confusion_matrix(y, predicted, labels=range(10)),
        )

    fast_accuracy, fast_f1, fast_matrix = report(y, predicted)
    assert sley.equal(fast_matrix, matrix)
    assert sley.allclose(fast_accuracy, accuracy(y, predicted), rtol=1e-12)
    assert sley.allclose(fast_f1, f1_score(y, predicted, average="macro"), rtol=1e-12)


def regression():
    sley.manual_seed(1)
    y = sley.randn(1000)
    guess = y + 0.5 * sley.randn(1000)
    errors = mean_squared_error(y, guess), mean_absolute_error(y, guess), r2_score(y, guess)
    print("MSE {:.3f}, MAE {:.3f}, R2 {:.3f}".format(*errors))
    assert abs(errors[0] - 0.25) < 0.03  # the variance of the noise
    assert abs(errors[1] - 0.5 * (2 / math.pi) ** 0.5) < 0.03
    assert abs(errors[2] - 0.75) < 0.05

    # Lists and arrays give plain numbers.
    assert mean_squared_error([1.0, 2.0], [1.0, 4.0]) == 2.0


def main():
    classification()
    regression()


if __name__ == "__main__":
    main()
