"""What the commands of `sley` do. Each takes the parsed arguments and returns an exit status.

A command imports what it needs when it is called, so that one command does not pay for another.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from .errors import SleyError

if TYPE_CHECKING:
    import numpy as np

    from ..ir.graph import Graph
    from ..ir.types import TensorType


class UsageError(Exception):
    """The command line asks for what there is not."""


def demo(args: argparse.Namespace) -> int:
    """Train on the digits, eager and compiled, and print the comparison."""
    from .demo import run_demo

    return run_demo(args.seed, args.epochs, args.dump)


def dump(args: argparse.Namespace) -> int:
    """Print the program of `args.target` after every pass, or after `args.after`."""
    return _guarded(_dump, args)


def run(args: argparse.Namespace) -> int:
    """Execute the dumped program `args.program` on given or random inputs."""
    return _guarded(_run, args)


def _guarded(command: Any, args: argparse.Namespace) -> int:
    """The command's status; what is wrong with the user's input goes to stderr, without frames."""
    from ..ir.lexer import ParseError

    try:
        command(args)
    except (UsageError, SleyError, ParseError, OSError) as error:
        print(f"sley: {error}", file=sys.stderr)
        return 1
    return 0


# Dump --------------------------------------------------------------------------------------------


def _dump(args: argparse.Namespace) -> None:
    from .compile import CompiledFunction
    from .compile import compile as compile_function
    from .tensor import of_array

    function = _load_function(args.target)
    types = [_parse_type(text) for text in args.inputs]
    sizes = _example_sizes(types)
    tensors = [of_array(_random(t, sizes, number)) for number, t in enumerate(types)]
    if not isinstance(function, CompiledFunction):
        names = _symbolic_axes(function, types)
        function = compile_function(function, dynamic=names or None)
    lowered = function.lower(*tensors)
    if args.level not in (None, "tensor"):
        print(lowered.text(level=args.level))
        return
    for name in [args.after] if args.after else lowered.passes:
        if not args.after:
            print(f"// ---- after {name}")
        print(lowered.text(after=name))


def _load_function(target: str) -> Any:
    """The function that FILE.py:NAME names (NAME may have dots); the file is executed."""
    import runpy

    path, colon, name = target.rpartition(":")
    if not colon or not path.endswith(".py"):
        raise UsageError(f"{target!r} is not FILE.py:FUNCTION")
    found: Any = runpy.run_path(path, run_name="__sley_dump__")
    first, *rest = name.split(".")
    if first not in found:
        known = ", ".join(k for k, v in found.items() if callable(v) and not k.startswith("_"))
        raise UsageError(f"{path} defines no {first!r}; it defines {known}")
    found = found[first]
    for part in rest:
        if not hasattr(found, part):
            raise UsageError(f"{target!r}: there is no attribute {part!r}")
        found = getattr(found, part)
    if not callable(found):
        raise UsageError(f"{target!r} is a {type(found).__name__}, not a function")
    return found


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
    import inspect

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
    if type.dtype.is_float:
        return rng.standard_normal(shape).astype(type.dtype.numpy)
    return np.asarray(rng.integers(0, 2, shape)).astype(type.dtype.numpy)


# Run ---------------------------------------------------------------------------------------------


def _run(args: argparse.Namespace) -> None:
    import numpy as np

    from ..ir.parser import load

    graph = load(args.program)
    sizes = _example_sizes([p.type for p in graph.inputs])
    arrays = [np.load(path) for path in args.inputs]
    if len(arrays) > len(graph.inputs):
        raise UsageError(f"@{graph.name} takes {len(graph.inputs)} inputs, got {len(arrays)}")
    for number, param in enumerate(graph.inputs[len(arrays) :], start=len(arrays)):
        arrays.append(_random(param.type, sizes, args.seed + number))
    try:
        results = _execute(graph, arrays)
    except ValueError as error:
        raise UsageError(str(error)) from None
    for number, (array, type) in enumerate(zip(results, _result_types(graph), strict=True)):
        print(f"result {number}: {type}\n{array}")


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
    if any(node.op.name == "launch" for node in graph.nodes):
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
