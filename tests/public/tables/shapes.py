"""Functions that move elements: views, joins, repeats, indexing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from public.samples import ALL, NUMBERS, Table, find, public

import sley

TABLE = Table()
THREE = (3, 4, 5)
FEW = ("float64", "float32", "int64", "bool")


def moving(
    name: str,
    reference: Callable[..., Any],
    *after: Any,
    shapes: Sequence[Sequence[int]] = (THREE,),
    batch: Sequence[int | None] | None = (0,),
    label: str = "",
    dtypes: Sequence[str] = FEW,
    **named: Any,
) -> None:
    """`sley.<name>(*tensors, *after, **named)`, bit for bit what numpy's form gives."""
    TABLE.shaped(
        name, public(name, *after, **named), reference, shapes, label=label, dtypes=dtypes,
        batch=batch if batch is None or len(batch) == len(shapes) else None, tolerance=0,
    )  # fmt: skip


# Views ---------------------------------------------------------------------------------------

moving("reshape", lambda x: x.reshape(-1, 4), (-1, 4), dtypes=ALL)
moving("reshape", lambda x: x.reshape(-1), (-1,), label="flat")
moving("flatten", lambda x: x.reshape(-1), batch=None)
moving("flatten", lambda x: x.reshape(x.shape[0], 20), 1, label="from 1")
moving("flatten", lambda x: x.reshape(1), shapes=[()], batch=None, label="0-d")
moving("unflatten", lambda x: x.reshape(*x.shape[:-1], 5, 1), -1, (5, 1))
moving("unflatten", lambda x: x.reshape(*x.shape[:-1], 1, 5), -1, (1, -1), label="-1")
moving("ravel", lambda x: x.reshape(-1))
moving("squeeze", lambda x: x.reshape(3, 5), shapes=[(3, 1, 5, 1)], batch=None)
moving("squeeze", lambda x: x[:, 0], 1, shapes=[(3, 1, 5)], label="dim")
moving("squeeze", lambda x: x, -1, label="not 1")
moving(
    "squeeze", lambda x: x.reshape(3, 5), (1, -1), shapes=[(3, 1, 5, 1)], batch=None, label="two"
)
moving("unsqueeze", lambda x: x[:, None], 1)
moving("unsqueeze", lambda x: x[..., None], -1, label="last")
moving("unsqueeze", lambda x: x[None], 0, shapes=[()], batch=None, label="0-d")
moving("permute", lambda x: x.transpose(2, 0, 1), (2, 0, 1), dtypes=ALL)
moving("permute", lambda x: x.transpose(1, 0, 2), (-2, 0, -1), label="negative")
moving("transpose", lambda x: x.swapaxes(0, 2), 0, 2)
moving("transpose", lambda x: x.swapaxes(-1, -2), -1, -2, label="negative")
for _name in ("swapaxes", "swapdims"):
    moving(_name, lambda x: x.swapaxes(0, 1), 0, 1)
moving("t", lambda x: x.T, shapes=[(3, 5)])
moving("t", lambda x: x, shapes=[(3,)], label="1-d")
for _name in ("movedim", "moveaxis"):
    moving(_name, lambda x: np.moveaxis(x, 0, 2), 0, 2)
    moving(_name, lambda x: np.moveaxis(x, (0, 1), (-1, 0)), (0, 1), (-1, 0), label="two")
moving("broadcast_to", lambda x: np.broadcast_to(x, (2, 3, 5)), (2, 3, 5), shapes=[(3, 1)],
       batch=None)  # fmt: skip
TABLE.shaped("broadcast_tensors", public("broadcast_tensors"), np.broadcast_arrays,
             [(3, 1), (4,)], dtypes=FEW, tolerance=0)  # fmt: skip
