"""What a tensor says of its history, and who wants the gradient of a value."""

from __future__ import annotations

import weakref

from ...ir.graph import Node, Value
from ..apply import value_of
from ..context import ambient
from ..epoch import epoch
from ..errors import AutogradError
from ..tape import EagerValue
from ..tensor import Hook, Tensor, here


class GradFn:
    """What made a tensor; its repr names the op."""

    __slots__ = ("node",)

    def __init__(self, node: Node) -> None:
        self.node = node

    def name(self) -> str:
        """The op's name in PyTorch's manner, e.g. "MulBackward"."""
        name: str = self.node.attrs.get("name", self.node.op.name.title().replace("_", ""))
        return name + "Backward"

    def __repr__(self) -> str:
        return f"<{self.name()}>"


def grad_fn(tensor: Tensor) -> GradFn | None:
    """What made the tensor, or None for a leaf."""
    if tensor.is_leaf:
        return None
    node = value_of(tensor).node
    return None if node is None else GradFn(node)


class Handle:
    """Of a registered hook; `remove()` takes it away again."""

    def __init__(self, hooks: dict[int, Hook], key: int) -> None:
        self._hooks = hooks
        self._key = key

    def remove(self) -> None:
        """The hook is called no more; a second call does nothing."""
        self._hooks.pop(self._key, None)
        epoch.count += 1


def register_hook(self: Tensor, hook: Hook) -> Handle:
    """Call `hook(grad)` when the gradient of this tensor is known; what it returns, if not None,
    takes its place.

    Raises:
        AutogradError: the tensor does not require grad.
    """
    tensor = here(self)
    if not tensor.requires_grad:
        raise AutogradError("a hook on a tensor that does not require grad")
    if tensor._hooks is None:
        tensor._hooks = {}
    key = max(tensor._hooks, default=-1) + 1
    tensor._hooks[key] = hook
    epoch.count += 1
    if not tensor._requires:
        _watch(value_of(tensor), tensor, kept=True)
    return Handle(tensor._hooks, key)


def retain_grad(self: Tensor) -> None:
    """Have `backward()` set `.grad` also of this tensor that is not a leaf.

    Raises:
        AutogradError: the tensor does not require grad.
    """
    tensor = here(self)
    if not tensor.requires_grad:
        raise AutogradError("retain_grad() on a tensor that does not require grad")
    if tensor.is_leaf:
        return
    tensor._retains = True
    _watch(value_of(tensor), tensor)


def _watch(value: Value, tensor: Tensor, kept: bool = False) -> None:
    """Note that the gradient of a computed value is wanted; `kept`: even if nothing else refers to
    the tensor, as for its hooks."""
    if isinstance(value, EagerValue):
        value.leaf = (lambda: tensor) if kept else weakref.ref(tensor)
    else:
        assert ambient.trace is not None
        ambient.trace.leaves[value] = tensor


def owner_of(value: Value) -> Tensor | None:
    """The tensor that takes the gradient of `value`: a leaf, or a watched one."""
    if isinstance(value, EagerValue):
        return None if value.leaf is None else value.leaf()
    assert ambient.trace is not None
    return ambient.trace.leaves.get(value)
