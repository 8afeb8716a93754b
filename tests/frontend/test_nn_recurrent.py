"""Recurrent nets against their formulas in float64, step by step in numpy."""

from __future__ import annotations

import numpy as np
import pytest
from function_checks import agree, differentiates
from recording import dynamic
from scipy.special import expit

import sley
import sley.nn as nn
from sley import ArgumentError, DTypeError, ShapeError, TraceError
from sley.nn.utils import rnn

R = np.random.default_rng(6)


def _draw(*shape):
    return R.standard_normal(shape).astype(np.float32)


def _step(kind, weights, x, state):
    """One step of float64 arrays; `weights` by their names without the layer."""
    zero = np.zeros(len(weights["weight_ih"]))
    own = x @ weights["weight_ih"].T + weights.get("bias_ih", zero)
    past = state[0] @ weights["weight_hh"].T + weights.get("bias_hh", zero)
    if kind == "RNN":
        return (np.tanh(own + past),)
    if kind == "relu":
        return (np.maximum(own + past, 0),)
    if kind == "GRU":
        (ri, zi, ni), (rh, zh, nh) = np.split(own, 3, -1), np.split(past, 3, -1)
        new, keep = np.tanh(ni + expit(ri + rh) * nh), expit(zi + zh)
        return ((1 - keep) * new + keep * state[0],)
    i, f, g, o = np.split(own + past, 4, -1)
    c = expit(f) * state[1] + expit(i) * np.tanh(g)
    h = expit(o) * np.tanh(c)
    return (h @ weights["weight_hr"].T if "weight_hr" in weights else h), c


def _state(module):
    return {n: p.numpy().astype(np.float64) for n, p in module.state_dict().items()}


def _unrolled(module, kind, x, states, lengths=None):
    """The net over [T, N, in], sequence by sequence, each to its own length."""
    saved, (steps, count, _) = _state(module), x.shape
    lengths = [steps] * count if lengths is None else lengths
    directions = 2 if module.bidirectional else 1
    size = module.proj_size or module.hidden_size
    last = [s.astype(np.float64).copy() for s in states]
    value = x.astype(np.float64)
    for layer in range(module.num_layers):
        result = np.zeros((steps, count, size * directions))
        for direction in range(directions):
            suffix = f"_l{layer}" + ("_reverse" if direction else "")
            weights = {n.removesuffix(suffix): w for n, w in saved.items() if n.endswith(suffix)}
            at = layer * directions + direction
            for n in range(count):
                state = tuple(s[at, n] for s in last)
                order = range(lengths[n])
                for t in reversed(order) if direction else order:
                    state = _step(kind, weights, value[t, n], state)
                    result[t, n, direction * size : (direction + 1) * size] = state[0]
                for s, new in zip(last, state):
                    s[at, n] = new
        value = result
    return value, last


