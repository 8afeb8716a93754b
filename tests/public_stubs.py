"""What type checkers see of the public modules.

`sley.nn` is another name of the module `sley.frontend.nn`, given when sley is imported; checkers
look for files. `stubs/` has one for each public module, which the wheel puts beside the rooms.

`python tests/public_stubs.py` writes them anew.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from types import ModuleType

import sley

FOLDER = Path(__file__).resolve().parent.parent / "stubs"


def public_modules(name: str = "sley", module: ModuleType = sley) -> dict[str, ModuleType]:
    """By public name the modules below one that its `__all__` lists, and so on."""
    found: dict[str, ModuleType] = {}
    for part in sorted(getattr(module, "__all__", ())):
        value = getattr(module, part, None)
        if isinstance(value, ModuleType) and value.__name__.startswith("sley.frontend."):
            found[f"{name}.{part}"] = value
            found |= public_modules(f"{name}.{part}", value)
    return found


def stubs() -> dict[Path, str]:
    """The text of each file, by its path in `FOLDER`."""
    modules = public_modules()
    texts = {}
    for name, module in modules.items():
        parts = name.split(".")[1:]
        is_package = len(parts) == 1 or any(other.startswith(f"{name}.") for other in modules)
        path = Path(*parts, "__init__.pyi") if is_package else Path(*parts).with_suffix(".pyi")
        texts[path] = f'"""`{name}`."""\n\nfrom {module.__name__} import *\n'
    return texts


def packages() -> set[str]:
    """The folders, as the packages that they become in the wheel."""
    folders = {path.parent for path in stubs() if path.name == "__init__.pyi"}
    return {".".join(("sley", *folder.parts)) for folder in folders}


def write() -> None:
    """Replaces the files."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    for path, text in stubs().items():
        (FOLDER / path).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
