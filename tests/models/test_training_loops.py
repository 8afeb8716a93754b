"""What users do around a step: draws, schedules, accumulation, penalties, averages, writes."""

import numpy as np
import pytest
from model_training import check_training, labelled, plain, usual_step

import sley
import sley.nn.functional as F
from sley import nn, optim


def classify(model, x, y):
    return F.cross_entropy(model(x), y)


class Variational(nn.Module):
    """A variational autoencoder of vectors of 36."""

    def __init__(self):
        super().__init__()
        self.hidden, self.mean, self.spread = nn.Linear(36, 24), nn.Linear(24, 4), nn.Linear(24, 4)
        self.back, self.out = nn.Linear(4, 24), nn.Linear(24, 36)

    def forward(self, x):
        h = F.relu(self.hidden(x))
        mean, spread = self.mean(h), self.spread(h)
        noise = sley.rand_like(mean)
        z = mean + (0.5 * spread).exp() * (noise - 0.5)
        return self.out(F.relu(self.back(z))), mean, spread, noise


def test_variational_autoencoder_draws_the_same():
    def make():
        model = Variational()
        optimizer = optim.Adam(model.parameters(), lr=1e-3)

        def step(x):
            optimizer.zero_grad()
            y, mean, spread, noise = model(x)
            fit = F.binary_cross_entropy_with_logits(y, x, reduction="sum") / x.shape[0]
            apart = -0.5 * (1 + spread - mean * mean - spread.exp()).sum(dim=1).mean()
            (fit + apart).backward()
            optimizer.step()
            return fit, apart, noise

        return model, step

    rng = np.random.default_rng(0)
    batches = [(rng.random((n, 36), dtype=np.float32),) for n in (8, 3, 1, 5)]
    compiled = check_training(make, batches, programs=2)
    sley.manual_seed(8)
    for result, (x,) in zip(compiled.results, batches, strict=True):
        noise = plain(sley.rand(len(x), 4))
        np.testing.assert_array_equal(result[2], noise)


def test_dropout_draws_the_same():
    def make():
        model = nn.Sequential(nn.Linear(20, 32), nn.Dropout(0.5), nn.ReLU(), nn.Linear(32, 5))
        return usual_step(model, optim.SGD(model.parameters(), lr=0.1), classify)

    check_training(make, labelled((16, 5, 1, 9), (20,), 5), programs=2)


@pytest.mark.parametrize(
    "schedule",
    [
        lambda o: optim.lr_scheduler.CosineAnnealingLR(o, T_max=30),
        lambda o: optim.lr_scheduler.OneCycleLR(o, max_lr=0.3, total_steps=31),
        lambda o: optim.lr_scheduler.LambdaLR(o, lambda epoch: 1 / (1 + epoch)),
    ],
)
def test_a_schedule_over_thirty_steps_is_one_program(schedule):
    batches = labelled([8] * 30, (20,), 5)

    def run(compiled):
        sley.manual_seed(1)
        model = nn.Linear(20, 5)
        optimizer = optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
        scheduler = schedule(optimizer)
        step = usual_step(model, optimizer, classify)[1]
        step = sley.compile(step) if compiled else step
        losses = []
        for batch in batches:
            losses.append(float(step(*map(sley.tensor, batch))))
            scheduler.step()
        assert not compiled or len(step.programs) == 1
        return losses

    np.testing.assert_allclose(run(True), run(False), rtol=1e-5, atol=1e-6)


def test_gradients_accumulate_over_calls():
    batches = labelled([8] * 12, (20,), 5)

    def run(compiled):
        sley.manual_seed(2)
        model = nn.Sequential(nn.Linear(20, 16), nn.Tanh(), nn.Linear(16, 5))
        optimizer = optim.Adam(model.parameters(), lr=1e-2)

        def collect(x, y):
            loss = classify(model, x, y) / 4
            loss.backward()
            return loss

        def update():
            optimizer.step()
            optimizer.zero_grad()

        if compiled:
            collect, update = sley.compile(collect), sley.compile(update)
        losses = []
        for number, batch in enumerate(batches):
            losses.append(float(collect(*map(sley.tensor, batch))))
            if number % 4 == 3:
                update()
        if compiled:  # one where there is no gradient yet, one where there is
            assert len(collect.programs) == 2 and len(update.programs) == 1
        return losses

    np.testing.assert_allclose(run(True), run(False), rtol=1e-5)


def test_gradient_penalty():
    def make():
        model = nn.Sequential(nn.Linear(20, 16), nn.Tanh(), nn.Linear(16, 16), nn.Softplus(),
                              nn.Linear(16, 1))  # fmt: skip
        optimizer = optim.Adam(model.parameters(), lr=1e-3)

        def step(x, y):
            optimizer.zero_grad()
            x = x.clone().requires_grad_(True)
            score = model(x)
            (gradient,) = sley.autograd.grad(score.sum(), x, create_graph=True)
            penalty = (gradient.norm(dim=1) - 1).square().mean()
            (score.mean() + 10 * penalty).backward()
            optimizer.step()
            return score, {"penalty": penalty, "gradient": gradient}

        return model, step

    check_training(make, labelled((8, 3, 1, 5), (20,), 5), programs=2)


def test_averaged_weights():
    def make():
        model = nn.ModuleList([nn.Linear(20, 5), nn.Linear(20, 5)])
        student, teacher = model
        teacher.requires_grad_(False)
        optimizer = optim.SGD(student.parameters(), lr=0.1)

        def step(x, y):
            optimizer.zero_grad()
            loss = F.mse_loss(student(x), teacher(x)) + F.cross_entropy(student(x), y)
            loss.backward()
            optimizer.step()
            with sley.no_grad():
                for own, average in zip(student.parameters(), teacher.parameters(), strict=True):
                    average.mul_(0.9).add_(own, alpha=0.1)
            return loss

        return model, step

    check_training(make, labelled((8, 3, 1, 5), (20,), 5), programs=2)


def test_views_and_writes():
    def make():
        model = nn.Linear(20, 20)
        optimizer = optim.SGD(model.parameters(), lr=0.1)

        def step(x, y):
            optimizer.zero_grad()
            h = model(x)
            z = sley.zeros(x.shape[0], 20)
            z[:, :10] = h[:, 10:]
            z[:, 10:] += h[:, :10] * 2
            z[::2] *= 0.5
            z.t()[3] = h[:, 3].detach()
            k = z.clone()
            k[k < -0.3] = -0.3
            k[:, 5].add_(1.0)
            k[:1, [0, 2]] = 0.25
            loss = F.cross_entropy(k[:, :5], y) + k.mean()
            loss.backward()
            optimizer.step()
            return loss, z, k

        return model, step

    check_training(make, labelled((8, 3, 1, 6), (20,), 5), programs=2)