CELLS = {
    "RNNCell": (lambda **k: nn.RNNCell(3, 4, **k), "RNN", 1),
    "relu": (lambda **k: nn.RNNCell(3, 4, nonlinearity="relu", **k), "relu", 1),
    "GRUCell": (lambda **k: nn.GRUCell(3, 4, **k), "GRU", 1),
    "LSTMCell": (lambda **k: nn.LSTMCell(3, 4, **k), "LSTM", 2),
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", CELLS)
def test_cells(name, bias):
    make, kind, count = CELLS[name]
    cell = make(bias=bias)
    x, state = _draw(5, 3), [_draw(5, 4) for _ in range(count)]

    def run(x, *state):
        return cell(x, state[0] if count == 1 else state)

    def expected(x, *state):
        found = _step(kind, _state(cell), x.astype(np.float64), state)
        return found[0] if count == 1 else found

    agree(run, expected, x, *state, rtol=1e-5, atol=1e-6)
    zero = [np.zeros((5, 4), np.float32)] * count
    agree(lambda x: cell(x), lambda x: expected(x, *zero), x, rtol=1e-5, atol=1e-6)
    one = cell(sley.tensor(x[0]))
    first = (one if count == 1 else one[0]).detach().numpy()
    np.testing.assert_allclose(first, np.asarray(expected(x, *zero)).reshape(-1, 5, 4)[0, 0],
                               rtol=1e-5, atol=1e-6)  # fmt: skip
    cell.double()
    differentiates(run, x, *state)


def test_cells_refuse():
    cell = nn.LSTMCell(3, 4)
    with pytest.raises(ShapeError, match=r"expected \[batch, 3\]"):
        cell(sley.zeros(2, 5))
    with pytest.raises(ShapeError, match="state"):
        cell(sley.zeros(2, 3), (sley.zeros(2, 4), sley.zeros(3, 4)))
    with pytest.raises(ArgumentError, match="nonlinearity"):
        nn.RNNCell(3, 4, nonlinearity="sigmoid")


NETS = {
    "RNN": (nn.RNN, "RNN", {}),
    "RNN of relu": (nn.RNN, "relu", {"nonlinearity": "relu", "bias": False}),
    "GRU": (nn.GRU, "GRU", {}),
    "GRU both ways, 2 layers": (nn.GRU, "GRU", {"num_layers": 2, "bidirectional": True}),
    "LSTM": (nn.LSTM, "LSTM", {}),
    "LSTM both ways, 2 layers": (nn.LSTM, "LSTM", {"num_layers": 2, "bidirectional": True}),
    "LSTM projected": (nn.LSTM, "LSTM", {"proj_size": 2, "num_layers": 2}),
}


def _made(name):
    make, kind, options = NETS[name]
    sley.manual_seed(4)
    net = make(3, 4, **options)
    rows = net.num_layers * (2 if net.bidirectional else 1)
    states = [_draw(rows, 5, net.proj_size or 4)]
    states += [_draw(rows, 5, 4)] if kind == "LSTM" else []
    return net, kind, states


def _call(net, x, states):
    output, last = net(x, tuple(states) if isinstance(net, nn.LSTM) else states[0])
    return (output, *(last if isinstance(last, tuple) else (last,)))


@pytest.mark.parametrize("name", NETS)
def test_nets(name):
    net, kind, states = _made(name)
    x = _draw(6, 5, 3)

    def expected(x, *states):
        output, last = _unrolled(net, kind, x, states)
        return (output, *last)

    agree(lambda x, *s: _call(net, x, s), expected, x, *states, rtol=1e-4, atol=1e-5)
    zeros = [np.zeros_like(s) for s in states]
    np.testing.assert_allclose(net(sley.tensor(x))[0].detach().numpy(), expected(x, *zeros)[0],
                               rtol=1e-4, atol=1e-5)  # fmt: skip
    alone = net(sley.tensor(x[:, 0]))[0]
    np.testing.assert_allclose(alone.detach().numpy(), expected(x, *zeros)[0][:, 0], rtol=1e-4,
                               atol=1e-5)  # fmt: skip
    net.batch_first = True
    turned = net(sley.tensor(x.swapaxes(0, 1)))[0]
    np.testing.assert_allclose(turned.detach().numpy().swapaxes(0, 1), expected(x, *zeros)[0],
                               rtol=1e-4, atol=1e-5)  # fmt: skip


@pytest.mark.parametrize("name", ["RNN", "GRU both ways, 2 layers", "LSTM projected"])
def test_gradients(name):
    net, _, states = _made(name)
    net.double()
    differentiates(lambda x, *s: _call(net, x, s), _draw(4, 5, 3), *states)


@pytest.mark.parametrize("name", ["GRU", "LSTM both ways, 2 layers"])
def test_gradients_of_weights_match_an_unrolled_sum_of_differences(name):
    net, kind, states = _made(name)
    net.double()
    x = _draw(3, 5, 3).astype(np.float64)
    seed = R.standard_normal(_unrolled(net, kind, x, states)[0].shape)

    def loss():
        return float((_unrolled(net, kind, x, states)[0] * seed).sum())

    output = _call(net, sley.tensor(x), [sley.tensor(s).double() for s in states])[0]
    (output * sley.tensor(seed)).sum().backward()
    for parameter in net.parameters():
        direction = R.standard_normal(tuple(parameter.shape))
        before = parameter.detach().clone()
        values = []
        for sign in (1, -1):
            parameter.data = before + sley.tensor(sign * 1e-6 * direction)
            values.append(loss())
        parameter.data = before
        slope = (values[0] - values[1]) / 2e-6
        found = float((parameter.grad.numpy() * direction).sum())
        assert found == pytest.approx(slope, rel=1e-5, abs=1e-7)


def test_a_long_sequence_makes_no_more_ops():
    net = nn.LSTM(3, 4, num_layers=2, bidirectional=True)

    def step(x):
        loss = (net(x)[0] ** 2).mean()
        loss.backward()
        return loss

    sizes = []
    for length in (10, 1000):
        net.zero_grad()
        recorded, _ = dynamic(step, [(length, 2, 3)], {})
        sizes.append(len(recorded.graph.nodes))
    assert sizes[0] == sizes[1] and sizes[0] < 500


def test_symbolic_batch_and_length():
    net = nn.GRU(3, 4, bidirectional=True, batch_first=True)
    recorded, (output, last) = dynamic(net, [("N", "T", 3)], {"N": 3, "T": 5})
    assert [str(n) for n in output.spec.shape] == ["N", "T", "8"]
    assert [str(n) for n in last.spec.shape] == ["2", "N", "4"]
    assert recorded.trace.guards == []


@pytest.mark.parametrize("name", ["GRU both ways, 2 layers", "LSTM projected"])
def test_packed_sequences(name):
    net, kind, states = _made(name)
    x, lengths = _draw(6, 5, 3), [2, 6, 1, 4, 5]
    output, last = _unrolled(net, kind, x, states, lengths)

    def run(x, *states):
        packed = rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
        found, *ends = _call(net, packed, states)
        return (rnn.pad_packed_sequence(found)[0], *ends)

    agree(run, lambda *_: (output, *last), x, *states, rtol=1e-4, atol=1e-5)
    net.double()
    differentiates(run, x, *states)


def test_lengths_may_be_an_argument_of_a_compiled_function():
    net = nn.GRU(3, 4, batch_first=True)

    def run(x, lengths):
        packed = rnn.pack_padded_sequence(x, lengths, True, enforce_sorted=False)
        return rnn.pad_packed_sequence(net(packed)[0], True)[0], net(packed)[1]

    compiled = sley.compile(run)
    x = sley.tensor(_draw(3, 4, 3))
    for lengths in ([4, 2, 1], [1, 4, 3]):
        for found, wanted in zip(compiled(x, sley.tensor(lengths)), run(x, lengths), strict=True):
            np.testing.assert_allclose(found.detach().numpy(), wanted.detach().numpy(), atol=1e-6)


def test_packed_sequences_are_arguments_and_results_of_compiled_functions():
    net = nn.GRU(3, 4)
    compiled = sley.compile(net)
    for lengths in ([4, 2, 1], [1, 4, 3]):
        x = rnn.pack_padded_sequence(sley.tensor(_draw(4, 3, 3)), lengths, enforce_sorted=False)
        found, expected = compiled(x), net(x)
        assert isinstance(found[0], rnn.PackedSequence)
        for one, other in ((found[0].data, expected[0].data), (found[1], expected[1])):
            np.testing.assert_allclose(one.detach().numpy(), other.detach().numpy(), atol=1e-6)


def test_dropout_between_layers():
    net = nn.LSTM(3, 4, num_layers=2, dropout=0.5)
    x = sley.tensor(_draw(6, 5, 3))
    sley.manual_seed(1)
    eager = net(x)[0]
    sley.manual_seed(1)
    np.testing.assert_allclose(sley.compile(net)(x)[0].detach().numpy(), eager.detach().numpy(),
                               rtol=1e-5, atol=1e-6)  # fmt: skip
    net.eval()
    assert sley.equal(net(x)[0], net(x)[0])
    assert not np.allclose(net(x)[0].detach().numpy(), eager.detach().numpy())


def test_names_of_parameters_and_texts():
    net = nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2)
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
    assert list(net.state_dict()) == [
        f"{kind}_l{layer}{way}" for layer in (0, 1) for way in ("", "_reverse") for kind in kinds
    ]
    assert net.weight_ih_l1.shape == (16, 4) and net.weight_hh_l0.shape == (16, 2)
    assert repr(net) == "LSTM(3, 4, proj_size=2, num_layers=2, bidirectional=True)"
    assert repr(nn.GRU(3, 4, bias=False, dropout=0.5, num_layers=2, batch_first=True)) == (
        "GRU(3, 4, num_layers=2, bias=False, batch_first=True, dropout=0.5)"
    )
    assert repr(nn.RNNCell(3, 4, False, "relu")) == "RNNCell(3, 4, bias=False, nonlinearity=relu)"
    assert list(nn.GRUCell(3, 4).state_dict()) == ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
    assert [len(part) for part in net.all_weights] == [5] * 4
    other = nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2)
    other.load_state_dict(net.state_dict())
    x = sley.tensor(_draw(2, 5, 3))
    assert sley.equal(net(x)[0], other(x)[0])


