"""Every family of public functions in every dtype, on odd shapes and layouts: eager = compiled, in
dtype, shape and elements, and so are the gradients; what one refuses the other refuses alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import sley
import sley.nn.functional as F

FLOAT8 = ["float8_e4m3fn", "float8_e5m2"]  # only stored
DTYPES = ["bool", "uint8", "int32", "int64", "float16", "bfloat16", "float32", "float64", *FLOAT8]
TOLERANCE = {"float16": 4e-3, "bfloat16": 3e-2, "float32": 3e-6, "float64": 1e-12}
Function = Callable[[sley.Tensor], Any]

# fmt: off
UNARY = [
    "neg", "abs", "sign", "floor", "ceil", "round", "trunc", "sqrt", "rsqrt", "exp", "exp2",
    "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "sinh",
    "cosh", "tanh", "erf", "sigmoid", "square", "reciprocal", "logical_not", "bitwise_not", "relu",
    "isnan", "isfinite", "signbit",
]
BINARY = [
    "add", "sub", "mul", "div", "floor_divide", "remainder", "fmod", "pow", "atan2", "maximum",
    "minimum", "eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_xor", "bitwise_and",
    "bitwise_or", "bitwise_xor",
]
# fmt: on
ELEMENTWISE: dict[str, Function] = {
    **{name: getattr(sley, name) for name in UNARY},
    **{name: (lambda x, n=name: getattr(sley, n)(x, _other(x))) for name in BINARY},
    "add 2": lambda x: x + 2,
    "mul 0.5": lambda x: x * 0.5,
    "div 3": lambda x: x / 3,
    "pow 2": lambda x: x**2,
    "rsub": lambda x: 1 - x,
    "where": lambda x: sley.where(x != 0, x, 1),
    "clamp": lambda x: x.clamp(0, 1),
    **{f"to {d}": (lambda x, d=d: x.to(getattr(sley, d))) for d in DTYPES},
    "with int64": lambda x: x + sley.ones(x.shape[-1:], dtype=sley.int64),
    "with float16": lambda x: x * sley.ones((), dtype=sley.float16),
    "with float64": lambda x: x * sley.ones(1, dtype=sley.float64),
    "lerp": lambda x: sley.lerp(x, x * x, 0.25),
    "gelu": F.gelu,
    "silu": F.silu,
}
ROWS: dict[str, Function] = {
    **{f"{n} {k}": (lambda x, n=n, k=k: getattr(x, n)(**k))
       for n in ("sum", "mean", "prod", "amax", "amin", "argmax", "argmin", "any", "all")
       for k in ({}, {"dim": -1}, {"dim": 0, "keepdim": True})},
    "max": lambda x: tuple(x.max(-1)),
    "min": lambda x: tuple(x.min(0)),
    "sum of two": lambda x: x.sum((0, -1)),
    "var": lambda x: x.var(-1, correction=0),
    "std": lambda x: x.std(0, correction=0),
    "cumsum": lambda x: x.cumsum(-1),
    "cumsum 0": lambda x: x.cumsum(0),
    "cumprod": lambda x: x.cumprod(-1),
    "cummax": lambda x: tuple(sley.cummax(x, -1)),
    "softmax": lambda x: F.softmax(x, -1),
    "softmax 0": lambda x: F.softmax(x, 0),
    "log_softmax": lambda x: F.log_softmax(x, -1),
    "logsumexp": lambda x: sley.logsumexp(x, -1),
    "layer_norm": lambda x: F.layer_norm(x, x.shape[-1:]),
    "norm": lambda x: sley.norm(x),
    "count_nonzero": lambda x: sley.count_nonzero(x, -1),
}  # fmt: skip
VIEWS: dict[str, Function] = {
    "reshape": lambda x: x.reshape(-1),
    "transpose": lambda x: x.transpose(0, -1),
    "permute": lambda x: x.permute(-1, *range(x.ndim - 1)),
    "expand": lambda x: x.unsqueeze(0).expand(2, *x.shape),
    "squeeze": lambda x: x.unsqueeze(1).squeeze(1),
    "slice": lambda x: x[..., 1:],
    "steps": lambda x: x[::2].flip(-1),
    "negative": lambda x: x[-1:, ..., -2:],
    "none": lambda x: x[None, ..., None],
    "select": lambda x: x[..., -1],
    "flip": lambda x: x.flip((0, -1)),
    "roll": lambda x: x.roll(2, -1),
    "cat": lambda x: sley.cat([x, x.flip(0), x], -1),
    "stack": lambda x: sley.stack([x, x], -1),
    "split": lambda x: tuple(x.split(2, -1)),
    "chunk": lambda x: tuple(x.chunk(3, 0)),
    "pad": lambda x: F.pad(x, (1, 2)),
    "pad cut": lambda x: F.pad(x, (-1, 2)),
    "tril": lambda x: sley.tril(x.reshape(x.shape[0], -1)),
    "diagonal": lambda x: sley.diagonal(x.reshape(x.shape[0], -1)),
    "repeat": lambda x: x.repeat_interleave(2, 0),
    "tile": lambda x: sley.tile(x, (2,)),
    "unfold": lambda x: x.contiguous().flatten(),
}
INDEXED: dict[str, Function] = {
    "list": lambda x: x[[0, -1, 0]],
    "gather": lambda x: x.gather(-1, _places(x)),
    "take_along": lambda x: sley.take_along_dim(x, _places(x), -1),
    "index_select": lambda x: x.index_select(0, sley.tensor([0, 0])),
    "embedding": lambda x: F.embedding(sley.tensor([[0, 0], [0, 0]]), x.reshape(x.shape[0], -1)),
    "scatter": lambda x: x.scatter(-1, _places(x), x),
    "scatter_add": lambda x: x.scatter_add(-1, _places(x), x),
    "index_add": lambda x: x.index_add(0, sley.tensor([0, 0]), sley.stack([x[0], x[0]])),
    "masked_fill": lambda x: x.masked_fill(x > 0, 1),
    "set": lambda x: _written(x),
    "where mask": lambda x: sley.where(sley.arange(x.shape[-1]) % 2 == 0, x, x.flip(-1)),
}
PRODUCTS: dict[str, Function] = {
    "matmul": lambda x: x @ x.mT,
    "matvec": lambda x: x @ x.reshape(-1, x.shape[-1])[0],
    "dot": lambda x: sley.dot(x.reshape(-1), x.reshape(-1)),
    "outer": lambda x: sley.outer(x.reshape(-1), x.reshape(-1)[:3]),
    "einsum": lambda x: sley.einsum("...i,...j->...ij", x, x),
    "linear": lambda x: F.linear(x, x.reshape(-1, x.shape[-1])[:3]),
    "conv1d": lambda x: F.conv1d(_channels(x, 1), _channels(x, 1)[..., :1], padding=1),
    "conv2d": lambda x: F.conv2d(_channels(x, 2), _channels(x, 2)[..., :1, :1], stride=2),
    "max_pool1d": lambda x: F.max_pool1d(_channels(x, 1), 1),
    "avg_pool1d": lambda x: F.avg_pool1d(_channels(x, 1), 1),
}
# A program cannot know whether an index among data is out of range.
CHECKED_BY_DATA = ("list", "index_select", "index_add")
FAMILIES = {
    "elementwise": ELEMENTWISE, "rows": ROWS, "views": VIEWS, "indexed": INDEXED,
    "products": PRODUCTS,
}  # fmt: skip
# Shape of the memory, and the view that a function gets.
LAYOUTS: dict[str, tuple[tuple[int, ...], Callable[[np.ndarray], np.ndarray]]] = {
    "primes": ((5, 7), lambda a: a),
    "one": ((1, 1), lambda a: a),
    "transposed": ((7, 3), lambda a: a.T),
    "every other, reversed": ((6, 11), lambda a: a[::-2, 1::2]),
    "three axes": ((2, 3, 5), lambda a: a.transpose(2, 0, 1)),
    "empty": ((3, 0), lambda a: a),
    "no rows": ((0, 5), lambda a: a),
}


def _other(x: sley.Tensor) -> sley.Tensor:
    return x.flip(-1)


def _places(x: sley.Tensor) -> sley.Tensor:
    return (sley.zeros(x.shape, dtype=sley.int64) + sley.arange(x.shape[-1])).flip(-1)


def _channels(x: sley.Tensor, axes: int) -> sley.Tensor:
    return x.reshape(1, 1, -1, x.shape[-1]) if axes == 2 else x.reshape(1, -1, x.shape[-1])


def _written(x: sley.Tensor) -> sley.Tensor:
    y = x.clone()
    y[..., 1:] = x[..., :-1]
    y[0] += 1
    y[-1:, ..., 0] = 0
    return y


def sample(dtype: str, layout: str) -> sley.Tensor:
    shape, view = LAYOUTS[layout]
    rng = np.random.default_rng(len(layout))
    if dtype == "bool":
        array = rng.integers(0, 2, shape).astype(bool)
    elif dtype == "uint8" or dtype.startswith("int"):
        array = rng.integers(1, 8, shape).astype(dtype)
    else:
        array = rng.uniform(0.3, 0.95, shape).astype(getattr(sley, dtype).numpy)
    return sley.from_numpy(view(array))


def outcome(function: Function, x: sley.Tensor) -> Any:
    """The results as arrays, or the type of the error."""
    try:
        result = function(x)
    except (sley.SleyError, TypeError) as error:
        return type(error)
    return result


def arrays(result: Any) -> list[np.ndarray]:
    parts = result if isinstance(result, tuple) else (result,)
    return [p.detach().numpy() for p in parts]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_eager_is_compiled(family: str, dtype: str) -> None:
    """All functions on all layouts in one program; each that eager refuses alone."""
    functions = FAMILIES[family]
    layouts = LAYOUTS if dtype == "float32" else ("primes", "every other, reversed", "empty")
    inputs = {layout: sample(dtype, layout) for layout in layouts}
    eager = {
        (layout, n): outcome(f, x) for layout, x in inputs.items() for n, f in functions.items()
    }
    kept = [key for key, found in eager.items() if not isinstance(found, type)]
    assert kept or (dtype in FLOAT8 and family == "products")
    for (layout, name), found in eager.items():
        if isinstance(found, type) and name not in CHECKED_BY_DATA:
            assert outcome(sley.compile(functions[name]), inputs[layout]) is found, (layout, name)

    results = sley.compile(lambda inputs: [functions[name](inputs[at]) for at, name in kept])(
        inputs
    )
    for key, result in zip(kept, results, strict=True):
        for a, b in zip(arrays(eager[key]), arrays(result), strict=True):
            assert_alike(a, b, dtype, str(key))


def assert_alike(a: np.ndarray, b: np.ndarray, dtype: str, name: str) -> None:
    assert (a.dtype, a.shape) == (b.dtype, b.shape), name
    if a.dtype.kind in "biu":
        np.testing.assert_array_equal(b, a, err_msg=name)
        return
    limit = max(TOLERANCE.get(d, 3e-6) for d in (dtype, str(a.dtype)))
    a, b = a.astype(np.float64), b.astype(np.float64)
    np.testing.assert_allclose(b, a, limit, limit, err_msg=name)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gradients_eager_and_compiled(family: str, dtype: str) -> None:
    functions = FAMILIES[family]

    def gradient(name: str, x: sley.Tensor) -> sley.Tensor | None:
        """Of a sum with weights that differ; None where there is none."""
        x = x.detach().requires_grad_()
        result = functions[name](x)
        parts = [p for p in (result if isinstance(result, tuple) else (result,)) if p.requires_grad]
        if not parts:
            return None
        loss = sum(
            (p.float() * (sley.arange(p.numel()).reshape(p.shape) % 3 + 1)).sum() for p in parts
        )
        return sley.autograd.grad(loss, [x])[0]

    kept, eager = [], []
    layouts = ["every other, reversed", "three axes", "empty"]
    inputs = {layout: sample(dtype, layout) for layout in layouts}
    for layout, x in inputs.items():
        for name, function in functions.items():
            if isinstance(outcome(function, x), type):
                continue
            found = gradient(name, x)
            if found is not None:
                kept.append((layout, name))
                eager.append(found.numpy())
                assert found.shape == x.shape and found.dtype is x.dtype
    assert len(kept) > len(functions)
    results = sley.compile(lambda inputs: [gradient(n, inputs[at]) for at, n in kept])(inputs)
    for key, a, b in zip(kept, eager, results, strict=True):
        assert_alike(a, b.numpy(), dtype, str(key))
