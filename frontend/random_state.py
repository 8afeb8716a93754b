"""The random state: (seed, offset), two 0-d tensors that a trace captures like any other.

Each draw takes one offset, in program order, whatever its size.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np

from ..ir.dims import Dim
from ..ir.dtypes import i64
from ..ir.ops import OPS
from .context import ambient, setting
from .device import CPU, Device, resolved
from .errors import ArgumentError, TraceError
from .inplace import add_, copy_
from .symint import SymInt
from .tensor import Tensor, of_array


class Draw(NamedTuple):
    """What one draw is made of: two 0-d int64 tensors."""

    seed: Tensor
    offset: Tensor


class Generator:
    """A stream of draws. `Generator().manual_seed(0)` gives the same ones on every machine.

    Args:
        seed: where to begin; a device in its place is taken as `device`, as in PyTorch.
        device: a device that exists; draws are the same on all.
    """

    def __init__(self, seed: Any = 0, *, device: Any = None) -> None:
        if isinstance(seed, (str, Device)):
            seed, device = 0, seed
        self._device = CPU if device is None else resolved(device)
        self._seed = of_array(np.array(_word(seed), np.int64))
        self._offset = of_array(np.array(0, np.int64))

    def next_draw(self) -> Draw:
        """(seed, offset) of the next draw; the state moves on by one."""
        with setting(grad_enabled=False):
            draw = Draw(self._seed.clone(), self._offset.clone())
            if ambient.trace is not None:
                ambient.trace.advance(self._offset, 1)
            self._offset.add_(1)
        return draw

    def manual_seed(self, seed: int) -> Generator:
        """Begin again from `seed`."""
        word = _word(seed)
        with setting(grad_enabled=False):
            self._seed.fill_(word)
            self._offset.fill_(0)
        return self

    def seed(self) -> int:
        """Begin again from a seed that the operating system draws, which is returned."""
        word = int.from_bytes(os.urandom(8), "little") >> 1
        self.manual_seed(word)
        return word

    def initial_seed(self) -> int:
        """The seed that the stream began from."""
        return int(self._seed.item())

    @property
    def device(self) -> Device:
        """The device that the generator was made for. Its draws are the same on all."""
        return self._device

    def fork(self) -> Generator:
        """A new stream, independent of this one, from which it takes one draw: the next fork is
        another, and the same seed gives the same forks.

        Raises:
            TraceError: a function is recorded, whose calls would all share the fork.
        """
        if ambient.trace is not None:
            raise TraceError("fork() while a function is recorded", hint="fork before the call")
        draw = self.next_draw()
        attrs = {"shape": (1,), "bits": 64}
        (words,) = OPS["rng_bits"].evaluate([draw.seed.array, draw.offset.array], attrs)
        return Generator(int(words[0]))

    def get_state(self) -> Tensor:
        """A tensor int64[2]: seed and number of draws so far."""
        if ambient.trace is not None:
            raise TraceError("the random state cannot be read while a function is recorded")
        return of_array(np.array([self._seed.item(), self._offset.item()], np.int64))

    def set_state(self, state: Tensor) -> Generator:
        """Go on from a state that `get_state` gave.

        Raises:
            ArgumentError: it is no int64[2].
        """
        if state.dtype is not i64 or tuple(state.shape) != (2,):
            raise ArgumentError(f"a random state is an int64[2], not {state.spec}")
        with setting(grad_enabled=False):
            self._seed.copy_(state[0])
            self._offset.copy_(state[1])
        return self


def _word(seed: int) -> int:
    """`seed` as a signed 64-bit number."""
    if not -(1 << 63) <= seed < 1 << 64:
        raise ArgumentError(f"the seed {seed} has more than 64 bits")
    return seed - (1 << 64) if seed >= 1 << 63 else int(seed)


default_generator = Generator()


def next_draw(generator: Generator | None = None) -> Draw:
    """(seed, offset) of the next draw of `generator`, or of the default one."""
    return (generator or default_generator).next_draw()


def manual_seed(seed: int) -> Generator:
    """Begin the default stream again from `seed`."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Begin the default stream again from a seed that the operating system draws."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed that the default stream began from."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The state of the default stream, for `set_rng_state`."""
    return default_generator.get_state()


def set_rng_state(state: Tensor) -> None:
    """Go on from a state that `get_rng_state` gave."""
    default_generator.set_state(state)


def set_state(state: Tensor, new: Tensor, count: Dim | None) -> None:
    """The offset of a random generator after a recorded function has drawn from it: `count`
    further, or where that is not known `new`."""
    if count is not None:  # from the offset alone, which lies on the processor
        move_on(state, count)
        return
    if ambient.trace is not None:
        ambient.trace.advance(state, None)
    with setting(grad_enabled=False):
        copy_(state, new)


def move_on(state: Tensor, count: Dim) -> None:
    """Move the offset of a random generator on by `count` draws."""
    trace = ambient.trace
    if trace is not None:
        trace.advance(state, count)
    number = count if isinstance(count, int) or trace is None else SymInt(count, trace)
    with setting(grad_enabled=False):
        add_(state, number)