def test_nets_refuse():
    net = nn.LSTM(3, 4)
    with pytest.raises(ShapeError, match=r"expected \[length, batch, 3\]"):
        net(sley.zeros(2, 5, 4))
    with pytest.raises(ShapeError, match=r"expected \[1, 5, 4\]"):
        net(sley.zeros(2, 5, 3), (sley.zeros(1, 4, 4), sley.zeros(1, 4, 4)))
    with pytest.raises(DTypeError, match="state"):
        net(sley.zeros(2, 5, 3), (sley.zeros(1, 5, 4).double(), sley.zeros(1, 5, 4).double()))
    with pytest.raises(ArgumentError, match="proj_size"):
        nn.LSTM(3, 4, proj_size=4)
    with pytest.raises(ArgumentError, match="nonlinearity"):
        nn.RNN(3, 4, nonlinearity="gelu")


# Sequences of different lengths


def test_packing_and_padding():
    parts = [_draw(n, 2) for n in (3, 5, 1)]
    padded = rnn.pad_sequence([sley.tensor(p) for p in parts], padding_value=-1)
    expected = np.full((5, 3, 2), -1, np.float32)
    for n, part in enumerate(parts):
        expected[: len(part), n] = part
    np.testing.assert_array_equal(padded.numpy(), expected)
    packed = rnn.pack_padded_sequence(padded, sley.tensor([3, 5, 1]), enforce_sorted=False)
    order = [1, 0, 2]
    rows = [parts[n][t] for t in range(5) for n in order if len(parts[n]) > t]
    np.testing.assert_array_equal(packed.data.numpy(), rows)
    assert packed.batch_sizes.tolist() == [3, 2, 2, 1, 1]
    assert packed.sorted_indices.tolist() == order and packed.unsorted_indices.tolist() == order
    back, lengths = rnn.pad_packed_sequence(packed, True, -1, total_length=6)
    assert lengths.tolist() == [3, 5, 1]
    np.testing.assert_array_equal(back[:, :5].numpy(), expected.swapaxes(0, 1))
    assert back.shape == (3, 6, 2) and bool((back[:, 5] == -1).all())
    again = rnn.PackedSequence(*packed)
    for one, other in zip(rnn.unpack_sequence(again), parts, strict=True):
        np.testing.assert_array_equal(one.numpy(), other)
    left = rnn.pad_sequence([sley.tensor(p) for p in parts], True, padding_side="left")
    np.testing.assert_array_equal(left[2].numpy(), np.pad(parts[2], ((4, 0), (0, 0))))
    ordered = rnn.pack_sequence([sley.tensor(parts[n]) for n in order])
    assert ordered.sorted_indices is None
    np.testing.assert_array_equal(ordered.data.numpy(), rows)
    moved = rnn.PackedSequence(packed.data * 2, packed.batch_sizes, packed.sorted_indices)
    np.testing.assert_allclose(rnn.pad_packed_sequence(moved)[0][:3, 0].numpy(), 2 * parts[0])


