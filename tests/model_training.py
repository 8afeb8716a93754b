"""Models trained twice from one start, eager and compiled: the same numbers at every step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import optree

import sley
from sley import nn

Step = Callable[..., Any]
Batch = Sequence[np.ndarray]


class Training(NamedTuple):
    """What one training gave.

    Attributes:
        results: for each batch, the tensors that the step returned, as float64 or integers.
        state: parameters, buffers and gradients after the last step, by name.
        programs: how often the step was compiled.
    """

    results: list[list[np.ndarray]]
    state: dict[str, np.ndarray]
    programs: int


def plain(tensor: sley.Tensor) -> np.ndarray:
    """The elements, floats of any width as float64."""
    tensor = tensor.detach()
    return (tensor.double() if sley.is_floating_point(tensor) else tensor).numpy().copy()


def model_state(model: nn.Module) -> dict[str, np.ndarray]:
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    state = {name: plain(tensor) for name, tensor in named.items()}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            state[f"{name}.grad"] = plain(parameter.grad)
    return state


def trained(
    make: Callable[[], tuple[nn.Module, Step]], batches: Iterable[Batch], *, compiled: bool
) -> Training:
    """Makes the model from a fixed seed and takes a step on each batch."""
    sley.manual_seed(7)
    model, step = make()
    function = sley.compile(step) if compiled else step
    sley.manual_seed(8)
    results = []
    for batch in batches:
        result = function(*map(sley.tensor, batch))
        results.append([plain(t) for t in optree.tree_leaves(result)])
    programs = len(function.programs) if compiled else 0
    return Training(results, model_state(model), programs)


def check_training(
    make: Callable[[], tuple[nn.Module, Step]],
    batches: Sequence[Batch],
    *,
    programs: int,
    rtol: float = 2e-4,
    atol: float = 2e-5,
) -> Training:
    """Eager and compiled training give the same results and state; at most `programs` programs.
    Returns the compiled one."""
    eager = trained(make, batches, compiled=False)
    compiled = trained(make, batches, compiled=True)
    assert compiled.programs <= programs
    for number, (expected, actual) in enumerate(zip(eager.results, compiled.results, strict=True)):
        for e, a in zip(expected, actual, strict=True):
            np.testing.assert_allclose(a, e, rtol=rtol, atol=atol, err_msg=f"step {number}")
    assert eager.state.keys() == compiled.state.keys()
    for name, e in eager.state.items():
        np.testing.assert_allclose(compiled.state[name], e, rtol=rtol, atol=10 * atol, err_msg=name)
    return compiled


def usual_step(
    model: nn.Module, optimizer: Any, loss_of: Callable[..., sley.Tensor]
) -> tuple[nn.Module, Step]:
    """A step as everybody writes it: `loss_of(model, *batch)` is minimised and returned."""

    def step(*batch):
        optimizer.zero_grad()
        loss = loss_of(model, *batch)
        loss.backward()
        optimizer.step()
        return loss

    return model, step


def labelled(
    sizes: Sequence[int], shape: tuple[int, ...], classes: int, seed: int = 0
) -> list[Batch]:
    """Batches (x: float32 [n, *shape], y: int64 [n]) for each n in `sizes`."""
    rng = np.random.default_rng(seed)
    return [
        (rng.standard_normal((n, *shape)).astype(np.float32), rng.integers(0, classes, n))
        for n in sizes
    ]
