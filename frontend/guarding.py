"""The border between the user's code and the public functions: what fails inside of one because of
its arguments is told as such.

A function that is made for tensors need not ask each argument what it is. Where an AttributeError
or the like comes out of it, and no code of the user ran in between, `explained` looks at the
arguments: it names the one that is not of the annotated kind, or else lists all of them.
"""

from __future__ import annotations

import dis
import functools
import inspect
import os
import re
from collections.abc import Callable, Sequence
from types import FunctionType, ModuleType, TracebackType
from typing import Any, TypeVar

import numpy as np

from ..ir.dtypes import DType
from .errors import (
    ArgumentError,
    DTypeError,
    IndexingError,
    LinAlgError,
    SleyError,
    caller_is_user,
    is_user_code,
)
from .symint import SymInt
from .tensor import Tensor

F = TypeVar("F", bound=Callable[..., Any])

# What Python and numpy raise where an argument is not what an expression needs.
_FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    TypeError,
    UnboundLocalError,
    ValueError,
)
_NUMBERS = (int, SymInt, np.integer, np.bool_)
_SEQUENCES = (list, tuple, range, np.ndarray)
# By the head of an annotation: the classes of what may be given. Others are not judged.
_KINDS: dict[str, tuple[type, ...]] = {
    "Tensor": (Tensor,),
    "int": (*_NUMBERS, Tensor),
    "float": (*_NUMBERS, float, np.floating, Tensor),
    "bool": (bool, np.bool_, int, Tensor),
    "str": (str,),
    "None": (type(None),),
    "DType": (DType,),
    "dict": (dict,),
    "list": _SEQUENCES,
    "tuple": _SEQUENCES,
    "Sequence": _SEQUENCES,
}
_FUNCTIONS = (FunctionType, type(functools.lru_cache(len)))
_HERE = os.path.dirname(__file__)
_RAISE = dis.opmap["RAISE_VARARGS"]
_OWN = __name__.rpartition(".")[0]  # sley.frontend
_guards: dict[Any, Any] = {}


def guarded(function: F) -> F:
    """`function` for the user's calls: failures inside of it become errors about its arguments.
    The same function gives the same object."""
    known = _guards.get(function)
    if known is not None:
        return known

    inner = _settling(function) if _takes_device(function) else function

    @functools.wraps(function)
    def public(*args: Any, **kwargs: Any) -> Any:
        try:
            return inner(*args, **kwargs)
        except _FAILURES as error:
            if not caller_is_user() or not _is_ours(error) or _is_lookup(function, args, error):
                raise
            raise explained(function, args, kwargs, error) from error

    _guards[function] = _guards[public] = public
    return public  # type: ignore[return-value]


def _takes_device(function: Any) -> bool:
    code = inspect.unwrap(function).__code__
    return "device" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def _settling(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, whose result lies where the user has put it; a function's own constants go where
    its other tensors are."""

    def settling(*args: Any, **kwargs: Any) -> Any:
        made = function(*args, **kwargs)
        if type(made) is Tensor:
            made.storage.is_constant = False
        return made

    return settling


def guard_module(module: ModuleType) -> None:
    """Guard the functions, and the constructors and methods of the classes, that a module of the
    public face gives; so, too, in the modules that it names as its own."""
    for name in getattr(module, "__all__", None) or [n for n in vars(module) if n[0] != "_"]:
        found = getattr(module, name)
        if isinstance(found, ModuleType) and hasattr(module, "__all__") and found is not module:
            guard_module(found)
        if not str(getattr(found, "__module__", None)).startswith(_OWN):
            continue
        if isinstance(found, _FUNCTIONS):
            setattr(module, name, published(found, module.__name__, name))
        elif inspect.isclass(found) and not issubclass(found, (BaseException, Tensor)):
            for kind in found.__mro__:
                if kind.__module__.startswith(_OWN):
                    guard_class(kind)


def guard_class(kind: type) -> None:
    """Guard the constructor and the public methods that a class defines itself."""
    if kind in _guards:
        return
    _guards[kind] = kind
    for name, member in list(vars(kind).items()):
        public = name in ("__init__", "__call__") or not name.startswith("_")
        if not public or not isinstance(member, FunctionType) or member in _guards:
            continue
        if not inspect.isgeneratorfunction(member):
            setattr(kind, name, guarded(member))


def published(function: F, module: str, name: str) -> F:
    """The guarded function, which pickle finds under its public name."""
    made = guarded(function)
    made.__module__, made.__qualname__ = module, name
    return made


def _is_ours(error: BaseException) -> bool:
    """Whether it came from inside of the package without being meant: no error that the frontend
    raises itself (such as the KeyError of a container), and none of a function of the user's that
    was called in between."""
    if isinstance(error, SleyError):
        return False
    step = error.__traceback__
    last: TracebackType | None = None
    while step is not None:
        if is_user_code(step.tb_frame.f_code):
            return False
        last, step = step, step.tb_next
    return last is None or not _raised_by_statement(last)


def _is_lookup(function: Callable[..., Any], args: Sequence[Any], error: BaseException) -> bool:
    """Whether a container, asked for what it does not hold, says so as Python's containers do."""
    if not isinstance(error, LookupError) or "." not in function.__qualname__:
        return False
    return bool(args) and not isinstance(args[0], Tensor) and hasattr(args[0], "__getitem__")


def _raised_by_statement(step: TracebackType) -> bool:
    code = step.tb_frame.f_code
    return code.co_filename.startswith(_HERE) and code.co_code[step.tb_lasti] == _RAISE


def explained(
    function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], error: Exception
) -> SleyError:
    """The error about the arguments of a call that has failed with `error`."""
    name, function, args = _told_name(function, args)
    if isinstance(error, np.linalg.LinAlgError):
        return LinAlgError(f"{name}: {error}")
    signature = inspect.signature(function)
    hint = f"it is called as {name}{_spelled(signature, args)}"
    try:
        given = signature.bind(*args, **kwargs).arguments
    except TypeError:
        # `out=`, `axis=` and the like are taken by decorators and are no parameters.
        given = dict(zip(signature.parameters, args, strict=False)) | kwargs
        if error.__traceback__ is not None and "argument" in str(error):
            return DTypeError(f"{name}() {_plain(error)}", hint=hint)
    for key, value in given.items():
        if key != "self" and key in signature.parameters:
            wrong = _misfit(signature.parameters[key], value)
            if wrong is not None:
                return DTypeError(f"{name}: {wrong}", hint=hint)
    listed = ", ".join(f"{k}={_shown(v)}" for k, v in given.items() if k != "self")
    kind: type[SleyError] = ArgumentError
    if isinstance(error, (AttributeError, TypeError)):
        kind = DTypeError
    elif isinstance(error, IndexError):
        kind = IndexingError
    return kind(f"{name} does not take ({listed}): {_plain(error)}", hint=hint)


