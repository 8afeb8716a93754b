"""Mixed precision: which functions go low, that training does as well, that steps are left out."""

from __future__ import annotations

import importlib
import pkgutil
import warnings

import numpy as np
import pytest

import sley
import sley.nn.functional as F
from sley import amp, nn, optim
from sley.frontend import autocast as table
from sley.frontend import functions

LOW = (sley.bfloat16, sley.float16)


def inside(function, *args, dtype=sley.bfloat16, compiled=False):
    """What a function gives under autocast."""

    def call(*tensors):
        with amp.autocast("cpu", dtype=dtype):
            return function(*tensors)

    return (sley.compile(call) if compiled else call)(*args)


def x(*shape, dtype=sley.float32, seed=0):
    array = np.random.default_rng(seed).uniform(0.1, 0.9, shape)
    return sley.tensor(array.astype(np.float32)).to(dtype)


# The table


def test_every_name_of_the_table_is_a_function_that_follows_it():
    found = set()
    packages = [(p, info.name) for p in (functions, F, sley.linalg)
                for info in pkgutil.iter_modules(p.__path__)]  # fmt: skip
    modules = [importlib.import_module(f"{p.__name__}.{name}") for p, name in packages]
    for module in (sley.fft, *modules):
        for name, value in vars(module).items():
            while hasattr(value, "__wrapped__"):
                code = getattr(value, "__code__", None)
                if code is not None and code.co_filename == table.__file__:
                    found |= {name, value.__name__}
                value = value.__wrapped__
    assert set(table.POLICIES) <= found, set(table.POLICIES) - found


PRODUCTS = {
    "matmul": lambda a: a @ a, "mm": lambda a: sley.mm(a, a), "mv": lambda a: sley.mv(a, a[0]),
    "addmm": lambda a: sley.addmm(a, a, a), "einsum": lambda a: sley.einsum("ij,jk->ik", a, a),
    "linear": lambda a: F.linear(a, a, a[0]), "numpy @": lambda a: a.detach().__rmatmul__(a),
    "bmm": lambda a: sley.bmm(a[None], a[None]),
    "einsum with a sum": lambda a: sley.einsum("ij,jk->k", a, a),
    "prelu": lambda a: F.prelu(a, a[0, :1]),
    "conv1d": lambda a: F.conv1d(a[None], a[:, :, None]),
    "conv2d": lambda a: F.conv2d(a[None, None], a[None, None], a[0, :1]),
    "conv_transpose1d": lambda a: F.conv_transpose1d(a[None], a[:, :, None]),
    "attention": lambda a: F.scaled_dot_product_attention(a[None], a[None], a[None]),
}  # fmt: skip

WIDE = {
    "exp": sley.exp, "log": sley.log, "pow": lambda a: a**2, "rpow": lambda a: 2.0**a,
    "reciprocal": lambda a: 1 / a, "rsqrt": sley.rsqrt, "tan": lambda a: a.tan(), "sum": sley.sum,
    "prod": sley.prod, "cumsum": lambda a: a.cumsum(0), "norm": sley.norm,
    "logsumexp": lambda a: a.logsumexp(1), "softmax": lambda a: a.softmax(-1),
    "log_softmax": lambda a: F.log_softmax(a, -1), "softplus": F.softplus,
    "layer_norm": lambda a: F.layer_norm(a, (4,)), "group_norm": lambda a: F.group_norm(a, 2),
    "mse": lambda a: F.mse_loss(a, a), "l1": lambda a: F.l1_loss(a, a.float()),
    "cross_entropy": lambda a: F.cross_entropy(a, sley.tensor([0, 1, 2, 3])),
    "bce": lambda a: F.binary_cross_entropy(a, a), "cosine": lambda a: F.cosine_similarity(a, a),
    "cdist": lambda a: sley.cdist(a, a), "solve": lambda a: sley.linalg.solve(a, a[0]),
    "linalg.norm": lambda a: sley.linalg.norm(a), "rfft": lambda a: sley.fft.rfft(a).real,
}  # fmt: skip

AS_IT_COMES = {
    "relu": sley.relu, "mul": lambda a: a * a, "add": lambda a: a + 1, "mean": sley.mean,
    "max": sley.amax, "tanh": sley.tanh, "sigmoid": sley.sigmoid, "gelu": F.gelu,
    "reshape": lambda a: a.reshape(-1), "max_pool": lambda a: F.max_pool1d(a[None], 2),
    "batch_norm": lambda a: F.batch_norm(a, None, None, training=True),
}  # fmt: skip


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", PRODUCTS)
def test_products_go_low(name, compiled):
    for dtype in () if compiled else LOW:
        for given in (sley.float32, *LOW):
            assert inside(PRODUCTS[name], x(4, 4, dtype=given), dtype=dtype).dtype is dtype
    exact = PRODUCTS[name](x(4, 4).double()).detach()
    found = inside(PRODUCTS[name], x(4, 4), compiled=compiled)
    assert found.dtype is sley.bfloat16
    np.testing.assert_allclose(found.float().array, exact.array, rtol=0.05)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", WIDE)
