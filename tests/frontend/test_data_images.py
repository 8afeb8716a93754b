"""Datasets of images: the published formats, written here by hand, and everything that is wrong."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import pickletools
import struct
import tarfile

import numpy as np
import pytest
from source_files import ROOT

import sley
from sley.frontend.data.cifar import Version, read_batch
from sley.utils import data

RNG = np.random.default_rng(0)


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def idx(array: np.ndarray) -> bytes:
    head = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(np.uint8).tobytes()


IMAGES, LABELS = RNG.integers(0, 256, (5, 4, 3)), np.array([3, 1, 4, 1, 5])
FILES = {"train-images-idx3-ubyte": idx(IMAGES), "train-labels-idx1-ubyte": idx(LABELS)}


class Small(data.MNIST):
    """The format, with other files than the published ones."""

    checksums = {
        **{name: md5(content) for name, content in FILES.items()},
        **{f"{name}.gz": md5(gzip.compress(c, mtime=0)) for name, c in FILES.items()},
    }


@pytest.mark.parametrize("folder", [".", "raw", "Small/raw"])
@pytest.mark.parametrize("packed", [False, True])
def test_mnist(tmp_path, folder: str, packed: bool) -> None:
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    for name, content in FILES.items():
        path = tmp_path / folder / (f"{name}.gz" if packed else name)
        path.write_bytes(gzip.compress(content, mtime=0) if packed else content)
    found = Small(tmp_path)
    assert len(found) == 5 and found.data.dtype is sley.uint8 and found.targets.tolist() == [
        3, 1, 4, 1, 5,
    ]  # fmt: skip
    image, label = found[2]
    assert type(image) is np.ndarray and type(label) is int and label == 4
    np.testing.assert_array_equal(image, IMAGES[2])
    image[:] = 0
    np.testing.assert_array_equal(found[2][0], IMAGES[2], "the example is the user's own")
    with pytest.raises(sley.LoadError, match="t10k-images-idx3-ubyte"):
        Small(tmp_path, train=False)


def test_files_that_are_wrong(tmp_path) -> None:
    with pytest.raises(sley.LoadError, match=r"(?s)none of .*downloads nothing"):
        data.MNIST(tmp_path)
    with pytest.raises(sley.UnsupportedError):
        data.MNIST(tmp_path, download=True)
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(sley.LoadError, match="MD5 checksum"):
        data.FashionMNIST(tmp_path)
    good = FILES["train-images-idx3-ubyte"]
    packed = gzip.compress(good)
    for bad in (good[:-1], good + b"x", b"", b"\0\0\7" + good[3:], good[:3] + b"\1" + good[4:],
                packed[:20], packed[:-9] + b"\0" * 9):  # fmt: skip
        (tmp_path / "train-images-idx3-ubyte").write_bytes(bad)

        class Bad(Small):
            checksums = {**Small.checksums, "train-images-idx3-ubyte": md5(bad)}

        with pytest.raises(sley.LoadError):
            Bad(tmp_path)


def python2_batch(pixels: np.ndarray, labels: list[int], key: bytes) -> bytes:
    """As Python 2 pickled a batch: byte strings, the array by `_reconstruct` and BUILD."""

    def text(content: bytes) -> bytes:
        return b"T" + struct.pack("<I", len(content)) + content

    def short(content: bytes) -> bytes:
        return b"U" + bytes([len(content)]) + content

    shape = b"".join(b"J" + struct.pack("<i", n) for n in pixels.shape) + b"\x86"
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85" + short(b"b") + b"\x87R"
        b"(K\x01" + shape + b"cnumpy\ndtype\n" + short(b"u1") + b"K\0K\1\x87R"
        b"(K\x03" + short(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89"
        + text(pixels.tobytes()) + b"tb"
    )  # fmt: skip
    numbers = b"](" + b"".join(b"K" + bytes([n]) for n in labels) + b"e"
    return b"\x80\x02}(" + short(b"data") + array + short(key) + numbers + b"u."


PIXELS, CLASSES = RNG.integers(0, 256, (4, 3072)).astype(np.uint8), [9, 0, 3, 3]
BATCH = python2_batch(PIXELS, CLASSES, b"labels")
RECORDS = b"".join(bytes([c]) + row.tobytes() for c, row in zip(CLASSES, PIXELS, strict=True))


def archive(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


PYTHON, BINARY = archive({"p/one": BATCH}), archive({"b/one.bin": RECORDS})


class SmallCIFAR(data.CIFAR10):
    """The format, with other files than the published ones."""

    python = Version("p.tar.gz", md5(PYTHON), "p", {True: {"one": md5(BATCH)}, False: {}})
    binary = Version("b.tar.gz", md5(BINARY), "b", {True: {"one.bin": ""}, False: {}})


def test_the_batch_is_what_python_reads() -> None:
    got = pickle.loads(BATCH, encoding="bytes")
    np.testing.assert_array_equal(got[b"data"], PIXELS)
    assert got[b"labels"] == CLASSES


@pytest.mark.parametrize("files", [{"p/one": BATCH}, {"p.tar.gz": PYTHON}, {"b.tar.gz": BINARY}])
def test_cifar(tmp_path, files: dict[str, bytes]) -> None:
    (tmp_path / "p").mkdir() if "p/one" in files else None
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    found = SmallCIFAR(tmp_path)
    assert found.targets == CLASSES and len(found) == 4 and len(found.classes) == 10
    image, label = found[0]
    assert image.shape == (32, 32, 3) and label == 9
    np.testing.assert_array_equal(image.transpose(2, 0, 1).reshape(-1), PIXELS[0])


def test_archives_that_are_wrong(tmp_path) -> None:
    with pytest.raises(sley.LoadError, match=r"none of cifar-100-python/"):
        data.CIFAR100(tmp_path)
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(PYTHON)
    with pytest.raises(sley.LoadError, match="published one"):
        data.CIFAR10(tmp_path)
    for content in (PYTHON[: len(PYTHON) // 2], archive({"p/two": BATCH}), b"nothing"):
        (tmp_path / "p.tar.gz").write_bytes(content)

        class Bad(SmallCIFAR):
            python = Version("p.tar.gz", md5(content), "p", {True: {"one": ""}, False: {}})

        with pytest.raises(sley.LoadError):
            Bad(tmp_path)


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit",))


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps({b"data": Evil()}, 2),
        pickle.dumps([1]),
        pickle.dumps({b"data": np.zeros(3)}, 2),
        BATCH[:-1],
        BATCH[:200],
        BATCH.replace(b"u1", b"u2", 1),
        BATCH.replace(b"J\x00\x0c\x00\x00", b"J\x01\x0c\x00\x00"),
        b"",
    ],
)  # fmt: skip
def test_pickles_are_never_executed(content: bytes) -> None:
    with pytest.raises(sley.LoadError):
        read_batch(content, "batch")


def test_the_damage_is_where_it_is_meant_to_be() -> None:
    assert BATCH.count(b"u1") == 1 and BATCH.count(b"J\x00\x0c\x00\x00") == 1
    pickletools.dis(BATCH, out=io.StringIO())


def test_digits() -> None:
    train, test, whole = (data.Digits(part) for part in (True, False, None))
    assert (len(train), len(test), len(whole)) == (1438, 359, 1797)
    assert train.data.shape == (1438, 8, 8) and train.targets.dtype is sley.int64
    steps = data.transforms.Compose([lambda image: image * 15, data.transforms.ToTensor()])
    image, label = data.Digits(None, steps, target_transform=lambda n: n + 1)[0]
    assert image.shape == (1, 8, 8) and label == 1 and image.max().item() == np.float32(225 / 255)
    assert "1438 images" in repr(train)


def test_the_checksums_are_of_the_published_files() -> None:
    """Each is an MD5, none is there twice."""
    kinds = (data.MNIST, data.FashionMNIST)
    found = [checksum for kind in kinds for checksum in kind.checksums.values()]
    for kind in (data.CIFAR10, data.CIFAR100):
        found += [kind.python.checksum, kind.binary.checksum]
        found += [c for files in kind.python.files.values() for c in files.values()]
    assert len(set(found)) == len(found) == 28
    assert all(len(checksum) == 32 and int(checksum, 16) for checksum in found)
    assert len(data.CIFAR100.classes) == 100 == len(set(data.CIFAR100.classes))
    assert (ROOT / "frontend" / "data" / "digits.npz").exists()
