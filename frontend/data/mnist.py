"""MNIST and Fashion-MNIST: IDX files in a local folder."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import numpy as np

from ..errors import LoadError
from ..tensor import of_array
from .images import ImageDataset, Transform, checked, missing, refuse_download

_BYTES = 8  # the code of uint8 in an IDX file


class MNIST(ImageDataset):
    """Handwritten digits: 60,000 images of 28 x 28 to train on, 10,000 to test.

    Read from `root`, `root/raw` or `root/MNIST/raw`: `train-images-idx3-ubyte`,
    `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte`, `t10k-labels-idx1-ubyte`, each as it is or
    with `.gz`.

    Reference: Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, Gradient-based learning applied to
    document recognition, 1998.

    Attributes:
        data: uint8[n, 28, 28]. targets: int64[n].
        checksums: the published MD5 checksum of each file.

    Raises:
        LoadError: a file is missing, damaged, or another than the published one.
    """

    classes = [
        "0 - zero", "1 - one", "2 - two", "3 - three", "4 - four",
        "5 - five", "6 - six", "7 - seven", "8 - eight", "9 - nine",
    ]  # fmt: skip
    checksums = {
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    }

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
        name = "train" if train else "t10k"
        images = self._read(Path(root), f"{name}-images-idx3-ubyte", 3)
        labels = self._read(Path(root), f"{name}-labels-idx1-ubyte", 1)
        if len(images) != len(labels):
            raise LoadError(f"{root}: {len(images)} images and {len(labels)} labels")
        super().__init__(images, labels.astype(np.int64), transform, target_transform)
        self.data, self.targets = of_array(self._images), of_array(self._labels)

    def _read(self, root: Path, name: str, axes: int) -> np.ndarray:
        folders = (root, root / "raw", root / type(self).__name__ / "raw")
        for folder in folders:
            for file in (name, f"{name}.gz"):
                path = folder / file
                if path.is_file():
                    content = checked(path, self.checksums[file])
                    return read_idx(content, str(path), axes)
        raise missing(type(self).__name__, root, [name, f"{name}.gz"])


class FashionMNIST(MNIST):
    """Pictures of clothes, in the format of MNIST: 60,000 images of 28 x 28 to train on, 10,000 to
    test. Read from `root`, `root/raw` or `root/FashionMNIST/raw`; files and errors as of `MNIST`.

    Reference: H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST, 2017, arXiv:1708.07747.
    """

    classes = [
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
        "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ]  # fmt: skip
    checksums = {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    }


def read_idx(content: bytes, name: str, axes: int) -> np.ndarray:
    """The array uint8 of an IDX file, compressed by gzip or not, that has so many axes.

    Raises:
        LoadError: it is something else, or has too few or too many bytes.
    """
    if content[:2] == b"\x1f\x8b":
        try:
            import gzip

            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise LoadError(f"{name}: {error}") from None
    start = 4 + 4 * axes
    if len(content) < start or content[:4] != bytes((0, 0, _BYTES, axes)):
        raise LoadError(f"{name} is no IDX file of bytes with {axes} axes")
    shape = [int.from_bytes(content[4 * k : 4 * k + 4], "big") for k in range(1, axes + 1)]
    count = int(np.prod(shape, dtype=object))
    if len(content) - start != count:
        raise LoadError(f"{name}: {len(content) - start} elements, its shape is {shape}")
    return np.frombuffer(content, np.uint8, count, start).reshape(shape).copy()
