"""Parameters that are computed from others each time they are read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ...context import ambient, setting
from ...epoch import epoch
from ...errors import ArgumentError, DTypeError, ShapeError
from ...tensor import Tensor
from ..container import ModuleDict, ModuleList
from ..module import Module
from ..parameter import Buffer, Parameter


class ParametrizationList(ModuleList):
    """The functions (modules) that a tensor goes through, and what they begin with.

    Attributes:
        original: the parameter (or buffer) that is trained and saved; `original0`, `original1` ...
            where the function takes several.
        is_tensor: whether there is one.
    """

    def __init__(self, modules: list[Module], original: Tensor, unsafe: bool = False) -> None:
        super().__init__(modules)
        self.unsafe = unsafe
        found = _inverted(modules, original)
        self.is_tensor = isinstance(found, Tensor)
        kind: Any = Parameter if isinstance(original, Parameter) else Buffer
        if isinstance(found, Tensor):
            if found.shape != original.shape or found.dtype is not original.dtype:
                if not unsafe:
                    raise ShapeError(f"right_inverse() gave {found.spec} of {original.spec}")
            self.original = original if found is original else _registered(kind, found, original)
            return
        self.count = len(found)
        for number, part in enumerate(found):
            setattr(self, f"original{number}", _registered(kind, part, original))

    def originals(self) -> list[Tensor]:
        """What is trained and saved."""
        if self.is_tensor:
            return [self.original]
        return [getattr(self, f"original{k}") for k in range(self.count)]

    def right_inverse(self, value: Tensor) -> None:
        """Set what is trained so that the functions give `value`."""
        with setting(grad_enabled=False):
            found = _inverted(list(self), value)
            parts = [found] if isinstance(found, Tensor) else list(found)
            for original, part in zip(self.originals(), parts, strict=True):
                original.copy_(part)

    def forward(self) -> Tensor:
        """The parametrized tensor."""
        first, *rest = self
        value = first(*self.originals())
        for function in rest:
            value = function(value)
        return value


def _registered(kind: Any, part: Tensor, original: Tensor) -> Tensor:
    made = kind(part.detach().clone())
    if isinstance(made, Parameter):
        made.requires_grad_(original.requires_grad)
    return made


def _inverted(functions: list[Module], value: Any) -> Any:
    """What the functions make `value` of, by their `right_inverse`, where they have one."""
    with setting(grad_enabled=False):
        for function in reversed(functions):
            inverse = getattr(function, "right_inverse", None)
            if inverse is None:
                continue
            value = inverse(value)
            if not isinstance(value, (Tensor, tuple, list)):
                raise DTypeError(f"right_inverse() gave a {type(value).__name__}, no tensor")
    return value


# Attributes that are computed


class Source:
    """What an attribute is computed from."""

    def read(self, module: Any) -> Tensor:
        """The value of the attribute."""
        raise NotImplementedError

    def write(self, module: Any, value: Any) -> None:
        """Let the attribute be `value` from now on."""
        raise NotImplementedError


def computed(module: Module, name: str, source: Source, prefix: str = "") -> None:
    """Let `module.name` be what `source.read(module)` gives, and `module.name = x` call
    `source.write`. The module gets a class of its own for that, whose name begins with `prefix`."""
    sources = {**getattr(type(module), "_sources", {}), name: source}
    _with_sources(module, sources, prefix)


def plain(module: Module, name: str) -> None:
    """Undo `computed`."""
    own: Any = type(module)
    sources = {key: value for key, value in own._sources.items() if key != name}
    _with_sources(module, sources, own._prefix)


def _with_sources(module: Module, sources: dict[str, Source], prefix: str) -> None:
    # Copies of a module share its class, so that classes never change.
    base: Any = type_before_parametrizations(module)
    own = base
    if sources:
        properties = {name: property(each.read, each.write) for name, each in sources.items()}
        known = {"_computed": base, "_sources": sources, "_prefix": prefix, "__reduce__": _reduced}
        named = {"__module__": base.__module__, "__doc__": base.__doc__}
        own = type(f"{prefix}{base.__name__}", (base,), {**properties, **known, **named})
    object.__setattr__(module, "__class__", own)
    epoch.count += 1


def _reduced(self: Any) -> tuple[Any, ...]:
    """What pickles and copies keep: no name leads to the class, so it is made again."""
    own = type(self)
    return _rebuilt, (own._computed, own._sources, own._prefix), self.__getstate__()


def _rebuilt(base: type[Module], sources: dict[str, Source], prefix: str) -> Module:
    module = base.__new__(base)
    _with_sources(module, sources, prefix)
    return module


def type_before_parametrizations(module: Module) -> type:
    """The class that the module had at first."""
    return getattr(type(module), "_computed", type(module))


class _Parametrized(Source):
    """An attribute that is what its parametrizations make."""

    def __init__(self, name: str) -> None:
        self.name = name

    def read(self, module: Any) -> Tensor:
        functions: ParametrizationList = module.parametrizations[self.name]
        if _cache is None or ambient.trace is not None:  # programs merge equal computations
            return functions()
        key = (id(module), self.name)
        if key not in _cache:
            _cache[key] = functions()
        return _cache[key]

    def write(self, module: Any, value: Any) -> None:
        module.parametrizations[self.name].right_inverse(value)


_cache: dict[tuple[int, str], Tensor] | None = None


@contextmanager
def cached() -> Iterator[None]:
    """In this context a parametrized tensor is computed once, when it is first read."""
    global _cache
    before, _cache = _cache, {} if _cache is None else _cache
    try:
        yield
    finally:
        _cache = before


# Registering


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Let `module.tensor_name` be what `parametrization` makes of a parameter (or buffer) that is
    kept as `module.parametrizations.tensor_name.original`. Several follow each other.

    Where the parametrization has a `right_inverse`, the tensor keeps its value, and a write
    `module.tensor_name = x` goes through it.

    Raises:
        ArgumentError: the module has no such parameter or buffer.
        ShapeError: shape or dtype change (and not `unsafe`).
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        functions = _of(module, tensor_name)
        before = getattr(module, tensor_name)
        functions.append(parametrization)
        if hasattr(parametrization, "right_inverse"):
            functions.right_inverse(before)
        _check(module, tensor_name, before.detach(), unsafe)
        return module
    table = next((t for t in (module._parameters, module._buffers) if tensor_name in t), None)
    original = None if table is None else table[tensor_name]
    if original is None:
        raise ArgumentError(
            f"{type(module).__name__} has no parameter or buffer {tensor_name!r} to parametrize"
        )
    functions = ParametrizationList([parametrization], original, unsafe)
    delattr(module, tensor_name)
    if "parametrizations" not in module._modules:
        module.parametrizations = ModuleDict()
    module.parametrizations[tensor_name] = functions
    computed(module, tensor_name, _Parametrized(tensor_name), "Parametrized")
    _check(module, tensor_name, original.detach(), unsafe)
    return module


def _of(module: Module, name: str) -> ParametrizationList:
    return module.parametrizations[name]


def _check(module: Module, name: str, before: Tensor, unsafe: bool) -> None:
    if unsafe:
        return
    with setting(grad_enabled=False):
        after = getattr(module, name)
    if after.shape != before.shape or after.dtype is not before.dtype:
        raise ShapeError(
            f"the parametrization of {name!r} makes {after.spec} of {before.spec}",
            hint="give unsafe=True if that is meant",
        )


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether the module (or this tensor of it) has parametrizations."""
    found = module._modules.get("parametrizations")
    if not isinstance(found, ModuleDict):
        return False
    return len(found) > 0 if tensor_name is None else tensor_name in found


