"""Writes docs/coverage.md: each public name, its samples and tests, dtypes.

python tests/public/coverage.py > docs/coverage.md
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from public.samples import Sample, all_tables
from public.tables import all as tables
from public.tables.others import OTHERS

TESTS = Path(__file__).resolve().parents[1]
NAMESPACES = (
    "sley", "sley.linalg", "sley.fft", "sley.autograd", "sley.autograd.functional", "sley.nn",
    "sley.nn.functional", "sley.nn.init", "sley.nn.utils", "sley.nn.utils.rnn",
    "sley.nn.utils.parametrizations", "sley.optim", "sley.optim.lr_scheduler",
    "sley.optim.swa_utils", "sley.utils.data", "sley.utils.checkpoint", "sley.data",
    "sley.data.transforms", "sley.metrics", "sley.model_selection", "sley.amp", "sley.cuda",
    "sley.func", "sley.distributions",
)  # fmt: skip
# In the order in which a row names them.
DTYPES = (
    "bool", "uint8", "int32", "int64", "float16", "bfloat16", "float32", "float64", "complex64",
    "complex128",
)  # fmt: skip
_HEAD = """# Coverage

Every public name and what holds it. The samples of a function are calls on ordinary, broadcast,
0-d, empty and one-element tensors, on views, with NaN and infinities. They lie in the files of
`tests/public/tables/`, which the last column names. `tests/public/test_samples.py` runs five checks
on each:

1. the eager value and dtype are those of a rendering of the documented formula in numpy,
2. the compiled value is the eager one (column *compiled*),
3. first and second derivatives are those of central differences (column *differentiable*),
4. one program with a symbolic size gives what eager gives (column *sizes*),
5. bad calls raise the documented error (column *errors*).

Where there are no samples, the last column says what the name is and which file tests it.
Written by `python tests/public/coverage.py > docs/coverage.md`.
"""
_COLUMNS = """| name | samples | errors | dtypes | compiled | differentiable | sizes | tests |
|---|---|---|---|---|---|---|---|"""
_SHORT = {"float": "f", "bfloat": "bf", "int": "i", "uint": "u", "complex": "c", "bool": "bool"}


def names_of(namespace: str) -> list[str]:
    """The public names of a namespace that are no modules."""
    module = importlib.import_module(namespace)
    listed = getattr(module, "__all__", None) or [n for n in vars(module) if _is_own(module, n)]
    return sorted(name for name in listed if not inspect.ismodule(getattr(module, name)))


def _is_own(module: ModuleType, name: str) -> bool:
    """Whether a name of a module without a list of its names is public and defined there."""
    return not name.startswith("_") and (
        getattr(getattr(module, name), "__module__", None) == module.__name__
    )


def methods() -> list[str]:
    """What users call on a tensor: no dunders, no privates."""
    import sley

    return sorted(n for n in dir(sley.Tensor) if not n.startswith("_"))


def by_name() -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = defaultdict(list)
    for table in all_tables():
        for sample in table.samples:
            found[sample.name].append(sample)
    return found


@functools.cache
def _places() -> dict[str, list[str]]:
    """name -> the files of its samples."""
    found: dict[str, list[str]] = defaultdict(list)
    for module in tables.MODULES:
        for name in sorted({s.name for s in module.TABLE.samples}):
            found[name].append(module.__name__.rpartition(".")[2])
    return found


def tables_of(name: str) -> list[str]:
    return _places()[name]


def errors() -> dict[str, int]:
    """name -> how many bad calls are listed."""
    found: dict[str, int] = defaultdict(int)
    for table in all_tables():
        for bad in table.bad:
            found[bad.name] += 1
    return found


def dtypes_of(samples: list[Sample]) -> str:
    """Short names: f32, bf16, i64, u8, c64, bool."""
    seen = {str(a.dtype) for s in samples for a in s.arrays}
    short = [re.sub(r"^[a-z]+", lambda m: _SHORT[m[0]], d) for d in DTYPES if d in seen]
    return " ".join(short)


def files_of(reason: str) -> list[str]:
    """The names (or patterns) of test files in a reason of OTHERS."""
    return re.findall(r"test_[\w*]+\.py", reason)


def row(name: str, key: str, samples: list[Sample], bad: int) -> str:
    if not samples:
        return f"| `{name}` | | | | | | | {OTHERS.get(key, '')} |"
    marks = [
        "yes" if found else ""
        for found in (
            any(s.compiled for s in samples),
            any(s.gradient for s in samples),
            any(s.batch is not None for s in samples),
        )
    ]
    cells = [f"`{name}`", str(len(samples)), str(bad or ""), dtypes_of(samples), *marks]
    return f"| {' | '.join(cells)} | {', '.join(tables_of(samples[0].name))} |"


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
    for _, entries in sections():
        for name, key in entries:
            if not (samples_of(name, key, samples) or key in OTHERS):
                missing.append(key)
    return missing


def samples_of(name: str, key: str, samples: dict[str, list[Sample]]) -> list[Sample]:
    """A method's are the function's of its name; those of `x.abs_()` are `abs`'s."""
    if not key.startswith("Tensor.") or key in samples:
        return samples.get(key, [])
    return samples.get(name) or samples.get(name.rstrip("_"), [])


def document() -> str:
    samples, bad = by_name(), errors()
    lines = [_HEAD]
    for title, entries in sections():
        lines += [f"\n## {title}\n", _COLUMNS]
        for name, key in entries:
            lines.append(row(name, key, samples_of(name, key, samples), bad.get(key, 0)))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
