"""int8, int16 and uint16: eager and compiled code give numpy's bits, and files keep them."""

from __future__ import annotations

import io

import numpy as np
import pytest

import sley

DTYPES = (sley.int8, sley.int16, sley.uint16)
BINARY = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "maximum": np.maximum,
    "bitwise_xor": np.bitwise_xor, "floor_divide": np.floor_divide, "remainder": np.remainder,
    "lt": np.less,
}  # fmt: skip


def pair(dtype: sley.dtype, count: int = 37) -> tuple[np.ndarray, np.ndarray]:
    rng, info = np.random.default_rng(0), np.iinfo(dtype.numpy)
    x, y = rng.integers(info.min, info.max, (2, count), dtype.numpy, endpoint=True)
    x[:4], y[:4] = (info.min, info.min, info.max, 7), (info.max, info.min, info.max, 3)
    y[y == 0] = 1
    return x, y


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", BINARY)
def test_arithmetic_wraps_around_as_numpys(name, dtype):
    x, y = pair(dtype)
    with np.errstate(all="ignore"):
        expected = BINARY[name](x, y)
    for call in (getattr(sley, name), sley.compile(getattr(sley, name))):
        found = call(sley.tensor(x), sley.tensor(y)).numpy()
        assert found.dtype == expected.dtype and np.array_equal(found, expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_shifts_negation_sums_and_products_of_matrices(dtype):
    x, y = pair(dtype, 36)

    def many(a, b):
        rows = a.reshape(6, 6)
        return (
            a << 3, a >> 2, a >> (b & 7), -a, a.abs(), rows @ b.reshape(6, 6), rows.sum(0),
            rows.cumsum(1), rows.amax(1), rows.argmin(0), rows.sort(1).values, ~a, a * 3 - 1,
        )  # fmt: skip

    eager = many(sley.tensor(x), sley.tensor(y))
    for a, b in zip(eager, sley.compile(many)(sley.tensor(x), sley.tensor(y)), strict=True):
        assert a.dtype is b.dtype and np.array_equal(a.numpy(), b.numpy())
    with np.errstate(all="ignore"):
        wanted = (x << 3, x >> 2, x >> (y & 7), -x, np.abs(x), x.reshape(6, 6) @ y.reshape(6, 6))
    for found, expected in zip(eager, wanted, strict=False):
        assert np.array_equal(found.numpy(), expected.astype(x.dtype))


@pytest.mark.parametrize("target", [*DTYPES, sley.float32, sley.float16, sley.int64, sley.bool])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_casts(dtype, target):
    x, _ = pair(dtype)
    with np.errstate(all="ignore"):
        expected = x.astype(target.numpy)
    for call in (lambda a: a.to(target), sley.compile(lambda a: a.to(target))):
        assert np.array_equal(call(sley.tensor(x)).numpy(), expected)
    back = sley.compile(lambda a: a.to(dtype))
    floats = np.array([-3.9, 2.5, 100.0, 0.0], np.float32)
    if dtype is not sley.uint16:
        assert np.array_equal(back(sley.tensor(floats)).numpy(), floats.astype(dtype.numpy))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_files_and_shared_memory_keep_them(dtype):
    x, _ = pair(dtype)
    tensor = sley.tensor(x)
    file = io.BytesIO()
    sley.save({"x": tensor}, file)
    file.seek(0)
    for found in (sley.load(file)["x"], sley.from_dlpack(x), sley.from_numpy(x)):
        assert found.dtype is dtype and np.array_equal(found.numpy(), x)
    assert np.array_equal(np.from_dlpack(tensor), x)