def test_what_needs_it_is_computed_in_float32(name, compiled):
    low = x(4, 4, dtype=sley.bfloat16)
    found = inside(WIDE[name], low, compiled=compiled)
    assert found.dtype is sley.float32
    np.testing.assert_allclose(found.array, WIDE[name](low.float()).array, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("name", AS_IT_COMES)
def test_the_rest_computes_in_the_dtype_of_its_arguments(name):
    for dtype in (sley.float32, *LOW):
        assert inside(AS_IT_COMES[name], x(4, 4, dtype=dtype)).dtype is dtype


def test_several_arguments_meet_in_the_widest():
    low, full = x(3, dtype=sley.bfloat16), x(3)
    assert inside(lambda a, b: sley.cat([a, b]), low, full).dtype is sley.float32
    assert inside(lambda a, b: sley.stack([a, a]), low, full).dtype is sley.bfloat16
    assert inside(sley.dot, low, full).dtype is sley.float32
    assert inside(sley.dot, low, low.half()).dtype is sley.float32
    assert inside(lambda a, b: a * b, low, full).dtype is sley.float32


def test_float64_and_integers_are_left_alone():
    wide = x(4, 4).double()
    assert inside(sley.mm, wide, wide).dtype is sley.float64
    assert inside(sley.softmax, wide, -1).dtype is sley.float64
    assert inside(sley.sum, sley.arange(3)).dtype is sley.int64
    assert inside(lambda a: sley.sum(a, dtype=sley.float64), x(3)).dtype is sley.float64


def test_autocast_is_off_inside_of_such_a_function():
    def softmax(a, parts):
        return amp.is_autocast_enabled(), a.dtype, [p.dtype for p in parts]

    with amp.autocast():
        low = x(2) @ x(2, 2)
        found = table.autocasts(softmax)(low, [low, low.double()])
        assert amp.is_autocast_enabled()
    assert found == (False, sley.float32, [sley.float32, sley.float64])


# The switch


def test_it_nests_and_ends():
    a = x(4, 4)
    assert not amp.is_autocast_enabled()
    with sley.autocast("cpu"):
        assert (a @ a).dtype is sley.bfloat16 and amp.is_autocast_enabled()
        with sley.autocast("cpu", dtype=sley.float16):
            assert (a @ a).dtype is sley.float16 and amp.get_autocast_dtype() is sley.float16
            with sley.autocast("cpu", enabled=False):
                assert (a @ a).dtype is sley.float32 and not amp.is_autocast_enabled()
            assert (a @ a).dtype is sley.float16
        assert (a @ a).dtype is sley.bfloat16
    assert (a @ a).dtype is sley.float32
    with pytest.raises(KeyError), sley.autocast():
        raise KeyError
    assert not amp.is_autocast_enabled() and amp.get_autocast_dtype() is sley.bfloat16


def test_it_decorates():
    @amp.autocast("cpu", dtype=sley.float16)
    def product(a):
        return a @ a

    for run in (product, sley.compile(product)):
        assert run(x(2, 2)).dtype is sley.float16


def test_outside_and_inside_of_a_compiled_function():
    product = sley.compile(lambda a: a @ a)
    a = x(3, 3)
    assert product(a).dtype is sley.float32
    with amp.autocast():
        assert product(a).dtype is sley.bfloat16
    assert product(a).dtype is sley.float32


def test_a_batch_of_any_size():
    layer = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 2))

    @sley.compile
    def run(batch):
        with amp.autocast():
            return layer(batch)

    for n in (2, 3, 7, 5):
        found = run(x(n, 4, seed=n))
        with amp.autocast():
            expected = layer(x(n, 4, seed=n))
        assert found.dtype is sley.bfloat16 and found.shape == (n, 2)
        np.testing.assert_allclose(found.float().detach().array, expected.float().detach().array,
                                   rtol=0.02, atol=0.02)  # fmt: skip


def test_bad_settings():
    with pytest.raises(sley.ArgumentError, match="xpu"):
        amp.autocast("xpu")
    with pytest.raises(sley.DTypeError, match="bfloat16 or float16"):
        amp.autocast("cpu", dtype=sley.float64)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with amp.autocast("cuda"):
            assert (x(2, 2) @ x(2, 2)).dtype is sley.float32
    assert "no such device" in str(caught[0].message)
    assert amp.is_autocast_available("cpu") and not amp.is_autocast_available("cuda")


# Gradients


