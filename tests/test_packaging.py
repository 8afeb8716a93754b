"""The package is whole: every folder is listed, every data file is there, no module loads twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib

import public_stubs
import pytest
from source_files import ROOT, module_name, package_files, package_folders

SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = SETTINGS["tool"]["setuptools"]

# Parts of the extras: a module that needs one cannot be imported where it is not installed.
OPTIONAL = {"triton", "cuda"}

# Imports every module of the package, first what `import sley` has loaded through the public
# aliases (sley.nn is the module sley.frontend.nn), then all by their own names, and prints what
# each file of the package is loaded as.
IMPORT_ALL = """
import importlib, json, pathlib, sys
files, modules, optional = json.loads(sys.argv[1])

def load(name):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in optional:
            raise

import sley
at_once = [name for name in modules if name in sys.modules]
for alias, module in list(sys.modules.items()):
    if alias.startswith("sley.") and module.__name__ != alias and hasattr(module, "__path__"):
        for name in at_once:
            if name.startswith(module.__name__ + "."):
                load(alias + name.removeprefix(module.__name__))
for name in modules:
    load(name)

loaded = {file: {} for file in files}
for name, module in list(sys.modules.items()):
    file = str(pathlib.Path(getattr(module, "__file__", None) or "?").resolve())
    if file in loaded:
        loaded[file].setdefault(id(module), name)
print(json.dumps({file: sorted(names.values()) for file, names in loaded.items()}))
"""


def test_the_listed_packages_are_the_folders_with_an_init():
    listed = SETUPTOOLS["packages"]
    assert len(listed) == len(set(listed)), "a package is listed twice"
    listed = [package for package in listed if package not in public_stubs.packages()]
    missing, gone = package_folders() - set(listed), set(listed) - package_folders()
    assert not missing, f"list in pyproject.toml under [tool.setuptools]: {sorted(missing)}"
    assert not gone, f"listed in pyproject.toml, but no folder: {sorted(gone)}"


def test_type_checkers_find_every_public_module():
    written = {
        path.relative_to(public_stubs.FOLDER): path.read_text(encoding="utf-8")
        for path in public_stubs.FOLDER.rglob("*.pyi")
    }
    assert written == public_stubs.stubs(), "run: python tests/public_stubs.py"
    missing = public_stubs.packages() - set(SETUPTOOLS["packages"])
    assert not missing, f"list in pyproject.toml under [tool.setuptools]: {sorted(missing)}"
    places = {name: f"stubs/{name[5:]}" for name in public_stubs.packages() if name.count(".") == 1}
    assert SETUPTOOLS["package-dir"] == {"sley": ".", **places}


def test_every_folder_with_modules_is_a_package():
    bare = {path.parent for path in package_files() if not (path.parent / "__init__.py").exists()}
    assert not bare, f"without __init__.py: {sorted(str(path) for path in bare)}"


def test_package_data_names_files_that_exist():
    for package, patterns in SETUPTOOLS["package-data"].items():
        if package == "*":
            continue  # the stubs of every package
        folder = ROOT.joinpath(*package.split(".")[1:])
        for pattern in patterns:
            assert list(folder.glob(pattern)), f"{package}: nothing matches {pattern}"


def test_every_data_file_is_package_data():
    missing = []
    for package in set(SETUPTOOLS["packages"]) - public_stubs.packages():
        folder = ROOT.joinpath(*package.split(".")[1:])
        patterns = SETUPTOOLS["package-data"].get(package, [])
        listed = {path for pattern in patterns for path in folder.glob(pattern)}
        data = {path for path in folder.iterdir() if path.suffix in (".npz", ".npy", ".txt", ".ir")}
        missing += [f"{package}: {path.name}" for path in data - listed]
    assert not missing, f"list under [tool.setuptools.package-data]: {sorted(missing)}"


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[str]]:
    """The names of the distinct module objects of each file, after importing every module."""
    files = [path for path in package_files() if path.name != "__main__.py"]
    names = [module_name(path) for path in files]
    arguments = json.dumps([[str(path) for path in files], names, sorted(OPTIONAL)])
    # `-c` and the working directory put the root itself on sys.path: the worst case.
    command = [sys.executable, "-c", IMPORT_ALL, arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_no_module_is_loaded_under_two_names(loaded: dict[str, list[str]]):
    twice = {file: names for file, names in loaded.items() if len(names) > 1}
    assert not twice, twice


def test_every_loaded_module_is_named_after_sley(loaded: dict[str, list[str]]):
    stray = [name for names in loaded.values() for name in names if name.split(".")[0] != "sley"]
    assert loaded[str(ROOT / "__init__.py")], "another sley than this one is installed"
    assert not stray, stray


def test_the_command_line_names_its_commands():
    command = [sys.executable, "-m", "sley", "--help"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in ("demo", "dump", "run"))


def test_the_tests_run_with_verification_on():
    assert os.environ["SLEY_VERIFY"] == "1"