moving("narrow", lambda x: x[:, 1:3], 1, 1, 2)
moving("select", lambda x: x[:, -1], 1, -1)
moving("diagonal", lambda x: x.diagonal(0, 0, 1), shapes=[(4, 5)])
moving("diagonal", lambda x: x.diagonal(1, -2, -1), 1, -2, -1, label="offset")
moving("diagonal", lambda x: x.diagonal(-2, 1, 0), -2, 1, 0, label="below", batch=None)
moving("diag", np.diag, shapes=[(4,)])
moving("diag", lambda x: np.diag(x, 1), 1, shapes=[(4, 4)], batch=None, label="of a matrix")
moving("diag", lambda x: np.diag(x, -2), -2, shapes=[(3,)], label="below")
moving("tril", np.tril)
moving("tril", lambda x: np.tril(x, -1), -1, label="below")
moving("triu", np.triu)
moving("triu", lambda x: np.triu(x, 2), 2, label="above")
for _name in ("atleast_1d", "atleast_2d", "atleast_3d"):
    for _shape in ((), (4,), (3, 4)):
        moving(_name, getattr(np, _name), shapes=[_shape], batch=None, label=str(_shape))
moving("real", lambda x: x, dtypes=("float64", "float32"))
moving("clone", lambda x: x.copy(), dtypes=ALL)
TABLE.wrong("reshape", "size", lambda: sley.ones(6).reshape(4, -1), sley.ShapeError, "4")
TABLE.wrong("transpose", "axis", lambda: sley.transpose(sley.ones(2, 3), 0, 2), IndexError, "2")
TABLE.wrong("permute", "repeated", lambda: sley.permute(sley.ones(2, 3), (0, 0)), ValueError, "0")
TABLE.wrong("narrow", "too long", lambda: sley.narrow(sley.ones(3), 0, 2, 2), Exception, "2")
TABLE.wrong("t", "3-d", lambda: sley.t(sley.ones(2, 3, 4)), sley.ShapeError, "2")
TABLE.wrong("unsqueeze", "dim", lambda: sley.unsqueeze(sley.ones(2), 3), IndexError, "3")
TABLE.wrong("broadcast_to", "shape", lambda: sley.broadcast_to(sley.ones(3), (4,)), ValueError, "4")

# Joining and cutting -------------------------------------------------------------------------

PAIR = [(3, 4), (3, 4)]


def joined(name: str, reference: Callable[..., Any], shapes: Any, *after: Any, **rest: Any) -> None:
    TABLE.shaped(name, lambda *t: find(name)(list(t), *after), lambda *a: reference(a), shapes,
                 dtypes=rest.pop("dtypes", FEW), tolerance=0, **rest)  # fmt: skip


for _name in ("cat", "concat", "concatenate"):
    joined(_name, lambda a: np.concatenate(a, 0), [(3, 4), (2, 4)], dtypes=ALL)
    joined(_name, lambda a: np.concatenate(a, -1), [(3, 4), (3, 1), (3, 2)], -1, label="last",
           batch=[0, 0, 0])  # fmt: skip
joined("cat", lambda a: np.concatenate(a, 0), [(0,), (3,)], label="empty part")
joined("stack", lambda a: np.stack(a, 0), PAIR, batch=[0, 0])
joined("stack", lambda a: np.stack(a, -1), PAIR, -1, label="last", batch=[0, 0])
joined("stack", lambda a: np.stack(a, 0), [(), ()], label="0-d")
joined("hstack", np.hstack, PAIR)
joined("hstack", np.hstack, [(3,), (4,)], label="1-d")
joined("vstack", np.vstack, PAIR)
joined("dstack", np.dstack, PAIR)
moving("split", lambda x: (x[:, :3], x[:, 3:]), 3, 1)
moving("split", lambda x: (x[:, :1], x[:, 1:1], x[:, 1:]), [1, 0, 3], 1, label="sections")
moving("chunk", lambda x: (x[:, :2], x[:, 2:]), 2, 1)
moving("chunk", lambda x: tuple(np.split(x, [2, 4], -1)), 3, -1, label="uneven")
moving("tensor_split", lambda x: tuple(np.array_split(x, 3, 1)), 3, 1)
moving("tensor_split", lambda x: tuple(np.split(x, [1, 3], 1)), (1, 3), 1, label="indices")
moving("unbind", lambda x: tuple(x[:, k] for k in range(4)), 1)
moving("tile", lambda x: np.tile(x, (2, 1, 3)), (2, 1, 3))
moving("tile", lambda x: np.tile(x, (2, 1)), (2, 1), shapes=[(3,)], label="more axes", batch=None)
moving("repeat_interleave", lambda x: np.repeat(x, 2, 1), 2, 1)
moving("repeat_interleave", lambda x: np.repeat(x, 3), 3, label="flat")
moving("roll", lambda x: np.roll(x, 2, 1), 2, 1)
moving("roll", lambda x: np.roll(x, -1), -1, label="flat", batch=None)
moving("roll", lambda x: np.roll(x, (1, -2), (0, 2)), (1, -2), (0, 2), label="two")
moving("flip", lambda x: np.flip(x, (0, 2)), (0, 2), dtypes=ALL)
moving("fliplr", np.fliplr)
moving("flipud", np.flipud)
for _k in range(-1, 4):
    moving("rot90", lambda x, k=_k: np.rot90(x, k, (1, 2)), _k, (1, 2), label=str(_k))
