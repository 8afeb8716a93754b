"""Imports run one way through the rooms, and importing sley loads nothing heavy.

The rules are read off the syntax of every file, imports inside functions and under TYPE_CHECKING
included, so that a late import cannot hide a wrong direction.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from source_files import ROOT, module_name, package_files, repository_files, tree

ROOMS = ("frontend", "ir", "passes", "backends", "runtime")

# What each room may import besides itself. "" is the root: __init__.py and __main__.py.
MAY_IMPORT: dict[str, set[str]] = {
    "ir": set(),
    "passes": {"ir"},
    "backends": {"ir"},
    "runtime": {"ir", "passes", "backends"},
    "frontend": {"ir", "passes", "runtime"},
    "": {"ir", "passes", "runtime", "frontend"},
}

# Never loaded by `import sley`; each at its first use, if at all.
HEAVY = ("triton", "cuda", "torch", "jax", "matplotlib", "scipy", "mpi4py")

# The one file that reads the environment.
CONFIG = "runtime/config.py"
ENVIRONMENT = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}


def test_every_room_imports_only_the_rooms_below_it():
    wrong = []
    for path in package_files():
        room = room_of(module_name(path))
        for line, module in sley_imports(path):
            other = room_of(module)
            if other != room and other not in MAY_IMPORT[room]:
                wrong.append(f"{where(path, line)}: {room or 'the root'} imports {module}")
    assert not wrong, "\n".join(wrong)


def test_every_room_of_the_package_has_a_rule():
    rooms = {room_of(module_name(path)) for path in package_files()}
    assert rooms <= set(MAY_IMPORT), "a folder of the root without a rule in MAY_IMPORT"


def test_imports_inside_the_package_are_relative():
    wrong = [
        f"{where(path, line)}: import of {module}; write it relative to this file"
        for path in package_files()
        for line, module in absolute_imports(path)
        if top(module) == "sley"
    ]
    assert not wrong, "\n".join(wrong)


def test_no_file_imports_a_room_as_if_it_were_a_top_level_package():
    # With the root on sys.path `import ir` works, and gives a second copy of every module.
    wrong = [
        f"{where(path, line)}: import of {module}; write sley.{module}"
        for path in repository_files()
        for line, module in absolute_imports(path)
        if top(module) in ROOMS
    ]
    assert not wrong, "\n".join(wrong)


def test_torch_is_imported_in_benchmarks_only():
    wrong = [
        f"{where(path, line)}: import of {module}"
        for path in repository_files()
        if path.relative_to(ROOT).parts[0] != "benchmarks"
        for line, module in (*absolute_imports(path), *imports_by_call(path))
        if top(module) in ("torch", "torchvision", "functorch")
    ]
    assert not wrong, "\n".join(wrong)


def test_the_environment_is_read_in_one_file():
    wrong = [
        f"{where(path, line)}: os.{name}; options come from {CONFIG}"
        for path in package_files()
        if path != ROOT / CONFIG
        for line, name in environment_reads(path)
    ]
    assert not wrong, "\n".join(wrong)


def test_importing_sley_tries_no_heavy_module():
    # The finder notes what is asked for: a guarded `import triton` is seen without a triton.
    program = f"""
import sys
class Recorder:
    asked = []
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HEAVY!r}:
            self.asked.append(name)
sys.meta_path.insert(0, Recorder())
import sley
print(*Recorder.asked)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_importing_sley_does_not_load_llvm():
    program = "import sys, sley; print('llvmlite.binding' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["False"], done.stderr


def sley_imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, full module name) of each import of a part of sley in a file of the package."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = base_of(path, node)
            # `from .. import ir` names a room only in the name that it imports.
            names = [f"{base}.{alias.name}" for alias in node.names] if base == "sley" else [base]
            yield from ((node.lineno, name) for name in names)
    yield from ((line, name) for line, name in absolute_imports(path) if top(name) == "sley")


def base_of(path: Path, node: ast.ImportFrom) -> str:
    """The module that a relative import names: `from ..ir import x` in sley.passes.a is sley.ir."""
    package = module_name(path).split(".")
    drop = node.level - (1 if path.name == "__init__.py" else 0)
    assert drop < len(package), f"{where(path, node.lineno)}: a relative import leaves the package"
    return ".".join(package[: len(package) - drop] + ([node.module] if node.module else []))


def absolute_imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        if isinstance(node, ast.ImportFrom) and not node.level:
            assert node.module is not None
            if node.module == "sley":
                yield from ((node.lineno, f"sley.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, node.module


def imports_by_call(path: Path) -> Iterator[tuple[int, str]]:
    """Calls such as import_module("torch") or pytest.importorskip("torch")."""
    for node in ast.walk(tree(path)):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        first = node.args[0]
        if name not in ("import_module", "__import__", "importorskip"):
            continue
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield node.lineno, first.value


def environment_reads(path: Path) -> Iterator[tuple[int, str]]:
    """Uses of os.environ and its kin, also under another name or imported from os."""
    names = {"os"}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.asname for alias in node.names if alias.name == "os" and alias.asname}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and node.attr in ENVIRONMENT:
            if isinstance(node.value, ast.Name) and node.value.id in names:
                yield node.lineno, node.attr
        if isinstance(node, ast.ImportFrom) and node.module == "os" and not node.level:
            imported = {alias.name for alias in node.names}
            yield from ((node.lineno, name) for name in sorted(imported & (ENVIRONMENT | {"*"})))


def room_of(module: str) -> str:
    """The room of a module; "" for the root and what lies directly in it."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and (ROOT / parts[1]).is_dir() else ""


def top(module: str) -> str:
    return module.split(".")[0]


def where(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"
