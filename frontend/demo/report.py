"""The table that `sley demo` ends with."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ..compile import Lowered
from ..compile.program import Program
from .training import BATCH, EPOCHS, Run, load_data, train

_COMPUTING = (
    "elementwise", "reduction", "cumulative", "contraction", "attention", "indexed", "view",
)  # fmt: skip


def run_demo(seed: int = 0, epochs: int | None = None, dump: str | None = None) -> int:
    """Trains eager and compiled from one start, prints the comparison, writes the dumps.

    Args:
        seed: of split, weights and order.
        epochs: how often to go through the training images.
        dump: the folder for the text of every pass; a new temporary one by default.
    """
    data = load_data(seed)
    turns = EPOCHS if epochs is None else epochs
    print(
        f"UCI optical digits: {len(data.train_labels)} images to train on, "
        f"{len(data.test_labels)} held out (seed {seed}); batches of {BATCH}, {turns} epochs",
        flush=True,  # before the bars, which go to stderr
    )
    eager = train(data, seed, turns, compiled=False)
    compiled = train(data, seed, turns, compiled=True)
    print()
    print(format_table(eager, compiled))
    if compiled.step is None or not compiled.step.programs:
        return 0
    folder = Path(dump) if dump else Path(tempfile.mkdtemp(prefix="sley-demo-"))
    written = Lowered(compiled.step.programs[-1].executable).write(folder)
    print(f"\nThe text of every pass ({len(written)} files) is in {folder}")
    return 0


def format_table(eager: Run, compiled: Run) -> str:
    """Both runs side by side."""
    rows = [
        ("", "eager", "compiled"),
        ("accuracy on held-out digits", f"{eager.accuracy:.2%}", f"{compiled.accuracy:.2%}"),
        ("time per step (median)", _time(eager.step_seconds), _time(compiled.step_seconds)),
        ("speed-up", "", f"{eager.step_seconds / compiled.step_seconds:.1f} x"),
        ("losses differ by, first epoch", "", f"{_difference(eager, compiled):.1e}"),
    ]
    if compiled.step is not None and compiled.step.programs:
        programs = compiled.step.programs
        last = programs[-1]
        rows += [
            ("compile time", "", f"{_time(compiled.compile_seconds)} ({len(programs)} programs)"),
            ("kernels against ops", "", f"{count_kernels(last)} for {count_ops(last)} ops"),
            ("peak of the arena", "", f"{arena_peak(last):,} bytes for a batch of {BATCH}"),
        ]
    width = max(len(row[0]) for row in rows)
    return "\n".join(f"{a:<{width}}  {b:>12}  {c:>12}" for a, b, c in rows)


def count_ops(program: Program) -> int:
    """Tensor ops of a program as it was traced, sources left out."""
    return sum(1 for node in program.graph.nodes if node.op.kind in _COMPUTING)


def count_kernels(program: Program) -> int:
    """Kernels that one call runs."""
    return len(program.executable.plan.steps)


def arena_peak(program: Program) -> int:
    """Bytes of the arena at the batch size of the demo."""
    return program.executable.arena_bytes(dict.fromkeys(program.executable.symbols, BATCH))


def _difference(eager: Run, compiled: Run) -> float:
    """The most that the losses of the first epoch differ; later rounding has grown."""
    pairs = list(zip(eager.losses, compiled.losses, strict=True))[: eager.epoch_steps]
    return max((abs(a - b) for a, b in pairs), default=0.0)


def _time(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1e3:.2f} ms" if seconds < 1 else f"{seconds:.2f} s"
