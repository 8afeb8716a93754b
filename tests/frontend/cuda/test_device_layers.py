"""What is built on tensors works on a GPU: layers with state, distributions, metrics, data. Where a
tensor lies on the wrong device the error says so."""

from __future__ import annotations

import numpy as np
import pytest
from cuda_device import as_cuda
from simulated_gpu import SimulatedGpu

import sley
import sley.nn.functional as F
from sley import distributions, metrics, nn
from sley.nn.utils import parametrizations, rnn
from sley.utils.data import DataLoader, TensorDataset

CPU, CUDA = sley.device("cpu"), sley.device("cuda", 0)


pytestmark = pytest.mark.filterwarnings("ignore:.*no kernel for GPUs")


@pytest.fixture(autouse=True)
def gpu():
    with as_cuda(SimulatedGpu()) as gpu:
        yield gpu


def draw(*shape: int) -> sley.Tensor:
    return sley.tensor(np.random.default_rng(3).normal(size=shape).astype(np.float32))


def assert_same(found: sley.Tensor, expected: sley.Tensor) -> None:
    assert found.device == CUDA and expected.device == CPU and found.dtype is expected.dtype
    np.testing.assert_allclose(
        found.detach().cpu().numpy(), expected.detach().numpy(), rtol=1e-5, atol=1e-6
    )


def on_both(make):
    """The same module here and there."""
    sley.manual_seed(0)
    here = make()
    sley.manual_seed(0)
    return here, make().to("cuda")


# Recurrent nets


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_packed_sequences(kind):
    here, there = on_both(lambda: kind(3, 4, num_layers=2, bidirectional=True))
    x, lengths = draw(6, 2, 3), [4, 6]

    def run(layer, x):
        packed = rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
        output, _ = layer(packed)
        padded, found = rnn.pad_packed_sequence(output, total_length=7)
        return packed, padded, found

    packed, padded, found = run(there, x.to("cuda"))
    expected = run(here, x)
    assert_same(padded, expected[1])
    assert_same(packed.data, expected[0].data)
    assert_same(packed.sorted_indices, expected[0].sorted_indices)
    assert found.tolist() == lengths and packed.is_cuda and not packed.cpu().is_cuda
    assert packed.batch_sizes.device == packed.cpu().data.device == CPU
    assert packed.cpu().cuda().data.device == packed.cpu().to("cuda").data.device == CUDA
    again = rnn.PackedSequence(*packed)
    assert_same(again.data, expected[0].data)
    padded.sum().backward()
    assert {p.grad.device for p in there.parameters()} == {CUDA}


@pytest.mark.parametrize("place", ["cpu", "cuda"])
def test_lengths_of_a_compiled_call_may_lie_on_either_device(place):
    here, there = on_both(lambda: nn.GRU(3, 4))

    def run(layer, x, lengths):
        packed = rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
        return rnn.pad_packed_sequence(layer(packed)[0])[0]

    x, lengths = draw(6, 2, 3), sley.tensor([4, 6])
    compiled = sley.compile(lambda x, n: run(there, x, n))
    assert_same(compiled(x.to("cuda"), lengths.to(place)), run(here, x, lengths))


@pytest.mark.parametrize("kind", [nn.RNNCell, nn.GRUCell, nn.LSTMCell])
def test_cells_begin_with_zeros_there(kind):
    here, there = on_both(lambda: kind(3, 4))
    found, expected = there(draw(2, 3).to("cuda")), here(draw(2, 3))
    assert_same(found[0], expected[0])


# Modules


@pytest.mark.parametrize(
    "wrap", [parametrizations.weight_norm, parametrizations.spectral_norm,
             parametrizations.orthogonal, nn.utils.weight_norm, nn.utils.spectral_norm]
)  # fmt: skip
def test_parametrizations(wrap):
    moved = wrap(nn.Linear(4, 4)).to("cuda")
    made = wrap(nn.Linear(4, 4).to("cuda"))
    for layer in (moved, made):
        y = layer(draw(2, 4).to("cuda"))
        y.sum().backward()
        assert y.device == CUDA
        assert {t.device for t in layer.state_dict().values()} == {CUDA}


