"""The command line, and the same from Python: `lower`, `SLEY_DUMP`, `SLEY_LOG`."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sley
from sley.__main__ import main
from sley.frontend.errors import ArgumentError
from sley.ir.evaluate import evaluate
from sley.ir.isomorphic import isomorphic
from sley.ir.parser import load, parse, parse_program
from sley.runtime import config

GOLDEN = Path(__file__).parents[1] / "golden" / "kernels"
PROGRAM = """\
import numpy as np
import sley
from beside import SCALE

TABLE = sley.tensor(np.arange(800, dtype=np.float32).reshape(100, 8) / 800)

def softmax(x):
    e = (x - x.amax(dim=-1, keepdim=True)).exp()
    return e / e.sum(dim=-1, keepdim=True)

def layer(x, w, b):
    return sley.nn.functional.relu(x @ w + b) * SCALE

def two(x):
    return x.sum(0), sley.tensor(np.arange(800, dtype=np.float32))[:8] + x

def fails(x):
    return x @ x

class Model:
    @staticmethod
    def forward(x):
        return x + 1.0

number = 3
net = sley.nn.Sequential(sley.nn.Linear(8, 4), sley.nn.ReLU())
fast = sley.compile(net)
compiled = sley.compile(softmax)
"""
PASSES = [
    "trace", "simplify", "decompose", "simplify again", "fuse", "lift constants", "schedule",
    "plan memory",
]  # fmt: skip


@pytest.fixture
def program(tmp_path: Path) -> Path:
    (tmp_path / "beside.py").write_text("SCALE = 2.0\n")
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


@pytest.fixture(autouse=True)
def _clean_import_state(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("beside", None)
    sys.modules.pop("__sley_dump__", None)


def succeed(capsys: pytest.CaptureFixture, *argv: object) -> str:
    assert main([str(a) for a in argv]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def fail(capsys: pytest.CaptureFixture, *argv: object) -> str:
    assert main([str(a) for a in argv]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("sley: ")
    return err


def array(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def softmax_of(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


# Dump --------------------------------------------------------------------------------------------


def test_dump_prints_the_program_after_every_pass(capsys, program) -> None:
    text = succeed(capsys, "dump", f"{program}:softmax", "--input", "f32[N,8]")
    headings = [x for x in text.splitlines() if x.startswith("// ----")]
    names = [x.removeprefix("// ---- after ").removesuffix(": the same") for x in headings]
    assert names == PASSES
    assert "f32[N, 8]" in text and f"// {program}:8 in softmax" in text


def test_what_dump_prints_after_a_pass_is_the_program(capsys, program) -> None:
    x = array(5, 8)
    for name in PASSES[:4]:
        argv = ("dump", f"{program}:softmax", "--input", "f32[N,8]", "--after", name)
        (result,) = evaluate(parse(succeed(capsys, *argv)), [x])
        np.testing.assert_allclose(result, softmax_of(x), 1e-6)


@pytest.mark.parametrize(
    ("level", "begins"), [("kernel", "kernel @"), ("loop", "loops @"), ("tensor", "// ----")]
)
def test_levels_that_are_programs(capsys, program, level, begins) -> None:
    argv = ("dump", f"{program}:softmax", "--input", "f32[N, 8]", "--level", level)
    text = succeed(capsys, *argv)
    assert text.startswith(begins)
    if level != "tensor":
        (kernel,) = parse_program(text)
        assert kernel.level == level


def test_levels_of_the_backend(capsys, program) -> None:
    argv = ("dump", f"{program}:softmax", "--input", "f32[4,8]", "--level")
    assert "define void @sley_kernel_" in succeed(capsys, *argv, "llvm")
    assert "sley_kernel_" in succeed(capsys, *argv, "asm")


def test_dump_of_several_inputs_a_method_and_a_compiled_function(capsys, program) -> None:
    types = ("--input", "f32[N,8]", "--input", "f32[8,16]", "--input", "f32[16]")
    text = succeed(capsys, "dump", f"{program}:layer", *types, "--after", "trace")
    graph = parse(text)
    assert [str(p.type) for p in graph.inputs] == ["f32[N, 8]", "f32[8, 16]", "f32[16]"]
    argv = ("--input", "f64[3]", "--after", "trace")
    assert "f64[3]" in succeed(capsys, "dump", f"{program}:Model.forward", *argv)
    argv = ("--input", "f32[K,8]", "--after", "trace")
    assert "f32[K, 8]" in succeed(capsys, "dump", f"{program}:compiled", *argv)
    for name in ("net", "fast"):
        text = succeed(capsys, "dump", f"{program}:{name}", *argv)
        assert "f32[K, 8]" in text and "//" not in text, "no line of the user's is below a module"


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["{p}"], "is not FILE.py:FUNCTION"),
        (["absent.py:f"], "there is no file absent.py"),
        (["{p}:absent"], "no 'absent'; it has softmax, layer, "),
        (["{p}:number"], "is a int, not a function"),
        (["{p}:softmax"], "missing a required argument: 'x'; give one --input TYPE"),
        (["{p}:softmax", "--input", "f32"], "'f32' is not a type such as f32[64, 1, 8, 8]"),
        (["{p}:softmax", "--input", "f31[3]"], "'f31' is no element type; there are bool"),
        (["{p}:softmax", "--input", "f32[3+]"], "'3+' in 'f32[3+]' is neither a size nor a name"),
        (["{p}:softmax", "--input", "f32[3]", "--after", "x"], "no pass 'x'; there are trace, "),
        (
            ["{p}:softmax", "--input", "f32[3]", "--after", "fuse", "--level", "asm"],
            "level 'asm' shows the finished kernels",
        ),
        (["{p}:fails", "--input", "f32[3,4]"], "matmul"),
    ],
)
def test_wrong_use_of_dump_is_told(capsys, program, argv, says) -> None:
    error = fail(capsys, "dump", *(a.format(p=program) for a in argv))
    assert says in error
    assert "__main__" not in error, "the user's lines only"


def test_the_message_shows_the_users_line(capsys, program) -> None:
    error = fail(capsys, "dump", f"{program}:fails", "--input", "f32[3,4]")
    assert "return x @ x" in error and f"{program}" in error


def test_an_unknown_command_is_misuse(capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["sing"])
    assert stopped.value.code == 2
    assert "invalid choice: 'sing'" in capsys.readouterr().err


def test_the_module_runs_as_a_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sley", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"sley {sley.__version__}\n"


def test_wrong_use_of_demo_is_told(capsys) -> None:
    assert "--epochs 0: at least one" in fail(capsys, "demo", "--epochs", "0")
    assert "--seed -1: a seed is not" in fail(capsys, "demo", "--seed", "-1")


# Run ---------------------------------------------------------------------------------------------


@pytest.fixture
def written(program: Path, tmp_path: Path, capsys) -> Path:
    """The dumps of `two`, which has a constant over 64 elements."""
    from sley.frontend.cli import _load_function

    folder = tmp_path / "dumps"
    sley.compile(_load_function(f"{program}:two")).lower(sley.tensor(array(3, 8))).write(folder)
    return folder


def test_run_executes_every_stage_alike(capsys, written, tmp_path) -> None:
    np.save(tmp_path / "x.npy", array(3, 8))
    stages = sorted(written.glob("0*.ir"))
    assert [p.name for p in stages] == [
        f"{i:02d}-{name.replace(' ', '-')}.ir" for i, name in enumerate(PASSES)
    ]
    texts = {succeed(capsys, "run", p, "--input", tmp_path / "x.npy") for p in stages[:-1]}
    (text,) = texts
    x = array(3, 8)
    want = x.sum(0), np.arange(8, dtype=np.float32) + x
    assert text == f"result 0: f32[8]\n{want[0]}\nresult 1: f32[3, 8]\n{want[1]}\n"


def test_run_of_a_plan_is_told(capsys, written) -> None:
    assert "is a plan of memory" in fail(capsys, "run", written / "07-plan-memory.ir")


def test_run_draws_inputs_from_the_seed(capsys, written) -> None:
    path = written / "00-trace.ir"
    first, again = succeed(capsys, "run", path), succeed(capsys, "run", path)
    assert first == again != succeed(capsys, "run", path, "--seed", 1)


def test_run_of_kernels_and_loops(capsys, written, tmp_path) -> None:
    np.save(tmp_path / "x.npy", array(3, 1024))
    out = succeed(capsys, "run", GOLDEN / "softmax.ir", "--input", tmp_path / "x.npy")
    assert out == f"result 0: f32[N, 1024]\n{softmax_of(array(3, 1024))}\n"
    assert "result 0: " in succeed(capsys, "run", written / "kernels-kernel.ir")
    assert "result 0: " in succeed(capsys, "run", written / "kernels-loop.ir")


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.ir")), ids=lambda p: p.stem)
def test_run_of_the_golden_kernels(capsys, path) -> None:
    graph = load(path)
    results = graph.yields if graph.level == "tensor" else graph.out_params
    assert succeed(capsys, "run", path).count("result ") == len(results)


def test_given_inputs_decide_the_sizes_of_the_others(capsys, tmp_path) -> None:
    path = tmp_path / "sum.ir"
    path.write_text(
        "graph @sum(%a: f32[N], %b: f32[N]) -> (f32[N]) {\n  %c = add(%a, %b) : f32[N]\n"
        "  yield %c\n}\n"
    )
    np.save(tmp_path / "a.npy", array(11))
    out = succeed(capsys, "run", path, "--input", tmp_path / "a.npy")
    assert len(out.split("\n", 1)[1].strip("[]\n").split()) == 11


def test_wrong_use_of_run_is_told(capsys, written, tmp_path) -> None:
    np.save(tmp_path / "x.npy", array(3, 7))
    np.save(tmp_path / "d.npy", array(3, 8).astype(np.float64))
    (tmp_path / "bad.npy").write_text("no array")
    (tmp_path / "bad.ir").write_text("graph @f(%x: f32[3]) -> (f32[3]) {\n  yield %y\n}\n")
    path = written / "00-trace.ir"
    assert "got an array float32[3, 7]" in fail(capsys, "run", path, "--input", tmp_path / "x.npy")
    assert "got an array float64" in fail(capsys, "run", path, "--input", tmp_path / "d.npy")
    assert "is no array" in fail(capsys, "run", path, "--input", tmp_path / "bad.npy")
    assert "bad.ir:2:9: %y is not defined" in fail(capsys, "run", tmp_path / "bad.ir")
    assert "No such file" in fail(capsys, "run", tmp_path / "absent.ir")
    two = ("--input", written / "x", "--input", written / "x")
    assert "No such file" in fail(capsys, "run", path, *two)


# From Python -------------------------------------------------------------------------------------


def softmax(x):
    e = (x - x.amax(dim=-1, keepdim=True)).exp()
    return e / e.sum(dim=-1, keepdim=True)


def test_lower_gives_every_step() -> None:
    lowered = sley.compile(softmax).lower(sley.tensor(array(4, 8)))
    assert lowered.passes == PASSES
    assert lowered.graph.nodes[0].op.name == "reduce_max"
    assert lowered.text() == lowered.text(after="trace") == str(lowered.graph)
    assert isomorphic(parse(lowered.text(after="trace")), lowered.graph)
    (kernel,) = lowered.kernels
    assert str(kernel.graph) in lowered.text(level="kernel")
    assert kernel.text in lowered.text(level="llvm")
    assert "launch @" in lowered.text(after="fuse")
    assert lowered.text(after="plan memory").startswith("plan @softmax {")
    with pytest.raises(ArgumentError, match="level is one of tensor, kernel, loop, llvm, asm"):
        lowered.text(level="machine")
    with pytest.raises(ArgumentError, match="there is no pass 'fusion'; there are trace, "):
        lowered.text(after="fusion")


def test_lower_runs_nothing() -> None:
    seen = sley.tensor(array(2))

    @sley.compile
    def step(x):
        seen.add_(x)
        return seen

    before = seen.numpy().copy()
    step.lower(sley.tensor(array(2, seed=1)))
    np.testing.assert_array_equal(seen.numpy(), before)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch):
    """Sets variables and reads them; the former ones hold again after the test."""

    def change(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        config.reload()

    yield change
    monkeypatch.undo()
    config.reload()


def test_a_wrong_setting_is_told(capsys, monkeypatch) -> None:
    monkeypatch.setenv("SLEY_NUM_THREADS", "many")
    config.config.cache_clear()
    try:
        says = "SLEY_NUM_THREADS='many': expected a whole number"
        assert says in fail(capsys, "run", GOLDEN / "softmax.ir")
    finally:
        monkeypatch.undo()
        config.reload()


def test_sley_dump_writes_all_of_every_compilation(environment, tmp_path) -> None:
    environment(SLEY_DUMP=str(tmp_path))
    f = sley.compile(softmax)
    for rows in (4, 6, 9):
        f(sley.tensor(array(rows, 8)))
    folders = sorted(p.name.partition("-")[2] for p in tmp_path.iterdir())
    assert folders == ["softmax", "softmax"]  # numbers, then a symbol
    for folder in tmp_path.iterdir():
        endings = ["kernels-asm.s", "kernels-kernel.ir", "kernels-llvm.ll", "kernels-loop.ir"]
        names = sorted(p.name for p in folder.iterdir())
        assert names[len(PASSES) :] == endings and len(names) == len(PASSES) + 4
        assert isomorphic(load(folder / "00-trace.ir"), parse((folder / "00-trace.ir").read_text()))


# What is told of a compilation -------------------------------------------------------------------


class Settings:
    """A global that a compiled function reads."""

    def __init__(self) -> None:
        self.slope = 0.5


TABLE = {"rows": [1, 2]}
SETTINGS = Settings()


@pytest.mark.filterwarnings("ignore:forward was compiled")
def test_sley_log_tells_each_compilation_and_why(environment, capsys) -> None:
    environment(SLEY_LOG="compile")
    model = sley.nn.Sequential(sley.nn.Linear(8, 4), sley.nn.Dropout(0.5))

    @sley.compile
    def forward(x):
        return model(x) * (SETTINGS.slope + len(TABLE["rows"]))

    def told(rows: int) -> str:
        forward(sley.tensor(array(rows, 8)))
        return capsys.readouterr().err

    assert told(4) == "sley: compile forward: first call\n"
    assert told(4) == ""
    assert told(6) == "sley: compile forward: x axis 0 was 4, is 6\n"
    assert told(1) == ""
    model.eval()
    assert told(6) == "sley: compile forward: Dropout.training was True, is False\n"
    SETTINGS.slope = 0.25
    assert told(6).endswith("forward: the global SETTINGS.slope was 0.5, is 0.25\n")
    TABLE["rows"][0] = 3
    assert told(6).endswith("forward: the global TABLE['rows'][0] was 1, is 3\n")
    TABLE["rows"].append(4)
    assert told(6).endswith("forward: the global TABLE['rows'] had 2 elements, has 3\n")
    TABLE["columns"] = []
    assert told(6).endswith("forward: the global TABLE had 1 elements, has 2\n")


def test_sley_log_tells_of_numbers_and_of_other_types(environment, capsys) -> None:
    environment(SLEY_LOG="compile")

    @sley.compile
    def head(x, count, scale=1.0):
        return x[:count] * scale

    def told(*arguments: object, **more: object) -> str:
        head(sley.tensor(array(8)), *arguments, **more)
        return capsys.readouterr().err

    assert told(3).count("\n") == 1
    assert told(5) == "sley: compile head: the number count was 3, is 5\n"
    assert told(5, scale=2.0).endswith("first call with arguments of this structure\n")
    assert told(5, scale=3.0) == ""


def test_sley_log_tells_of_other_kinds_of_arguments(environment, capsys) -> None:
    environment(SLEY_LOG="compile")

    @sley.compile
    def scaled(batch, mode):
        return batch["x"] * 2.0 if mode == "double" else batch["x"]

    def told(batch: object, mode: str) -> str:
        scaled({"x": batch}, mode)
        return capsys.readouterr().err.removeprefix("sley: compile scaled: ").rstrip()

    x = sley.tensor(array(8))
    assert told(x, "double") == "first call"
    assert told(x, "keep") == "mode was 'double', is 'keep'"
    assert told(sley.tensor(array(8, 2)), "keep") == (
        "batch['x'] was f32 of 1 axes, is f32 of 2 axes"
    )
    with sley.no_grad():
        assert told(sley.tensor(array(8, 2)), "keep") == "grad_enabled was True, is False"


def test_objects_that_are_called_have_a_name(environment, capsys) -> None:
    environment(SLEY_LOG="compile")

    class Doubled:
        def __call__(self, x):
            return x * 2.0

    assert sley.compile(Doubled())(sley.tensor(array(1))).shape == (1,)
    assert sley.compile(functools.partial(softmax))(sley.tensor(array(1, 2))).shape == (1, 2)
    assert [line.split()[2] for line in capsys.readouterr().err.splitlines()] == [
        "Doubled:",
        "partial:",
    ]


def test_nothing_is_told_unasked(environment, capsys) -> None:
    environment(SLEY_LOG="")
    sley.compile(softmax)(sley.tensor(array(4, 8)))
    assert capsys.readouterr().err == ""
