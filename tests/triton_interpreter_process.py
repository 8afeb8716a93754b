"""The process behind `triton_interpreter.py`: started with TRITON_INTERPRET=1, answers requests."""

from __future__ import annotations

import linecache
import os
import sys
import traceback
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

_ORPHAN_SECONDS = 5.0


def main(descriptor: int) -> None:
    """Answer until the parent hangs up or dies."""
    parent = os.getppid()
    connection = Connection(descriptor)
    sys.path[:] = connection.recv()
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    try:
        import triton
        from triton_interpreter_patches import patch
    except ImportError as error:
        connection.send(("error", f"Triton's interpreter cannot be loaded: {error}"))
        return
    patch()
    np.seterr(all="ignore")
    connection.send(("ready", triton.__version__))
    while True:
        while not connection.poll(_ORPHAN_SECONDS):
            if os.getppid() != parent:
                return
        try:
            request = connection.recv()
        except EOFError:
            return
        try:
            connection.send(("done", run(request)))
        except Exception as error:  # whatever a kernel does wrong is the answer
            connection.send(("error", _explain(error)))


def run(request: dict[str, Any]) -> list[bytes]:
    """The buffers after all programs of the grid have run."""
    import triton_interpreter_memory as memory
    from triton_interpreter_patches import argument, set_grid, set_program

    name = request["name"]
    kinds = [kind for _, kind in request["arguments"]]
    held = memory.Memory(request["buffers"], _item_sizes(request))
    values = _values(request, held)
    for position in request["divisible"]:
        if values[position] % 16:
            told = request["arguments"][position][0]
            raise ValueError(f"{told} = {values[position]} is said to be a multiple of 16")
    function = _function(name, request["source"])
    arguments = [argument(value, kind) for value, kind in zip(values, kinds, strict=True)]
    grid = request["grid"]
    set_grid(grid)
    with held.watched():
        for number, place in enumerate(np.ndindex(*grid)):
            held.program = number
            set_program(place)
            function(*arguments)
    return held.contents()


def _values(request: dict[str, Any], held: Any) -> list[int]:
    pointers, scalars = iter(request["pointers"]), iter(request["scalars"])
    return [
        held.address(next(pointers)) if kind.startswith("*") else next(scalars)
        for _, kind in request["arguments"]
    ]


def _item_sizes(request: dict[str, Any]) -> list[int]:
    from triton_interpreter_patches import item_size

    kinds = [kind for _, kind in request["arguments"] if kind.startswith("*")]
    sizes = [1] * len(request["buffers"])
    for buffer, kind in zip(request["pointers"], kinds, strict=True):
        sizes[buffer] = item_size(kind)
    return sizes


def _function(name: str, source: str) -> Any:
    import triton
    import triton.language as tl
    from triton.language.extra.cuda import libdevice
    from triton_interpreter_patches import tensor_range

    file = f"<{name}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    space = {
        "__name__": name, "triton": triton, "tl": tl, "libdevice": libdevice, "range": tensor_range,
    }  # fmt: skip
    exec(compile(source, file, "exec"), space)
    return space[name].rewrite()


def _explain(error: BaseException) -> str:
    lines = []
    at: BaseException | None = error
    while at is not None:
        frames = [f for f in traceback.extract_tb(at.__traceback__) if f.filename.startswith("<")]
        where = "".join(f" (line {frame.lineno})" for frame in frames[-1:])
        lines.append(f"{type(at).__name__}: {at}{where}")
        at = at.__cause__
    if lines and "--trace" in sys.argv:
        lines.append(traceback.format_exc())
    return "\n".join(lines)


if __name__ == "__main__":
    main(int(sys.argv[1]))
