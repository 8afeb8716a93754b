"""Matrix products, all through `dot_general`; in one file, since each is made of the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..apply import apply, broadcast_shapes, elementwise, equal_dims
from ..autocast import autocasts
from ..composite import composite
from ..errors import ArgumentError, DTypeError, ShapeError
from ..promotion import result_type
from ..tensor import Tensor, here, normal_axis
from ..unwatched import unwatched
from ..viewing import expand_view, permute_view
from .arguments import as_input, cast, reshaped, shape_of, spelled, takes_out
from .complex import conj
from .joining import atleast_2d, cat
from .shape import constant_pad, diagonal, unsqueeze

Axes = Sequence[int]


def dot_general(
    lhs: Tensor,
    rhs: Tensor,
    contract: tuple[Axes, Axes],
    batch: tuple[Axes, Axes] = ((), ()),
    name: str = "dot_general",
) -> Tensor:
    """Products summed over the `contract` axes of both, for each point of the `batch` axes; the
    result's axes are batch, free of lhs, free of rhs.

    Raises:
        DTypeError: the dtypes differ, or are bool.
        ShapeError: axes that are paired differ in size.
    """
    x, y = _same_dtype(lhs, rhs, name)
    for word, (left, right) in (("summed", contract), ("batch", batch)):
        for a, b in zip(left, right, strict=True):
            if not equal_dims(shape_of(x)[a], shape_of(y)[b]):
                raise ShapeError(
                    f"{name} of {here(x).spec} and {here(y).spec}: the {word} axes "
                    f"{a} and {b} differ in size",
                    hint="transpose one of them with .mT, or reshape() it",
                )
    return apply(
        "dot_general",
        [x, y],
        lhs_contract=tuple(contract[0]),
        rhs_contract=tuple(contract[1]),
        lhs_batch=tuple(batch[0]),
        rhs_batch=tuple(batch[1]),
    )


def _same_dtype(lhs: Tensor, rhs: Tensor, name: str) -> list[Tensor]:
    for side in (lhs, rhs):
        if not isinstance(side, Tensor):
            raise DTypeError(f"{name} takes tensors, got a {type(side).__name__}")
    left, right = here(lhs).spec.dtype, here(rhs).spec.dtype
    if left is not right:
        raise DTypeError(
            f"{name} of {left.public} and {right.public}", hint="cast one of them with .to()"
        )
    return [lhs, rhs]


def _need_axes(name: str, *pairs: tuple[Tensor, int]) -> None:
    for tensor, ndim in pairs:
        if tensor.ndim != ndim:
            raise ShapeError(
                f"{name} takes tensors with {' and '.join(str(n) for _, n in pairs)} axes, "
                f"got {' and '.join(str(here(t).spec) for t, _ in pairs)}"
            )


@takes_out
@autocasts
def matmul(input: Tensor, other: Any) -> Tensor:
    """The matrix product: of vectors their dot product, of a matrix and a vector the vector, of
    tensors with more axes the products of their last two, the others broadcast.

    Raises:
        ShapeError: 0-d operands, or sizes that do not fit.
        DTypeError: the dtypes differ.
    """
    other = as_input(other)
    if input.ndim == 0 or other.ndim == 0:
        raise ShapeError("matmul of a 0-d tensor", hint="use * for products of numbers")
    m, n = input.ndim, other.ndim
    if n <= 2:
        return dot_general(input, other, ((m - 1,), (max(n - 2, 0),)), name="matmul")
    if m == 1:
        return _drop(matmul(unsqueeze(input, 0), other), -2)
    return _batched(input, other)


@autocasts
def rmatmul(input: Tensor, other: Any) -> Tensor:
    """other @ input, of a numpy array `other`."""
    return matmul(as_input(other), input)


def _drop(input: Tensor, axis: int) -> Tensor:
    sizes = [spelled(n) for n in shape_of(input)]
    del sizes[axis]
    return reshaped(input, sizes)


def _batched(input: Tensor, other: Tensor) -> Tensor:
    left, right = shape_of(input), shape_of(other)
    batch = broadcast_shapes([left[:-2], right[:-2]], "matmul")
    x = expand_view(input, [spelled(n) for n in (*batch, *left[-2:])])
    y = expand_view(other, [spelled(n) for n in (*batch, *right[-2:])])
    k = len(batch)
    both = tuple(range(k))
    return dot_general(x, y, ((k + 1,), (k,)), (both, both), "matmul")


@takes_out
@autocasts
def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """The product of two matrices [n, k] and [k, m]."""
    _need_axes("mm", (input, 2), (mat2, 2))
    return dot_general(input, mat2, ((1,), (0,)), name="mm")


@takes_out
@autocasts
def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """The products of matrices [b, n, k] and [b, k, m]."""
    _need_axes("bmm", (input, 3), (mat2, 3))
    return dot_general(input, mat2, ((2,), (1,)), ((0,), (0,)), "bmm")


@takes_out
@autocasts
def mv(input: Tensor, vec: Tensor) -> Tensor:
    """The product of a matrix [n, m] and a vector [m]."""
    _need_axes("mv", (input, 2), (vec, 1))
    return dot_general(input, vec, ((1,), (0,)), name="mv")


@takes_out
@autocasts
def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """The sum of the products of two vectors' elements."""
    _need_axes("dot", (input, 1), (tensor, 1))
    return dot_general(input, tensor, ((0,), (0,)), name="dot")


