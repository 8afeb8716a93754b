"""Complex tensors: dtypes, promotion, parts as views, printing, functions, gradients, compiled."""

from __future__ import annotations

import cmath
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import sley
from sley import complex64, complex128, float32, float64

PARTS = np.array([[1 + 2j, -0.5j], [3.25, -1 + 1j], [0.5 - 0.75j, -2 - 0.25j]])


def tensor(dtype: Any = complex64, **options: Any) -> sley.Tensor:
    return sley.tensor(PARTS, dtype=dtype, **options)


def same(found: sley.Tensor, expected: Any, dtype: Any = None) -> None:
    array = np.asarray(expected)
    assert found.shape == array.shape
    assert dtype is None or found.dtype is dtype
    np.testing.assert_allclose(found.detach().numpy(), array, rtol=2e-6, atol=2e-6)


# Dtypes


def test_dtypes() -> None:
    assert sley.cfloat is complex64 and sley.cdouble is complex128
    assert (complex64.itemsize, complex128.itemsize) == (8, 16)
    assert complex64.to_real() is float32 and float64.to_complex() is complex128
    assert tensor().is_complex() and sley.is_complex(tensor())
    assert not tensor().is_floating_point()
    assert tensor().cdouble().dtype is complex128 and sley.ones(2).cfloat().dtype is complex64
    assert tensor().to(complex128).dtype is complex128
    assert sley.finfo(complex64).eps == sley.finfo(float32).eps
    assert tensor().real.dtype is float32 and tensor(complex128).imag.dtype is float64
    with pytest.warns(UserWarning, match="discards the imaginary part") as caught:
        same(tensor().float(), PARTS.real, float32)
        sley.zeros(2).copy_(tensor()[0])
    assert len(caught) == 2 and caught[0].filename == __file__
    same(tensor().bool(), PARTS != 0, sley.bool)


# PyTorch's "Tensor Attributes": categories, then dimensions.
PROMOTED = [
    (sley.ones(2), sley.ones(2, dtype=complex64), complex64),
    (sley.ones(2, dtype=float64), sley.ones(2, dtype=complex64), complex128),
    (sley.ones(2, dtype=sley.bfloat16), sley.ones(2, dtype=complex64), complex64),
    (sley.ones(2, dtype=sley.int64), sley.ones(2, dtype=complex64), complex64),
    (sley.ones(2, dtype=complex64), sley.ones(2, dtype=complex128), complex128),
    (sley.ones(2), sley.ones((), dtype=complex128), complex64),
    (sley.ones(2, dtype=complex64), sley.ones((), dtype=float64), complex64),
    (sley.ones(2, dtype=complex64), sley.ones((), dtype=complex128), complex64),
    (sley.ones(2, dtype=sley.int64), sley.ones((), dtype=complex128), complex128),
    (sley.ones(2, dtype=float64), 1j, complex128),
    (sley.ones(2), 1j, complex64),
    (sley.ones(2, dtype=sley.int32), 1j, complex64),
    (sley.ones(2, dtype=sley.bool), 1j, complex64),
    (sley.ones(2, dtype=complex64), 1.5, complex64),
    (sley.ones(2, dtype=complex128), 2, complex128),
    (sley.ones((), dtype=float64), 1j, complex128),
]


@pytest.mark.parametrize(("left", "right", "expected"), PROMOTED, ids=str)
def test_promotion(left: Any, right: Any, expected: Any) -> None:
    assert sley.result_type(left, right) is expected
    assert sley.result_type(right, left) is expected
    assert (left + right).dtype is expected
    assert (right * left).dtype is expected
    assert sley.compile(lambda x, y: x + y)(left, right).dtype is expected


def test_promotion_of_dtypes() -> None:
    assert sley.promote_types(float64, complex64) is complex128
    assert sley.promote_types(sley.int64, complex64) is complex64
    assert sley.can_cast(float64, complex64) and not sley.can_cast(complex64, float64)