TABLE.wrong("cat", "nothing", lambda: sley.cat([]), ValueError, "")
TABLE.wrong("cat", "shapes", lambda: sley.cat([sley.ones(2, 3), sley.ones(2, 4)]), sley.ShapeError,
            "")  # fmt: skip
TABLE.wrong("stack", "shapes", lambda: sley.stack([sley.ones(2), sley.ones(3)]), ValueError, "")
TABLE.wrong("split", "sections", lambda: sley.split(sley.ones(5), [2, 2]), ValueError, "5|4")
TABLE.wrong("chunk", "none", lambda: sley.chunk(sley.ones(5), 0), ValueError, "0")
TABLE.wrong("roll", "dims", lambda: sley.roll(sley.ones(5), (1, 2), 0), ValueError, "")

# Indexing ------------------------------------------------------------------------------------

ROWS = np.array([2, 0, -1, 0])
PLACES = np.array([[0, 2, 1, 4, 0], [3, 1, 0, 2, 2]])


def indexed(name: str, reference: Callable[..., Any], shapes: Sequence[Sequence[int]],
            call: Callable[..., Any], label: str = "", **rest: Any) -> None:  # fmt: skip
    TABLE.shaped(name, call, reference, shapes, dtypes=rest.pop("dtypes", NUMBERS), label=label,
                 **{"tolerance": 0, **rest})  # fmt: skip


indexed(
    "index_select",
    lambda x: x[:, [2, 0, 1]],
    [THREE],
    lambda x: sley.index_select(x, 1, sley.tensor([2, 0, 1])),
    batch=[0],
)
indexed(
    "gather",
    lambda x: np.take_along_axis(x, PLACES[:1].repeat(x.shape[0], 0), 1),
    [(2, 5)],
    lambda x: sley.gather(x, 1, sley.tensor(PLACES[:1]).expand(x.shape[0], 5)),
)
indexed(
    "take",
    lambda x: x.reshape(-1)[[0, 5, -1]],
    [(3, 4)],
    lambda x: sley.take(x, sley.tensor([0, 5, -1])),
)
indexed(
    "take_along_dim",
    lambda x: np.take_along_axis(x, PLACES, 1),
    [(2, 5)],
    lambda x: sley.take_along_dim(x, sley.tensor(PLACES), 1),
)


def scattered(x: np.ndarray, source: np.ndarray, add: bool) -> np.ndarray:
    result = x.copy()
    for i in range(PLACES.shape[0]):
        for j in range(PLACES.shape[1]):
            value = source[i, j]
            result[i, PLACES[i, j]] = result[i, PLACES[i, j]] + value if add else value
    return result


indexed(
    "scatter",
    lambda x, s: scattered(x, s, False),
    [(2, 5), (2, 5)],
    lambda x, s: sley.scatter(x, 1, sley.tensor(PLACES), s),
)
indexed(
    "scatter_add",
    lambda x, s: scattered(x, s, True),
    [(2, 5), (2, 5)],
    lambda x, s: sley.scatter_add(x, 1, sley.tensor(PLACES), s),
    tolerance=None,
)


def with_rows(x: np.ndarray, source: np.ndarray, add: bool) -> np.ndarray:
    result = x.copy()
    for place, row in zip((2, 0), source, strict=True):
        result[place] = result[place] + row if add else row
    return result


