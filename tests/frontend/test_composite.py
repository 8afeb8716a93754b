"""Functions of several ops that run as one step: the same bits, gradients, errors as their ops."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import sley
import sley.nn.functional as F
from sley.frontend.composite import CompositeNode, composite, updates
from sley.frontend.context import ambient
from sley.frontend.errors import AutogradError, IndexingError

RNG = np.random.default_rng(7)


def draw(*shape, dtype="float32", strided=False):
    array = RNG.standard_normal(shape[::-1] if strided else shape)
    made = sley.tensor(array.astype("float32")).to(getattr(sley, dtype))
    return made.permute(*range(len(shape))[::-1]) if strided else made


def classes(count, *shape):
    return sley.tensor(RNG.integers(0, count, shape))


CASES = {
    "linear": (lambda x, w, b: F.linear(x, w, b), [(5, 7), (3, 7), (3,)]),
    "linear of many axes": (lambda x, w: F.linear(x, w), [(2, 5, 7), (3, 7)]),
    "linear of a vector": (lambda x, w, b: F.linear(x, w, b), [(4, 7), (7,), ()]),
    "linear of nothing": (lambda x, w, b: F.linear(x, w, b), [(0, 7), (3, 7), (3,)]),
    "relu": (F.relu, [(5, 9)]),
    "relu of much": (F.relu, [(37, 61)]),
    "hardtanh": (lambda x: F.hardtanh(x, -0.5, 0.5), [(5, 9)]),
    "leaky_relu": (lambda x: F.leaky_relu(x, 0.3), [(5, 9)]),
    "elu": (lambda x: F.elu(x, 0.7), [(5, 9)]),
    "silu": (F.silu, [(5, 9)]),
    "gelu": (F.gelu, [(5, 9)]),
    "gelu by tanh": (lambda x: F.gelu(x, "tanh"), [(5, 9)]),
    "softplus": (lambda x: F.softplus(x, 2.0), [(5, 9)]),
}


def cross_entropy(**options):
    target = classes(9, 5)
    return lambda x, *weight: F.cross_entropy(x, target, *weight, **options)


IMAGES, NINE = classes(4, 2, 3, 3), classes(9, 5)


CASES |= {
    "cross entropy": (cross_entropy(), [(5, 9)]),
    "cross entropy, summed": (cross_entropy(reduction="sum"), [(5, 9)]),
    "cross entropy, ignoring": (cross_entropy(ignore_index=3, label_smoothing=0.2), [(5, 9)]),
    "cross entropy of images": (
        lambda x: F.cross_entropy(x, IMAGES, reduction="none"), [(2, 4, 3, 3)],
    ),
    "cross entropy, weighted": (cross_entropy(), [(5, 9), (9,)]),
    "cross entropy of probabilities": (F.cross_entropy, [(5, 9), (5, 9)]),
    "nll": (lambda x: F.nll_loss(x, NINE, ignore_index=2), [(5, 9)]),
}  # fmt: skip


def normalised(x, w, b, training=True, momentum=0.3):
    mean, variance = x.detach().mean((0, 2)) * 0.5, x.detach().var((0, 2)) + 0.5
    found = F.batch_norm(x, mean, variance, w, b, training, momentum)
    return found + mean.reshape(-1, 1) * variance.reshape(-1, 1)


def dropped(x):
    sley.manual_seed(3)
    return F.dropout(x, 0.25)


CASES |= {
    "softmax": (lambda x: F.softmax(x, 1), [(3, 5, 4)]),
    "softmax of a number": (lambda x: F.softmax(x, 0), [()]),
    "log_softmax": (lambda x: F.log_softmax(x, 0), [(3, 5, 4)]),
    "layer_norm": (lambda x, w, b: F.layer_norm(x, [5], w, b), [(3, 5), (5,), (5,)]),
    "layer_norm of matrices": (lambda x: F.layer_norm(x, (4, 5)), [(3, 4, 5)]),
    "rms_norm": (lambda x, w: F.rms_norm(x, (5,), w), [(3, 5), (5,)]),
    "group_norm": (lambda x, w, b: F.group_norm(x, 2, w, b), [(3, 4, 5), (4,), (4,)]),
    "batch_norm": (normalised, [(3, 4, 5), (4,), (4,)]),
    "batch_norm, known": (lambda *a: normalised(*a, training=False), [(3, 4, 5), (4,), (4,)]),
    "dropout": (dropped, [(7, 9)]),
    "conv1d": (lambda x, w, b: F.conv1d(x, w, b, 2, 1), [(2, 4, 9), (3, 4, 3), (3,)]),
    "conv2d of one": (lambda x, w: F.conv2d(x, w, padding="same"), [(2, 5, 6), (3, 2, 3, 3)]),
    "conv_transpose2d": (
        lambda x, w, b: F.conv_transpose2d(x, w, b, 2), [(2, 4, 3, 3), (4, 2, 3, 3), (2,)],
    ),
    "max_pool2d": (lambda x: F.max_pool2d(x, 3, 2, 1), [(2, 3, 7, 8)]),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, (2, 3), ceil_mode=True), [(2, 3, 7, 8)]),
    "mse_loss": (F.mse_loss, [(3, 5), (3, 5)]),
    "l1_loss": (lambda x, y: F.l1_loss(x, y, reduction="sum"), [(3, 5), (3, 5)]),
    "smooth_l1_loss": (lambda x, y: F.smooth_l1_loss(x, y, beta=0.5), [(3, 5), (3, 5)]),
    "huber_loss": (F.huber_loss, [(3, 5), (3, 5)]),
    "logits": (F.binary_cross_entropy_with_logits, [(3, 5), (3, 5)]),
    "kl_div": (lambda x, y: F.kl_div(x, y, reduction="batchmean", log_target=True),
               [(3, 5), (3, 5)]),
}  # fmt: skip


def singly(function, *args):
    """`function` by the ops that it is made of."""
    ambient.differentiates = True
    try:
        return function(*args)
    finally:
        ambient.differentiates = False


def outcome(function, tensors, call=lambda function, *args: function(*args)):
    """The bits of the result and of the gradients; of arguments that are used elsewhere, too."""
    leaves = [t.detach().requires_grad_() for t in tensors]
    found = call(function, *leaves)
    total = (found.to(sley.float32) * 1.25).sum()
    for leaf in leaves:
        total = total + (leaf * leaf).to(sley.float32).sum()
    total.backward()
    arrays = [found.detach().numpy(), *(leaf.grad.numpy() for leaf in leaves)]
    return [(a.dtype, a.shape, a.tobytes()) for a in arrays]


@pytest.mark.parametrize("strided", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
@pytest.mark.parametrize("case", CASES)
def test_the_same_bits_as_single_ops(case, dtype, strided):
    function, shapes = CASES[case]
    tensors = [draw(*shape, dtype=dtype, strided=strided) for shape in shapes]
    expected = outcome(function, tensors, singly)
    for _ in range(3):
        assert outcome(function, tensors) == expected


def warmed(function, *args):
    """`function` after calls with these arguments."""
    for _ in range(2):
        function(*args)
    return function


def test_one_node_on_the_tape():
    x, w = draw(3, 4).requires_grad_(), draw(5, 4)
    first = F.linear(x, w)
    assert not isinstance(first.grad_fn.node, CompositeNode)
    F.linear(x, w)
    third = F.linear(x, w)
    assert isinstance(third.grad_fn.node, CompositeNode)
    assert str(third.grad_fn) == str(first.grad_fn) == "<DotGeneralBackward>"
    assert third.grad_fn.node.operands == (x._value,)
    assert F.linear(x.detach(), w).grad_fn is None
    with sley.no_grad():
        assert not F.linear(x, w).requires_grad


def test_the_order_of_sums():
    @composite
    def thrice(x):
        return x * 0.1 + x * x + (x * 0.3).exp()

    def function(x):
        y = thrice(x)
        return y * x + x.sin() + y

    x = draw(50)
    for _ in range(3):
        assert outcome(function, [x]) == outcome(function, [x], singly)


def test_derivatives_of_higher_order():
    x, w = draw(6, 4, dtype="float64").requires_grad_(), draw(3, 4, dtype="float64")
    warmed(lambda: F.silu(F.linear(x, w)))()

    def second():
        y = F.silu(F.linear(x, w)).sum()
        (first,) = sley.autograd.grad(y, x, create_graph=True)
        return sley.autograd.grad((first * first).sum(), x)[0].numpy().tobytes()

    assert second() == second() == singly(second)


def test_gradients_of_some_operands():
    x, w, b = (draw(*s).requires_grad_() for s in ((3, 4), (5, 4), (5,)))
    function = warmed(lambda: F.linear(x, w, b).sum())
    expected = singly(lambda: sley.autograd.grad(function(), [x, w, b]))
    for tensor, gradient in zip((x, w, b), expected, strict=True):
        (found,) = sley.autograd.grad(function(), tensor)
        assert found.numpy().tobytes() == gradient.numpy().tobytes()
    y = function()
    y.backward(inputs=[w], retain_graph=True)
    assert x.grad is None and w.grad is not None
    y.backward()
    with pytest.raises(AutogradError, match="freed"):
        y.backward()


def test_gradients_are_tensors_of_their_own():
    """What an addition passes on to both sides is one array."""

    @composite
    def total(a, b):
        return a + b

    a, b = draw(4).requires_grad_(), draw(4).requires_grad_()
    warmed(total, a, b)(a, b).backward(sley.ones(4))
    a.grad.zero_()
    assert b.grad.tolist() == [1.0] * 4


def test_hooks_and_retained_gradients():
    x, w = draw(3, 4).requires_grad_(), draw(5, 4)

    def function():
        seen = []
        x.grad = None
        hidden = F.linear(x, w)
        hidden.retain_grad()
        y = F.relu(hidden)
        y.register_hook(lambda grad: seen.append(grad.numpy().copy()) or grad * 2)
        (y * y).sum().backward()
        return [a.tobytes() for a in (*seen, hidden.grad.numpy(), x.grad.numpy())]

    assert warmed(function)() == singly(function)


def test_what_is_read_later_and_overwritten():
    def read(x, w):
        y = F.linear(x, w)
        with sley.no_grad():
            w.mul_(2)
        y.sum().backward()

    x, w = draw(3, 4).requires_grad_(), draw(5, 4).requires_grad_()
    texts = []
    for call in (singly, lambda f, *a: f(*a)):
        warmed(F.linear, x, w)
        with pytest.raises(AutogradError, match="overwritten in place") as caught:
            call(read, x, w)
        texts.append([line for line in str(caught.value).splitlines() if "read(x, w)" not in line])
    assert texts[0][:3] == texts[1][:3] and "in read" in texts[0][1]


def test_what_is_overwritten_and_not_read():
    def function():
        x = sley.tensor([1.0, -2.0, 3.0], requires_grad=True)
        y = x * 1
        z = F.relu(y)
        with sley.no_grad():
            x.add_(5)
        z.sum().backward()
        return x.grad.tolist()

    assert warmed(function)() == [1.0, 0.0, 1.0]


def test_a_result_that_is_written():
    @composite
    def both(x):
        return x.exp() * x.exp()

    def function(x):
        y = both(x)
        y.mul_(x)
        return y

    x = draw(5)
    for _ in range(3):
        assert outcome(function, [x]) == outcome(function, [x], singly)

    @composite
    def grown(x):
        return (x * 0.5).exp()

    def wrong(x):
        y = grown(x)
        y.add_(1)
        y.sum().backward()

    for _ in range(3):
        with pytest.raises(AutogradError, match="overwritten in place"):
            wrong(x.detach().requires_grad_())


def test_results_are_new_memory():
    @composite
    def stretched(x):
        return sley.maximum(x, x)

    x = draw(3, 4)
    y = warmed(stretched, x)(x)
    y.zero_()
    assert x.abs().sum().item() > 0


def test_anomalies_are_named_by_op():
    x = sley.tensor([0.0, 1.0], requires_grad=True)

    @composite
    def root(x):
        return x.sqrt() * 0

    warmed(root, x)
    with sley.autograd.detect_anomaly(), pytest.raises(AutogradError, match="SqrtBackward"):
        root(x).sum().backward()


def test_numbers_count_by_sign_and_class():
    @composite
    def scaled(x, factor):
        return x * factor

    x = sley.tensor([1.0, 2.0])
    for factor in (0.0, -0.0, 0.0, -0.0, 1, True, 1.0, 1, True, 1.0):
        assert scaled(x, factor).numpy().tobytes() == (x * factor).numpy().tobytes()
    whole = sley.tensor([1, 2])
    for factor in (1, 1.0, True, 1, 1.0, True, 1, 1.0):
        assert scaled(whole, factor).dtype is (whole * factor).dtype


def test_classes_out_of_range():
    x = draw(3, 4)
    for target in ([0, 1, 2], [0, 1, 2], [3, 3, 3]):
        F.cross_entropy(x, sley.tensor(target))
    with pytest.raises(IndexingError, match="class 4 is not in 0"):
        F.cross_entropy(x, sley.tensor([0, 4, 1]))


def test_the_context_is_part_of_it():
    x, w = draw(3, 4), draw(5, 4)
    assert warmed(F.linear, x, w)(x, w).dtype is sley.float32
    for _ in range(3):
        with sley.amp.autocast("cpu", sley.bfloat16):
            assert F.linear(x, w).dtype is sley.bfloat16
    with pytest.raises(sley.ShapeError, match="linear of"):
        F.linear(w[:, :2], x)


def test_inside_of_transformations():
    x, w = draw(6, 4, dtype="float64"), draw(3, 4, dtype="float64")

    def loss(x):
        return F.gelu(F.linear(x, w)).sum()

    plain = singly(sley.func.grad(loss), x).numpy()
    warmed(loss, x.requires_grad_())
    for function in (sley.func.grad(loss), sley.compile(sley.func.grad(loss))):
        assert np.allclose(function(x.detach()).numpy(), plain)
    assert np.allclose(sley.func.vmap(sley.func.grad(loss))(x.detach()).numpy(), plain)
    _, pushed = sley.func.jvp(loss, (x.detach(),), (sley.ones_like(x),))
    assert np.allclose(pushed.item(), plain.sum())


def test_a_walk_from_inside_goes_through_nodes_from_outside():
    x, w = draw(6, 4, dtype="float64").requires_grad_(), draw(3, 4, dtype="float64")
    warmed(F.linear, x, w)
    y = F.linear(x, w)

    def second():
        (first,) = sley.autograd.grad((y * y).sum(), x, create_graph=True, retain_graph=True)
        return sley.autograd.grad(first.sum(), x, retain_graph=True)[0]

    assert np.allclose(second().numpy(), (2 * w.sum(1) @ w).numpy())
    jacobian = sley.autograd.grad(y.sum(1), x, sley.eye(6, dtype=sley.float64),
                                  is_grads_batched=True)[0]  # fmt: skip
    assert np.allclose(jacobian.numpy()[2, 2], w.sum(0).numpy())


def test_what_it_keeps_is_let_go():
    x = draw(5).requires_grad_()
    y = warmed(F.gelu, x)(x)
    node = y.grad_fn.node
    kept = weakref.ref(node.arguments[0])
    y.sum().backward()
    assert not node.arrays and not node.arguments
    del y, node, x
    gc.collect()
    assert kept() is None


def test_a_function_that_is_no_composite():
    @composite
    def wrong(x):
        return x if x.sum() > 0 else -x

    x = draw(3)
    wrong(x)
    with pytest.raises(sley.frontend.errors.TraceError):
        wrong(x)

    @composite
    def same(x):
        return x.detach()

    same(x)
    with pytest.raises(AssertionError, match="same returns no new tensor"):
        same(x)


@pytest.mark.parametrize("strided", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_updates_are_written_in_place(dtype, strided):
    @updates
    def moved(x, y, z):
        total = x * 0.5 + z
        return total - y, x * 2

    tensors = [draw(3, 4, dtype=dtype, strided=strided) for _ in range(3)]
    expected = [t.clone() for t in tensors]
    x, y, _ = tensors
    row, array = x[1], x.float().numpy() if dtype == "bfloat16" else x.numpy()
    x.requires_grad_()
    places = [t._array for t in (x, y)]
    with sley.no_grad():
        for turn in range(4):
            version = x.storage.version
            moved(*tensors)
            a, b, c = expected
            expected = [a * 0.5 + c - b, a * 2, c]
            for tensor, wanted in zip(tensors, expected, strict=True):
                assert tensor.detach().numpy().tobytes() == wanted.numpy().tobytes()
            assert (row == expected[0][1]).all()
            assert dtype == "bfloat16" or (array == expected[0].numpy()).all()
            assert x.storage.version == version + 1, turn
            assert "test_updates" in str(x.storage.written)
    assert all(t._array is place for t, place in zip((x, y), places, strict=True))


def test_updates_of_what_has_a_history():
    @updates
    def halved(x):
        return (x * 0.5,)

    x = draw(3)
    with sley.no_grad():
        warmed(halved, x)
    y = x.requires_grad_() * 1
    with sley.no_grad():
        for _ in range(3):
            with pytest.raises(sley.UnsupportedError, match="with a history"):
                halved(y)
    before = x.detach().clone()
    for _ in range(3):
        with pytest.raises(AutogradError, match="in-place write to a leaf"):
            halved(x)
    assert (x == before).all()


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW"])
def test_a_parameter_is_written_where_it_lies(kind):
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    parameter = sley.from_numpy(weight).requires_grad_()
    alias, column = parameter.detach(), parameter.detach()[:, 1]
    optimizer = getattr(sley.optim, kind)([parameter], lr=0.5)
    for _ in range(4):
        before = weight.copy()
        parameter.grad = sley.ones(2, 3)
        optimizer.step()
        assert (weight < before).all() and (parameter.detach().numpy() == weight).all()
        assert (alias.numpy() == weight).all() and (column.numpy() == weight[:, 1]).all()
