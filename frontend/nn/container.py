"""Modules that hold others."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..errors import ArgumentError
from ..tensor import Tensor
from .module import Module
from .parameter import Parameter


def _position(index: int, length: int) -> str:
    """The name of element number `index`.

    Raises:
        IndexError: it is out of range.
    """
    if not -length <= index < length:
        raise IndexError(f"index {index} of {length} elements")
    return str(index % length)


class _Listed(Module):
    """Submodules named "0", "1", ..."""

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._modules.values()))

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return type(self)._of(list(self)[index])
        return self._modules[_position(index, len(self))]

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, _position(index, len(self)), module)

    def __delitem__(self, index: int | slice) -> None:
        kept = list(self)
        del kept[index]
        self._fill(kept)

    def append(self, module: Module) -> Any:
        """Add a module at the end."""
        self.register_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Any:
        """Add modules at the end."""
        for module in modules:
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Any:
        """Add a module before element number `index`."""
        kept = list(self)
        kept.insert(index, module)
        self._fill(kept)
        return self

    def pop(self, key: int | slice) -> Any:
        """Take a module (or several) away, and return it."""
        found = self[key]
        del self[key]
        return found

    def _fill(self, modules: Iterable[Module]) -> None:
        given = list(modules)
        for name in list(self._modules):
            delattr(self, name)
        self.extend(given)

    @classmethod
    def _of(cls, modules: Iterable[Module]) -> Any:
        raise NotImplementedError


class Sequential(_Listed):
    """Modules called one after the other: `Sequential(a, b)(x)` is `b(a(x))`. Also takes an
    (ordered) dict of names and modules."""

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self.register_module(name, module)
        else:
            self.extend(modules)

    def forward(self, input: Any) -> Any:
        for module in self:
            input = module(input)
        return input

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return Sequential(dict(list(self._modules.items())[index]))
        name = list(self._modules)[int(_position(index, len(self)))]
        return self._modules[name]

    @classmethod
    def _of(cls, modules: Iterable[Module]) -> Sequential:
        return cls(*modules)


class ModuleList(_Listed):
    """A list of modules, whose parameters are found."""

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(modules or ())

    @classmethod
    def _of(cls, modules: Iterable[Module]) -> ModuleList:
        return cls(modules)

    def __repr__(self) -> str:
        """Neighbours that read alike are told once: "(0-5): 6 x Layer(...)"."""
        runs: list[tuple[int, int, str]] = []
        for number, text in enumerate(map(repr, self)):
            if runs and runs[-1][2] == text:
                runs[-1] = (runs[-1][0], number, text)
            else:
                runs.append((number, number, text))
        if not runs:
            return "ModuleList()"
        lines = []
        for first, last, text in runs:
            count = last - first + 1
            name = f"({first})" if count == 1 else f"({first}-{last}): {count} x"
            text = text.replace("\n", "\n  ")
            lines.append(f"  {name}{':' if count == 1 else ''} {text}")
        return "\n".join(["ModuleList(", *lines, ")"])


class ModuleDict(Module):
    """A dict of modules, whose parameters are found."""

    def __init__(self, modules: Any = None) -> None:
        super().__init__()
        self.update(modules or ())

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._modules))

    def __contains__(self, name: object) -> bool:
        return name in self._modules

    def __getitem__(self, name: str) -> Any:
        return self._modules[name]

    def __setitem__(self, name: str, module: Module) -> None:
        self.register_module(name, module)

    def __delitem__(self, name: str) -> None:
        if name not in self._modules:
            raise KeyError(name)
        delattr(self, name)

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._modules.keys()

    def values(self) -> Iterable[Any]:
        """The modules."""
        return self._modules.values()

    def items(self) -> Iterable[tuple[str, Any]]:
        """Names and modules."""
        return self._modules.items()

    def pop(self, name: str) -> Any:
        """Remove and return a module."""
        module = self[name]
        del self[name]
        return module

    def clear(self) -> None:
        """Remove all."""
        for name in list(self):
            del self[name]

    def update(self, modules: Any) -> None:
        """Add the modules of a dict, or of pairs of name and module."""
        pairs = modules.items() if isinstance(modules, (Mapping, ModuleDict)) else modules
        for name, module in pairs:
            self[name] = module


def _as_parameter(value: Any) -> Any:
    return Parameter(value) if type(value) is Tensor else value


class ParameterList(Module):
    """A list of parameters, which are found as those of a module."""

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self.extend(values or ())

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._parameters.values()))

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return ParameterList(list(self)[index])
        return self._parameters[_position(index, len(self))]

    def __setitem__(self, index: int, value: Any) -> None:
        setattr(self, _position(index, len(self)), _as_parameter(value))

    def append(self, value: Any) -> ParameterList:
        """Add a parameter (or a tensor that becomes one) at the end."""
        self.register_parameter(str(len(self)), _as_parameter(value))
        return self

    def extend(self, values: Iterable[Any]) -> ParameterList:
        """Add parameters at the end."""
        for value in values:
            self.append(value)
        return self

    def __repr__(self) -> str:
        return _listing("ParameterList", self._parameters)


class ParameterDict(Module):
    """A dict of parameters, which are found as those of a module."""

    def __init__(self, parameters: Any = None) -> None:
        super().__init__()
        self.update(parameters or ())

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._parameters))

    def __contains__(self, name: object) -> bool:
        return name in self._parameters

    def __getitem__(self, name: str) -> Any:
        return self._parameters[name]

    def __setitem__(self, name: str, value: Any) -> None:
        if name in self._parameters:
            setattr(self, name, _as_parameter(value))
        else:
            self.register_parameter(name, _as_parameter(value))

    def __delitem__(self, name: str) -> None:
        if name not in self._parameters:
            raise KeyError(name)
        delattr(self, name)

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._parameters.keys()

    def values(self) -> Iterable[Any]:
        """The parameters."""
        return self._parameters.values()

    def items(self) -> Iterable[tuple[str, Any]]:
        """Names and parameters."""
        return self._parameters.items()

    def get(self, key: str, default: Any = None) -> Any:
        """The parameter of a name, or `default` where there is none."""
        return self._parameters.get(key, default)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """The parameter of a name, which is `default` from now on where there is none."""
        if key not in self:
            self[key] = default
        return self[key]

    def pop(self, key: str) -> Any:
        """Take a parameter away, and return it."""
        found = self[key]
        del self[key]
        return found

    def popitem(self) -> tuple[str, Any]:
        """Take the last name and parameter away, and return them.

        Raises:
            KeyError: there are none.
        """
        if not len(self):
            raise KeyError("the ParameterDict is empty")
        name = list(self)[-1]
        return name, self.pop(name)

    def clear(self) -> None:
        """Take all parameters away."""
        for name in self:
            del self[name]

    def copy(self) -> ParameterDict:
        """Another dict of the same parameters."""
        return ParameterDict(self.items())

    def fromkeys(self, keys: Iterable[str], default: Any = None) -> ParameterDict:
        """A dict of these names, all with the parameter `default`."""
        return ParameterDict((key, default) for key in keys)

    def __reversed__(self) -> Iterator[str]:
        return reversed(list(self))

    def __or__(self, other: Any) -> ParameterDict:
        return ParameterDict({**dict(self.items()), **dict(other.items())}.items())

    def __ior__(self, other: Any) -> ParameterDict:
        self.update(other)
        return self

    def update(self, values: Any) -> None:
        """Add the parameters of a dict, by name, or of pairs of name and parameter, as they come;
        an OrderedDict and another ParameterDict keep their order."""
        pairs = values.items() if isinstance(values, (Mapping, ParameterDict)) else values
        if isinstance(values, Mapping) and not isinstance(values, OrderedDict):
            pairs = sorted(pairs)
        for name, value in pairs:
            if not isinstance(value, (Tensor, type(None))):
                raise ArgumentError(f"{name!r} is a {type(value).__name__}, not a tensor")
            self[name] = value

    def __repr__(self) -> str:
        return _listing("ParameterDict", self._parameters)


def _listing(name: str, parameters: Mapping[str, Any]) -> str:
    """The names and types of parameters, one a line."""
    lines = [f"  ({key}): {'None' if p is None else p.spec}" for key, p in parameters.items()]
    return "\n".join([f"{name}(", *lines, ")"]) if lines else f"{name}()"


__all__ = ["ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"]
