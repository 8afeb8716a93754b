"""The command line: `sley demo`, `sley dump`, `sley run` (also as `python -m sley`).

Only the arguments are read here; the work is in `frontend/cli.py`, imported once a command is
chosen, so that `sley --help` is quick.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from . import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status (0: done, 1: the command failed, 2: misuse)."""
    args = _parser().parse_args(argv)

    from .frontend import cli

    command = {"demo": cli.demo, "dump": cli.dump, "run": cli.run}[args.command]
    return command(args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sley", description="Compile model functions into fused kernels, and show every step."
    )
    parser.add_argument("--version", action="version", version=f"sley {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_dump(commands)
    _add_run(commands)
    return parser


def _add_demo(commands: argparse._SubParsersAction) -> None:
    demo = commands.add_parser(
        "demo",
        help="train a small convolutional net on handwritten digits, eager and compiled",
        description="Train the same net twice from one start, eager and compiled, and compare.",
    )
    demo.add_argument("--seed", type=int, default=0, help="of split, weights and order (default 0)")
    demo.add_argument("--epochs", type=int, help="how often to go through the training images")
    demo.add_argument("--dump", metavar="DIR", help="where the text of every pass is written")


def _add_dump(commands: argparse._SubParsersAction) -> None:
    dump = commands.add_parser(
        "dump",
        help="print a function's program after every pass",
        description="Trace FUNCTION of FILE.py on inputs of the given types; print its program.",
    )
    dump.add_argument("target", metavar="FILE.py:FUNCTION")
    dump.add_argument(
        "--input",
        action="append",
        default=[],
        dest="inputs",
        metavar="TYPE",
        help="type of one argument, such as f32[64,1,8,8] or f32[N,10]; once per argument",
    )
    dump.add_argument("--after", metavar="PASS", help="only the program after this pass")
    dump.add_argument(
        "--level",
        choices=["tensor", "kernel", "loop", "llvm", "asm", "triton"],
        default="tensor",
        help="how far down to go (default: tensor)",
    )


def _add_run(commands: argparse._SubParsersAction) -> None:
    run = commands.add_parser(
        "run",
        help="execute a dumped program",
        description="Parse a dumped program, execute it, and print its results.",
    )
    run.add_argument("program", metavar="DUMP.ir")
    run.add_argument(
        "--input",
        action="append",
        default=[],
        dest="inputs",
        metavar="FILE.npy",
        help="one input, in order; those not given are drawn at random",
    )
    run.add_argument("--seed", type=int, default=0, help="of the random inputs (default 0)")


if __name__ == "__main__":
    raise SystemExit(main())
