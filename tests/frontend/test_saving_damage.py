"""Damaged files: each gives an error that names the file, and nothing else happens."""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile

import numpy as np
import pytest
from torch_writer import file_of, mapping, number, tensor

import sley
from sley import nn, optim
from sley.frontend.saving import archive as archives
from sley.frontend.saving import safetensors
from sley.frontend.saving.source import Source


def state() -> dict:
    base = sley.arange(12.0).reshape(3, 4)
    return {
        "w": base, "view": base[1:, ::2], "half": sley.ones(3).bfloat16(), "epoch": 3,
        "deep": [{"x": (1, 2.5, None)}, sley.tensor([True, False])], "g": sley.Generator(1),
        "p": nn.Parameter(sley.ones(2)), "z": sley.complex(sley.ones(2), sley.zeros(2)),
    }  # fmt: skip


def bytes_of(value: object) -> bytes:
    file = io.BytesIO()
    sley.save(value, file)
    return file.getvalue()


def plain_safetensors() -> bytes:
    """A file without checksums, as other programs write it."""
    header = {"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
              "b": {"dtype": "I64", "shape": [2], "data_offsets": [24, 40]}}  # fmt: skip
    return safetensors_of(header, bytes(range(40)))


def safetensors_of(header: object, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def npz(compressed: bool) -> bytes:
    file = io.BytesIO()
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.array([True, False])}
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


def torch_zip() -> bytes:
    body = mapping(x=tensor("0", "float32", 12, 0, (3, 4), (4, 1)), y=number(2),
                   v=tensor("0", "float32", 12, 4, (4,), (1,)))  # fmt: skip
    return file_of(body, {"0": np.arange(12, dtype=np.float32)})


FILES = {
    "sley": bytes_of(state()), "safetensors": plain_safetensors(), "npz": npz(False),
    "compressed": npz(True), "torch": torch_zip(),
}  # fmt: skip


def outcome(data: bytes):
    """What loading gives, or None for the one error that it may give."""
    try:
        return sley.load(io.BytesIO(data))
    except sley.LoadError as error:
        assert "<BytesIO>: " in str(error)
        return None


@pytest.mark.parametrize("name", FILES)
def test_truncated_files_are_errors(name):
    data = FILES[name]
    assert outcome(data) is not None
    for length in (*range(0, len(data), 7), len(data) - 1):
        assert outcome(data[:length]) is None, length


@pytest.mark.parametrize("name", FILES)
def test_flipped_bytes_are_an_error_or_do_no_harm(name):
    """Never another exception; and with checksums never other contents."""
    data, rng = FILES[name], random.Random(name)
    expected = repr(outcome(data))
    found = set()
    for _ in range(400):
        damaged = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 8))):
            damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        value = outcome(bytes(damaged))
        found.add(value is None)
        if value is not None and name == "sley":
            assert _without_addresses(repr(value)) == _without_addresses(expected)
    assert True in found


def _without_addresses(text: str) -> str:
    return text.split(" object at ")[0]


@pytest.mark.parametrize("name", FILES)
def test_inserted_removed_and_random_bytes(name):
    data, rng = FILES[name], random.Random(name)
    for _ in range(100):
        at, count = rng.randrange(len(data)), rng.randrange(1, 20)
        outcome(data[:at] + rng.randbytes(count) + data[at:])
        outcome(data[:at] + data[at + count :])
        outcome(data[: rng.randrange(40)] + rng.randbytes(200))
        other = FILES[rng.choice(list(FILES))]
        outcome(data[:at] + other[at:])


def test_a_description_that_was_changed_with_care_is_still_checked():
    """Every value in the description is replaced in turn, checksums made right."""
    arrays, metadata = safetensors.read(Source(io.BytesIO(FILES["sley"]), "x"))
    description = json.loads(metadata["sley"])
    strange = [None, -1, 1.5, "x", [], {}, [[]], {"dict": 3}, 2**70, [1, "a"], {"tensor": 99}, True]

    def places(node, path=()):
        if path:
            yield path
        if isinstance(node, (dict, list)):
            for key, value in node.items() if isinstance(node, dict) else enumerate(node):
                yield from places(value, (*path, key))

    tried = 0
    for path in list(places(description)):
        for value in strange:
            changed = json.loads(metadata["sley"])
            node = changed
            for key in path[:-1]:
                node = node[key]
            node[path[-1]] = value
            file = io.BytesIO()
            safetensors.write(file, arrays, {**metadata, "sley": json.dumps(changed)})
            outcome(file.getvalue())
            tried += 1
    assert tried > 500


def entry(**changes):
    found = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}
    return {key: value for key, value in found.items() if value != "absent"}


