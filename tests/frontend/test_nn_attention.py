"""Attention and transformers against the formulas in numpy."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
from function_checks import agree, differentiates
from recording import dynamic
from scipy import special

import sley
import sley.nn as nn
import sley.nn.functional as F
from sley import ArgumentError, DTypeError, ShapeError

R = np.random.default_rng(5)


def _draw(*shape):
    return R.standard_normal(shape).astype(np.float32)


def _attention(q, k, v, mask=None, scale=None):
    """By the definition; the mask is what is added."""
    scores = q.astype(np.float64) @ np.swapaxes(k, -1, -2)
    scores = scores * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    scores = scores if mask is None else scores + mask
    with np.errstate(invalid="ignore"):
        weights = np.nan_to_num(special.softmax(scores, -1))
    return weights @ v, weights


def _added(allowed):
    return np.where(allowed, 0, -np.inf)


MASKS = {
    "none": None,
    "bool": R.random((3, 5)) > 0.4,
    "float": _draw(2, 1, 3, 5),
    "a row shut off": np.array([[True] * 5, [False] * 5, [True, False] * 2 + [True]]),
}


@pytest.mark.parametrize("name", MASKS)
def test_scaled_dot_product_attention(name):
    mask = MASKS[name]
    q, k, v = _draw(2, 4, 3, 6), _draw(2, 4, 5, 6), _draw(2, 4, 5, 2)
    given = None if mask is None else sley.tensor(mask)
    added = _added(mask) if mask is not None and mask.dtype == bool else mask

    def attend(q, k, v):
        m = given if given is None or given.dtype is sley.bool else given.to(q.dtype)
        return F.scaled_dot_product_attention(q, k, v, m)

    agree(attend, lambda q, k, v: _attention(q, k, v, added)[0], q, k, v, rtol=1e-5, atol=1e-6)
    differentiates(attend, q, k, v)


def test_causal_scaled_and_grouped_attention():
    q, k, v = _draw(2, 4, 3, 6), _draw(2, 2, 5, 6), _draw(2, 2, 5, 3)
    causal = np.tril(np.ones((3, 5), bool))
    keys, values = np.repeat(k, 2, 1), np.repeat(v, 2, 1)
    expected = _attention(q, keys, values, _added(causal), 0.3)[0]

    def attend(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.3, enable_gqa=True)

    agree(attend, lambda *_: expected, q, k, v, rtol=1e-5, atol=1e-6)
    differentiates(attend, q, k, v)
    half = F.scaled_dot_product_attention(*(sley.tensor(a).bfloat16() for a in (q, keys, values)))
    assert half.dtype is sley.bfloat16
    np.testing.assert_allclose(half.float().numpy(), _attention(q, keys, values)[0], atol=0.05)


def test_attention_refuses():
    q, k = sley.zeros(2, 3, 4), sley.zeros(2, 5, 4)
    with pytest.raises(ArgumentError, match="is_causal"):
        F.scaled_dot_product_attention(q, k, k, sley.ones(3, 5), is_causal=True)
    with pytest.raises(DTypeError, match="mask"):
        F.scaled_dot_product_attention(q, k, k, sley.ones(3, 5, dtype=sley.int64))
    with pytest.raises(ShapeError, match="heads"):
        F.scaled_dot_product_attention(
            sley.zeros(5, 3, 4), sley.zeros(2, 5, 4), sley.zeros(2, 5, 4), enable_gqa=True
        )


def test_dropped_weights_are_dropped_in_compiled_attention_alike():
    q = sley.tensor(_draw(2, 3, 4))

    def attend(q):
        return F.scaled_dot_product_attention(q, q, q, dropout_p=0.5)

    sley.manual_seed(3)
    eager = attend(q)
    sley.manual_seed(3)
    np.testing.assert_allclose(sley.compile(attend)(q).numpy(), eager.numpy(), rtol=1e-5)
    assert not np.allclose(eager.numpy(), F.scaled_dot_product_attention(q, q, q).numpy())


# Several heads


def _heads(module, q, k, v, mask=None):
    """The module by its definition, of [N, L, E] arrays; mask [N, heads, L, S] is added."""
    state = {n: p.numpy().astype(np.float64) for n, p in module.state_dict().items()}
    width, heads = module.embed_dim, module.num_heads
    if "in_proj_weight" in state:
        weights = np.split(state["in_proj_weight"], 3)
    else:
        weights = [state[f"{n}_proj_weight"] for n in "qkv"]
    biases = np.split(state.get("in_proj_bias", np.zeros(3 * width)), 3)
    q, k, v = (x @ w.T + b for x, w, b in zip((q, k, v), weights, biases))
    if "bias_k" in state:
        k = np.concatenate([k, np.broadcast_to(state["bias_k"], (len(k), 1, width))], 1)
        v = np.concatenate([v, np.broadcast_to(state["bias_v"], (len(v), 1, width))], 1)
    if module.add_zero_attn:
        k, v = (np.concatenate([x, np.zeros((len(x), 1, width))], 1) for x in (k, v))
    q, k, v = (x.reshape(len(x), -1, heads, width // heads).swapaxes(1, 2) for x in (q, k, v))
    if mask is not None:
        extra = k.shape[2] - mask.shape[-1]
        mask = np.pad(mask, [(0, 0)] * 3 + [(0, extra)])
    found, shares = _attention(q, k, v, mask)
    joined = found.swapaxes(1, 2).reshape(len(q), -1, width)
    return joined @ state["out_proj.weight"].T + state.get("out_proj.bias", 0), shares


OPTIONS = {
    "plain": {},
    "no bias": {"bias": False},
    "other widths": {"kdim": 3, "vdim": 5},
    "bias_kv and zeros": {"add_bias_kv": True, "add_zero_attn": True},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_multihead_attention(name):
    sley.manual_seed(1)
    options = OPTIONS[name]
    module = nn.MultiheadAttention(8, 2, batch_first=True, **options)
    for parameter in module.parameters():
        parameter.data = parameter.detach() + 0.1
    q = _draw(2, 3, 8)
    k, v = _draw(2, 4, options.get("kdim", 8)), _draw(2, 4, options.get("vdim", 8))
    shut = np.array([[False, False, False, True], [False] * 4])
    mask = R.random((3, 4)) > 0.6
    mask[:, 0] = False
    added = _added(~(shut[:, None, None, :] | mask[None, None]))
    expected, shares = _heads(module, q, k, v, added)

    def attend(q, k, v):
        return module(q, k, v, key_padding_mask=sley.tensor(shut), attn_mask=sley.tensor(mask))

    agree(attend, lambda *_: (expected, shares.mean(1)), q, k, v, rtol=1e-5, atol=1e-6)
    plain, none = module(*map(sley.tensor, (q, k, v)), need_weights=False)
    assert none is None
    np.testing.assert_allclose(plain.detach().numpy(), _heads(module, q, k, v)[0], rtol=1e-5,
                               atol=1e-6)  # fmt: skip
    _, each = module(*map(sley.tensor, (q, k, v)), average_attn_weights=False)
    assert each.shape == (2, 2, 3, 4 + module.add_zero_attn + ("bias_k" in module.state_dict()))
    module.double()
    differentiates(lambda q, k, v: module(q, k, v)[0], q, k, v)


def test_multihead_attention_of_one_sequence_and_without_batch_first():
    module = nn.MultiheadAttention(8, 4)
    x = _draw(5, 8)
    one = sley.tensor(x)
    alone, weights = module(one, one, one)
    assert alone.shape == (5, 8) and weights.shape == (5, 5)
    expected = _heads(module, x[None], x[None], x[None])[0][0]
    np.testing.assert_allclose(alone.detach().numpy(), expected, rtol=1e-5, atol=1e-6)
    both = sley.stack([one, one + 1], 1)
    rows, _ = module(both, both, both)
    np.testing.assert_allclose(rows[:, 0].detach().numpy(), expected, rtol=1e-5, atol=1e-6)
    mask = nn.Transformer.generate_square_subsequent_mask(5)
    slow = module(one, one, one, attn_mask=mask)[0]
    fast = module(one, one, one, attn_mask=mask, is_causal=True, need_weights=False)[0]
    np.testing.assert_allclose(fast.detach().numpy(), slow.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_multihead_attention_refuses():
    module = nn.MultiheadAttention(8, 2)
    x = sley.zeros(3, 2, 8)
    with pytest.raises(ArgumentError, match="heads"):
        nn.MultiheadAttention(8, 3)
    with pytest.raises(ShapeError, match="features"):
        module(sley.zeros(3, 2, 6), x, x)
    with pytest.raises(ShapeError, match="attn_mask"):
        module(x, x, x, attn_mask=sley.zeros(2, 3))
    with pytest.raises(ShapeError, match="key_padding_mask"):
        module(x, x, x, key_padding_mask=sley.zeros(3, 2))
    with pytest.raises(ArgumentError, match="is_causal"):
        module(x, x, x, is_causal=True)
    with pytest.raises(DTypeError, match="mask"):
        module(x, x, x, attn_mask=sley.zeros(3, 3, dtype=sley.int64))


def test_names_of_the_parameters():
    assert list(nn.MultiheadAttention(4, 2, add_bias_kv=True).state_dict()) == [
        "in_proj_weight", "in_proj_bias", "bias_k", "bias_v", "out_proj.weight", "out_proj.bias",
    ]  # fmt: skip
    assert list(nn.MultiheadAttention(4, 2, kdim=3, bias=False).state_dict()) == [
        "q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight",
    ]  # fmt: skip
    assert list(nn.TransformerDecoderLayer(4, 2, 8).state_dict()) == [
        f"{part}.{name}"
        for part, names in {
            "self_attn": ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"),
            "multihead_attn": ("in_proj_weight", "in_proj_bias", "out_proj.weight",
                               "out_proj.bias"),
            "linear1": ("weight", "bias"), "linear2": ("weight", "bias"),
            "norm1": ("weight", "bias"), "norm2": ("weight", "bias"), "norm3": ("weight", "bias"),
        }.items()
        for name in names
    ]  # fmt: skip


# Transformers


def _norm(state, name, x):
    gap = x - x.mean(-1, keepdims=True)
    scaled = gap / np.sqrt((gap**2).mean(-1, keepdims=True) + 1e-5)
    return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]


def _feed_forward(state, x):
    hidden = x @ state["linear1.weight"].T + state["linear1.bias"]
    return (hidden * special.ndtr(hidden)) @ state["linear2.weight"].T + state["linear2.bias"]


def _encoder_layer(layer, x, mask=None):
    state = {n: p.numpy().astype(np.float64) for n, p in layer.state_dict().items()}
    parts = [lambda x: _heads(layer.self_attn, x, x, x, mask)[0], lambda x: _feed_forward(state, x)]
    for number, part in enumerate(parts, start=1):
        if layer.norm_first:
            x = x + part(_norm(state, f"norm{number}", x))
        else:
            x = _norm(state, f"norm{number}", x + part(x))
    return x


def _decoder_layer(layer, x, memory, mask=None):
    state = {n: p.numpy().astype(np.float64) for n, p in layer.state_dict().items()}
    parts = [
        lambda x: _heads(layer.self_attn, x, x, x, mask)[0],
        lambda x: _heads(layer.multihead_attn, x, memory, memory)[0],
        lambda x: _feed_forward(state, x),
    ]
    for number, part in enumerate(parts, start=1):
        if layer.norm_first:
            x = x + part(_norm(state, f"norm{number}", x))
        else:
            x = _norm(state, f"norm{number}", x + part(x))
    return x


@pytest.mark.parametrize("norm_first", [False, True])
def test_transformer(norm_first):
    sley.manual_seed(2)
    model = nn.Transformer(8, 2, 1, 2, 16, 0.1, "gelu", batch_first=True, norm_first=norm_first)
    model.eval()
    source, target = _draw(2, 5, 8), _draw(2, 4, 8)
    causal = np.triu(np.full((4, 4), -np.inf), 1)

    def expected(x, y):
        memory = _encoder_layer(model.encoder.layers[0], x)
        ends = {n: p.numpy().astype(np.float64) for n, p in model.state_dict().items()}
        memory = _norm(ends, "encoder.norm", memory)
        for layer in model.decoder.layers:
            y = _decoder_layer(layer, y, memory, causal[None, None])
        return _norm(ends, "decoder.norm", y)

    mask = model.generate_square_subsequent_mask(4)
    np.testing.assert_array_equal(mask.numpy(), causal)
    agree(lambda x, y: model(x, y, tgt_mask=mask), expected, source, target, rtol=1e-4, atol=1e-5)
    hinted = model(sley.tensor(source), sley.tensor(target), tgt_mask=mask, tgt_is_causal=True)
    np.testing.assert_allclose(hinted.detach().numpy(), expected(source, target), rtol=1e-4,
                               atol=1e-5)  # fmt: skip
    with pytest.raises(ShapeError, match="d_model"):
        model(sley.zeros(2, 5, 6), sley.zeros(2, 4, 6))


def test_a_layer_is_differentiated():
    layer = nn.TransformerEncoderLayer(4, 2, 8, 0.0, "gelu", batch_first=True).double()
    mask = nn.Transformer.generate_square_subsequent_mask(3, dtype=sley.float64)
    differentiates(lambda x: layer(x, mask), _draw(2, 3, 4), rtol=1e-4)


def test_a_compiled_step_trains_as_an_eager_one():
    def train(compiled):
        sley.manual_seed(0)
        layer = nn.TransformerEncoderLayer(8, 2, 16, 0.1, batch_first=True)
        model = nn.TransformerEncoder(layer, 2)
        optimizer = sley.optim.Adam(model.parameters(), 0.01)

        def step(x):
            optimizer.zero_grad()
            loss = (model(x) ** 2)[..., 0].mean()
            loss.backward()
            optimizer.step()
            return loss

        run = sley.compile(step) if compiled else step
        inputs = np.random.default_rng(0).standard_normal((4, 5, 8)).astype(np.float32)
        return [run(sley.tensor(inputs[: 2 + k % 2])).item() for k in range(4)]

    np.testing.assert_allclose(train(True), train(False), rtol=1e-3)


def test_symbolic_sizes():
    layer = nn.TransformerEncoderLayer(4, 2, 8, 0.0, batch_first=True)
    recorded, (result,) = dynamic(lambda x: layer(x), [("N", "T", 4)], {"N": 3, "T": 5})
    assert [str(n) for n in result.spec.shape] == ["N", "T", "4"]
    assert recorded.trace.guards == []


def test_stacks_hold_copies():
    layer = nn.TransformerEncoderLayer(4, 2, 8)
    stack = nn.TransformerEncoder(layer, 2, nn.LayerNorm(4))
    assert stack.layers[0].linear1.weight is not stack.layers[1].linear1.weight
    other = copy.deepcopy(stack)
    other.load_state_dict(stack.state_dict())
    assert "(0-1): 2 x TransformerEncoderLayer(" in repr(stack)
    x = sley.tensor(_draw(3, 2, 4))
    assert sley.equal(other.eval()(x), stack.eval()(x))