def test_first_values():
    for name in ("orthogonal_", "eye_", "xavier_uniform_", "kaiming_normal_", "trunc_normal_"):
        here, there = sley.empty(4, 3), sley.empty(4, 3, device="cuda")
        for tensor in (here, there):
            sley.manual_seed(0)
            getattr(nn.init, name)(tensor)
        assert_same(there, here)
    assert nn.init.sparse_(sley.empty(4, 3, device="cuda"), 0.5).device == CUDA
    assert nn.LazyLinear(3, device="cuda")(draw(2, 4).to("cuda")).device == CUDA
    assert nn.LazyBatchNorm1d(device="cuda")(draw(2, 4).to("cuda")).device == CUDA
    with sley.device("cuda"):
        assert nn.Linear(3, 4).weight.device == CUDA


def test_indices_of_the_processor_go_along():
    x, y = draw(4, 5), draw(4, 5).to("cuda")
    places, mask = sley.tensor([2, 0]), sley.tensor([True, False, True, True])
    for index in ([0, 2], np.array([1, 3]), places, mask, (slice(None), places), (places, places)):
        assert_same(y[index], x[index])
        x[index], y[index] = 2.5, 2.5
        assert_same(y, x)
    x[mask], y[mask] = x[mask] * 2, y[mask] * 2
    y[y > 3], x[x > 3] = 0, 0
    assert_same(y, x)
    compiled = sley.compile(lambda y: y[places])
    assert_same(compiled(y), x[places])
    with pytest.raises(sley.DeviceError, match="gather"):
        x[places.to("cuda")]


# Distributions


