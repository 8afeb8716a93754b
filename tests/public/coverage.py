"""Writes docs/coverage.md: each public name, its samples and tests, dtypes.

python tests/public/coverage.py > docs/coverage.md
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from public.samples import Sample, all_tables
from public.tables.others import OTHERS

TESTS = Path(__file__).resolve().parents[1]
NAMESPACES = (
    "sley", "sley.linalg", "sley.fft", "sley.autograd", "sley.autograd.functional", "sley.nn",
    "sley.nn.functional", "sley.nn.init", "sley.nn.utils", "sley.nn.utils.rnn",
    "sley.nn.utils.parametrizations", "sley.optim", "sley.optim.lr_scheduler",
    "sley.optim.swa_utils", "sley.utils.data", "sley.utils.checkpoint", "sley.data",
    "sley.data.transforms", "sley.metrics", "sley.model_selection", "sley.amp", "sley.cuda",
    "sley.func",
)  # fmt: skip
# In the order in which a row names them.
DTYPES = (
    "bool", "uint8", "int32", "int64", "float16", "bfloat16", "float32", "float64", "complex64",
    "complex128",
)  # fmt: skip
_HEAD = """# Coverage

Every public name: how many samples the five checks of `tests/public/test_samples.py` run on it
(eager value, compiled against eager, gradients, symbolic sizes, errors), the dtypes among them,
whether it is compiled and differentiated there, and which other test files use it. Written by
`python tests/public/coverage.py > docs/coverage.md`.
"""
_COLUMNS = """| name | samples + errors | dtypes | compiled | differentiable | kind | tests |
|---|---|---|---|---|---|---|"""


def names_of(namespace: str) -> list[str]:
    """The public names of a namespace that are no modules."""
    module = importlib.import_module(namespace)
    return sorted(name for name in module.__all__ if not inspect.ismodule(getattr(module, name)))


def methods() -> list[str]:
    """What users call on a tensor: no dunders, no privates."""
    import sley

    return sorted(n for n in dir(sley.Tensor) if not n.startswith("_"))


@functools.cache
def mentions() -> dict[str, set[str]]:
    """name -> the test files (without those of the samples) that call or read it."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted(TESTS.rglob("test_*.py")):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            name = (
                node.attr if isinstance(node, ast.Attribute)
                else node.id if isinstance(node, ast.Name)
                else node.value if isinstance(node, ast.Constant) and isinstance(node.value, str)
                else None
            )  # fmt: skip
            if name is not None:
                found[name].add(str(path.relative_to(TESTS)))
    return found


def by_name() -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = defaultdict(list)
    for table in all_tables():
        for sample in table.samples:
            found[sample.name].append(sample)
    return found


def errors() -> dict[str, int]:
    """name -> how many bad calls are listed."""
    found: dict[str, int] = defaultdict(int)
    for table in all_tables():
        for bad in table.bad:
            found[bad.name] += 1
    return found


def dtypes_of(samples: list[Sample]) -> str:
    seen = {str(a.dtype) for s in samples for a in s.arrays}
    return ", ".join(d for d in DTYPES if d in seen)


def row(name: str, key: str, samples: list[Sample], bad: int) -> str:
    files = sorted(mentions().get(name, ()))
    where = ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
    if not samples:
        return f"| `{name}` | | | | | {OTHERS.get(key, '')} | {where} |"
    compiled = "yes" if any(s.compiled for s in samples) else "no"
    gradient = "yes" if any(s.gradient for s in samples) else "no"
    count = f"{len(samples)} + {bad}" if bad else str(len(samples))
    return f"| `{name}` | {count} | {dtypes_of(samples)} | {compiled} | {gradient} | | {where} |"


def sections() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """(title, [(name, key in the tables)])"""
    for namespace in NAMESPACES:
        prefix = namespace.removeprefix("sley").removeprefix(".")
        yield namespace, [(n, f"{prefix}.{n}" if prefix else n) for n in names_of(namespace)]
    # A method is the function of its name.
    yield "sley.Tensor", [(n, f"Tensor.{n}") for n in methods()]


def without_samples() -> list[str]:
    """Public functions that have neither samples nor a reason."""
    samples = by_name()
    missing = []
    for title, entries in sections():
        for name, key in entries:
            same = title == "sley.Tensor" and (name in samples or name.rstrip("_") in samples)
            if not (samples.get(key) or key in OTHERS or same):
                missing.append(key)
    return missing


def document() -> str:
    samples, bad = by_name(), errors()
    lines = [_HEAD]
    for title, entries in sections():
        lines += [f"\n## {title}\n", _COLUMNS]
        for name, key in entries:
            found = samples.get(key) or (samples.get(name, []) if title == "sley.Tensor" else [])
            lines.append(row(name, key, found, bad.get(key, 0)))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
