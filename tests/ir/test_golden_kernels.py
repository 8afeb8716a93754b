"""The kernels of docs/ir.md: the text round-trips, verifies, and computes what numpy does."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from kernel_cases import CASES, FILES, Arrays, groups, normal, text

from sley.ir import evaluate_kernel as module
from sley.ir.evaluate import evaluate
from sley.ir.graph import Graph
from sley.ir.isomorphic import difference, graph_hash
from sley.ir.parser import parse, parse_program
from sley.ir.printer import print_graph
from sley.ir.verifier import verify

TESTS = Path(__file__).resolve().parent.parent


def run(source: str, arrays: Arrays) -> Arrays:
    graph = parse(source)
    if graph.level == "tensor":
        return evaluate(graph, arrays)
    return module.evaluate_kernel(graph, arrays)


def test_each_file_has_a_case() -> None:
    assert sorted(CASES) == [f.stem for f in FILES]


@pytest.mark.parametrize("name", sorted(CASES))
def test_computes_what_numpy_does(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays, expected = CASES[name]()
    for chunk in (module.CHUNK, 1500):
        monkeypatch.setattr(module, "CHUNK", chunk)
        results = run(text(name), arrays)
        assert len(results) == len(expected)
        for result, wanted in zip(results, expected, strict=True):
            np.testing.assert_allclose(result, wanted, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name", sorted(CASES))
def test_verifies_and_round_trips(name: str) -> None:
    for graph in parse_program(text(name)):
        verify(graph)
        again = parse(print_graph(graph))
        assert difference(graph, again) is None
        assert graph_hash(graph, names=True) == graph_hash(again, names=True)


def test_docs_show_these_files() -> None:
    page = (TESTS.parent / "docs" / "ir.md").read_text()
    blocks = re.findall(r"```ir\n(.*?)```", page, re.DOTALL)
    for file in FILES:
        assert file.read_text() in blocks, f"docs/ir.md does not show {file.name}"


def many_adamw(sizes: list[int]) -> Graph:
    """The text of adamw.ir for other sizes: the same region over more buffers."""
    body = text("adamw").split("{extents=[100352, 128, 1280]}")[1]
    names = "wgmv"
    inputs = ", ".join(f"%{c}{t}: f32[{n}]" for t, n in enumerate(sizes) for c in names)
    outs = ", ".join(f"%{c}{t}n: f32[{n}]" for t, n in enumerate(sizes) for c in "wmv")
    items = ", ".join(
        ", ".join([f"%{c}{t}" for c in names] + [f"%{c}{t}n" for c in "wmv"])
        for t in range(len(sizes))
    )
    return parse(
        f"kernel @adamw(%lr: f32, %c1: f32, %c2: f32, {inputs}) -> ({outs}) {{\n"
        "%rate = load %lr[]\n%fix1 = load %c1[]\n%fix2 = load %c2[]\n"
        f"many({items}) {{extents={sizes}}}{body}"
    )


def test_adamw_over_50_tensors() -> None:
    sizes = [int(n) for n in np.random.default_rng(0).integers(0, 300, 50)]
    graph = many_adamw(sizes)
    verify(graph)
    arrays, expected = groups([(n,) for n in sizes])
    results = module.evaluate_kernel(graph, arrays)
    assert len(results) == 150
    for result, wanted in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, wanted, rtol=1e-4, atol=1e-6)
    assert difference(graph, parse(print_graph(graph))) is None


@pytest.mark.parametrize("rows", [0, 1, 8, 9])
def test_split_column_sum_of_few_rows(rows: int) -> None:
    x = normal(1, rows, 4)
    (result,) = run(text("split_column_sum"), [x])
    np.testing.assert_allclose(result, x.sum(0), atol=1e-5)
