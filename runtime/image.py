"""What running a program needs, and nothing of how it was made; as bytes it lies on disk.

The bytes are one line of JSON, whose sizes and types are the text of the IR and whose host steps
are a program in it, and behind it the arrays of constants. Reading them runs no code but the IR's
own parser.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..backends.llvm.entry import Frame
from ..ir.dims import Dim
from ..ir.dtypes import by_name
from ..ir.graph import Graph, Location, Node, Value
from ..ir.lexer import Tokens
from ..ir.literal import Literal
from ..ir.plan import Block
from ..ir.printer import print_program
from ..ir.terms import TermReader
from ..ir.types import TensorType, tensor_type
from .objects import ObjectCode

_FORMAT = 1
_MAX_CONSTANTS = 64 << 20  # bytes of constants in one file


class ImageError(ValueError):
    """The bytes are no image, or the image has no bytes."""


class HostStep(NamedTuple):
    """A step that numpy evaluates: its op, and the slots of its operands and results."""

    node: Node
    slots: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class PreparationImage:
    """The program that computes what follows from some of a program's inputs alone.

    Attributes:
        slots: the numbers of these inputs.
        inputs, results: the types of them, and of what it gives.
        image: that program.
    """

    slots: tuple[int, ...]
    inputs: tuple[TensorType, ...]
    results: tuple[TensorType, ...]
    image: Image


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """A program that is ready to be linked.

    Attributes:
        frame: what the entry finds where.
        blocks: the arena's.
        scratch: bytes of scratch of a thread that each kernel needs.
        hosts: the steps on the host, in order.
        kernels: the hashes of the distinct kernels.
        objects: their object code, then the entry's.
        constants: arrays that follow the caller's, and what is prepared of them, as inputs.
        preparation: what gives these prepared ones.
    """

    frame: Frame
    blocks: tuple[Block, ...]
    scratch: tuple[Dim, ...]
    hosts: tuple[HostStep, ...]
    kernels: tuple[str, ...]
    objects: tuple[ObjectCode, ...]
    constants: tuple[np.ndarray, ...]
    preparation: PreparationImage | None = None

    def all_objects(self) -> tuple[ObjectCode, ...]:
        """The object code of the program and of its preparation."""
        more = () if self.preparation is None else self.preparation.image.all_objects()
        return (*self.objects, *more)


def to_bytes(image: Image, known: Mapping[Literal, int]) -> bytes:
    """`image` without its object code, which is named by its keys.

    Args:
        known: constants that the reader has, by number: they are not written again.

    Raises:
        ImageError: a host step has no text, or the constants are too large.
    """
    arrays = _Arrays(known)
    head = {"format": _FORMAT, **_head(image, arrays)}
    return json.dumps(head).encode() + b"\n" + arrays.content()


def _head(image: Image, arrays: _Arrays) -> dict[str, Any]:
    frame, made = image.frame, image.preparation
    return {
        "symbols": frame.symbols,
        "inputs": frame.inputs,
        "fresh": frame.fresh,
        "pointers": frame.pointers,
        "blocks": [[_dim_text(b.nbytes), b.first, b.last] for b in image.blocks],
        "scratch": [_dim_text(dim) for dim in image.scratch],
        "kernels": image.kernels,
        "objects": [item.key for item in image.objects],
        "constants": [arrays.add(array) for array in image.constants],
        "hosts": _hosts_text(image.hosts),
        "slots": [step.slots for step in image.hosts],
        "lines": [step.node.line for step in image.hosts],
        "preparation": None if made is None else {
            "slots": made.slots,
            "inputs": [_type_text(type) for type in made.inputs],
            "results": [_type_text(type) for type in made.results],
            "image": _head(made.image, arrays),
        },
    }  # fmt: skip


def from_bytes(
    content: bytes, known: Sequence[Literal], fetch: Callable[[str], bytes | None]
) -> Image | None:
    """What `to_bytes` has written; None where an object is gone.

    Args:
        known: as it was written, in the order of the numbers.
        fetch: the object code of a key.

    Raises:
        ImageError: this is no image.
    """
    head, _, rest = content.partition(b"\n")
    try:
        return _read(json.loads(head), rest, known, fetch)
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise ImageError(f"no image of a program: {error}") from error


def _read(
    head: dict[str, Any],
    rest: bytes,
    known: Sequence[Literal],
    fetch: Callable[[str], bytes | None],
) -> Image | None:
    if head["format"] != _FORMAT:
        raise ImageError(f"format {head['format']}")
    return _image(head, rest, known, fetch)


def _image(
    head: dict[str, Any],
    rest: bytes,
    known: Sequence[Literal],
    fetch: Callable[[str], bytes | None],
) -> Image | None:
    made, preparation = head["preparation"], None
    if made is not None:
        inner = _image(made["image"], rest, known, fetch)
        if inner is None:
            return None
        inputs, results = (tuple(map(_type, made[name])) for name in ("inputs", "results"))
        preparation = PreparationImage(tuple(made["slots"]), inputs, results, inner)
    dims: dict[int | str, Dim] = {}
    blocks = tuple(Block(_dim(size, dims), first, last) for size, first, last in head["blocks"])
    symbols, fresh = tuple(head["symbols"]), tuple(head["fresh"])
    objects = []
    for key in head["objects"]:
        code = fetch(key)
        if code is None:
            return None
        objects.append(ObjectCode(key, code))
    return Image(
        Frame(symbols, head["inputs"], fresh, len(blocks), head["pointers"]),
        blocks,
        tuple(_dim(size, dims) for size in head["scratch"]),
        _hosts(head["hosts"], head["slots"], head["lines"]),
        tuple(head["kernels"]),
        tuple(objects),
        tuple(_array(item, rest, known) for item in head["constants"]),
        preparation,
    )


# ---------------------------------------------------------------------------------------- sizes


def _dim_text(dim: Dim) -> int | str:
    return dim if isinstance(dim, int) else str(dim)


def _dim(text: int | str, met: dict[int | str, Dim]) -> Dim:
    if isinstance(text, int):
        return text
    if text not in met:
        tokens = Tokens(text)
        met[text] = TermReader(tokens, {}).dim()
        tokens.take("end")
    return met[text]


def _type_text(type: TensorType) -> list[Any]:
    return [type.dtype.name, *(_dim_text(dim) for dim in type.shape)]


def _type(item: Sequence[Any]) -> TensorType:
    name, *shape = item
    return tensor_type(by_name(name), tuple(_dim(size, {}) for size in shape))


# -------------------------------------------------------------------------------------- constants


class _Arrays:
    """Constants: a number where the reader has it, else [dtype, shape, offset]."""

    def __init__(self, known: Mapping[Literal, int]) -> None:
        self.known = known
        self.pieces: list[bytes] = []
        self.size = 0

    def add(self, array: np.ndarray) -> int | list[Any]:
        literal = Literal(array)
        number = self.known.get(literal)
        if number is not None:
            return number
        piece, offset = array.tobytes(), self.size
        self.pieces.append(piece)
        self.size += len(piece)
        return [literal.type.dtype.name, array.shape, offset]

    def content(self) -> bytes:
        if self.size > _MAX_CONSTANTS:
            raise ImageError(f"{self.size} bytes of constants")
        return b"".join(self.pieces)


def _array(item: Any, rest: bytes, known: Sequence[Literal]) -> np.ndarray:
    if isinstance(item, int):
        return known[item].array
    name, shape, offset = item
    dtype = by_name(name).numpy
    count = int(np.prod(shape, dtype=np.int64))
    # A copy: the entry may read it as vectors, which want the alignment of an array of its own.
    return np.frombuffer(rest, dtype, count, offset).reshape(shape).copy()


# ------------------------------------------------------------------------------------------ hosts


def _hosts_text(steps: Sequence[HostStep]) -> str:
    """A program with an input for each operand, and the ops of the steps."""
    if not steps:
        return ""
    params: list[Value] = []
    nodes = []
    for step in steps:
        node = step.node
        operands = tuple(Value(value.type) for value in node.operands)
        params += operands
        types = tuple(value.type for value in node.results)
        nodes.append(Node(node.op, operands, node.attrs, types, node.regions))
    try:
        text, arrays = print_program(Graph("hosts", tuple(params), tuple(nodes)), names=False)
    except TypeError as error:
        raise ImageError(str(error)) from error
    if arrays or any(node.regions for node in nodes):
        raise ImageError("a step on the host has large constants or regions")
    return text


def _hosts(text: str, slots: Sequence[Any], lines: Sequence[Any]) -> tuple[HostStep, ...]:
    if not text:
        return ()
    from ..ir.parser import parse  # programs with such steps are few

    steps = []
    for node, places, line in zip(parse(text).nodes, slots, lines, strict=True):
        node.line = None if line is None else Location(*line)
        steps.append(HostStep(node, tuple(places)))
    return tuple(steps)