@takes_out
@autocasts
def vdot(input: Tensor, other: Tensor) -> Tensor:
    """The sum of the products of two vectors' elements, those of the first conjugated."""
    return dot(conj(input), other)


@takes_out
def inner(input: Tensor, other: Tensor) -> Tensor:
    """Products summed over the last axis of both; of a 0-d operand the plain product."""
    if input.ndim == 0 or other.ndim == 0:
        return elementwise("mul", input, other)
    return dot_general(input, other, ((input.ndim - 1,), (other.ndim - 1,)), name="inner")


@takes_out
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """The matrix of all products of two vectors' elements."""
    _need_axes("outer", (input, 1), (vec2, 1))
    return elementwise("mul", unsqueeze(input, 1), vec2)


def _sum_of(base: Any, product: Tensor, beta: Any, alpha: Any) -> Tensor:
    """beta * base + alpha * product."""
    if not (isinstance(alpha, int) and alpha == 1):
        product = elementwise("mul", product, alpha)
    if isinstance(beta, (int, float)) and beta == 0:
        return product  # as in PyTorch: NaN in `base` is then ignored
    if not (isinstance(beta, int) and beta == 1):
        base = elementwise("mul", base, beta)
    return elementwise("add", base, product)


@takes_out
@autocasts
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * (mat1 @ mat2)."""
    return _sum_of(input, mm(mat1, mat2), beta, alpha)


@takes_out
@autocasts
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * (mat @ vec)."""
    return _sum_of(input, mv(mat, vec), beta, alpha)


@takes_out
@autocasts
def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """beta * input + alpha * outer(vec1, vec2)."""
    return _sum_of(input, outer(vec1, vec2), beta, alpha)


@takes_out
@autocasts
def baddbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1
) -> Tensor:
    """beta * input + alpha * bmm(batch1, batch2)."""
    return _sum_of(input, bmm(batch1, batch2), beta, alpha)


@autocasts
def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """Products summed over the last `dims` axes of a and the first of b, or over two lists of
    axes.

    Raises:
        ArgumentError: the lists differ in length.
    """
    if isinstance(dims, int):
        left: Axes = range(a.ndim - dims, a.ndim)
        right: Axes = range(dims)
    else:
        left, right = (list(d) if isinstance(d, (tuple, list)) else [d] for d in dims)
        if len(left) != len(right):
            raise ArgumentError(f"tensordot: {len(left)} axes and {len(right)} axes")
    pair = ([normal_axis(d, a.ndim) for d in left], [normal_axis(d, b.ndim) for d in right])
    return dot_general(a, b, pair, name="tensordot")


def trace(input: Tensor) -> Tensor:
    """The sum of a matrix's diagonal."""
    from .reduction import sum

    _need_axes("trace", (input, 2))
    return sum(diagonal(input))


@takes_out
def kron(input: Tensor, other: Tensor) -> Tensor:
    """The Kronecker product: every element of input times the whole of other."""
    ndim = max(input.ndim, other.ndim)
    sizes = [[1] * (ndim - t.ndim) + [spelled(n) for n in shape_of(t)] for t in (input, other)]
    left = reshaped(input, [n for size in sizes[0] for n in (size, 1)])
    right = reshaped(other, [n for size in sizes[1] for n in (1, size)])
    return reshaped(elementwise("mul", left, right), [a * b for a, b in zip(*sizes)])


def block_diag(*tensors: Tensor) -> Tensor:
    """A matrix with the given ones along its diagonal, zeros elsewhere."""
    dtype = result_type(*tensors)
    blocks = [atleast_2d(cast(t, dtype)) for t in tensors]
    widths: list[Any] = [spelled(shape_of(b)[1]) for b in blocks]
    total: Any = sum(widths)
    rows, left = [], 0
    for block, width in zip(blocks, widths):
        rows.append(constant_pad(block, (0, left), (0, total - left - width)))
        left = left + width
    return cat(rows, 0)


# Einstein's summation


class _Term:
    """A tensor whose axes have labels."""

    def __init__(self, tensor: Tensor, labels: list[str]) -> None:
        self.tensor = tensor
        self.labels = labels


@autocasts
def einsum(equation: str, *operands: Any) -> Tensor:
    """Products of elements with equal labels, summed over the labels that the result lacks: e.g.
    "bij,bjk->bik". Without "->" the labels that occur once, in alphabetical order. "..." stands for
    axes that broadcast.

    Raises:
        ArgumentError: the equation does not fit the operands.
        ShapeError: a label names axes of different sizes.
    """
    if len(operands) == 1 and isinstance(operands[0], (tuple, list)):
        operands = tuple(operands[0])
    text = equation.replace(" ", "")
    source, arrow, target = text.partition("->")
    parts = source.split(",")
    if len(parts) != len(operands):
        raise ArgumentError(f"einsum {equation!r}: {len(parts)} terms, {len(operands)} operands")
    hidden = max((t.ndim - len(p.replace("...", "")) for p, t in zip(parts, operands)), default=0)
    dots = [f"{k}" for k in range(hidden if "..." in source else 0)]
    terms = [_term(p, t, dots, equation) for p, t in zip(parts, operands)]
    wanted = _labels(target, dots, len(dots)) if arrow else _implied(source, dots)
    _check_labels(terms, wanted, equation)
    return _contracted(terms, wanted)


