"""Attributes of modules: parameters, buffers and submodules lie in tables of their own.

Writes move the epoch and are noted by a trace, which can undo them; reads during a trace are noted,
since its program depends on them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from ..context import ambient
from ..epoch import epoch
from ..errors import ArgumentError, DTypeError
from ..tensor import Tensor
from .parameter import Buffer, Parameter

if TYPE_CHECKING:
    from .module import Module

_TABLES = ("_parameters", "_buffers", "_modules")
HOOKS = (
    "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks",
    "_state_hooks", "_state_pre_hooks", "_load_pre_hooks", "_load_post_hooks",
)  # fmt: skip


class Hook(NamedTuple):
    """A registered function and how it is called."""

    function: Callable[..., Any]
    with_kwargs: bool = False
    always_call: bool = False


class Handle:
    """Of a registered hook; `remove()` takes it away again."""

    def __init__(self, hooks: dict[int, Any]) -> None:
        self._hooks = hooks
        self.key = max(hooks, default=-1) + 1

    def remove(self) -> None:
        self._hooks.pop(self.key, None)
        epoch.count += 1


class Attributes:
    """What `Module` is as an object: its tables, and how names find them."""

    reports_reads = True  # to the trace: attributes need no other guard
    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _not_saved: set[str]
    _forward_hooks: dict[int, Hook]
    _forward_pre_hooks: dict[int, Hook]
    _backward_hooks: dict[int, Hook]
    _backward_pre_hooks: dict[int, Hook]
    _state_hooks: dict[int, Hook]
    _state_pre_hooks: dict[int, Hook]
    _load_pre_hooks: dict[int, Hook]
    _load_post_hooks: dict[int, Hook]

    def __init__(self) -> None:
        put = object.__setattr__
        put(self, "training", True)
        for table in _TABLES:
            put(self, table, {})
        put(self, "_not_saved", set())
        for hooks in HOOKS:
            put(self, hooks, {})

    def __getattribute__(self, name: str) -> Any:
        value = object.__getattribute__(self, name)
        if ambient.trace is not None and name in object.__getattribute__(self, "__dict__"):
            ambient.trace.record_read("attribute", self, name, value)
        return value

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__
        for table in _TABLES:
            if table in own and name in own[table]:
                value = own[table][name]
                if ambient.trace is not None:
                    ambient.trace.record_read("attribute", self, name, value)
                return value
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(getattr(type(self), name, None), property):
            object.__setattr__(self, name, value)
            return
        table = self._table_for(name, value)
        if table is None:
            _note(self, self.__dict__, name)
            object.__setattr__(self, name, value)
            return
        for other in (self.__dict__, *(self.__dict__[t] for t in _TABLES)):
            if other is not table and name in other:
                _drop(self, other, name)
        if isinstance(value, Buffer) and not value.persistent:
            self.__dict__["_not_saved"].add(name)
        _put(self, table, name, value)

    def _table_for(self, name: str, value: Any) -> dict[str, Any] | None:
        """Where an attribute of this value belongs; None for an ordinary one.

        Raises:
            ArgumentError: `super().__init__()` was not called yet.
            DTypeError: a parameter, buffer or module would be replaced by something else.
        """
        own = self.__dict__
        kinds = {Parameter: "_parameters", Buffer: "_buffers", Attributes: "_modules"}
        for kind, key in kinds.items():
            if isinstance(value, kind):
                if key not in own:
                    raise ArgumentError(
                        f"{type(self).__name__}.{name} is set before super().__init__() was called"
                    )
                return own[key]
        for key in _TABLES:
            if key not in own or name not in own[key]:
                continue
            if value is not None and not (key == "_buffers" and isinstance(value, Tensor)):
                raise DTypeError(
                    f"{type(self).__name__}.{name} is registered in {key[1:]}; a "
                    f"{type(value).__name__} cannot replace it",
                    hint="delete the attribute first",
                )
            return own[key]
        return None

    def __delattr__(self, name: str) -> None:
        for key in _TABLES:
            if name in self.__dict__[key]:
                _drop(self, self.__dict__[key], name)
                self.__dict__["_not_saved"].discard(name)
                return
        _note(self, self.__dict__, name)
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        names = [name for key in _TABLES for name in self.__dict__[key]]
        return sorted({*object.__dir__(self), *names})

    # Registering

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter, or None for one that is left out."""
        self._check_name(name, "_parameters")
        if param is not None and not isinstance(param, Parameter):
            raise DTypeError(f"parameter {name!r} is a {type(param).__name__}, not a Parameter")
        _put(self, self._parameters, name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is state but no parameter; not saved unless `persistent`."""
        self._check_name(name, "_buffers")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise DTypeError(f"buffer {name!r} is a {type(tensor).__name__}, not a Tensor")
        if persistent:
            self._not_saved.discard(name)
        else:
            self._not_saved.add(name)
        _put(self, self._buffers, name, tensor)

    def register_module(self, name: str, module: Module | None) -> None:
        """Add a submodule."""
        self._check_name(name, "_modules")
        if module is not None and not isinstance(module, Attributes):
            raise DTypeError(f"{name!r} is a {type(module).__name__}, not a Module")
        _put(self, self._modules, name, module)

    add_module = register_module

    def _check_name(self, name: str, table: str) -> None:
        if table not in self.__dict__:
            raise ArgumentError(f"{name!r} is registered before super().__init__() was called")
        if not isinstance(name, str) or not name or "." in name:
            raise ArgumentError(f"{name!r} cannot be the name of a parameter, buffer or module")
        if name not in self.__dict__[table] and hasattr(self, name):
            raise ArgumentError(f"{type(self).__name__} has an attribute {name!r} already")

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False,
        always_call: bool = False,
    ) -> Handle:  # fmt: skip
        """Call `hook(module, args, output)` after `forward`; a result replaces the output.

        Args:
            prepend: before the hooks there are.
            with_kwargs: as `hook(module, args, kwargs, output)`.
            always_call: with the output None, too, where `forward` raises an error.
        """
        made = Hook(hook, with_kwargs, always_call)
        return _hooked(self._forward_hooks, made, prepend)

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> Handle:
        """Call `hook(module, args)` before `forward`; a result replaces the arguments.

        Args:
            prepend: before the hooks there are.
            with_kwargs: as `hook(module, args, kwargs)`; the result is both.
        """
        return _hooked(self._forward_pre_hooks, Hook(hook, with_kwargs), prepend)

    def register_full_backward_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> Handle:
        """Call `hook(module, grad_input, grad_output)` when the gradients of the arguments (by
        position, None where there is none) are known; a result replaces `grad_input`."""
        return _hooked(self._backward_hooks, Hook(hook), prepend)

    def register_full_backward_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> Handle:
        """Call `hook(module, grad_output)` when the gradients of the results are known, before
        those in the module are computed; a result replaces them."""
        return _hooked(self._backward_pre_hooks, Hook(hook), prepend)

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call `hook(module, prefix, keep_vars)` before `state_dict()` reads this module."""
        return _hooked(self._state_pre_hooks, Hook(hook), False)

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call `hook(module, state_dict, prefix, local_metadata)` when `state_dict()` has read this
        module and those below; it changes `state_dict` in place. `local_metadata` is empty."""
        return _hooked(self._state_hooks, Hook(hook), False)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call `hook(module, state_dict, prefix, local_metadata, strict, missing_keys,
        unexpected_keys, error_msgs)` before `load_state_dict()` looks at what there is; it may
        change `state_dict`, a copy, and add to the three lists."""
        return _hooked(self._load_pre_hooks, Hook(hook), False)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call `hook(module, incompatible_keys)` when `load_state_dict()` has written; with
        `strict`, only names that are in the two lists afterwards are errors."""
        return _hooked(self._load_post_hooks, Hook(hook), False)


def _note(owner: Any, table: dict[str, Any], name: str) -> None:
    """Before an attribute, which lies in `table`, is set or deleted."""
    epoch.count += 1
    if ambient.trace is not None:
        ambient.trace.record_attribute_write(owner, name, table)


def _put(owner: Any, table: dict[str, Any], name: str, value: Any) -> None:
    _note(owner, table, name)
    if isinstance(value, Tensor):
        value.storage.is_constant = False  # it lies where it was put
    table[name] = value


def _drop(owner: Any, table: dict[str, Any], name: str) -> None:
    _note(owner, table, name)
    del table[name]


def _hooked(hooks: dict[int, Hook], hook: Hook, prepend: bool) -> Handle:
    handle = Handle(hooks)
    others = dict(hooks) if prepend else {}
    if prepend:
        hooks.clear()
    hooks[handle.key] = hook
    hooks.update(others)
    epoch.count += 1
    return handle