def test_gradients_go_through_packing():
    x = _draw(4, 3, 2)

    def run(x):
        return rnn.pack_padded_sequence(x, [2, 4, 1], enforce_sorted=False).data ** 2

    def back(x):
        return rnn.PackedSequence(x, [3, 2, 1, 1], [1, 0, 2]).padded

    agree(run, lambda x: x[[0, 0, 0, 1, 1, 2, 3], [1, 0, 2, 1, 0, 1, 1]] ** 2, x)
    differentiates(back, _draw(7, 2))
    differentiates(run, x)


def test_packing_refuses():
    x = sley.zeros(4, 3, 2)
    with pytest.raises(ArgumentError, match="enforce_sorted=False"):
        rnn.pack_padded_sequence(x, [2, 4, 1])
    with pytest.raises(ArgumentError, match="4 steps"):
        rnn.pack_padded_sequence(x, [5, 4, 1])
    with pytest.raises(ShapeError, match="3 sequences"):
        rnn.pack_padded_sequence(x, [4, 1])
    packed = rnn.pack_padded_sequence(x, [4, 2, 1])
    with pytest.raises(ArgumentError, match="total_length"):
        rnn.pad_packed_sequence(packed, total_length=3)
    with pytest.raises(TraceError, match="list"):
        sley.compile(lambda x, n: rnn.pack_padded_sequence(x, n).data)(x, sley.tensor([4, 2, 1]))
    with pytest.raises(ShapeError, match="batch sizes"):
        rnn.PackedSequence(sley.zeros(3, 2), [2, 2])
