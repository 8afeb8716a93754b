"""Products of tiles by AMX. Tiles have explicit numbers: sums first, then both operands'."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ....ir.graph import Node, Value
from ....ir.ops.matrix import DEEP, MOST_TILES, SIDE
from .writer import Writer

_CONFIGURATION = "@sley.tiles"
_LINE = 2 * DEEP  # bytes of a row of a tile
_MULTIPLY = {"bf16": "tdpbf16ps", "f16": "tdpfp16ps"}


def begin(w: Writer) -> None:
    """Gives all tiles their one shape: 16 rows of 64 bytes."""
    content = bytearray(64)
    content[0] = 1  # the palette
    for tile in range(MOST_TILES):
        content[16 + 2 * tile] = _LINE
        content[48 + tile] = SIDE
    text = "".join(f"\\{byte:02X}" for byte in content)
    w.definitions[f'{_CONFIGURATION} = internal constant [64 x i8] c"{text}", align 64'] = None
    _call(w, "ldtilecfg", ("ptr", _CONFIGURATION))


def end(w: Writer) -> None:
    """Lets go of the tiles, which would else be saved whenever threads take turns."""
    _call(w, "tilerelease")


def tile_product(w: Writer, node: Node, name: Callable[[Value], str]) -> None:
    """The loads, the loop over steps and the stores of a `tile_product`; `name` gives the register
    of an operand."""
    attrs = node.attrs
    high, wide = attrs["tiles"]
    row, after = 2 * attrs["row"], 2 * attrs["next"]
    line = 4 * attrs["width"]  # bytes of two terms of all columns, and of a row of sums
    rows, columns, sums, *offsets, steps = map(name, node.operands)
    kinds = [operand.type.dtype for operand in node.operands[:3]]
    starts = [
        _moved(w, buffer, w.binary("mul", "i64", None, offset, str(dtype.itemsize)))
        for buffer, offset, dtype in zip((rows, columns, sums), offsets, kinds, strict=True)
    ]
    places = [
        _moved(w, starts[2], SIDE * (line * i + 4 * j)) for i in range(high) for j in range(wide)
    ]
    for tile, place in enumerate(places):
        if attrs["fresh"]:
            _call(w, "tilezero", ("i8", str(tile)))
        else:
            _move(w, "tileloadd64", tile, place, line)
    multiply, lefts, rights = _MULTIPLY[kinds[0].name], high * wide, high * wide + high
    with _turns(w, steps, (starts[0], after), (starts[1], SIDE * line)) as (left, right):
        for j in range(wide):
            _move(w, "tileloadd64", rights + j, _moved(w, right, _LINE * j), line)
        for i in range(high):
            _move(w, "tileloadd64", lefts + i, _moved(w, left, SIDE * row * i), row)
            for j in range(wide):
                tiles = i * wide + j, lefts + i, rights + j
                _call(w, multiply, *(("i8", str(tile)) for tile in tiles))
    for tile, place in enumerate(places):
        _move(w, "tilestored64", tile, place, line)


def _call(w: Writer, name: str, *arguments: tuple[str, str]) -> None:
    """A call of an intrinsic, here and each time: it changes tiles."""
    types = ", ".join(f"{t} immarg" if t == "i8" else t for t, _ in arguments)
    w.declarations[f"declare void @llvm.x86.{name}({types})"] = None
    w.line(f"call void @llvm.x86.{name}({', '.join(f'{t} {a}' for t, a in arguments)})")


def _move(w: Writer, name: str, tile: int, place: str, line: int) -> None:
    """A tile from or to memory, `line` bytes from one row to the next."""
    _call(w, name, ("i8", str(tile)), ("ptr", place), ("i64", str(line)))


def _moved(w: Writer, pointer: str, distance: int | str) -> str:
    if distance == 0:
        return pointer
    return w.here(f"getelementptr i8, ptr {pointer}, i64 {distance}")


@contextmanager
def _turns(w: Writer, count: str, *pointers: tuple[str, int]) -> Iterator[list[str]]:
    """A loop of `count` turns, in each of which (pointer, step) are one step further."""
    before, body, after = w.label, w.name("multiply"), w.name("done")
    some = w.here(f"icmp sgt i64 {count}, 0")
    w.line(f"br i1 {some}, label %{body}, label %{after}")
    w.block(body)
    phis: list[str] = []
    w.lines.append(phis)
    left, *inside = (w.register() for _ in range(1 + len(pointers)))
    yield inside
    further = [_moved(w, p, step) for p, (_, step) in zip(inside, pointers, strict=True)]
    fewer = w.here(f"add nsw i64 {left}, -1")
    more = w.here(f"icmp ne i64 {fewer}, 0")
    w.line(f"br i1 {more}, label %{body}, label %{after}")
    phis.append(f"  {left} = phi i64 [ {count}, %{before} ], [ {fewer}, %{body} ]")
    for register, (start, _), end in zip(inside, pointers, further, strict=True):
        phis.append(f"  {register} = phi ptr [ {start}, %{before} ], [ {end}, %{body} ]")
    w.block(after)