HEADERS = {
    "oversized": (struct.pack("<Q", 1 << 62) + b"{}", "header of"),
    "long": (struct.pack("<Q", 200_000_000) + b"{}", "header of"),
    "overlap": (safetensors_of({"a": entry(), "b": entry(data_offsets=[4, 12])}, bytes(12)),
                "overlaps"),
    "same place": (safetensors_of({"a": entry(), "b": entry()}, bytes(8)), "overlaps"),
    "gap": (safetensors_of({"a": entry(), "b": entry(data_offsets=[12, 20])}, bytes(20)), "gap"),
    "behind": (safetensors_of({"a": entry()}, bytes(12)), "file has 12"),
    "short": (safetensors_of({"a": entry()}, bytes(4)), "truncated"),
    "negative": (safetensors_of({"a": entry(shape=[-2])}, bytes(8)), "no lists of sizes"),
    "negative offset": (safetensors_of({"a": entry(data_offsets=[-8, 0])}, b""), "no lists of"),
    "huge": (safetensors_of({"a": entry(shape=[2**62, 2**62])}, bytes(8)), "too large"),
    "huge and empty": (
        safetensors_of({"a": entry(shape=[0, 2**62, 2**40], data_offsets=[0, 0])}, b""),
        "too large"),
    "many axes": (safetensors_of({"a": entry(shape=[1] * 100)}, bytes(8)), "100 axes"),
    "other size": (safetensors_of({"a": entry(shape=[3])}, bytes(8)), "does not fill"),
    "bool size": (safetensors_of({"a": entry(shape=[True])}, bytes(8)), "no lists of sizes"),
    "float size": (safetensors_of({"a": entry(shape=[2.0])}, bytes(8)), "no lists of sizes"),
    "dtype": (safetensors_of({"a": entry(dtype="F8_E8M0")}, bytes(8)), "F8_E8M0"),
    "no shape": (safetensors_of({"a": entry(shape="absent")}, bytes(8)), "not just"),
    "more keys": (safetensors_of({"a": entry(code="x")}, bytes(8)), "not just"),
    "twice": (safetensors_of(b'{"a": 1, "a": 2}', b""), "twice"),
    "nan": (safetensors_of(b'{"a": NaN}', b""), "NaN"),
    "deep": (safetensors_of(b'{"a":' + b"[" * 100_000, b""), "no JSON"),
    "digits": (safetensors_of(b'{"a":' + b"9" * 10_000 + b"}", b""), "no JSON"),
    "list": (safetensors_of(b"{" + b" " * 9, b""), "no JSON"),
    "metadata": (safetensors_of({"__metadata__": {"a": 1}}, b""), "strings"),
    "bools": (
        safetensors_of({"a": entry(dtype="BOOL", shape=[1], data_offsets=[0, 1])}, b"\x02"),
        "other than 0 and 1"),
    "latin": (safetensors_of(b'{"\xff": 1}', b""), "no JSON"),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADERS)
def test_headers_that_lie(name):
    data, message = HEADERS[name]
    with pytest.raises(sley.LoadError, match=message):
        sley.load(io.BytesIO(data))