def _told_name(
    function: Callable[..., Any], args: Sequence[Any]
) -> tuple[str, Callable[..., Any], Sequence[Any]]:
    """What the user called: modules are called by their `forward`, classes by their name."""
    name = function.__name__
    if name == "__call__" and args and hasattr(args[0], "forward"):
        return type(args[0]).__name__, type(args[0]).forward, args
    if name in ("__init__", "__call__") and args:
        return type(args[0]).__name__, function, args
    return name, function, args


def _misfit(parameter: inspect.Parameter, value: Any) -> str | None:
    """What is wrong with `value`, or None where it is of the annotated kind or none is known."""
    values = value if parameter.kind is parameter.VAR_POSITIONAL else [value]
    if parameter.kind is parameter.VAR_KEYWORD or value is parameter.default:
        return None
    kinds = _kinds_of(str(parameter.annotation))
    if kinds is None:
        return None
    for one in values:
        if not isinstance(one, kinds):
            wanted = str(parameter.annotation).replace(" | ", " or ")
            article = "a tensor" if wanted == "Tensor" else wanted
            return f"{parameter.name} is {_shown(one)}, not {article}"
    return None


def _kinds_of(annotation: str) -> tuple[type, ...] | None:
    """The classes that an annotation such as `int | Sequence[int] | None` names; None where one
    part of it is unknown."""
    found: tuple[type, ...] = ()
    for part in re.sub(r"\[.*?\]+", "", annotation).split("|"):
        kinds = _KINDS.get(part.strip())
        if kinds is None:
            return None
        found += kinds
    return found


def _shown(value: Any) -> str:
    """A value as a message has room for: tensors by type, others by kind and, if short, value."""
    if isinstance(value, Tensor):
        return f"a tensor {value.spec}"
    if value is None:
        return "None"
    if isinstance(value, (bool, int, float, complex, str, DType, SymInt)):
        text = repr(value)
        return f"the {type(value).__name__} {text if len(text) < 40 else text[:36] + '...'}"
    if isinstance(value, (list, tuple)) and len(value) <= 4:
        inner = ", ".join(_shown(v) for v in value)
        return f"a {type(value).__name__} of ({inner})"
    return f"a {type(value).__name__}"


def _spelled(signature: inspect.Signature, args: Sequence[Any]) -> str:
    """The signature without `self` and annotations that say nothing."""
    parts = [
        p.replace(annotation=p.empty) if str(p.annotation) == "Any" else p
        for p in signature.parameters.values()
        if p.name != "self"
    ]
    text = str(signature.replace(parameters=parts, return_annotation=signature.empty))
    return text.replace("'", "")


def _plain(error: BaseException) -> str:
    """What Python said, without the name of a method inside."""
    text = str(error) or type(error).__name__
    if isinstance(error, KeyError):
        return f"{text} is not known"
    return re.sub(r"^[\w.<>]+\(\) ", "", text)
