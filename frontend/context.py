"""The one ambient object: the current trace and the frozen settings that a program depends on."""

from __future__ import annotations

import functools
import operator
import threading
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ..ir import dtypes
from ..ir.dtypes import DType
from ..ir.numerics import Numerics
from .errors import ArgumentError, DTypeError

if TYPE_CHECKING:
    from ..ir.graph import Location
    from .device import Device
    from .trace import Trace

F = TypeVar("F", bound=Callable[..., Any])

MATMUL_PRECISIONS = ("highest", "high", "medium")


class Autocast(NamedTuple):
    """The dtype of matrix products on each kind of device; None where nothing is cast."""

    cpu: DType | None = None
    cuda: DType | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """Settings that decide what a program computes; part of the signature of a compiled function.

    There is one object for each combination (`_changed` makes them), so that a call's signature is
    compared by identity.

    Attributes:
        grad_enabled: whether results remember how they were made.
        inference: whether `inference_mode` is on.
        default_dtype: of Python floats that become tensors.
        autocast: the dtypes of matrix products under autocast, or None.
        matmul_precision: "highest" (float32 means float32), "high" or "medium".
        deterministic: whether equal inputs must give equal bits on every run.
        device: the GPU on which tensors are made that no device is named for; None: the processor.
    """

    grad_enabled: bool = True
    inference: bool = False
    default_dtype: DType = dtypes.f32
    autocast: Autocast | None = None
    matmul_precision: str = "highest"
    deterministic: bool = False
    device: Device | None = None

    @property
    def numerics(self) -> Numerics:
        """What the compiler is told of these settings."""
        return Numerics(self.matmul_precision != "highest", self.deterministic)


_fields = operator.attrgetter(*(field.name for field in fields(Context)))
_DEFAULT = Context()
_CONTEXTS = {_fields(_DEFAULT): _DEFAULT}


class Ambient(threading.local):
    """Per thread: the trace that records now (None: eager), the settings, whether a function is
    being differentiated from outside, so that compiled functions in it run as plain ones, and where
    no code of the user's is called the user's line, once it is asked for (see `unwatched`)."""

    def __init__(self) -> None:
        self.trace: Trace | None = None
        self.context = _DEFAULT
        self.differentiates = False
        self.found_line: list[Location | None] | None = None
        self.inside: list[setting] = []  # of `with device:`, what it has set


ambient = Ambient()


@functools.lru_cache(maxsize=256)
def _changed(context: Context, changes: tuple[tuple[str, Any], ...]) -> Context:
    """The one context that differs from `context` by these fields."""
    changed = replace(context, **dict(changes))
    return _CONTEXTS.setdefault(_fields(changed), changed)


def set_context(**changes: Any) -> None:
    """Change fields of this thread's `Context`."""
    ambient.context = _changed(ambient.context, tuple(changes.items()))


class setting:
    """`with setting(name=value, ...)`: these fields of the context inside the block; a decorator
    as well. May be entered again while it is active."""

    def __init__(self, **changes: Any) -> None:
        self._changes = tuple(changes.items())
        self._outer: list[Context] = []

    def __enter__(self) -> None:
        self._outer.append(ambient.context)
        ambient.context = _changed(ambient.context, self._changes)

    def __exit__(self, *exc: object) -> None:
        outer = self._outer.pop()
        # Only the fields set here go back: `set_default_dtype` inside the block lasts.
        back = tuple((name, getattr(outer, name)) for name, _ in self._changes)
        ambient.context = _changed(ambient.context, back)

    def __call__(self, function: F) -> F:
        changes = dict(self._changes)

        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with setting(**changes):  # of this call alone: threads share the function
                return function(*args, **kwargs)

        return inside  # type: ignore[return-value]


class no_grad(setting):
    """Inside, results do not remember how they were made. A context manager and a decorator
    (`@no_grad()` or `@no_grad`)."""

    def __new__(cls, function: Any = None) -> Any:
        made = object.__new__(cls)
        if function is None:
            return made
        made.__init__()  # type: ignore[misc]
        return made(function)

    def __init__(self) -> None:
        super().__init__(grad_enabled=False)


class enable_grad(setting):
    """Inside, results remember how they were made, also within `no_grad`."""

    def __init__(self) -> None:
        super().__init__(grad_enabled=True)


class inference_mode(setting):
    """As `no_grad`; `is_inference_mode_enabled()` tells that it is on."""

    def __init__(self, mode: bool = True) -> None:
        super().__init__(inference=mode, grad_enabled=not mode)


class set_grad_enabled(setting):
    """Turns gradients on or off: at once, and back at the end of the block if used with `with`."""

    def __init__(self, mode: bool) -> None:
        super().__init__(grad_enabled=bool(mode))
        self._before: Context | None = ambient.context
        set_context(grad_enabled=bool(mode))

    def __enter__(self) -> None:
        super().__enter__()
        if self._before is not None:
            self._outer[-1], self._before = self._before, None

    def __call__(self, function: F) -> F:
        if self._before is not None:
            set_context(grad_enabled=self._before.grad_enabled)
            self._before = None
        return super().__call__(function)


def is_grad_enabled() -> bool:
    """Whether results remember how they were made, now, in this thread."""
    return ambient.context.grad_enabled


def is_inference_mode_enabled() -> bool:
    """Whether `inference_mode` is on in this thread."""
    return ambient.context.inference


def get_default_dtype() -> DType:
    """The dtype that Python floats get: `sley.float32` unless set."""
    return ambient.context.default_dtype


def set_default_dtype(dtype: DType) -> None:
    """Set the dtype that Python floats get.

    Raises:
        DTypeError: `dtype` is not a floating point dtype.
    """
    if not isinstance(dtype, DType) or not dtype.is_float:
        raise DTypeError(f"the default dtype must be a floating point dtype, got {dtype!r}")
    set_context(default_dtype=dtype)


def get_float32_matmul_precision() -> str:
    """ "highest", "high" or "medium"."""
    return ambient.context.matmul_precision


def set_float32_matmul_precision(precision: str) -> None:
    """How exact products of float32 matrices, convolutions and attention must be: "highest", as
    float32 (the default), "high" or "medium", as fast as a GPU's tensor cores can, which round the
    factors to 10 bits behind the point and add up in float32 (TensorFloat-32).

    A processor always computes in float32, whatever is set. Compiled functions are compiled again
    for another setting. It is this thread's.

    Raises:
        ArgumentError: `precision` is none of "highest", "high", "medium".
    """
    if precision not in MATMUL_PRECISIONS:
        raise ArgumentError(f"precision {precision!r} is none of {MATMUL_PRECISIONS}")
    set_context(matmul_precision=precision)


def use_deterministic_algorithms(mode: bool) -> None:
    """Whether equal inputs must give equal bits on every run.

    On a processor they do in any case, whatever the number of threads. On a GPU sums of floats
    into the places of a `scatter` or the rows of an embedding's gradient are joined in the order in
    which they come, unless this is set; then each place is added up in order, which takes longer.
    """
    set_context(deterministic=bool(mode))
