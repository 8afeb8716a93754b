"""What the commands of `sley` do. Each takes the parsed arguments and returns an exit status.

A command imports what it needs when it is called, so that one command does not pay for another.
"""

from __future__ import annotations

import argparse
import inspect
import os
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import SleyError

if TYPE_CHECKING:
    import numpy as np

    from ..ir.graph import Graph, Value
    from ..ir.types import TensorType
    from .compile import Lowered


class UsageError(Exception):
    """The command line asks for what there is not."""


def demo(args: argparse.Namespace) -> int:
    """Train on the digits, eager and compiled, and print the comparison."""
    return _guarded(_demo, args)


def dump(args: argparse.Namespace) -> int:
    """Print the program of `args.target` after every pass, or after `args.after`."""
    return _guarded(_dump, args)


def run(args: argparse.Namespace) -> int:
    """Execute the dumped program `args.program` on given or random inputs."""
    return _guarded(_run, args)


def _guarded(command: Callable[[argparse.Namespace], None], args: argparse.Namespace) -> int:
    """The command's status; what is wrong with the user's input goes to stderr, without frames."""
    from ..ir.evaluate import EvaluationError
    from ..ir.verifier import VerifyError

    try:
        _check_environment()
        command(args)
        sys.stdout.flush()
    except BrokenPipeError:  # `sley dump ... | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (UsageError, SleyError, VerifyError, EvaluationError, OSError) as error:
        print(f"sley: {error}", file=sys.stderr)
        return 1
    return 0


def _check_environment() -> None:
    from ..runtime.config import config

    try:
        config()
    except ValueError as error:
        raise UsageError(str(error)) from None


# Demo --------------------------------------------------------------------------------------------


def _demo(args: argparse.Namespace) -> None:
    from .demo import run_demo

    if args.epochs is not None and args.epochs < 1:
        raise UsageError(f"--epochs {args.epochs}: at least one is needed")
    if args.seed < 0:
        raise UsageError(f"--seed {args.seed}: a seed is not negative")
    run_demo(args.seed, args.epochs, args.dump)


# Dump --------------------------------------------------------------------------------------------


def _dump(args: argparse.Namespace) -> None:
    from .compile import CompiledFunction
    from .compile import compile as compile_function
    from .tensor import of_array

    function = _plain_function(_load_function(args.target))
    types = [_parse_type(text) for text in args.inputs]
    _check_count(function, args.target, types)
    sizes = _example_sizes(types)
    tensors = [of_array(_random(t, sizes, number)) for number, t in enumerate(types)]
    names = _symbolic_axes(function, types)
    if names or not isinstance(function, CompiledFunction):
        plain = inspect.unwrap(function) if isinstance(function, CompiledFunction) else function
        function = compile_function(plain, dynamic=names or None)
    lowered = function.lower(*tensors)
    if args.after is not None or args.level != "tensor":
        print(lowered.text(after=args.after, level=args.level), end="")
    else:
        _print_passes(lowered)


def _print_passes(lowered: Lowered) -> None:
    """The program after each pass; where a pass changed nothing, only that."""
    before = None
    for name in lowered.passes:
        text = lowered.text(after=name)
        if text == before:
            print(f"// ---- after {name}: the same\n")
        else:
            print(f"// ---- after {name}\n{text}")
        before = text


def _load_function(target: str) -> Any:
    """The function that FILE.py:NAME names (NAME may have dots); the file is executed."""
    path, colon, name = target.rpartition(":")
    if not colon or not path.endswith(".py"):
        raise UsageError(f"{target!r} is not FILE.py:FUNCTION")
    found: Any = _load_module(Path(path))
    for number, part in enumerate(name.split(".")):
        if not hasattr(found, part):
            owner = path if number == 0 else f"{part!r} of {target!r}: its owner"
            raise UsageError(f"{owner} has no {part!r}; it has {_callables(found)}")
        found = getattr(found, part)
    if not callable(found):
        raise UsageError(f"{target!r} is a {type(found).__name__}, not a function")
    return found


def _plain_function(found: Any) -> Any:
    """What `found` computes: of a module its `forward`, whose arguments have names."""
    from .compile.module import CompiledModule
    from .nn.module import Module

    if isinstance(found, CompiledModule):
        found = found._orig_mod
    return found.forward if isinstance(found, Module) else found


def _load_module(path: Path) -> Any:
    """What the file defines; it finds its neighbours as when Python runs it."""
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    module = types.ModuleType("__sley_dump__")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    sys.path.insert(0, str(path.resolve().parent))
    exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)  # lines as it was given
    return module


def _callables(owner: Any) -> str:
    names = [k for k, v in vars(owner).items() if callable(v) and not k.startswith("_")]
    return ", ".join(names) or "no functions"


def _check_count(function: Any, target: str, types: list[TensorType]) -> None:
    try:
        signature = inspect.signature(function)
    except ValueError:  # a builtin tells none
        return
    try:
        signature.bind(*types)
    except TypeError as error:
        name = target.rpartition(":")[2]
        raise UsageError(
            f"{name}{signature}: {error}; give one --input TYPE for each argument"
        ) from None