@pytest.mark.parametrize("compiled", [False, True])
def test_gradients_have_the_dtype_of_the_parameters(compiled):
    layer = nn.Linear(4, 3)

    def step(a):
        with amp.autocast():
            loss = (layer(a) ** 2).sum()
        loss.backward()
        return loss

    (sley.compile(step) if compiled else step)(x(5, 4))
    grad = layer.weight.grad
    assert grad.dtype is sley.float32
    a, w = x(5, 4).double(), layer.weight.detach().double()
    exact = 2 * (a @ w.T + layer.bias.detach().double()).T @ a
    np.testing.assert_allclose(grad.array, exact.array, rtol=0.03, atol=0.03)


def test_backward_inside_is_backward_outside():
    found = []
    for within in (False, True):
        layer = nn.Linear(4, 3)
        with sley.no_grad():
            layer.weight.copy_(x(3, 4))
            layer.bias.fill_(0.5)
        with amp.autocast():
            loss = F.cross_entropy(layer(x(5, 4)), sley.tensor([0, 1, 2, 0, 1]))
            if within:
                loss.backward()
        if not within:
            loss.backward()
        found.append(layer.weight.grad.tolist())
    assert found[0] == found[1]


def test_second_derivatives_go_through_the_casts():
    w = x(3, 3).requires_grad_()
    with amp.autocast():
        y = (w @ w).exp().sum()
    (first,) = sley.autograd.grad(y, w, create_graph=True)
    (second,) = sley.autograd.grad(first.sum(), w)
    v = x(3, 3).double().requires_grad_()
    (a,) = sley.autograd.grad((v @ v).exp().sum(), v, create_graph=True)
    (b,) = sley.autograd.grad(a.sum(), v)
    np.testing.assert_allclose(second.array, b.array, rtol=0.05)


# Training


def make(seed=0, halves=None):
    sley.manual_seed(seed)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.LayerNorm(32), nn.Linear(32, 3))
    return model if halves is None else model.to(halves)


def data():
    rng = np.random.default_rng(0)
    given = rng.standard_normal((64, 8)).astype(np.float32)
    return sley.tensor(given), sley.tensor((given[:, 0] > 0).astype(np.int64) + (given[:, 1] > 0))


def train(dtype, compiled, steps=40, overflow=(), scaler=None):
    model = make()
    optimizer = optim.Adam(model.parameters(), lr=1e-2)
    scaler = scaler or amp.GradScaler(init_scale=2.0**15, growth_interval=5)

    def step(a, b):
        optimizer.zero_grad()
        with amp.autocast("cpu", dtype=dtype, enabled=dtype is not None):
            loss = F.cross_entropy(model(a), b)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss

    run = sley.compile(step) if compiled else step
    a, b = data()
    losses = [run(a * np.inf if k in overflow else a, b).item() for k in range(steps)]
    if compiled:
        assert len(run.programs) == 1
    return losses, model, optimizer, scaler


@pytest.mark.parametrize("dtype", LOW)
def test_training_in_mixed_precision_learns_as_well(dtype):
    full = train(None, False)[0]
    eager = train(dtype, False)[0]
    compiled = train(dtype, True)[0]
    assert full[-1] < 0.05
    assert abs(eager[-1] - full[-1]) < 0.01 and abs(compiled[-1] - full[-1]) < 0.01
    np.testing.assert_allclose(eager, compiled, rtol=0.05)


@pytest.mark.parametrize("dtype", LOW)
@pytest.mark.parametrize("compiled", [False, True])
def test_models_of_halves_train(dtype, compiled):
    model = make().half() if dtype is sley.float16 else make().bfloat16()
    assert all(p.dtype is dtype for p in model.parameters())
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    a, b = data()

    def step(a, b):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(a), b)
        loss.backward()
        optimizer.step()
        return loss

    step = sley.compile(step) if compiled else step
    losses = [step(a.to(dtype), b).item() for _ in range(40)]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("dtype", LOW)
def test_sums_of_halves_accumulate_in_float32(dtype):
    ones = sley.ones(10_000).to(dtype)
    for compiled in (False, True):
        total = (sley.compile(sley.sum) if compiled else sley.sum)(ones)
        assert total.dtype is dtype and abs(total.item() - 10_000) < 50
        mean = (sley.compile(sley.mean) if compiled else sley.mean)(ones)
        assert mean.item() == 1
    product = (ones[:4096].reshape(1, -1) @ ones[:4096].reshape(-1, 1)).item()
    assert product == 4096


# The scale


