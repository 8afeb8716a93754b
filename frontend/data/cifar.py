"""CIFAR-10 and CIFAR-100: the python version (pickles, never unpickled) or the binary one."""

from __future__ import annotations

import io
import os
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import LoadError
from ..saving.pickle_machine import Machine, Refused, Rule
from .images import ImageDataset, Transform, checked, missing, refuse_download

_PIXELS = 3 * 32 * 32


class Version(NamedTuple):
    """One of the published archives, and what of it is read.

    Attributes:
        files: by `train`: the names in the folder, without a suffix, with their MD5 checksums.
    """

    archive: str
    checksum: str
    folder: str
    files: dict[bool, dict[str, str]]


class CIFAR10(ImageDataset):
    """Small photographs of ten kinds of things: 50,000 of 32 x 32 x 3 to train on, 10,000 to test.

    Read from `root`: the folder `cifar-10-batches-py`, or `cifar-10-python.tar.gz`, or
    `cifar-10-binary.tar.gz`. Nothing in a file is ever executed.

    Reference: A. Krizhevsky, Learning multiple layers of features from tiny images, 2009.

    Attributes:
        data: the array uint8[n, 32, 32, 3]. targets: the labels, a list.

    Raises:
        LoadError: the files are missing, damaged, or others than the published ones.
    """

    classes = [
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    ]  # fmt: skip
    python = Version(
        "cifar-10-python.tar.gz",
        "c58f30108f718f92721af3b95e74349a",
        "cifar-10-batches-py",
        {
            True: {
                "data_batch_1": "c99cafc152244af753f735de768cd75f",
                "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
                "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
                "data_batch_4": "634d18415352ddfa80567beed471001a",
                "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            },
            False: {"test_batch": "40351d587109b95175f43aff81a1287e"},
        },
    )
    binary = Version(
        "cifar-10-binary.tar.gz",
        "c32a1d4ab5d03f1284b67883e8d87530",
        "cifar-10-batches-bin",
        {
            True: {f"data_batch_{k}.bin": "" for k in range(1, 6)},
            False: {"test_batch.bin": ""},
        },
    )
    labels_key = b"labels"
    label_bytes = 1  # before the pixels of an image in the binary version; the last one counts

    def __init__(
        self,
        root: str | os.PathLike[str],
        train: bool = True,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        download: bool = False,
    ) -> None:
        refuse_download(type(self).__name__, download)
        self.train = train
        parts = self._parts(Path(root))
        planes = np.concatenate([pixels for pixels, _ in parts]).reshape(-1, 3, 32, 32)
        labels = np.concatenate([labels for _, labels in parts])
        if labels.size and labels.max() >= self._label_count():
            raise LoadError(f"{root}: a label {labels.max()}")
        self.data = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
        self.targets: list[int] = labels.tolist()
        super().__init__(self.data, labels, transform, target_transform)

    def _label_count(self) -> int:
        return 10

    def _parts(self, root: Path) -> list[tuple[np.ndarray, np.ndarray]]:
        python, binary = self.python, self.binary
        if (root / python.folder).is_dir():
            return [
                self._python_part(_present(root / python.folder / name, checksum), name)
                for name, checksum in python.files[self.train].items()
            ]
        for version, read in ((python, self._python_part), (binary, self._binary_part)):
            path = root / version.archive
            if path.is_file():
                content = checked(path, version.checksum)
                names = list(version.files[self.train])
                found = _members(content, [f"{version.folder}/{name}" for name in names], path)
                return [read(part, name) for part, name in zip(found, names, strict=True)]
        wanted = [f"{python.folder}/", python.archive, binary.archive]
        raise missing(type(self).__name__, root, wanted)

    def _python_part(self, content: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
        batch = read_batch(content, name)
        pixels, labels = batch.get(b"data"), batch.get(self.labels_key)
        if not isinstance(pixels, PickledArray) or not isinstance(labels, list):
            raise LoadError(f"{name} is no batch of {type(self).__name__}")
        return _checked_part(pixels.array(), np.array(labels, np.int64), name)

    def _binary_part(self, content: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
        width = self.label_bytes + _PIXELS
        if len(content) % width:
            raise LoadError(f"{name}: {len(content)} bytes are no records of {width}")
        records = np.frombuffer(content, np.uint8).reshape(-1, width)
        labels = records[:, self.label_bytes - 1].astype(np.int64)
        return _checked_part(records[:, self.label_bytes :], labels, name)


class CIFAR100(CIFAR10):
    """Small photographs of a hundred kinds of things, in the format of `CIFAR10`: labels are the
    fine ones. Read from `root`: the folder `cifar-100-python`, or `cifar-100-python.tar.gz`, or
    `cifar-100-binary.tar.gz`."""

    classes = [
        "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle",
        "bottle", "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle",
        "caterpillar", "cattle", "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch",
        "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish", "forest", "fox",
        "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion",
        "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom",
        "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree",
        "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road",
        "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake",
        "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank",
        "telephone", "television", "tiger", "tractor", "train", "trout", "tulip", "turtle",
        "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm",
    ]  # fmt: skip
    python = Version(
        "cifar-100-python.tar.gz",
        "eb9058c3a382ffc7106e4002c42a8d85",
        "cifar-100-python",
        {
            True: {"train": "16019d7e3df5f24257cddd939b257f8d"},
            False: {"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
        },
    )
    binary = Version(
        "cifar-100-binary.tar.gz",
        "03b5dce01913d631647c71ecec9e9cb8",
        "cifar-100-binary",
        {True: {"train.bin": ""}, False: {"test.bin": ""}},
    )
    labels_key = b"fine_labels"
    label_bytes = 2

    def _label_count(self) -> int:
        return 100


def _present(path: Path, checksum: str) -> bytes:
    if not path.is_file():
        raise LoadError(f"{path} is missing")
    return checked(path, checksum)


def _members(archive: bytes, names: list[str], path: Path) -> list[bytes]:
    """The named files of a tar archive, which is not unpacked."""
    import tarfile  # which loads all kinds of compression

    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
            found = [tar.extractfile(name) for name in names]
            return [file.read() for file in found if file is not None]
    except (tarfile.TarError, KeyError, EOFError, OSError, zlib.error) as error:
        raise LoadError(f"{path}: {error}") from None


def _checked_part(
    pixels: np.ndarray, labels: np.ndarray, name: str
) -> tuple[np.ndarray, np.ndarray]:
    if pixels.ndim != 2 or pixels.shape[1] != _PIXELS or len(pixels) != len(labels):
        raise LoadError(f"{name}: pixels {list(pixels.shape)} and {len(labels)} labels")
    return pixels, labels


# Pickles of Python 2 ----------------------------------------------------------------------------


class PickledArray:
    """An array of bytes as a pickle describes it."""

    def __init__(self) -> None:
        self.state: Any = None

    def array(self) -> np.ndarray:
        """The array.

        Raises:
            Refused: it is not one of uint8 in C order.
        """
        match self.state:
            case (1, tuple(shape), "u1", False, bytes(content)):
                if all(isinstance(size, int) for size in shape):
                    if len(content) == np.prod(shape, dtype=object):
                        return np.frombuffer(content, np.uint8).reshape(shape)
        raise Refused("an array is no uint8 array in C order")


class _BatchMachine(Machine):
    """Pickles of Python 2: strings are bytes, and arrays get their contents by BUILD."""

    def __init__(self) -> None:
        super().__init__(_find, _no_persistent)

    def _step(self, name: str, argument: Any) -> None:
        if name in ("SHORT_BINSTRING", "BINSTRING", "STRING"):
            self._push(argument.encode("latin-1"))
        else:
            super()._step(name, argument)

    def _build(self) -> None:
        state = self._pop(tuple)
        target = self._stack[-1] if self._stack else None
        if isinstance(target, PickledArray):
            target.state = state
        elif target != "u1":  # of the dtype nothing more is asked: bytes have no order
            raise Refused(f"state of a {type(target).__name__} is refused")


def read_batch(content: bytes, name: str) -> dict[Any, Any]:
    """The dict of a pickled batch of CIFAR, arrays as `PickledArray`.

    Raises:
        LoadError: it is damaged, or holds something else than such batches do.
    """
    try:
        batch = _BatchMachine().run(content)
        for value in batch.values() if isinstance(batch, dict) else ():
            if isinstance(value, PickledArray):
                value.array()
    except Refused as error:
        raise LoadError(f"{name}: {error}") from None
    if not isinstance(batch, dict):
        raise LoadError(f"{name} holds a {type(batch).__name__}")
    return batch


def _find(module: str, name: str) -> Any:
    if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        return Rule("_reconstruct", lambda *_: PickledArray(), (3,))
    if (module, name) == ("numpy", "ndarray"):
        return "ndarray"
    if (module, name) == ("numpy", "dtype"):
        return Rule("dtype", _dtype, (3,))
    raise Refused(f"{module}.{name} is refused: no batch of CIFAR needs it")


def _dtype(code: Any, *_: Any) -> str:
    if code not in (b"u1", "u1"):
        raise Refused(f"an array of dtype {code!r}")
    return "u1"


def _no_persistent(_: Any) -> Any:
    raise Refused("a persistent id")