def _labels(part: str, dots: list[str], covered: int) -> list[str]:
    before, ellipsis, after = part.partition("...")
    return [*before, *(dots[len(dots) - covered :] if ellipsis else ()), *after]


def _term(part: str, tensor: Tensor, dots: list[str], equation: str) -> _Term:
    named = len(part.replace("...", ""))
    covered = tensor.ndim - named
    if covered < 0 or (covered > 0 and "..." not in part):
        raise ArgumentError(f"einsum {equation!r}: {part!r} for a tensor with {tensor.ndim} axes")
    labels = _labels(part, dots, covered)
    while len(set(labels)) < len(labels):
        label = next(x for x in labels if labels.count(x) > 1)
        first = labels.index(label)
        second = labels.index(label, first + 1)
        tensor = diagonal(tensor, 0, first, second)
        labels = [x for k, x in enumerate(labels) if k not in (first, second)] + [label]
    return _Term(tensor, labels)


def _implied(source: str, dots: list[str]) -> list[str]:
    letters = source.replace("...", "").replace(",", "")
    return dots + sorted(x for x in set(letters) if letters.count(x) == 1)


def _check_labels(terms: list[_Term], wanted: list[str], equation: str) -> None:
    known = {label for term in terms for label in term.labels}
    if not set(wanted) <= known or len(set(wanted)) < len(wanted):
        raise ArgumentError(f"einsum {equation!r}: the result repeats a label or names a new one")


def _contracted(terms: list[_Term], wanted: list[str]) -> Tensor:
    terms = [_stretched(term, terms) for term in terms]
    result = terms[0]
    for position, term in enumerate(terms[1:], start=1):
        later = {x for t in terms[position + 1 :] for x in t.labels} | set(wanted)
        result = _product(_summed(result, later | set(term.labels)),
                          _summed(term, later | set(result.labels)), later)  # fmt: skip
    result = _summed(result, set(wanted))
    return permute_view(result.tensor, [result.labels.index(x) for x in wanted])


def _stretched(term: _Term, terms: list[_Term]) -> _Term:
    """Axes of size 1 that another term has wider are dropped: their element joins with all."""
    kept = []
    for axis, label in enumerate(term.labels):
        size = shape_of(term.tensor)[axis]
        others = [shape_of(t.tensor)[t.labels.index(label)] for t in terms if label in t.labels]
        one = isinstance(size, int) and size == 1
        if not (one and any(not (isinstance(o, int) and o == 1) for o in others)):
            kept.append(axis)
    if len(kept) == len(term.labels):
        return term
    sizes = [spelled(shape_of(term.tensor)[a]) for a in kept]
    return _Term(reshaped(term.tensor, sizes), [term.labels[a] for a in kept])


def _summed(term: _Term, keep: set[str]) -> _Term:
    from .reduction import sum

    gone = [axis for axis, label in enumerate(term.labels) if label not in keep]
    if not gone:
        return term
    dtype = here(term.tensor).spec.dtype
    summed = sum(term.tensor, gone, dtype=dtype)
    return _Term(summed, [x for x in term.labels if x in keep])


def _product(left: _Term, right: _Term, keep: set[str]) -> _Term:
    shared = [x for x in left.labels if x in right.labels]
    batch = [x for x in shared if x in keep]
    summed = [x for x in shared if x not in keep]

    def axes(term: _Term, labels: list[str]) -> list[int]:
        return [term.labels.index(x) for x in labels]

    result = dot_general(
        left.tensor,
        right.tensor,
        (axes(left, summed), axes(right, summed)),
        (axes(left, batch), axes(right, batch)),
        "einsum",
    )
    free = [x for x in left.labels + right.labels if x not in shared]
    return _Term(result, batch + free)


@composite
@unwatched
@autocasts
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input @ weight.T + bias, of [..., in], [out, in] (or [in]) and [out]."""
    if weight.ndim not in (1, 2) or input.ndim == 0:
        raise ShapeError(
            f"linear of {here(input).spec} with a weight {here(weight).spec}",
            hint="the input is [..., in], the weight [out, in]",
        )
    if not equal_dims(shape_of(input)[-1], shape_of(weight)[-1]):
        raise ShapeError(
            f"linear of {here(input).spec} with a weight {here(weight).spec}: the input has "
            f"{shape_of(input)[-1]} features, the weight takes {shape_of(weight)[-1]}",
            hint="the input is [..., in], the weight [out, in]",
        )
    contract = ((input.ndim - 1,), (weight.ndim - 1,))
    result = dot_general(input, weight, contract, name="linear")
    if bias is None:
        return result
    return elementwise("add", result, cast(bias, here(result).spec.dtype))
