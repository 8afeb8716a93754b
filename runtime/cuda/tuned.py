"""What tuning has found, as lines of JSON: one a kernel, on disk and in the tables of the package.

A line of the folder `tuned` of the cache is good for the GPU, the driver and the Triton that it was
measured with; one of `tables/` (a file for each product, by its name) for every driver and Triton,
and where nothing was measured here.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ...backends.triton.compile import Store, triton_version
from ...ir.block_schedule import BlockSchedule
from ...ir.schedule_text import read
from ..cache import ObjectCache
from ..config import config
from .driver import DeviceInfo

_TABLES = Path(__file__).with_name("tables")
Case = tuple[str, bool, tuple[tuple[str, int], ...]]


@dataclass(frozen=True, slots=True)
class Tuned:
    """The fastest schedule of a kernel on a GPU.

    Attributes:
        kernel: `graph_hash` of it.
        tf32: whether products of float32 may be rounded; see `Numerics`.
        sizes: of its size symbols, each as the power of two that it reaches.
        schedule: as text.
        microseconds: that it takes; `first` those of the first choice, `tried` how many ran.
        device, driver, triton: that it was measured with.
    """

    kernel: str
    tf32: bool
    sizes: tuple[tuple[str, int], ...]
    schedule: str
    microseconds: float
    first: float
    tried: int
    device: str
    driver: int
    triton: str | None

    @property
    def case(self) -> Case:
        """What it is the answer to."""
        return self.kernel, self.tf32, self.sizes

    def line(self) -> str:
        """As a line of JSON; `tuned_of` gives it back."""
        return json.dumps(asdict(self))


def tuned_of(line: str) -> Tuned:
    """What `Tuned.line` wrote.

    Raises:
        ValueError: it is something else.
    """
    try:
        content = json.loads(line)
        content["sizes"] = tuple((str(name), int(size)) for name, size in content["sizes"])
        return Tuned(**content)
    except (TypeError, KeyError) as error:
        raise ValueError(f"not what tuning writes: {line!r}: {error}") from None


def case_of(kernel: str, tf32: bool, sizes: Mapping[str, int], symbols: Iterable[str]) -> Case:
    """The question that a kernel with these symbols is."""
    reached = tuple((name, 1 << max(0, sizes[name] - 1).bit_length()) for name in symbols)
    return kernel, tf32, reached


class Memory:
    """What is known of a GPU: what was measured here, else what the package's table says.

    Args:
        store: where lines are kept; None: what is measured is good for this process.
    """

    def __init__(self, info: DeviceInfo, store: Store | None) -> None:
        self._info = info
        self._store = store
        self._found: dict[Case, Tuned] = {}

    def get(self, case: Case) -> BlockSchedule | None:
        """The schedule for a case; None where nothing is known, or what is known means nothing
        to this version."""
        known = self._found.get(case) or self._stored(case) or table(self._info.name).get(case)
        if known is None:
            return None
        try:
            schedule = read(known.schedule)
        except ValueError:
            return None
        self._found[case] = known
        return schedule if isinstance(schedule, BlockSchedule) else None

    def put(self, tuned: Tuned) -> None:
        """Remembers it."""
        self._found[tuned.case] = tuned
        if self._store is not None:
            self._store.put(self._key(tuned.case), tuned.line().encode())

    def _stored(self, case: Case) -> Tuned | None:
        content = None if self._store is None else self._store.get(self._key(case))
        if content is None:
            return None
        try:
            return tuned_of(content.decode())
        except ValueError:
            return None

    def _key(self, case: Case) -> str:
        parts = (case, self._info.name, self._info.driver_version, triton_version())
        return hashlib.sha256(repr(parts).encode()).hexdigest()


@functools.cache
def table(device: str) -> Mapping[Case, Tuned]:
    """What the package knows of a product: a line for each kernel; nothing where it has no file."""
    path = _TABLES / f"{device.replace(' ', '_')}.jsonl"
    if not path.exists():
        return {}
    found = map(tuned_of, path.read_text().splitlines())
    return {tuned.case: tuned for tuned in found}


@functools.cache
def memory_of(info: DeviceInfo) -> Memory:
    """What is known of a GPU, in the cache folder that the settings name."""
    folder = config().cache_dir
    return Memory(info, None if folder is None else _store_in(folder))


def lines_in(folder: Path, device: str) -> list[str]:
    """What was measured on this product, of what lies in a cache folder: a table of it."""
    store = _store_in(folder)
    found = []
    for key in store:
        content = store.get(key)
        if content is not None and tuned_of(content.decode()).device == device:
            found.append(content.decode())
    return sorted(found)


def _store_in(folder: Path) -> ObjectCache:
    return ObjectCache(folder / "tuned", suffix=".json")