def test_the_default_complex_dtype_follows_the_default_dtype() -> None:
    assert sley.tensor([1j, 2]).dtype is complex64 and sley.tensor(1j).dtype is complex64
    sley.set_default_dtype(float64)
    try:
        assert sley.tensor([1j, 2]).dtype is complex128
        assert (sley.ones(2, dtype=sley.int64) * 1j).dtype is complex128
        assert "dtype" not in repr(sley.tensor([1j])) and "complex64" in repr(tensor())
    finally:
        sley.set_default_dtype(float32)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(sley.DTypeError, match="does not fit into float32"):
        sley.full((2,), 1j, dtype=float32)
    with pytest.raises(sley.DTypeError, match="real"):
        sley.tensor([1j], dtype=float32)
    x = sley.ones(2)
    with pytest.raises(sley.DTypeError, match="cannot be stored"):
        x += 1j
    with pytest.raises(sley.DTypeError):
        x[0] = 1j
    np.testing.assert_array_equal(x.numpy(), 1)
    same(sley.full((2,), 1j), [1j, 1j], complex64)
    assert sley.zeros(2, dtype=complex128).dtype is complex128
    same(sley.eye(2, dtype=complex64), np.eye(2), complex64)


@pytest.mark.parametrize(
    "use",
    [
        lambda z: z < z, lambda z: z >= 1, lambda z: z.max(), lambda z: z.argmin(), sley.sign,
        lambda z: sley.maximum(z, z), lambda z: z.clamp(min=0), lambda z: z // 2, lambda z: z % 2,
        sley.floor, sley.round, sley.erf, lambda z: sley.atan2(z, z), lambda z: z.cummax(0),
        lambda z: z & z, lambda z: z.sort(),
    ],
)  # fmt: skip
def test_complex_numbers_have_no_order(use: Callable) -> None:
    for call in (use, sley.compile(use)):
        with pytest.raises(sley.DTypeError, match="does not take complex64"):
            call(tensor())


# Reading


def test_reading() -> None:
    z = tensor()
    assert z[0, 0].item() == 1 + 2j and complex(z[0, 0]) == 1 + 2j
    assert z.tolist() == PARTS.tolist()
    assert z.numpy().dtype == np.complex64 and np.shares_memory(z.numpy(), z.numpy())
    shared = sley.from_numpy(PARTS.copy())
    assert shared.dtype is complex128 and sley.tensor(PARTS[0]).dtype is complex128
    with pytest.raises(TypeError):
        float(z[0, 0])


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ([1 + 2j, 3.5 - 4j], "tensor([1.0000+2.j, 3.5000-4.j])"),
        ([1 + 2j, 3 - 4j], "tensor([1.+2.j, 3.-4.j])"),
        ([[1e-5 + 2j, 3000 - 4.5j]], "tensor([[1.0000e-05+2.0000j, 3.0000e+03-4.5000j]])"),
        ([complex("nan"), complex("inf") - 1j, 2 + 1j], "tensor([nan+0.j, inf-1.j, 2.+1.j])"),
        (1.5 - 2j, "tensor(1.5000-2.j)"),
        ([-1 - 1j, 2e8 + 1j], "tensor([-1.0000e+00-1.j,  2.0000e+08+1.j])"),
    ],
)
def test_printing(data: Any, text: str) -> None:
    assert repr(sley.tensor(data)) == text
    assert repr(sley.tensor([1j], dtype=complex128)) == "tensor([0.+1.j], dtype=sley.complex128)"


# Parts


def test_parts_are_views() -> None:
    z = tensor()
    z.real[0, 0] = 9
    z.imag.mul_(2)
    expected = PARTS.real + 2j * PARTS.imag
    expected[0, 0] = 9 + 4j
    same(z, expected)
    pairs = sley.view_as_real(z)
    assert pairs.shape == (3, 2, 2) and pairs.stride() == (4, 2, 1)
    pairs[1, 1] = sley.tensor([5.0, 6.0])
    expected[1, 1] = 5 + 6j
    same(z, expected)
    assert z.real.stride() == (4, 2) and z.T.imag.stride() == (2, 4)
    same(sley.view_as_real(z.T)[1, 1], [5, 6])
    z.real = 0
    z.imag = sley.ones(2)
    same(z, np.full((3, 2), 1j))


