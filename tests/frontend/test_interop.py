"""Memory shared with numpy by DLPack and numpy's protocols, copies, pickles, other processes."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import pickle
import sys

import numpy as np
import pytest

import sley
from sley import nn, optim
from sley.frontend import dlpack
from sley.frontend.nn.parameter import Buffer

DTYPES = [
    "bool",
    "uint8",
    "int32",
    "int64",
    "float16",
    "float32",
    "float64",
    "complex64",
    "complex128",
]


@pytest.fixture(autouse=True)
def _callbacks_raise_nothing(monkeypatch):
    """What is raised while memory is given back reaches nobody: here it fails the test."""
    errors: list = []
    monkeypatch.setattr(sys, "unraisablehook", lambda found: errors.append(str(found.exc_value)))
    yield
    gc.collect()
    assert errors == []


def exported() -> int:
    gc.collect()
    return len(dlpack._exported)


# DLPack


@pytest.mark.parametrize("dtype", DTYPES)
def test_numpy_and_sley_share_memory_both_ways(dtype):
    tensor = sley.arange(6).reshape(2, 3).to(getattr(sley, dtype)).T
    array = np.from_dlpack(tensor)
    assert array.ctypes.data == tensor.data_ptr() and array.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(array, tensor.array)
    array[0, 1] = 0
    assert tensor[0, 1].item() == 0
    found = sley.from_dlpack(array)
    assert found.data_ptr() == tensor.data_ptr() and found.stride() == tensor.stride()
    assert found.dtype is tensor.dtype


def test_bfloat16_and_empty_tensors_go_through_capsules():
    x = sley.arange(4.0).bfloat16()
    for version in (None, (1, 0), (1, 3), (0, 8)):
        found = sley.from_dlpack(x.__dlpack__(max_version=version))
        assert found.dtype is sley.bfloat16 and found.data_ptr() == x.data_ptr()
        assert sley.from_dlpack(sley.zeros(0, 3)).shape == (0, 3)
    assert sley.from_dlpack(np.array(3.0)).item() == 3


def test_strides_of_any_kind_are_kept():
    array = np.arange(24.0).reshape(4, 6)[::-2, 1::2]
    found = sley.from_dlpack(array)
    np.testing.assert_array_equal(found.array, array)
    found[0, 0] = -1
    assert array[0, 0] == -1 and found.stride() == (-12, 2)


def test_memory_lives_as_long_as_somebody_looks_at_it():
    before = exported()
    tensor = sley.arange(5.0)
    array = np.from_dlpack(tensor)
    del tensor
    assert exported() == before + 1 and array.tolist() == [0, 1, 2, 3, 4]
    part = array[2:]
    del array
    assert exported() == before + 1 and part[0] == 2
    del part
    assert exported() == before
    capsule = sley.ones(2).__dlpack__()  # never taken
    assert exported() == before + 1
    del capsule
    assert exported() == before
    source = np.arange(3.0)
    found = sley.from_dlpack(source)
    del source
    assert found.tolist() == [0, 1, 2]


def test_read_only_memory():
    array = np.arange(3.0)
    array.setflags(write=False)
    found = sley.from_dlpack(array)
    found[0] = 7
    assert array[0] == 0
    with pytest.raises(BufferError, match="read-only"):
        sley.from_dlpack(array, copy=False)
    expanded = sley.ones(1).expand(3)
    with pytest.raises(BufferError, match="read-only"):
        expanded.__dlpack__()
    assert not np.from_dlpack(expanded).flags.writeable


def test_copies_are_made_where_they_are_asked_for():
    tensor = sley.arange(3.0)
    assert np.from_dlpack(tensor, copy=True).ctypes.data != tensor.data_ptr()
    array = np.arange(3.0)
    assert sley.from_dlpack(array, copy=True).data_ptr() != array.ctypes.data


class OfCuda:
    def __dlpack_device__(self):
        return (2, 0)

    def __dlpack__(self, **options):
        raise AssertionError("not to be called")


def test_what_cannot_be_shared_is_a_buffer_error():
    tensor = sley.ones(2)
    capsule = tensor.__dlpack__()
    sley.from_dlpack(capsule)
    cases = {
        "taken before": lambda: sley.from_dlpack(capsule),
        "streams": lambda: tensor.__dlpack__(stream=1),
        "dl_device": lambda: tensor.__dlpack__(dl_device=(2, 0)),
        "requires grad": lambda: sley.ones(2, requires_grad=True).__dlpack__(),
        "no __dlpack__": lambda: sley.from_dlpack([1.0]),
        r"\(2, 0\)": lambda: sley.from_dlpack(OfCuda()),
    }
    for message, call in cases.items():
        with pytest.raises(BufferError, match=message):
            call()
    assert tensor.__dlpack_device__() == (1, 0)
    assert tensor.__dlpack__(dl_device=(1, 0), max_version=(1, 0)) is not None


def test_inside_a_trace_there_is_no_memory():
    @sley.compile
    def wrong(x):
        return np.from_dlpack(x)

    with pytest.raises(sley.TraceError):
        wrong(sley.ones(2))


# numpy's protocols and buffers


def test_arrays_are_views():
    tensor = sley.arange(6.0).reshape(2, 3).T
    assert np.asarray(tensor).ctypes.data == tensor.data_ptr()
    assert tensor.__array_interface__["strides"] == (4, 12)
    assert np.array([sley.ones(2), sley.zeros(2)]).shape == (2, 2)
    assert np.asarray(tensor, dtype=np.int64).dtype == np.int64
    with pytest.raises(ValueError, match="copy"):
        tensor.__array__(np.int64, copy=False)
    half = sley.ones(2).bfloat16()
    assert not hasattr(half, "__array_interface__") and np.asarray(half).dtype == "bfloat16"
    assert bytes(sley.arange(2.0).__buffer__(0)) == np.arange(2, dtype=np.float32).tobytes()
    with pytest.raises(BufferError):
        half.__buffer__(0)


# Copies and pickles


def round_trip(value):
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("again", [round_trip, copy.deepcopy])
def test_views_of_one_storage_still_are(again):
    base = sley.arange(12.0).reshape(3, 4)
    views = [base, base[1:, ::2], base.T, base.diagonal(), base.as_strided((2, 2), (4, 3))]
    found = again(views)
    assert len({t.storage for t in found}) == 1 and found[0].storage is not base.storage
    for old, new in zip(views, found, strict=True):
        np.testing.assert_array_equal(old.array, new.array)
        assert old.stride() == new.stride()
    found[1][0, 0] = -5
    assert found[0][1, 0].item() == -5 and base[1, 0].item() == 4


@pytest.mark.parametrize("again", [round_trip, copy.deepcopy, copy.copy])
@pytest.mark.parametrize("dtype", [*DTYPES, "bfloat16"])
def test_every_dtype_and_class_is_kept(again, dtype):
    tensor = sley.tensor([[0, 1], [1, 1]]).to(getattr(sley, dtype))
    found = again(tensor)
    assert found.dtype is tensor.dtype and found.tolist() == tensor.tolist()
    if tensor.dtype.is_float:
        p = again(nn.Parameter(tensor))
        assert type(p) is nn.Parameter and p.requires_grad and p.is_leaf
    b = again(Buffer(tensor, persistent=False))
    assert type(b) is Buffer and not b.persistent


def test_memory_in_another_order_keeps_its_views():
    tensor = sley.from_numpy(np.asfortranarray(np.arange(12.0).reshape(3, 4)))
    flat = tensor.T.reshape(12)
    for again in (round_trip, copy.deepcopy):
        one, two = again([tensor, flat])
        assert one.storage is two.storage and two.tolist() == flat.tolist()


def test_shallow_copies_share_memory_and_computed_tensors_are_not_deep_copied():
    p = nn.Parameter(sley.ones(2))
    p.note = "mine"
    twin = copy.copy(p)
    assert twin.data_ptr() == p.data_ptr() and twin is not p and twin.note == "mine"
    y = p * 2
    with pytest.raises(RuntimeError, match="created explicitly by the user"):
        copy.deepcopy(y)
    found = round_trip(y)
    assert found.requires_grad and found.is_leaf and found.tolist() == [2, 2]
    p.grad = sley.ones(2)
    assert copy.deepcopy(p).grad.tolist() == [1, 1] and round_trip(p).grad is None


@pytest.mark.parametrize("again", [round_trip, copy.deepcopy])
@pytest.mark.parametrize("kind", ["SGD", "Adam", "RMSprop"])
def test_models_with_their_optimizers_go_on_alike(again, kind):
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    optimizer = getattr(optim, kind)(model.parameters(), lr=0.1)
    schedule = optim.lr_scheduler.StepLR(optimizer, 1)
    x = sley.tensor(np.random.default_rng(0).standard_normal((5, 2)).astype(np.float32))

    def step(model, optimizer, schedule):
        optimizer.zero_grad()
        loss = (model(x) ** 2).sum()
        loss.backward()
        optimizer.step()
        schedule.step()
        return loss.item()

    step(model, optimizer, schedule)
    other = again((model, optimizer, schedule))
    assert other[1].param_groups[0].params[0] is other[0][0].weight
    assert other[2].optimizer is other[1] and model[0].weight is not other[0][0].weight
    for _ in range(3):
        assert step(model, optimizer, schedule) == step(*other)
    option, name = {"SGD": ("momentum", "momentum_buffer"), "Adam": ("amsgrad", "max_exp_avg_sq"),
                    "RMSprop": ("centered", "grad_avg")}[kind]  # fmt: skip
    other[1].param_groups[0][option] = 0.9 if kind == "SGD" else True
    assert name in other[1].state[other[0][0].weight]  # made by the copy, and for the copy
    assert name not in optimizer.state[model[0].weight]
    step(*other)


def test_tensors_go_to_other_processes_and_back():
    tensor = sley.arange(6.0).reshape(2, 3).T
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply_async(sley.mul, (tensor, 2)).get(timeout=60)
    assert found.tolist() == (tensor * 2).tolist()


def test_traced_tensors_are_not_pickled_or_copied():
    for use in (pickle.dumps, copy.copy, copy.deepcopy):

        @sley.compile
        def wrong(x, use=use):
            use(x)
            return x

        with pytest.raises(sley.TraceError):
            wrong(sley.ones(2))