def _parse_type(text: str) -> TensorType:
    """The type that `f32[N, 8]` spells."""
    from ..ir.dims import Dim, symbol
    from ..ir.dtypes import ALL, by_name
    from ..ir.types import tensor_type

    name, bracket, rest = text.partition("[")
    if not bracket or not rest.endswith("]"):
        raise UsageError(f"{text!r} is not a type such as f32[64, 1, 8, 8]")
    try:
        dtype = by_name(name.strip())
    except KeyError:
        known = ", ".join(d.name for d in ALL)
        raise UsageError(f"{name!r} is no element type; there are {known}") from None
    shape: list[Dim] = []
    for part in filter(None, (p.strip() for p in rest[:-1].split(","))):
        if part.isdigit():
            shape.append(int(part))
        elif part.isidentifier():
            shape.append(symbol(part))
        else:
            raise UsageError(f"{part!r} in {text!r} is neither a size nor a name")
    return tensor_type(dtype, tuple(shape))


def _example_sizes(types: list[TensorType]) -> dict[str, int]:
    """A size for each symbol: distinct small numbers above 1."""
    from ..ir.dims import symbols

    names = symbols(dim for t in types for dim in t.shape)
    return {name: 4 + number for number, name in enumerate(names)}


def _symbolic_axes(function: Any, types: list[TensorType]) -> dict[str, dict[int, str]]:
    """What `sley.compile(dynamic=...)` takes for the symbols in the types of the arguments."""
    from ..ir.dims import Expr

    found: dict[str, dict[int, str]] = {}
    for name, t in zip(inspect.signature(function).parameters, types, strict=False):
        axes = {axis: str(d) for axis, d in enumerate(t.shape) if isinstance(d, Expr)}
        if axes:
            found[name] = axes
    return found


def _random(type: TensorType, sizes: dict[str, int], seed: int) -> np.ndarray:
    """Normal floats, or integers 0 and 1, of this type."""
    import numpy as np

    from ..ir.dims import evaluate

    shape = tuple(evaluate(dim, sizes) for dim in type.shape)
    rng = np.random.default_rng(seed)
    if type.dtype.is_floating_point:
        return rng.standard_normal(shape).astype(type.dtype.numpy)
    if type.dtype.is_complex:
        parts = rng.standard_normal((2, *shape))
        return np.asarray(parts[0] + 1j * parts[1]).astype(type.dtype.numpy)
    return np.asarray(rng.integers(0, 2, shape)).astype(type.dtype.numpy)


# Run ---------------------------------------------------------------------------------------------


def _run(args: argparse.Namespace) -> None:
    from ..ir.verifier import verify

    graph = _load_program(Path(args.program))
    verify(graph)
    given = [_load_array(path) for path in args.inputs]
    if len(given) > len(graph.inputs):
        raise UsageError(f"@{graph.name} takes {len(graph.inputs)} inputs, got {len(given)}")
    arrays = _complete(graph.inputs, given, _kept_inputs(Path(args.program)), args.seed)
    results = _execute(graph, arrays)
    for number, (array, type) in enumerate(zip(results, _result_types(graph), strict=True)):
        print(f"result {number}: {type}\n{array}")


def _load_program(path: Path) -> Graph:
    from ..ir.lexer import ParseError
    from ..ir.parser import load

    try:
        text = path.read_text()
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no text") from None
    if text.startswith("plan "):
        raise UsageError(
            f"{path} is a plan of memory, which tells where values lie; the program that it "
            "belongs to is in the file of the pass before"
        )
    try:
        return load(path)
    except ParseError as error:
        raise UsageError(f"{path}:{error}") from None


def _load_array(path: str) -> np.ndarray:
    import numpy as np

    try:
        return np.load(path)
    except ValueError as error:
        raise UsageError(f"{path} is no array of numpy: {error}") from None


def _kept_inputs(program: Path) -> dict[int, np.ndarray]:
    """Inputs that the compiler itself added to a program, by position (`Lowered.write`)."""
    import numpy as np

    beside = Path(f"{program}.inputs.npz")
    if not beside.exists():
        return {}
    with np.load(beside) as file:
        return {int(name): array for name, array in file.items()}


def _complete(
    params: Sequence[Value], given: list[np.ndarray], kept: dict[int, np.ndarray], seed: int
) -> list[np.ndarray]:
    """An array for each parameter: given, kept beside the program, or random."""
    sizes = _example_sizes([p.type for p in params])
    for param, array in zip(params, given, strict=False):
        if len(param.type.shape) == array.ndim:  # what does not fit is told when it is bound
            sizes |= {str(d): n for d, n in zip(param.type.shape, array.shape) if str(d) in sizes}
    arrays = list(given)
    for number, param in enumerate(params[len(given) :], start=len(given)):
        if number in kept:
            arrays.append(kept[number].view(param.type.dtype.numpy))
        else:
            arrays.append(_random(param.type, sizes, seed + number))
    return arrays


def _result_types(graph: Graph) -> list[TensorType]:
    values = graph.yields if graph.level == "tensor" else graph.out_params
    return [v.type for v in values]


def _execute(graph: Graph, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The results of a program of any level: compiled, or for loops by the evaluator."""
    from ..ir.evaluate_kernel import evaluate_kernel
    from ..runtime.compile import compile_graph, compile_launches

    if graph.level == "loop":
        return evaluate_kernel(graph, arrays)
    if graph.level == "kernel":
        graph = _launching(graph)
    if any(node.op.name == "launch" for node in graph.walk()):
        return compile_launches(graph)(arrays)
    return compile_graph(graph)(arrays)


def _launching(kernel: Graph) -> Graph:
    """A program that launches `kernel` alone."""
    from ..ir.builder import Recording
    from ..ir.ops import OPS

    builder = Recording()
    operands = [builder.param(p.type, p.name) for p in kernel.inputs]
    results = builder.emit(OPS["launch"], operands, {"kernel": kernel})
    return builder.finish(kernel.name, results if isinstance(results, tuple) else (results,))