def test_pairs_as_complex_numbers() -> None:
    x = sley.zeros(3, 2)
    z = sley.view_as_complex(x)
    z[1] = 3 - 4j
    same(x, [[0, 0], [3, -4], [0, 0]])
    same(sley.view_as_complex(sley.view_as_real(tensor())), PARTS)
    assert sley.view_as_complex(sley.zeros(2, 5, 2)[:, ::2]).stride() == (5, 2)


@pytest.mark.parametrize(
    ("use", "kind", "message"),
    [
        (lambda: sley.view_as_complex(sley.zeros(3)), sley.ShapeError, "last axis of size 2"),
        (lambda: sley.view_as_complex(sley.zeros(2, 2).T), sley.ShapeError, "beside each other"),
        (lambda: sley.view_as_complex(sley.zeros(2, 3)[:, :2]), sley.ShapeError, "beside"),
        (lambda: sley.view_as_complex(sley.zeros(2).half()), sley.DTypeError, "float16"),
        (lambda: sley.view_as_real(sley.zeros(2)), sley.DTypeError, "float32"),
        (lambda: sley.imag(sley.zeros(2)), sley.DTypeError, "only complex"),
        (lambda: sley.complex(sley.zeros(2), sley.zeros(2).double()), sley.DTypeError, "float64"),
        (lambda: sley.complex(sley.zeros(2), sley.zeros(3)), sley.ShapeError, "broadcast"),
        (lambda: sley.polar(sley.zeros(2), 1.0), sley.DTypeError, "takes tensors"),
        (lambda: tensor(requires_grad=True).sum().backward(), sley.AutogradError, "real number"),
    ],
)
def test_errors(use: Callable, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        use()


def test_making() -> None:
    x = sley.tensor([[1.0], [2.0]])
    y = sley.tensor([0.5, -3.0])
    same(sley.complex(x, y), np.array([[1], [2]]) + 1j * np.array([0.5, -3]), complex64)
    same(sley.polar(x, y), np.array([[1], [2]]) * np.exp(1j * np.array([0.5, -3])))
    assert sley.real(x) is x and x.conj() is x and x.real is x
    assert sley.complex(x.double(), y.double()).dtype is complex128


def test_random_numbers() -> None:
    sley.manual_seed(4)
    z = sley.randn(40000, dtype=complex64).numpy()
    assert abs(np.var(z) - 1) < 0.02 and abs(np.var(z.imag) - 0.5) < 0.02
    assert abs(np.mean(z.real * z.imag)) < 0.02
    u = sley.rand(4000, dtype=complex128).numpy()
    assert u.real.min() >= 0 and u.imag.max() < 1 and abs(u.mean() - (0.5 + 0.5j)) < 0.03


# Functions: numpy's forms of them, eager and compiled

z0 = PARTS
FUNCTIONS: dict[str, tuple[Callable, Any]] = {
    "add": (lambda z: z + 1, z0 + 1),
    "mul": (lambda z: 2j * z * z, 2j * z0 * z0),
    "div": (lambda z: z / (z + 3j), z0 / (z0 + 3j)),
    "rdiv": (lambda z: 1 / z, 1 / z0),
    "reciprocal": (sley.reciprocal, 1 / z0),
    "neg": (lambda z: -z, -z0),
    "square": (sley.square, z0**2),
    "pow": (lambda z: z**3, z0**3),
    "root": (lambda z: z**0.5, z0**0.5),
    "power": (lambda z: z ** (1 - 2j), z0 ** (1 - 2j)),
    "base": (lambda z: 2**z, 2**z0),
    "abs": (sley.abs, np.abs(z0)),
    "angle": (sley.angle, np.angle(z0)),
    "sgn": (sley.sgn, z0 / np.abs(z0)),
    "conj": (sley.conj, z0.conj()),
    "eq": (lambda z: z == z[0], z0 == z0[0]),
    "ne": (lambda z: z != 3.25, z0 != 3.25),
    "isnan": (lambda z: sley.isnan(z * float("nan")), np.ones((3, 2), bool)),
    "isfinite": (lambda z: sley.isfinite(z / 0), np.zeros((3, 2), bool)),
    "isinf": (lambda z: sley.isinf(z * 1e38 * 10), np.ones((3, 2), bool) & (z0 != 0)),
    "isclose": (lambda z: sley.isclose(z, z + 1e-9), np.ones((3, 2), bool)),
    "where": (lambda z: sley.where(z.real > 0, z, 0), np.where(z0.real > 0, z0, 0)),
    "sum": (lambda z: z.sum(0), z0.sum(0)),
    "mean": (sley.mean, z0.mean()),
    "prod": (lambda z: z.prod(1), z0.prod(1)),
    "cumsum": (lambda z: z.cumsum(0), z0.cumsum(0)),
    "cumprod": (lambda z: z.cumprod(0), z0.cumprod(0)),
    "var": (sley.var, z0.var(ddof=1)),
    "std": (lambda z: z.std(0), z0.std(0, ddof=1)),
    "norm": (sley.norm, np.linalg.norm(z0)),
    "norm1": (lambda z: z.norm(1), np.abs(z0).sum()),
    "any": (sley.any, np.array(True)),
    "count": (sley.count_nonzero, np.array(6)),
    "matmul": (lambda z: z @ z.mH, z0 @ z0.conj().T),
    "H": (lambda z: z.H, z0.conj().T),
    "vdot": (lambda z: sley.vdot(z[0], z[1]), np.vdot(z0[0], z0[1])),
    "einsum": (lambda z: sley.einsum("ij,kj->ik", z, z), z0 @ z0.T),
    "conv": (
        lambda z: sley.nn.functional.conv1d(z[None], z[None, :, :1]),
        np.einsum("ct,c->t", z0, z0[:, 0])[None, None],
    ),
    "index": (lambda z: z[1:, ::-1], z0[1:, ::-1]),
    "gather": (lambda z: z[sley.tensor([2, 0])], z0[[2, 0]]),
    "cat": (lambda z: sley.cat([z, z.real], 1), np.concatenate([z0, z0.real], 1)),
    "stack": (lambda z: sley.stack([z, z]), np.stack([z0, z0])),
    "pad": (lambda z: sley.nn.functional.pad(z, (1, 0), value=1j),
            np.pad(z0, ((0, 0), (1, 0)), constant_values=1j)),
    "nan_to_num": (lambda z: sley.nan_to_num(z / 0 * 0), np.zeros((3, 2))),
    "astype": (lambda z: z.to(complex128), z0),
    "asinh": (sley.asinh, np.arcsinh(z0)),
    "acosh": (sley.acosh, np.arccosh(z0)),
    "atanh": (sley.atanh, np.arctanh(z0)),
    "sinc": (sley.sinc, np.sinc(z0)),
}  # fmt: skip
NUMPYS = "exp exp2 expm1 log log2 log10 log1p sqrt sin cos tan sinh cosh tanh"
for _name in NUMPYS.split():
    FUNCTIONS[_name] = (getattr(sley, _name), getattr(np, _name)(z0))
for _name, _numpy in {"asin": np.arcsin, "acos": np.arccos, "atan": np.arctan}.items():
    FUNCTIONS[_name] = (getattr(sley, _name), _numpy(z0))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [complex64, complex128], ids=repr)