D = distributions
DISTRIBUTIONS = {
    "Normal": lambda x: D.Normal(x, 2.0),
    "number first": lambda x: D.Normal(0.0, x.exp()),
    "Uniform": lambda x: D.Uniform(x - 5, x + 5),
    "Exponential": lambda x: D.Exponential(x.exp()),
    "Laplace": lambda x: D.Laplace(x, 1.0),
    "LogNormal": lambda x: D.LogNormal(x, 1.0),
    "HalfNormal": lambda x: D.HalfNormal(x.exp()),
    "Bernoulli": lambda x: D.Bernoulli(logits=x),
    "Geometric": lambda x: D.Geometric(logits=x),
    "Categorical": lambda x: D.Categorical(logits=x),
    "OneHotCategorical": lambda x: D.OneHotCategorical(logits=x),
    "Independent": lambda x: D.Independent(D.Normal(x, 1.0), 1),
    "MultivariateNormal": lambda x: D.MultivariateNormal(x, sley.eye(3, device=x.device)),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_draws_and_densities(name):
    here, there = DISTRIBUTIONS[name](draw(3)), DISTRIBUTIONS[name](draw(3).to("cuda"))
    found = []
    for distribution in (there, here):
        sley.manual_seed(0)
        drawn = distribution.sample((2,))
        found.append((drawn, distribution.log_prob(drawn), distribution.mean))
    for a, b in zip(*found, strict=True):
        assert_same(a, b)
    if name not in ("Geometric", "Independent"):
        assert_same(there.entropy(), here.entropy())


# Metrics and data


METRICS = {
    "accuracy": lambda y, p: metrics.accuracy(y, p.argmax(1)),
    "confusion_matrix": lambda y, p: metrics.confusion_matrix(y, p.argmax(1)),
    "labels": lambda y, p: metrics.confusion_matrix(y, p.argmax(1), labels=[2, 0, 1]),
    "f1_score": lambda y, p: metrics.f1_score(y, p.argmax(1), average="macro"),
    "weights": lambda y, p: metrics.accuracy(y, p.argmax(1), sample_weight=np.arange(20.0)),
    "beside a list": lambda y, p: metrics.accuracy([0, 1] * 10, p.argmax(1)),
    "roc_auc": lambda y, p: metrics.roc_auc(y, p, multi_class="ovr"),
    "r2_score": lambda y, p: metrics.r2_score(p, p * 2, multioutput=[1, 2, 3]),
}


@pytest.mark.parametrize("name", METRICS)
def test_metrics(name):
    y, p = sley.arange(20) % 3, draw(20, 3).softmax(1)
    assert_same(METRICS[name](y.to("cuda"), p.to("cuda")), METRICS[name](y, p))


def test_batches_go_to_the_gpu():
    data = TensorDataset(draw(10, 3), sley.arange(10))
    loader = DataLoader(data, batch_size=4, pin_memory=True, num_workers=0)
    rows = [x.to("cuda", non_blocking=True) for x, _ in loader]
    assert_same(sley.cat(rows), data.tensors[0])
    there = TensorDataset(*(t.to("cuda") for t in data.tensors))
    sley.manual_seed(0)
    found = [y for _, y in DataLoader(there, batch_size=4, shuffle=True)]
    sley.manual_seed(0)
    expected = [y for _, y in DataLoader(data, batch_size=4, shuffle=True)]
    assert_same(sley.cat(found), sley.cat(expected))
    assert draw(2).pin_memory().to("cuda").device == CUDA


# The wrong device


def here_and_there() -> tuple[sley.Tensor, sley.Tensor]:
    return draw(2, 3), draw(2, 3).to("cuda")


MIXED = {
    "operators": lambda x, y: x + y,
    "a layer": lambda x, y: nn.Linear(3, 4)(y),
    "an input": lambda x, y: nn.Linear(3, 4).to("cuda")(x),
    "a norm": lambda x, y: nn.BatchNorm1d(3)(y),
    "a loss": lambda x, y: F.cross_entropy(y, sley.tensor([0, 1])),
    "an embedding": lambda x, y: F.embedding(sley.tensor([0, 1]), y),
    "cat": lambda x, y: sley.cat([x, y]),
    "where": lambda x, y: sley.where(x > 0, y, 0.0),
    "einsum": lambda x, y: sley.einsum("ij,kj->ik", x, y),
    "in place": lambda x, y: y.add_(x),
    "numpy": lambda x, y: np.ones(3) + y,
    "attention": lambda x, y: F.scaled_dot_product_attention(y, y, x),
    "recurrent": lambda x, y: nn.LSTM(3, 4)(y),
}


@pytest.mark.parametrize("name", MIXED)
@pytest.mark.parametrize("compiled", [False, True])
def test_both_devices_and_the_line_are_told(name, compiled):
    def run(x, y):
        return MIXED[name](x, y)

    with pytest.raises(sley.DeviceError) as error:
        (sley.compile(run) if compiled else run)(*here_and_there())
    text = str(error.value)
    assert "cpu" in text and "cuda:0" in text and 'x.to("cuda:0")' in text
    assert compiled or "test_device_layers.py" in text


def test_numbers_may_lie_anywhere():
    _, y = here_and_there()
    assert_same(y * sley.tensor(2.0), draw(2, 3) * 2)
    assert y.copy_(draw(2, 3)).device == CUDA and draw(2, 3).copy_(y).device == CPU


FUNCTIONS = {
    "gumbel_softmax": lambda x: F.gumbel_softmax(x),
    "rrelu": lambda x: F.rrelu(x, training=True),
    "ctc_loss": lambda x: F.ctc_loss(
        x.reshape(1, 5, 4).transpose(0, 1).log_softmax(2),
        sley.tensor([[1, 2]], device=x.device),
        sley.tensor([5]),
        sley.tensor([2]),
    ),
    "fftfreq": lambda x: sley.fft.fftfreq(5, device=x.device),
    "rfftfreq": lambda x: sley.fft.rfftfreq(5, device=x.device),
    "tril_indices": lambda x: sley.tril_indices(3, 4, device=x.device),
    "triu_indices": lambda x: sley.triu_indices(3, 4, device=x.device),
    "cholesky_inverse": lambda x: sley.cholesky_inverse(sley.eye(3, device=x.device) * 2),
    "cond": lambda x: sley.linalg.cond(x[:4] + sley.eye(4, device=x.device) * 3, "fro"),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_functions_draw_and_make_lies_there(name):
    found = []
    for device in ("cuda", "cpu"):
        sley.manual_seed(0)
        found.append(FUNCTIONS[name](draw(5, 4).to(device)))
    assert_same(*found)
