"""What the commands of `sley` do. Each takes the parsed arguments and returns an exit status.

A command imports what it needs when it is called, so that one command does not pay for another.
"""

from __future__ import annotations

import argparse
import sys


def demo(args: argparse.Namespace) -> int:
    """Train on the digits, eager and compiled, and print the comparison."""
    return _not_built("demo")


def dump(args: argparse.Namespace) -> int:
    """Print the program of `args.target` after every pass, or after `args.after`."""
    return _not_built("dump")


def run(args: argparse.Namespace) -> int:
    """Execute the dumped program `args.program` on given or random inputs."""
    return _not_built("run")


def _not_built(command: str) -> int:
    print(f"sley {command}: this command is not built yet", file=sys.stderr)
    return 1