def test_functions(name: str, dtype: Any) -> None:
    function, expected = FUNCTIONS[name]
    if name == "isinf" and dtype is complex128:
        return
    z = tensor(dtype)
    with np.errstate(all="ignore"):
        eager = function(z)
        same(eager, expected)
        compiled = sley.compile(function)(z)
    assert compiled.dtype is eager.dtype
    same(compiled, expected)
    wanted = dtype if eager.dtype.is_complex else dtype.to_real()
    assert eager.dtype in (wanted, sley.bool, sley.int64) or name == "astype"


def test_where_no_numbers_are() -> None:
    z = sley.zeros(0, 3, dtype=complex64)
    assert z.sum().item() == 0 and z.prod().item() == 1
    assert sley.compile(lambda z: (z * 2j).abs())(z).shape == (0, 3)
    assert cmath.isclose(sley.compile(lambda z: z.exp())(sley.tensor(1j)).item(), cmath.exp(1j),
                         rel_tol=1e-6)  # fmt: skip


def test_comparing_whole_tensors() -> None:
    assert sley.equal(tensor(), tensor()) and not sley.equal(tensor(), tensor().conj())
    assert sley.allclose(tensor(), tensor() * (1 + 1e-7))
    assert not sley.allclose(tensor(), tensor() + 1e-2j)


