"""The process that compiles, started as a file by `workers.py`: it loads Triton, nothing of sley.

It answers each request on the connection whose file descriptor it is given. The first message has
the parent's `sys.path`; the answer is ("ready", Triton's version) or ("error", why not). Then each
request is a dict with the fields of a `TritonKernel` and the capability of the GPU, each answer
("done", what `compiled` gives) or ("error", a message).
"""

from __future__ import annotations

import linecache
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from multiprocessing.connection import Connection
from typing import Any

_ORPHAN_SECONDS = 5.0  # how often a process that waits looks whether its parent still lives
_RESOURCES = re.compile(r"REG:(\d+) STACK:(\d+) SHARED:\d+ LOCAL:(\d+)")


def main(descriptor: int) -> None:
    """Answer until the parent hangs up or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    parent = os.getppid()
    connection = Connection(descriptor)
    sys.path[:] = connection.recv()
    try:
        import triton
        from triton import knobs
    except ImportError as error:
        connection.send(("error", f"Triton cannot be imported: {error}"))
        return
    if knobs.runtime.interpret:
        connection.send(("error", "TRITON_INTERPRET is set: with it Triton does not compile"))
        return
    connection.send(("ready", triton.__version__))
    while True:
        while not connection.poll(_ORPHAN_SECONDS):
            if os.getppid() != parent:
                return
        try:
            request = connection.recv()
        except EOFError:
            return
        connection.send(_answer(request))


def _answer(request: dict[str, Any]) -> tuple[str, Any]:
    folder = tempfile.mkdtemp(prefix="sley-triton-")
    try:
        return "done", compiled(request, folder)
    except Exception as error:  # whatever a compiler raises is the answer
        lines = traceback.format_exception_only(error)
        cause = error.__cause__
        while cause is not None:
            lines += traceback.format_exception_only(cause)
            cause = cause.__cause__
        return "error", "".join(lines).strip()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def compiled(request: dict[str, Any], folder: str) -> dict[str, Any]:
    """The fields of a `CompiledText`. Files lie in `folder` meanwhile."""
    import triton
    from triton import knobs
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    knobs.cache.dir = folder  # Triton keeps what it makes on disk: sley has a cache of its own
    source = ASTSource(
        function_of(request["name"], request["source"]),
        dict(request["arguments"]),
        {},
        {(position,): [["tt.divisibility", 16]] for position in request["divisible"]},
    )
    options = {
        "num_warps": request["warps"],
        "num_stages": request["stages"],
        "enable_fp_fusion": request["fusing"],
    }
    target = GPUTarget("cuda", request["capability"], 32)
    made = triton.compile(source, target=target, options=options)
    cubin = made.asm["cubin"]
    registers, spill_bytes = _resources(cubin, folder)
    metadata = made.metadata
    return {
        "cubin": cubin,
        "ptx": made.asm["ptx"],
        "symbol": metadata.name,
        "warps": metadata.num_warps,
        "shared_bytes": metadata.shared,
        "registers": registers,
        "spill_bytes": spill_bytes,
        "global_scratch": (metadata.global_scratch_size, metadata.global_scratch_align),
        "profile_scratch": (metadata.profile_scratch_size, metadata.profile_scratch_align),
        "capability": request["capability"],
    }


def function_of(name: str, source: str) -> Any:
    """The function `name` of a module whose text is `source`, with its `triton.jit` applied."""
    import triton
    import triton.language as tl
    from triton.language.extra.cuda import libdevice

    # Triton reads a function's text through linecache; without a time it never looks for the file.
    file = f"<{name}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    space = {"__name__": name, "triton": triton, "tl": tl, "libdevice": libdevice}
    exec(compile(source, file, "exec"), space)
    return space[name]


def _resources(cubin: bytes, folder: str) -> tuple[int, int]:
    """Registers of a thread, and bytes of its memory: arrays and what found no register."""
    from triton import knobs

    path = os.path.join(folder, "kernel.cubin")
    with open(path, "wb") as file:
        file.write(cubin)
    told = subprocess.run(
        [knobs.nvidia.cuobjdump.path, "--dump-resource-usage", path],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    found = _RESOURCES.search(told)
    if found is None:
        raise ValueError(f"cuobjdump tells no registers: {told}")
    registers, stack, local = map(int, found.groups())
    return registers, stack + local


if __name__ == "__main__":
    main(int(sys.argv[1]))
