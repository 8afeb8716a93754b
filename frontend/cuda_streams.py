"""Streams and marks of a GPU, and the choice of one.

sley gives all work of a GPU to one stream, in the order of the program. So there is one `Stream`
for each GPU, work "on another stream" comes in order, too, and waiting between streams is nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .device import Device, current, set_current
from .errors import ArgumentError
from .tensor import Tensor

if TYPE_CHECKING:
    from .accelerator import Accelerator


def number_of(device: Any) -> int:
    """The number of the GPU that `device` names: a number, a name, a device; None: the current.

    Raises:
        ArgumentError: it names no GPU.
    """
    if device is None:
        return current()
    if isinstance(device, int):
        return device
    named = Device(device)
    if named.type != "cuda":
        raise ArgumentError(f"{str(named)!r} is no GPU", hint='write "cuda", "cuda:1" or 1')
    return current() if named.index is None else named.index


def _place(device: Any) -> Accelerator:
    from .accelerator import accelerator  # what runs GPUs: most programs need none

    return accelerator(Device("cuda", number_of(device)))


class Stream:
    """The stream of a GPU: all that are made for one are equal.

    Args:
        device: the GPU; the current one unless given.
        priority: accepted without effect.

    Attributes:
        device: the GPU.

    Raises:
        ArgumentError: there is no such GPU.
    """

    def __init__(self, device: Any = None, priority: int = 0) -> None:
        self.device = _place(device).device

    def synchronize(self) -> None:
        """Wait until all that was issued is done."""
        from .accelerator import told_of_errors

        with told_of_errors():
            _place(self.device).memory.synchronize()

    def query(self) -> bool:
        """Whether all that was issued is done."""
        return self.record_event().query()

    def record_event(self, event: Event | None = None) -> Event:
        """A mark, new unless given, behind what was issued so far."""
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Let what is issued from now on run after a mark: it does."""

    def wait_stream(self, stream: Stream) -> None:
        """Let what is issued from now on run after what `stream` was given: it does."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and other.device == self.device

    def __hash__(self) -> int:
        return hash(self.device)

    def __repr__(self) -> str:
        return f"<sley.cuda.Stream device={self.device}>"


class Event:
    """A mark on the stream of a GPU: for waiting until work is done, and for taking times.

    Args:
        enable_timing: whether `elapsed_time` is asked for.
        blocking, interprocess: accepted without effect.

    Example:
        >>> import sley
        >>> if sley.cuda.is_available():
        ...     first, last = (sley.cuda.Event(enable_timing=True) for _ in range(2))
        ...     first.record()
        ...     _ = sley.ones(1000, 1000, device="cuda").exp()
        ...     last.record()
        ...     last.synchronize()
        ...     assert first.elapsed_time(last) >= 0  # milliseconds
    """

    def __init__(
        self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False
    ) -> None:
        self.device: Device | None = None
        self._enable_timing = enable_timing
        self._mark: Any = None

    def record(self, stream: Stream | None = None) -> None:
        """Put the mark behind what was issued so far, in place of where it was before.

        Raises:
            ArgumentError: there is no GPU, or the mark is of another one.
        """
        place = _place(None if stream is None else stream.device)
        if self.device is not None and self.device is not place.device:
            raise ArgumentError(f"an event of {self.device} is recorded on {place.device}")
        from .accelerator import told_of_errors

        with told_of_errors(), place.memory.lock:
            place.memory.driver.attach()
            if self._mark is None:
                self.device = place.device
                self._mark = _spare(place).pop() if _spare(place) else place.memory.driver.event()
            place.memory.driver.record(self._mark)

    def wait(self, stream: Stream | None = None) -> None:
        """Let what is issued from now on run after the mark: it does."""

    def query(self) -> bool:
        """Whether the work before the mark is done; True of one that was not recorded."""
        if self._mark is None:
            return True
        from .accelerator import told_of_errors

        place = _place(self.device)
        with told_of_errors(), place.memory.lock:
            place.memory.driver.attach()
            return place.memory.driver.passed(self._mark)

    def synchronize(self) -> None:
        """Wait until the work before the mark is done.

        Raises:
            DeviceError: a kernel has failed.
        """
        if self._mark is None:
            return
        from .accelerator import told_of_errors

        place = _place(self.device)
        with told_of_errors():
            place.memory.driver.attach()
            place.memory.driver.wait(self._mark)

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this mark to another one; waits for both.

        Raises:
            ArgumentError: one was not recorded, or not made with `enable_timing`.
        """
        if not self._enable_timing or not end_event._enable_timing:
            raise ArgumentError(
                "elapsed_time() of an event without timing", hint="Event(enable_timing=True)"
            )
        if self._mark is None or end_event._mark is None or self.device != end_event.device:
            raise ArgumentError(
                "elapsed_time() needs two events that were recorded on one GPU",
                hint="call record() of both",
            )
        self.synchronize()
        end_event.synchronize()
        return _place(self.device).memory.driver.elapsed(self._mark, end_event._mark)

    def __del__(self) -> None:
        if self._mark is not None and self.device is not None:
            _marks.setdefault(self.device, deque()).append(self._mark)

    def __repr__(self) -> str:
        return f"<sley.cuda.Event device={self.device}>"


# Marks that no event has any more, for later ones. A garbage collection puts them here.
_marks: dict[Device, deque[Any]] = {}


def _spare(place: Accelerator) -> deque[Any]:
    return _marks.setdefault(place.device, deque())


def current_stream(device: Any = None) -> Stream:
    """The stream of a GPU.

    Raises:
        ArgumentError: there is no such GPU.
    """
    return Stream(device)


def default_stream(device: Any = None) -> Stream:
    """The stream of a GPU.

    Raises:
        ArgumentError: there is no such GPU.
    """
    return Stream(device)


@contextmanager
def stream(stream: Stream | None) -> Iterator[None]:
    """`with stream(s):` work inside is given to `s`, whose GPU is the current one there; None
    changes nothing."""
    with device(None if stream is None else stream.device):
        yield


class device:
    """`with device(1):` inside, GPU number 1 is the one that "cuda" means; None changes nothing.

    Raises:
        ArgumentError: there is no such GPU.
    """

    def __init__(self, device: Any) -> None:
        self.idx = current() if device is None else number_of(device)
        if device is not None:
            _place(self.idx)
        self._before: list[int] = []

    def __enter__(self) -> None:
        self._before.append(current())
        set_current(self.idx)

    def __exit__(self, *exc: object) -> None:
        set_current(self._before.pop())


class device_of(device):
    """`with device_of(x):` inside, the GPU of a tensor is the one that "cuda" means; that of a
    tensor of the processor changes nothing."""

    def __init__(self, obj: Tensor) -> None:
        super().__init__(obj.device if obj.is_cuda else None)
