"""Files of `torch.save`: tensors and plain containers are read, all else is refused by name."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from torch_writer import called, file_of, mapping, number, tensor, text

import sley
from sley import nn

FIXTURES = Path(__file__).parent / "fixtures"
TWELVE = np.arange(12, dtype=np.float32)


def load(data: bytes):
    return sley.load(io.BytesIO(data))


def test_a_real_state_dict_goes_into_a_layer():
    found = sley.load(FIXTURES / "linear.pt")
    assert type(found) is OrderedDict and found._metadata[""] == {"version": 1}
    layer = nn.Linear(2, 3)
    assert repr(layer.load_state_dict(found)) == "<All keys matched successfully>"
    np.testing.assert_array_equal(layer.weight.detach().array, np.arange(6).reshape(3, 2) / 4)
    assert layer.bias.tolist() == [1, -2, 0.5]
    other = nn.Linear(2, 3)
    other.load_state_dict(FIXTURES / "linear.pt")  # a path will do
    assert other.bias.tolist() == [1, -2, 0.5]


def test_a_real_file_of_many_things():
    found = sley.load(FIXTURES / "mixed.pt")
    t = found["t"]
    np.testing.assert_array_equal(t.array, np.arange(12.0).reshape(3, 4))
    assert found["column"].tolist() == [1, 5, 9] and found["turned"].shape == (4, 3)
    assert found["column"].storage is t.storage is found["turned"].storage
    assert found["turned"].stride() == (1, 4)
    assert type(found["p"]) is nn.Parameter and found["p"].requires_grad
    assert found["half"].dtype is sley.bfloat16 and found["half"].tolist() == [1.5, -2]
    assert found["z"].tolist() == [1 + 2j] and found["flags"].tolist() == [True, False]
    assert found["epoch"] == 7 and found["rates"] == [0.1, (1, None)]
    assert found["size"] == sley.Size([2, 3]) and found["dtype"] is sley.float16


@pytest.mark.parametrize(
    "offset, shape, strides",
    [
        (0, (3, 4), (4, 1)), (0, (4, 3), (1, 4)), (1, (3,), (4,)), (5, (2, 2), (4, 1)),
        (2, (), ()), (0, (0, 5), (5, 1)), (0, (2, 3), (0, 1)), (3, (2, 1, 3), (3, 9, 1)),
        (0, (4, 3), (2, 1)), (1, (2, 3), (6, 2)), (0, (2, 2, 3), (6, 1, 2)), (11, (1, 1), (50, 7)),
    ],
)  # fmt: skip
def test_tensors_of_any_strides_are_views_of_one_storage(offset, shape, strides):
    body = mapping(x=tensor("0", "float32", 12, offset, shape, strides),
                   all=tensor("0", "float32", 12, 0, (12,), (1,)))  # fmt: skip
    found = load(file_of(body, {"0": TWELVE}))
    given = np.lib.stride_tricks.as_strided(TWELVE[offset:], shape, [4 * s for s in strides])
    np.testing.assert_array_equal(found["x"].array, given)
    assert found["x"].shape == shape and found["x"].storage is found["all"].storage
    if 0 not in shape and 0 not in strides and strides != (2, 1):
        with sley.no_grad():
            found["x"].fill_(-1)
        expected = TWELVE.copy()
        np.lib.stride_tricks.as_strided(expected[offset:], shape, [4 * s for s in strides])[
            ...
        ] = -1
        np.testing.assert_array_equal(found["all"].array, expected)


KINDS = ["float64", "float16", "int64", "int32", "uint8", "bool", "complex64"]


@pytest.mark.parametrize("kind", KINDS)
def test_storages_of_every_dtype(kind):
    array = np.array([0, 1, 1], kind)
    found = load(file_of(tensor("0", kind, 3, 0, (3,), (1,)), {"0": array}))
    np.testing.assert_array_equal(found.array, array)
    assert found.dtype is getattr(sley, kind)


REFUSED = {
    "function": (called("os.system", text("true")), r"os\.system is refused"),
    "builtin": (called("builtins.eval", text("1")), r"builtins\.eval is refused"),
    "getattr": (called("__builtin__.getattr", text("x"), text("y")), r"getattr is refused"),
    "module": (called("torch.nn.modules.linear.Linear"), r"Linear is refused(?s:.)*state_dict"),
    "numpy": (called("numpy.core.multiarray.scalar"), r"scalar is refused"),
    "storage class": (b"ctorch\nFloatStorage\n", "as such is refused"),
    "function as such": (b"ccollections\nOrderedDict\n", "as such is refused"),
    "instance": (b"ctorch\nSize\n" + pickle.EMPTY_TUPLE + pickle.NEWOBJ, "NEWOBJ is refused"),
    "state": (b"}" + b"}" + pickle.BUILD, "state of a dict is refused"),
    "extension": (b"\x82\x01", "EXT1 is refused"),
    "hooks": (
        called("torch._utils._rebuild_parameter", tensor("0", "float32", 12, 0, (2,), (1,)),
               pickle.NEWTRUE, mapping(a=number(1))), "hooks"),
    "nested key": (b"}" + b"(K\x01K\x02\x86K\x03\x86K\x01u", "key of a dict"),
    "conjugate": (
        called("torch._utils._rebuild_tensor_v2", b"(" + text("storage") + b"ctorch\nFloatStorage\n"
               + text("0") + text("cpu") + number(12) + b"tQ", number(0), b"(K\x02t", b"(K\x01t",
               pickle.NEWFALSE, b"}", mapping(conj=pickle.NEWTRUE)), "marked"),
    "beyond": (tensor("0", "float32", 12, 3, (3, 4), (4, 1)), "beyond the 12 elements"),
    "negative": (tensor("0", "float32", 12, 0, (-1,), (1,)), "shape"),
    "negative stride": (tensor("0", "float32", 12, 2, (2,), (-1,)), "strides"),
    "huge": (tensor("0", "float32", 12, 0, (2**62, 2**62), (0, 0)), "too large"),
    "other axes": (tensor("0", "float32", 12, 0, (2, 2), (1,)), "strides"),
    "path": (tensor("../../0", "float32", 12, 0, (2,), (1,)), "no data in the file"),
    "absent": (tensor("7", "float32", 12, 0, (2,), (1,)), "storage 7 is missing"),
    "size": (tensor("0", "float32", 13, 0, (2,), (1,)), "size that the pickle tells"),
    "two types": (b"(" + tensor("0", "float32", 12, 0, (2,), (1,))
                  + tensor("0", "int32", 12, 0, (2,), (1,)) + b"t", "two types"),
    "integers": (tensor("0", "int32", 12, 0, (2,), (1,), requires=True), "requires_grad"),
    "empty stack": (pickle.REDUCE, "damaged"),
    "memo": (b"h\x05", "damaged"),
    "two objects": (b"K\x01K\x02", "damaged"),
    "mark": (b"(", "damaged"),
    "no mark": (b"]t", "damaged"),
    "unknown opcode": (b"\xff", "damaged"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_everything_else_is_refused_by_name(name):
    body, message = REFUSED[name]
    with pytest.raises(sley.LoadError, match=message) as raised:
        load(file_of(body, {"0": TWELVE}))
    assert "<BytesIO>" in str(raised.value)


def test_storages_of_short_integers():
    body = tensor("0", "float32", 2, 0, (2,), (1,)).replace(b"FloatStorage", b"ShortStorage")
    found = load(file_of(body, {"0": np.array([-3, 300], np.int16)}))
    assert found.dtype is sley.int16 and found.tolist() == [-3, 300]


def test_other_kinds_of_files_are_told_apart():
    cases = {
        file_of(number(1), byteorder="big"): "byte order",
        file_of(number(1), more={"archive/constants.pkl": b""}): "TorchScript",
        file_of(number(1), more={"other/data.pkl": b""}): "one data.pkl",
        file_of(number(1), more={"../evil": b""}): "leads out",
        file_of(number(1), more={"/etc/x": b""}): "leads out",
        file_of(number(1), more={"a\\b": b""}): "leads out",
        b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.": "before it wrote zips",
        pickle.dumps([1]): "a pickle",
        b"": "empty",
        b"\x93NUMPY\x01\x00": "single array",
        b"hello, this is text": "neither",
        b"PK\x03\x04": "table of contents",
    }
    for data, message in cases.items():
        with pytest.raises(sley.LoadError, match=message):
            load(data)


def test_plain_values_of_many_kinds():
    body = mapping(
        big=number(2**70), none=b"N", pair=b"K\x01K\x02\x86", dtype=b"ctorch\nfloat64\n",
        device=called("torch.device", text("cpu")), size=called("torch.Size", b"(K\x02t"),
        bytes=called("_codecs.encode", text("a\u00ff"), text("latin1")),
        set=called("__builtin__.set", b"](K\x01K\x02e"),
        complex=called("__builtin__.complex", pickle.BINFLOAT + b"?\xf0" + b"\0" * 6,
                       pickle.BINFLOAT + b"\0" * 8),
        counts=called("collections.Counter", b"}K\x01K\x02s"),
    )  # fmt: skip
    found = load(file_of(body))
    assert found["big"] == 2**70 and found["none"] is None and found["pair"] == (1, 2)
    assert found["dtype"] is sley.float64 and str(found["device"]) == "cpu"
    assert found["size"] == (2,) and found["bytes"] == b"a\xff" and found["set"] == {1, 2}
    assert found["complex"] == 1 and found["counts"] == {1: 2}
