"""Looking for NaN while gradients are taken. Eager only: compiled programs do not look."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir.graph import Node, Value
from ..errors import AutogradError
from ..moves import on_host
from ..tape import EagerValue


class _Mode(threading.local):
    def __init__(self) -> None:
        self.enabled = False
        self.check_nan = True


_mode = _Mode()


def is_anomaly_enabled() -> bool:
    """Whether NaN is looked for in this thread."""
    return _mode.enabled


class set_detect_anomaly:
    """Look for NaN in gradients, or no longer: at once, and until the end of the block if used with
    `with`.

    Args:
        check_nan: whether NaN is an error.

    Example:
        >>> import sley
        >>> x = sley.tensor(0.0, requires_grad=True)
        >>> with sley.autograd.detect_anomaly():
        ...     (x.sqrt() * 0).backward()
        Traceback (most recent call last):
            ...
        sley.frontend.errors.AutogradError: SqrtBackward gave NaN...
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._before = (_mode.enabled, _mode.check_nan)
        _mode.enabled, _mode.check_nan = mode, check_nan

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        _mode.enabled, _mode.check_nan = self._before


class detect_anomaly(set_detect_anomaly):
    """`with detect_anomaly():` a gradient that is NaN is an error, which names the op that made it
    and the line of the forward pass that it stems from."""

    def __init__(self, check_nan: bool = True) -> None:
        super().__init__(True, check_nan)


def observer() -> Any:
    """What looks at each step of a walk, or None."""
    return _look if _mode.enabled and _mode.check_nan else None


def _look(node: Node, cotangents: Sequence[Value | None]) -> None:
    """Raises where one of the cotangents that the rule of `node` gave is NaN.

    Raises:
        AutogradError: so it is.
    """
    for number, value in enumerate(cotangents):
        if not isinstance(value, EagerValue) or not np.isnan(on_host(value)).any():
            continue
        name = node.attrs.get("name", node.op.name.title().replace("_", ""))
        place = f" computed at {node.line}" if node.line is not None else ""
        raise AutogradError(
            f"{name}Backward gave NaN for operand {number} ({value.type}) of what was{place}",
            hint="a slope is infinite there, or a value was NaN before",
        )