indexed(
    "index_add",
    lambda x, s: with_rows(x, s, True),
    [(3, 4), (2, 4)],
    lambda x, s: sley.index_add(x, 0, sley.tensor([2, 0]), s),
    tolerance=None,
)
indexed(
    "index_copy",
    lambda x, s: with_rows(x, s, False),
    [(3, 4), (2, 4)],
    lambda x, s: sley.index_copy(x, 0, sley.tensor([2, 0]), s),
)
indexed(
    "index_fill",
    lambda x: np.where(np.isin(np.arange(4), [1, 3]), 1, x).astype(x.dtype),
    [(3, 4)],
    lambda x: sley.index_fill(x, 1, sley.tensor([1, 3]), 1),
    batch=[0],
)
indexed(
    "masked_fill",
    lambda x: np.where(x > 0, 1, x),
    [(3, 4)],
    lambda x: sley.masked_fill(x, x > 0, 1),
    batch=[0],
)
indexed(
    "masked_select",
    lambda x: x[x > 0],
    [(3, 4)],
    lambda x: sley.masked_select(x, x > 0),
    compiled=False,
)
indexed(
    "nonzero",
    lambda x: np.stack(np.nonzero(x), 1),
    [(3, 4)],
    public("nonzero"),
    compiled=False,
    result="int64",
    smooth=False,
)
indexed(
    "argwhere",
    np.argwhere,
    [(3, 4)],
    public("argwhere"),
    compiled=False,
    result="int64",
    smooth=False,
)

KEYS: dict[str, Any] = {
    "int": 1, "negative": -1, "slice": slice(1, None), "step": slice(None, None, 2),
    "ellipsis": (..., 0), "none": (None, 1), "two": (slice(None), 2, slice(1, 4, 2)),
    "list": [2, 0, 1], "rows and columns": ([0, 2], [1, 3]), "apart": ([0, 2], slice(None), [1, 3]),
    "with none": (None, [0, 1], ..., None), "empty": slice(2, 2), "0-d list": ([1],),
}  # fmt: skip
for _label, _key in KEYS.items():
    indexed(
        "Tensor.__getitem__", lambda x, k=_key: x[k], [THREE], lambda x, k=_key: x[k], label=_label
    )


def written(x: Any, key: Any, value: Any) -> Any:
    y = x.copy() if isinstance(x, np.ndarray) else x.clone()
    y[key] = value
    return y


for _label, _key in KEYS.items():
    indexed(
        "Tensor.__setitem__",
        lambda x, k=_key: written(x, k, 1),
        [THREE],
        lambda x, k=_key: written(x, k, 1),
        label=_label,
    )
indexed(
    "Tensor.__getitem__",
    lambda x: x[x > 0],
    [THREE],
    lambda x: x[x > 0],
    label="mask",
    compiled=False,
)
indexed(
    "Tensor.__setitem__",
    lambda x: np.where(x > 0, 1, x),
    [THREE],
    lambda x: written(x, x > 0, 1),
    label="mask",
    batch=[0],
)
TABLE.wrong("Tensor.__getitem__", "out of range", lambda: sley.ones(3)[3], IndexError, "3")
TABLE.wrong("Tensor.__getitem__", "too many", lambda: sley.ones(3)[0, 0], IndexError, "")
TABLE.wrong("Tensor.__getitem__", "a float", lambda: sley.ones(3)[1.0], IndexError, "float")
TABLE.wrong(
    "Tensor.__getitem__", "a list out of range", lambda: sley.ones(3)[[0, 3]], IndexError, "3"
)
TABLE.wrong(
    "Tensor.__setitem__",
    "shape",
    lambda: written(sley.ones(3), slice(2), sley.ones(3)),
    sley.ShapeError,
    "",
)
TABLE.wrong(
    "index_select",
    "range",
    lambda: sley.index_select(sley.ones(3), 0, sley.tensor([3])),
    IndexError,
    "3",
)
TABLE.wrong(
    "gather", "range", lambda: sley.gather(sley.ones(3), 0, sley.tensor([-1])), IndexError, "-1"
)
TABLE.wrong(
    "gather",
    "float index",
    lambda: sley.gather(sley.ones(3), 0, sley.ones(1)),
    Exception,
    "float32",
)
TABLE.wrong(
    "scatter",
    "range",
    lambda: sley.ones(3).scatter(0, sley.tensor([5]), sley.ones(1)),
    IndexError,
    "5",
)
TABLE.wrong(
    "masked_fill", "mask", lambda: sley.ones(3).masked_fill(sley.ones(3), 0), Exception, "bool"
)
