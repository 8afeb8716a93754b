"""Whole programs on disk, found by a hash of the trace before any pass.

A file under `executables` holds what running needs (`runtime/image.py`); the object code lies
under `objects`, where programs share it. A file that is damaged, that another version wrote or
whose objects are gone counts as absent.
"""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

from ..ir.graph import Graph
from ..ir.literal import Literal
from ..ir.target import Target
from .cache import ObjectCache
from .config import config
from .image import Image, ImageError, from_bytes, to_bytes
from .objects import objects_in
from .trace_key import NoKey, source_changed, source_key, trace_key


@functools.cache
def _images_in(folder: Path) -> ObjectCache:
    return ObjectCache(folder / "executables", suffix=".sley")


class Entry:
    """The place of one program on disk.

    Attributes:
        key: a hash of the program and of all that decides what it becomes.
    """

    def __init__(self, folder: Path, name: str, key: str, literals: Mapping[Literal, int]) -> None:
        self.name = name
        self.key = key
        self._literals = literals
        self._objects = objects_in(folder)
        self._images = _images_in(folder)

    def load(self) -> Image | None:
        """The program, where it is there and whole."""
        content = self._images.get(self.key)
        if content is None:
            self._log("not on disk")
            return None
        try:
            image = from_bytes(content, list(self._literals), self._objects.get)
        except ImageError as error:
            self._log(f"the file on disk is damaged: {error}")
            return None
        self._log("found on disk" if image is not None else "object code is gone from the disk")
        return image

    def store(self, image: Image) -> None:
        """Keeps `image`; the objects first, so that a file's objects are there when it is."""
        if source_changed():
            self._log("not kept on disk: the source has changed since it was loaded")
            return
        try:
            content = to_bytes(image, self._literals)
        except ImageError as error:
            self._log(f"not kept on disk: {error}")
            return
        for key, code in image.all_objects():
            if key not in self._objects:
                self._objects.put(key, code)
        self._images.put(self.key, content)

    def refuse(self, why: str) -> None:
        """Notes that what was loaded cannot be linked; it will be written anew."""
        self._log(f"what is on disk cannot be linked: {why}")

    def _log(self, what: str) -> None:
        _log(self.name, what)


def entry_of(
    graph: Graph, target: Target, donated: Mapping[int, int], fixed: Collection[int] = ()
) -> Entry | None:
    """Where `graph`, compiled so, lies on disk; None where nothing is kept there."""
    folder, source = config().cache_dir, source_key()
    if folder is None or source is None:
        return None
    try:
        trace, literals = trace_key(graph)
    except NoKey as error:
        _log(graph.name, f"not kept on disk: {error}")
        return None
    parts = (trace, repr(target), sorted(donated.items()), sorted(fixed), source)
    key = hashlib.sha256(repr(parts).encode()).hexdigest()
    return Entry(folder, graph.name, key, literals)


def _log(name: str, what: str) -> None:
    if "compile" in config().log:
        print(f"sley: compile {name}: {what}", file=sys.stderr)