@pytest.mark.parametrize("compiled", [False, True])
def test_steps_that_overflow_are_left_out(compiled):
    losses, model, optimizer, scaler = train(sley.float16, compiled, steps=12, overflow=(3, 4, 9))
    assert sum(not np.isfinite(v) for v in losses) == 3
    assert all(np.isfinite(p.detach().array).all() for p in model.parameters())
    states = [s for p in model.parameters() for s in optimizer.state[p].values()]
    assert all(np.isfinite(s.array).all() for s in states)
    assert optimizer.state[model[0].weight]["step"].item() == 9
    # Halved three times; four good steps in a row are too few to double it.
    assert scaler.get_scale() == 2.0**12 and scaler._growth_tracker.item() == 2


@pytest.mark.parametrize("compiled", [False, True])
def test_a_step_that_is_left_out_changes_no_bit(compiled):
    p = nn.Parameter(sley.ones(3))
    optimizer = optim.AdamW([p], lr=0.1, amsgrad=True)
    scaler = amp.GradScaler(init_scale=4.0, growth_interval=2)

    def step(v):
        optimizer.zero_grad()
        scaler.scale((p * v).sum()).backward()
        scaler.step(optimizer)
        scaler.update()

    step = sley.compile(step) if compiled else step
    step(sley.ones(3))
    before = [p.tolist(), *(t.tolist() for t in optimizer.state[p].values())]
    step(sley.tensor([1.0, float("nan"), 1.0]))
    assert [p.tolist(), *(t.tolist() for t in optimizer.state[p].values())] == before
    assert scaler.get_scale() == 2
    step(sley.ones(3))
    step(sley.ones(3))
    assert scaler.get_scale() == 4 and optimizer.state[p]["step"].item() == 3


def test_gradients_lose_the_scale_before_they_are_clipped():
    p = nn.Parameter(sley.ones(2))
    optimizer = optim.SGD([p], lr=1.0)
    scaler = amp.GradScaler(init_scale=1024.0)
    scaler.scale((p * 3).sum()).backward()
    assert p.grad.tolist() == [3072, 3072]
    scaler.unscale_(optimizer)
    assert p.grad.tolist() == [3, 3]
    with pytest.raises(RuntimeError, match="already been called"):
        scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_([p], 1.0)
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="already been called"):
        scaler.step(optimizer)
    scaler.update()
    np.testing.assert_allclose(p.detach().array, 1 - 2**-0.5, rtol=1e-5)
    with pytest.raises(RuntimeError, match=r"since the last update"):
        scaler.update()


def test_several_optimizers_share_one_scale():
    p, q = nn.Parameter(sley.ones(1)), nn.Parameter(sley.ones(1))
    one, two = optim.SGD([p], lr=1.0), optim.SGD([q], lr=1.0)
    scaler = amp.GradScaler(init_scale=8.0)
    a, b = scaler.scale([(p * 2).sum(), (q * float("inf")).sum()])
    (a + b).backward()
    scaler.step(one)
    scaler.step(two)
    scaler.update()
    assert p.tolist() == [-1] and q.tolist() == [1] and scaler.get_scale() == 4


def test_a_scaler_that_is_off_does_nothing():
    p = nn.Parameter(sley.ones(1))
    optimizer, scaler = optim.SGD([p], lr=1.0), amp.GradScaler(enabled=False)
    loss = (p * 2).sum()
    assert scaler.scale(loss) is loss and scaler.get_scale() == 1 and scaler.state_dict() == {}
    loss.backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert p.tolist() == [-1] and not scaler.is_enabled()
    with pytest.warns(UserWarning, match="no such device"):
        assert not amp.GradScaler("cuda").is_enabled()


def test_the_state_of_a_scaler_is_saved():
    scaler = train(sley.float16, False, steps=4)[3]
    state = scaler.state_dict()
    assert state["scale"] == 2.0**15 and state["_growth_tracker"] == 4
    other = amp.GradScaler()
    other.load_state_dict(state)
    assert other.state_dict() == state and other.get_growth_interval() == 5
    other.update(3.0)
    assert other.get_scale() == 3
    with pytest.raises(sley.LoadError, match="lacks"):
        other.load_state_dict({})
    for wrong in ({"growth_factor": 1.0}, {"backoff_factor": 1.0}, {"growth_interval": 0}):
        with pytest.raises(sley.ArgumentError):
            amp.GradScaler(**wrong)
    with pytest.raises(sley.DTypeError, match="float16"):
        p = nn.Parameter(sley.ones(1).half())
        (p * 2).sum().backward()
        amp.GradScaler().unscale_(optim.SGD([p]))


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("compiled", [False, True])
def test_recurrent_nets_and_attention_take_it(kind, compiled):
    net = getattr(nn, kind)(4, 5, batch_first=True)
    layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)

    def run(a):
        with amp.autocast():
            return net(layer(a))[0].sum()

    found = (sley.compile(run) if compiled else run)(x(2, 3, 4))
    expected = net(layer(x(2, 3, 4)))[0].sum()
    assert abs(found.item() - expected.item()) < 0.3