# Gradients, as a user sees them

LOSSES: dict[str, Callable] = {
    "length": lambda z: (z * z.conj()).real.sum(),
    "abs": lambda z: z.abs().sum(),
    "parts": lambda z: (z.real * z.imag.exp()).sum(),
    "pairs": lambda z: (sley.view_as_real(z) ** 2 * sley.tensor([1.0, 3.0])).sum(),
    "mixed": lambda z: ((z.real * z) ** 2).abs().sum(),
    "matrix": lambda z: (z @ z.mH @ z).imag.sum(),
    "angle": lambda z: (z.angle() * z.sgn().real).sum(),
    "product": lambda z: z.prod(0).abs().sum(),
    "join": lambda z: sley.polar(z.abs() + 1, z.real).imag.sum(),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients(name: str) -> None:
    """dL/da + i dL/db by differences, first and second order, eager and compiled."""
    loss, step = LOSSES[name], 1e-6
    rng = np.random.default_rng(2)
    turn = rng.normal(size=PARTS.shape) + 1j * rng.normal(size=PARTS.shape)
    start = PARTS + 0.3 + 0.2j  # no element is 0 or on a cut

    def gradient(array: np.ndarray) -> tuple[sley.Tensor, sley.Tensor]:
        z = sley.tensor(array, requires_grad=True)
        (g,) = sley.autograd.grad(loss(z), z, create_graph=True)
        return z, g

    z, g = gradient(start)
    expected = np.empty(PARTS.shape, complex)
    for place in np.ndindex(PARTS.shape):
        slopes = []
        for direction in (1, 1j):
            moved = []
            for sign in (1, -1):
                near = start.copy()
                near[place] += sign * step * direction
                moved.append(loss(sley.tensor(near)).item())
            slopes.append((moved[0] - moved[1]) / (2 * step))
        expected[place] = slopes[0] + 1j * slopes[1]
    np.testing.assert_allclose(g.detach().numpy(), expected, rtol=1e-6, atol=1e-7)

    (g * sley.tensor(turn).conj()).real.sum().backward()
    near = [gradient(start + sign * step * turn)[1].detach().numpy() for sign in (1, -1)]
    np.testing.assert_allclose(z.grad.numpy(), (near[0] - near[1]) / (2 * step), 1e-5, 1e-6)

    def trained(z: sley.Tensor) -> sley.Tensor:
        loss(z).backward()
        return z.grad

    compiled = sley.compile(trained)(sley.tensor(start, requires_grad=True))
    np.testing.assert_allclose(compiled.numpy(), expected, rtol=1e-6, atol=1e-7)


def test_a_real_operand_gets_a_real_gradient() -> None:
    x = sley.tensor([1.0, -2.0], requires_grad=True)
    ((x * (1 + 2j)) * sley.tensor([1j, 3.0])).imag.sum().backward()
    same(x.grad, [1, 6], float32)


def test_gradients_through_writes() -> None:
    x = sley.tensor([1 + 1j, 2 - 1j], requires_grad=True)
    z = x * 1
    z.real.mul_(3)
    z.imag = z.imag.clone() ** 2
    (z.real + z.imag).sum().backward()
    same(x.grad, [3 + 2j, 3 - 2j])
    with pytest.raises(sley.AutogradError, match="gradient"):
        x.real.sum().backward(sley.tensor(1j))


# Compiled


def test_writes_through_views_in_a_compiled_function() -> None:
    def written(z: sley.Tensor) -> tuple[sley.Tensor, ...]:
        z.real.add_(1)
        z.imag[0] = 7
        pairs = sley.view_as_real(z)
        pairs[2, 1, 0] = -1
        z.imag = z.imag * 2
        return z.real, pairs, sley.view_as_complex(pairs * 2)

    eager, compiled = tensor(), tensor()
    expected, found = written(eager), sley.compile(written)(compiled)
    same(compiled, eager.numpy())
    for a, b in zip(found, expected, strict=True):
        same(a, b.numpy())
    found[0][0, 0] = 55  # what is a view of the argument stays one
    assert compiled[0, 0].item().real == 55 and found[1][0, 0, 0].item() == 55


def test_symbolic_sizes() -> None:
    @sley.compile
    def power(z: sley.Tensor) -> sley.Tensor:
        return (z * z.conj()).real.sum(1) + z.prod(1).abs()

    for count in (3, 5, 8, 1):
        z = sley.randn(count, 3, dtype=complex64)
        a = z.numpy()
        same(power(z), (np.abs(a) ** 2).sum(1) + np.abs(a.prod(1)))
    assert len(power.programs) <= 3


def test_python_numbers_are_part_of_the_call() -> None:
    scale = sley.compile(lambda z, k: z * k)
    same(scale(tensor(), 2j), PARTS * 2j)
    same(scale(tensor(), 1 - 1j), PARTS * (1 - 1j))


def test_control_flow() -> None:
    z, xs = sley.tensor(1 + 2j), tensor().reshape(-1)

    def run(z: sley.Tensor, xs: sley.Tensor) -> tuple[Any, ...]:
        last, kept = sley.scan(lambda c, x: (c * x * 0.5 + 1j, c * c), z, xs)
        (kept.abs().sum() + last.real).backward()
        turned = sley.cond(last.real > 0, lambda v: v * 1j, lambda v: v.conj(), kept.detach())
        far = sley.while_loop(lambda c: c.abs() < 100, lambda c: c * c + 1j, z.detach())
        return last.detach(), turned, far, z.grad, xs.grad

    def leaves() -> list[sley.Tensor]:
        return [t.clone().requires_grad_() for t in (z, xs)]

    far = 1 + 2j
    while abs(far) < 100:
        far = far * far + 1j
    carry, kept = leaves()[0], []
    inputs = leaves()[1]
    start = carry
    for k in range(6):
        kept.append(carry * carry)
        carry = carry * inputs[k] * 0.5 + 1j
    (sley.stack(kept).abs().sum() + carry.real).backward()
    for found in (run(*leaves()), sley.compile(run)(*leaves())):
        same(found[0], carry.detach().numpy())
        same(found[3], start.grad.numpy())
        same(found[4], inputs.grad.numpy())
        assert cmath.isclose(found[2].item(), far, rel_tol=1e-5)
        factor = kept[-1].detach().numpy()
        turned = factor * 1j if carry.real.item() > 0 else factor.conj()
        same(found[1][-1], turned)


def test_modules_and_optimizers() -> None:
    layer = sley.nn.Linear(3, 2).to(complex64)
    assert layer.weight.dtype is complex64 and layer.float().weight.dtype is complex64
    z = sley.randn(4, 3, dtype=complex64)
    same(layer(z), (z @ layer.weight.T + layer.bias).detach().numpy())
    with pytest.raises(sley.DTypeError, match="Adafactor does not take complex parameters"):
        sley.optim.Adafactor(layer.parameters())
    w = sley.zeros(4000, dtype=complex64)
    w.uniform_(-1, 3)
    assert w.real.min().item() < -0.9 and w.imag.max().item() > 2.9
    w.normal_(1, 2)
    assert abs(w.mean().item() - (1 + 1j)) < 0.2 and abs(w.var().item() - 4) < 0.4


def test_training_with_complex_parameters() -> None:
    sley.manual_seed(0)
    w = sley.nn.Parameter(sley.randn(3, dtype=complex64))
    x = sley.randn(64, 3, dtype=complex64)
    true = sley.tensor([1j, 2.0, -1 - 1j])
    opt = sley.optim.SGD([w], lr=0.3)

    @sley.compile
    def step() -> sley.Tensor:
        opt.zero_grad()
        loss = ((x @ w - x @ true).abs() ** 2).mean()
        loss.backward()
        opt.step()
        return loss

    for _ in range(60):
        step()
    np.testing.assert_allclose(w.detach().numpy(), true.numpy(), atol=1e-3)
