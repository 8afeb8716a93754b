"""`Module`: the base of layers and models, and what is done to all parts of one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...ir.dtypes import DType
from ..context import ambient, setting
from ..device import CPU, Device, resolved
from ..epoch import epoch
from ..errors import DTypeError
from ..tensor import Tensor
from .attributes import Attributes, Handle
from .hooks import call
from .loading import EXTRA_STATE, IncompatibleKeys, load_state_dict, saved_tensors
from .parameter import Parameter


class Module(Attributes):
    """Base of all layers and models. Subclasses call `super().__init__()`, set parameters and
    submodules as attributes, and define `forward`.

    Attributes:
        training: whether `train()` was called last, and not `eval()`.
    """

    _compiled: Callable[..., Any] | None = None  # what a call runs instead, after `compile()`

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; defined by each subclass."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward()")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if ambient.trace is None:
            compiled = object.__getattribute__(self, "_compiled")
            if compiled is not None:
                return compiled(*args, **kwargs)
        return self._call(*args, **kwargs)

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        # Only a trace is told of reads.
        get = object.__getattribute__ if ambient.trace is None else getattr
        if not (
            get(self, "_forward_hooks")
            or get(self, "_forward_pre_hooks")
            or get(self, "_backward_hooks")
            or get(self, "_backward_pre_hooks")
        ):
            return self.forward(*args, **kwargs)
        return call(self, args, kwargs)

    def compile(self, *, dynamic: Any = None, tune: bool | None = None) -> None:
        """From now on, a call of this module runs as one compiled program, as that of
        `sley.compile(module)` does; the module stays the same object. Copies and pickles of it are
        not compiled."""
        from ..compile.function import CompiledFunction

        made = CompiledFunction(self._call, dynamic, tune)
        made.__name__ = type(self).__name__
        object.__setattr__(self, "_compiled", made)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_compiled"}

    # Walking

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below it, with their dotted names; each once."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in list(self._modules.items()):
            if module is not None:
                below = f"{prefix}.{name}" if prefix else name
                yield from module.named_modules(memo, below, remove_duplicate)

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """This module and all below it, each once unless `remove_duplicate` is False."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The submodules directly in this one, with their names; each once."""
        seen: set[Module] = set()
        for name, module in list(self._modules.items()):
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator[Module]:
        """The submodules directly in this one, each once."""
        for _, module in self.named_children():
            yield module

    def _named(
        self, table: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        modules = (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
            if recurse
            else [(prefix, self)]
        )
        seen: set[int] = set()
        for path, module in modules:
            for name, value in list(getattr(module, table).items()):
                if value is None or (remove_duplicate and id(value) in seen):
                    continue
                seen.add(id(value))
                yield (f"{path}.{name}" if path else name), value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """All parameters with their dotted names; each once."""
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, each once."""
        for _, value in self.named_parameters(recurse=recurse):
            yield value

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """All buffers with their dotted names; each once."""
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers, each once."""
        for _, value in self.named_buffers(recurse=recurse):
            yield value

    def get_submodule(self, target: str) -> Module:
        """The module with a dotted name; "" is this one.

        Raises:
            AttributeError: there is none.
        """
        module: Any = self
        for name in target.split(".") if target else ():
            module = getattr(module, name)
            if not isinstance(module, Module):
                raise AttributeError(f"{name!r} of {target!r} is no Module")
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put a module in the place of a dotted name; with `strict` there must be one already.

        Raises:
            AttributeError: there is no module above it, or none at all with `strict`.
        """
        path, _, name = target.rpartition(".")
        owner = self.get_submodule(path)
        if not name or (strict and name not in owner._modules):
            raise AttributeError(f"{type(owner).__name__} has no module {name!r}")
        setattr(owner, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter with a dotted name.

        Raises:
            AttributeError: there is none.
        """
        return self._held("_parameters", target)  # type: ignore[return-value]

    def get_buffer(self, target: str) -> Tensor:
        """The buffer with a dotted name.

        Raises:
            AttributeError: there is none.
        """
        return self._held("_buffers", target)

    def _held(self, kind: str, target: str) -> Tensor:
        path, _, name = target.rpartition(".")
        owner = self.get_submodule(path)
        found = getattr(owner, kind).get(name)
        if found is None:
            raise AttributeError(
                f"{type(owner).__name__} has no {kind[1:-1]} {name!r}, only "
                f"{sorted(getattr(owner, kind))}"
            )
        return found

    # What is done to all

    def apply(self, fn: Callable[[Module], Any]) -> Module:
        """Call `fn` with every module below this one, then with this one."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def train(self, mode: bool = True) -> Module:
        """Set `training` here and below."""
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self) -> Module:
        """`train(False)`."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Ask for gradients of all parameters, or no longer."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        epoch.count += 1
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or fill them with 0."""
        for parameter in self.parameters():
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                with setting(grad_enabled=False):
                    parameter.grad.zero_()

    def to(self, *args: Any, **kwargs: Any) -> Module:
        """Floating point parameters and buffers as another dtype, all of them on another device, in
        place.

        Raises:
            ArgumentError: there is no such device.
            DTypeError: the dtype is one of integers.
        """
        dtype, device = kwargs.get("dtype"), kwargs.get("device")
        for arg in args:
            if isinstance(arg, DType):
                dtype = arg
            elif isinstance(arg, Tensor):
                dtype, device = arg.dtype, arg.device
            elif not isinstance(arg, bool):
                device = arg
        if dtype is not None and not dtype.is_inexact:
            raise DTypeError(f"a module's dtype is floating point or complex, not {dtype.public}")
        if dtype is not None or device is not None:
            self._convert(dtype, None if device is None else resolved(device))
        return self

    def _convert(self, dtype: DType | None, device: Device | None) -> None:
        with setting(grad_enabled=False):
            for tensor in self._tensors():
                kind = dtype
                if not tensor.dtype.is_inexact or (
                    # An imaginary part would be lost.
                    tensor.dtype.is_complex and dtype is not None and not dtype.is_complex
                ):
                    kind = None
                if kind in (None, tensor.dtype) and device in (None, tensor.device):
                    continue
                # Memory for all before the old is given up: an error leaves this tensor as it was.
                new = tensor.detach().to(device, dtype=kind)
                grad = None if tensor.grad is None else tensor.grad.to(device, dtype=kind)
                tensor.data, tensor.grad = new, grad
        epoch.count += 1

    def _tensors(self) -> Iterator[Tensor]:
        """All parameters and buffers, those of the modules inside too."""
        for module in self.modules():
            for table in (module._parameters, module._buffers):
                yield from (tensor for tensor in table.values() if tensor is not None)

    def float(self) -> Module:
        """All floating point parameters and buffers as float32."""
        return self._with_dtype("float32")

    def double(self) -> Module:
        """All floating point parameters and buffers as float64."""
        return self._with_dtype("float64")

    def half(self) -> Module:
        """All floating point parameters and buffers as float16."""
        return self._with_dtype("float16")

    def bfloat16(self) -> Module:
        """All floating point parameters and buffers as bfloat16."""
        return self._with_dtype("bfloat16")

    def _with_dtype(self, name: str) -> Module:
        from ..functions.conversion import to_dtype

        return self.to(to_dtype(name))

    def cpu(self) -> Module:
        """The module in the processor's memory."""
        return self.to(CPU)

    def cuda(self, device: Any = None) -> Module:
        """The module in a GPU's memory.

        Raises:
            ArgumentError: there is none.
        """
        return self.to(resolved("cuda" if device is None else device))

    def to_empty(self, *, device: Any, recurse: bool = True) -> Module:
        """The module on a device; what its tensors hold may be anything."""
        return self.to(resolved(device))

    def type(self, dst_type: Any) -> Module:
        """All floating point parameters and buffers in another dtype, in place."""
        return self.to(dst_type)

    # Saving

    def state_dict(
        self, destination: dict[str, Any] | None = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Any]:
        """Parameters and persistent buffers by their dotted names, detached unless `keep_vars`, and
        extra state."""
        found: dict[str, Any] = OrderedDict() if destination is None else destination
        for pre_hook in list(self._state_pre_hooks.values()):
            pre_hook.function(self, prefix, keep_vars)
        for name, value in saved_tensors(self):
            found[prefix + name] = value if keep_vars else value.detach()
        if type(self).get_extra_state is not Module.get_extra_state:
            found[prefix + EXTRA_STATE] = self.get_extra_state()
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(destination=found, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for hook in list(self._state_hooks.values()):
            hook.function(self, found, prefix, {})
        return found

    def get_extra_state(self) -> Any:
        """What else `state_dict()` is to have of this module; defined, with `set_extra_state`, by
        subclasses that keep state outside of parameters and buffers."""
        raise NotImplementedError(f"{type(self).__name__} does not define get_extra_state()")

    def set_extra_state(self, state: Any) -> None:
        """Take what `get_extra_state` gave."""
        raise NotImplementedError(f"{type(self).__name__} does not define set_extra_state()")

    def load_state_dict(
        self, state_dict: Any, strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Write what `state_dict` (or the file of that path) holds into parameters and buffers, in
        place; with `assign` they take over its memory and dtype.

        Raises:
            LoadError: `strict` and names are missing or unexpected, or a shape differs; nothing
                has been written then, or what was written has been put back.
        """
        return load_state_dict(self, state_dict, strict, assign)

    def _before_load(self, state_dict: Mapping[str, Any], prefix: str) -> None:
        """Make ready for a state that fits, whose names for this module begin with `prefix`."""

    # Text

    def extra_repr(self) -> str:
        """What stands in the parentheses of the repr."""
        return ""

    def __repr__(self) -> str:
        parts = []
        for name, module in self._modules.items():
            text = repr(module).replace("\n", "\n  ")
            parts.append(f"  ({name}): {text}")
        extra = self.extra_repr()
        if not parts:
            return f"{type(self).__name__}({extra})"
        lines = [f"  {extra}"] if extra else []
        return "\n".join([f"{type(self).__name__}(", *lines, *parts, ")"])


__all__ = ["Handle", "IncompatibleKeys", "Module"]