def remove_parametrizations(
    module: Module, tensor_name: str, leave_parametrized: bool = True
) -> Module:
    """Make the tensor an ordinary parameter (or buffer) again: with the value that it has now, or
    (`leave_parametrized=False`) with what it was made of.

    Raises:
        ArgumentError: it is not parametrized, or was made of several tensors.
    """
    if not is_parametrized(module, tensor_name):
        raise ArgumentError(f"{type(module).__name__}.{tensor_name} is not parametrized")
    functions = _of(module, tensor_name)
    if not leave_parametrized and not functions.is_tensor:
        raise ArgumentError(f"{tensor_name!r} is made of several tensors",
                            hint="give leave_parametrized=True")  # fmt: skip
    first = functions.originals()[0]
    with setting(grad_enabled=False):
        value = getattr(module, tensor_name).detach().clone() if leave_parametrized else first
    if functions.is_tensor and leave_parametrized:
        first.data = value
        value = first
    del module.parametrizations[tensor_name]
    plain(module, tensor_name)
    if not len(module.parametrizations):
        del module.parametrizations
    if isinstance(first, Parameter):
        kept = value if isinstance(value, Parameter) else Parameter(value)
        module.register_parameter(tensor_name, kept)
    else:
        module.register_buffer(tensor_name, value)
    return module


__all__ = [
    "ParametrizationList",
    "cached",
    "is_parametrized",
    "register_parametrization",
    "remove_parametrizations",
    "type_before_parametrizations",
]