def npy(descr: str = "<f4", shape: str = "(2,)", data: bytes = bytes(8), fortran: str = "False"):
    text = f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def zip_of(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


ARRAYS = {
    "objects": (npy("|O"), "of Python objects"),
    "structured": (npy().replace(b"'<f4'", b"[('a', '<f4')]"), "does not write"),
    "code": (npy(shape="__import__('os')"), "does not write"),
    "dtype": (npy("<f16", data=bytes(32)), "sley has not"),
    "no dtype": (npy("<f9"), "sley has not"),
    "negative": (npy(shape="(-2,)"), "does not write"),
    "huge": (npy(shape="(4611686018427387904, 4)"), "too large"),
    "short": (npy(data=bytes(4)), "does not fill"),
    "long": (npy(data=bytes(12)), "does not fill"),
    "magic": (b"x" * 100, "no .npy file"),
    "version": (npy().replace(b"NUMPY\x01", b"NUMPY\x09"), "no .npy file"),
    "header": (b"\x93NUMPY\x01\x00\xff\xff" + b" " * 20, "header of 65535"),
    "bools": (npy("|b1", data=b"\x01\x07"), "other than 0 and 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_that_lie(name):
    data, message = ARRAYS[name]
    with pytest.raises(sley.LoadError, match=message):
        sley.load(io.BytesIO(zip_of({"a.npy": data})))


def test_zips_that_do_harm(monkeypatch):
    monkeypatch.setattr(archives, "_FREE", 1 << 20)
    bomb = npy(shape=f"({1 << 20},)", data=b"")
    packed = zip_of({"a.npy": bomb + bytes(1 << 22)}, zipfile.ZIP_DEFLATED)
    overlapping = bytearray(zip_of({"a.npy": npy(), "b.npy": npy()}))
    second = overlapping.rindex(b"PK\x01\x02") + 42  # the offset of the second member
    overlapping[second : second + 4] = struct.pack("<I", 0)
    encrypted = bytearray(zip_of({"a.npy": npy()}))
    encrypted[encrypted.index(b"PK\x01\x02") + 8] |= 1
    checksum = bytearray(zip_of({"a.npy": npy()}))
    checksum[checksum.index(bytes(8))] ^= 1
    lzma = zip_of({"a.npy": npy()}, zipfile.ZIP_LZMA)
    cases = {
        packed: "bomb", bytes(overlapping): "overlaps", bytes(encrypted): "encrypted",
        bytes(checksum): "CRC", lzma: "another method", zip_of({"../a.npy": npy()}): "leads out",
        zip_of({"a.txt": b""}): "neither tensors",
    }  # fmt: skip
    for data, message in cases.items():
        with pytest.raises(sley.LoadError, match=message):
            sley.load(io.BytesIO(data))
    stored = file_of(tensor("0", "float32", 12, 0, (2,), (1,)))
    deflated = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(stored)) as old, zipfile.ZipFile(deflated, "w", 8) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(sley.LoadError, match="another method"):
        sley.load(io.BytesIO(deflated.getvalue()))


# What is loaded into


def test_a_state_dict_that_does_not_fit_changes_nothing(tmp_path):
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    before = {name: t.array.copy() for name, t in model.state_dict().items()}
    good = {name: t + 1 for name, t in model.state_dict().items()}
    wrong = {
        "missing": {n: t for n, t in good.items() if n != "1.bias"},
        "unexpected": {**good, "2.weight": sley.ones(1)},
        "size": {**good, "1.running_mean": sley.ones(4)},
        "type": {**good, "1.bias": [1.0, 2.0, 3.0]},
        "complex": {**good, "1.bias": sley.complex(sley.ones(3), sley.ones(3))},
    }
    for given in wrong.values():
        with pytest.raises(sley.LoadError, match="Sequential"):
            model.load_state_dict(given)
    with pytest.raises(sley.LoadError):
        model.load_state_dict(wrong["size"], strict=False)
    sley.save(good, tmp_path / "x")
    data = bytearray((tmp_path / "x").read_bytes())
    data[-3] ^= 4
    (tmp_path / "x").write_bytes(bytes(data))
    with pytest.raises(sley.LoadError, match="checksum"):
        model.load_state_dict(tmp_path / "x")
    for name, tensor_ in model.state_dict().items():
        np.testing.assert_array_equal(tensor_.array, before[name])


def test_the_messages_are_those_of_pytorch():
    layer = nn.Linear(2, 3)
    with pytest.raises(RuntimeError) as raised:
        layer.load_state_dict({"weight": sley.ones(2, 2), "x": sley.ones(1), "y": sley.ones(1)})
    text = str(raised.value)
    assert text.startswith("Error(s) in loading state_dict for Linear:\n\t")
    assert 'Missing key(s) in state_dict: "bias". ' in text
    assert 'Unexpected key(s) in state_dict: "x", "y". ' in text
    assert (
        "size mismatch for weight: copying a param with shape sley.Size([2, 2]) from checkpoint, "
        "the shape in current model is sley.Size([3, 2])."
    ) in text
    assert text.index("Missing") < text.index("Unexpected") < text.index("mismatch")
    keys = layer.load_state_dict({"weight": sley.ones(3, 2), "x": sley.ones(1)}, strict=False)
    assert keys == (["bias"], ["x"]) and keys.missing_keys == ["bias"]
    assert repr(keys) == "IncompatibleKeys(missing_keys=['bias'], unexpected_keys=['x'])"
    with pytest.raises(sley.DTypeError, match="mapping"):
        layer.load_state_dict([1])


def test_the_memory_can_be_taken_over():
    layer, weight = nn.Linear(2, 3), sley.ones(3, 2).double()
    layer.load_state_dict({"weight": weight, "bias": sley.zeros(3)}, assign=True)
    assert layer.weight.dtype is sley.float64 and layer.weight.storage is weight.storage
    assert layer.weight.requires_grad and isinstance(layer.weight, nn.Parameter)


def test_an_optimizer_takes_all_or_nothing():
    p = nn.Parameter(sley.ones(3))
    optimizer = optim.Adam([p], lr=0.1)
    saved = optimizer.state_dict()
    group, entries = saved["param_groups"][0], saved["state"][0]
    changed = {**group, "lr": 5.0, "amsgrad": True}
    wrong = [
        {}, {"state": {}, "param_groups": []}, [1], {**saved, "param_groups": [{"lr": 1.0}]},
        {**saved, "param_groups": [{**group, "params": [0, 1]}]},
        {"param_groups": [changed], "state": {0: {**entries, "exp_avg": sley.ones(4)}}},
        {"param_groups": [changed], "state": {0: {**entries, "other": sley.ones(3)}}},
    ]  # fmt: skip
    for given in wrong:
        with pytest.raises(sley.LoadError):
            optimizer.load_state_dict(given)
    assert optimizer.param_groups[0]["lr"] == 0.1 and set(optimizer.state[p]) == set(entries)
    none = {"param_groups": [group], "state": {0: {**entries, "max_exp_avg_sq": None}}}
    optimizer.load_state_dict(none)  # as PyTorch writes what is not there
