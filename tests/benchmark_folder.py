"""Makes `benchmarks` importable: import this first.

The folder is beside the package, under its own name: with the root on the path the rooms of sley
could be imported twice.
"""

from __future__ import annotations

import importlib.util
import sys

from source_files import ROOT


def _import_benchmarks() -> None:
    folder = ROOT / "benchmarks"
    spec = importlib.util.spec_from_file_location(
        "benchmarks", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None and spec.loader is not None
    sys.modules["benchmarks"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


_import_benchmarks()
