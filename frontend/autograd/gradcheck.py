"""`gradcheck` and `gradgradcheck`: gradients against central differences."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..context import setting
from ..errors import ArgumentError, AutogradError
from ..functions.joining import stack
from ..moves import beside
from ..tensor import Tensor, elements
from ..trees import flatten_tree
from .engine import grad


class GradcheckError(AutogradError):
    """A gradient differs from the differences of the function's values."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
) -> bool:
    """Whether the gradients of `func` with respect to the inputs that require grad are the central
    differences of its values: every element of the Jacobian, or with `fast_mode` its product with
    one random direction on each side. Use float64 inputs.

    Args:
        eps: the step of the differences.
        atol, rtol: how far both may be apart.
        raise_exception: raise instead of returning False.
        nondet_tol: by how much two runs of `backward()` may differ.
        check_undefined_grad: also that outputs which nothing depends on count as zeros.
        check_grad_dtypes: also that gradients have the dtype of their inputs.
        check_batched_grad: also `grad(..., is_grads_batched=True)`.
        check_batched_forward_grad: also many tangents at once, by `vmap` of `jvp`.
        check_forward_ad: also forward mode.
        check_backward_ad: reverse mode.

    Raises:
        GradcheckError: they differ; the message shows both.
        ArgumentError: no input requires grad.

    Example:
        >>> import sley
        >>> x = sley.tensor([0.1, 0.7], dtype=sley.float64, requires_grad=True)
        >>> sley.autograd.gradcheck(lambda x: x.sin() * x, x)
        True
    """
    check = _Check(func, inputs, eps, atol, rtol)
    try:
        expected = check.differences(fast_mode)
        if check_backward_ad:
            found = check.reverse(fast_mode)
            check.compare("backward()", found, expected)
            if nondet_tol >= 0:
                check.compare_runs(found, check.reverse(fast_mode), nondet_tol)
            if check_undefined_grad:
                check.undefined()
            if check_grad_dtypes:
                check.dtypes()
        if check_forward_ad:
            check.compare("forward mode", check.forward(fast_mode), expected)
        if check_batched_grad:
            check.batched_reverse()
        if check_batched_forward_grad:
            check.batched_forward()
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    grad_outputs: Tensor | Sequence[Tensor] | None = None,
    *,
    gen_non_contig_grad_outputs: bool = False,
    **options: Any,
) -> bool:
    """As `gradcheck`, of the gradients of `func`: its second derivatives.

    Args:
        grad_outputs: what the gradients are taken with; random numbers unless given.
        gen_non_contig_grad_outputs: make the random ones not dense in memory.
        options: those of `gradcheck`.

    Example:
        >>> import sley
        >>> x = sley.tensor([0.1, 0.7], dtype=sley.float64, requires_grad=True)
        >>> sley.autograd.gradgradcheck(lambda x: x.sin() * x, x)
        True
    """
    given = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    outputs = _outputs(func, given)
    if grad_outputs is None:
        rng = np.random.default_rng(0)
        seeds = [_random_like(t, rng, gen_non_contig_grad_outputs) for t in outputs]
    elif isinstance(grad_outputs, Tensor):
        seeds = [grad_outputs]
    else:
        seeds = list(grad_outputs)
    seeds = [t.detach().requires_grad_() for t in seeds]
    count = len(given)

    def gradients(*args: Any) -> Any:
        inner = [
            x.requires_grad_() if isinstance(g, Tensor) and g.requires_grad and x.is_leaf else x
            for x, g in zip(args[:count], given, strict=True)
        ]
        found = _outputs(func, inner)
        wanted = [x for x in inner if isinstance(x, Tensor) and x.requires_grad]
        made = grad(found, wanted, list(args[count:]), create_graph=True, allow_unused=True)
        return tuple(g for g in made if g is not None and g.requires_grad)

    return gradcheck(gradients, [*given, *seeds], **options)


def _outputs(func: Callable[..., Any], inputs: Sequence[Any]) -> list[Tensor]:
    """The results of `func` that have a gradient."""
    with setting(grad_enabled=True):
        leaves, _ = flatten_tree(func(*inputs))
    return [x for x in leaves if isinstance(x, Tensor) and x.requires_grad]


def _random_like(tensor: Tensor, rng: np.random.Generator, strided: bool = False) -> Tensor:
    shape = tuple(tensor.shape)
    wide = (*shape, 2) if strided else shape
    values = np.asarray(rng.uniform(0.1, 1.0, wide))
    if tensor.dtype.is_complex:
        values = values + 1j * rng.uniform(0.1, 1.0, wide)
    made = beside(np.array(values.astype(tensor.dtype.numpy), order="C"), tensor)
    return made[..., 0] if strided else made


def _real(array: np.ndarray) -> np.ndarray:
    """The elements as real numbers: of a complex one its two parts."""
    flat = np.ascontiguousarray(array).reshape(-1)
    if flat.dtype.kind != "c":
        return flat.astype(np.float64)
    return np.stack([flat.real, flat.imag], -1).reshape(-1).astype(np.float64)


def _unreal(values: np.ndarray, like: Tensor) -> np.ndarray:
    """The array of which `_real` gives `values`."""
    if like.dtype.is_complex:
        pairs = values.reshape(-1, 2)
        values = pairs[:, 0] + 1j * pairs[:, 1]
    return np.array(values.reshape(tuple(like.shape)).astype(like.dtype.numpy), order="C")


class _Check:
    """One function at one point. A Jacobian is a matrix of real numbers, results by inputs; in fast
    mode it is multiplied by a vector on each side."""

    def __init__(
        self, func: Callable[..., Any], inputs: Any, eps: float, atol: float, rtol: float
    ) -> None:
        self.func = func
        self.given = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        self.places = [
            k for k, x in enumerate(self.given) if isinstance(x, Tensor) and x.requires_grad
        ]
        if not self.places:
            raise ArgumentError(
                "gradcheck: no input requires grad", hint="make inputs with requires_grad=True"
            )
        self.inputs = [self.given[k] for k in self.places]
        if any(x.dtype.itemsize < (16 if x.dtype.is_complex else 8) for x in self.inputs):
            warnings.warn(
                "gradcheck of an input that is not float64 or complex128: differences of its "
                "values are not exact enough",
                stacklevel=3,
            )
        self.eps, self.atol, self.rtol = eps, atol, rtol
        self.outputs = _outputs(func, self.given)
        if not self.outputs:
            raise GradcheckError("gradcheck: no result depends on the inputs that require grad")
        rng = np.random.default_rng(7)
        self.left = [rng.normal(size=_real(elements(t)).shape) for t in self.outputs]
        self.right = [rng.normal(size=_real(elements(x)).shape) for x in self.inputs]

    def values(self, place: int, moved: np.ndarray) -> list[np.ndarray]:
        """The results as real numbers, with other elements for one input."""
        args = list(self.given)
        for k in self.places:
            args[k] = self.given[k].detach().clone().requires_grad_()
        like = self.inputs[place]
        args[self.places[place]] = beside(_unreal(moved, like), like).requires_grad_()
        return [_real(elements(t)) for t in _outputs(self.func, args)]

    def differences(self, fast: bool) -> list[list[np.ndarray]]:
        """[input][result]: the Jacobian by central differences."""
        found = []
        for number, x in enumerate(self.inputs):
            start = _real(elements(x))
            steps = [self.right[number]] if fast else list(np.eye(start.size))
            columns = []
            for step in steps:
                high = self.values(number, start + self.eps * step)
                low = self.values(number, start - self.eps * step)
                pairs = zip(high, low, strict=True)
                columns.append([(a - b) / (2 * self.eps) for a, b in pairs])
            parts = [
                np.stack(c, -1) if c else np.zeros((t.size, 0))
                for c, t in zip(
                    zip(*columns, strict=True) if columns else [()] * len(self.outputs),
                    self.left,
                    strict=True,
                )
            ]
            found.append(
                [w @ part for w, part in zip(self.left, parts, strict=True)] if fast else parts
            )
        return found

    def reverse(self, fast: bool) -> list[list[np.ndarray]]:
        """[input][result]: the Jacobian by `backward()`."""
        outputs = _outputs(self.func, self.given)
        rows: list[list[np.ndarray]] = [[] for _ in self.inputs]
        for output, weights in zip(outputs, self.left, strict=True):
            units = [weights] if fast else list(np.eye(weights.size))
            pulled = [self.gradients(output, beside(_unreal(u, output), output)) for u in units]
            for number, x in enumerate(self.inputs):
                size = _real(elements(x)).size
                matrix = np.array([_real(p[number]) for p in pulled]).reshape(len(units), size)
                rows[number].append(matrix @ self.right[number] if fast else matrix)
        return rows

    def gradients(self, output: Tensor, seed: Tensor) -> list[np.ndarray]:
        found = grad(output, self.inputs, seed, retain_graph=True, materialize_grads=True)
        return [elements(g) for g in found if g is not None]

    def forward(self, fast: bool) -> list[list[np.ndarray]]:
        """[input][result]: the Jacobian by forward mode."""
        found = []
        for number, x in enumerate(self.inputs):
            units = [self.right[number]] if fast else list(np.eye(self.right[number].size))
            columns = [self.pushed(number, beside(_unreal(u, x), x)) for u in units]
            parts = [
                np.stack(c, -1).reshape(w.size, len(units))
                for c, w in zip(zip(*columns, strict=True), self.left, strict=True)
            ]
            pairs = zip(self.left, parts, strict=True)
            found.append([w @ part for w, part in pairs] if fast else parts)
        return found

    def pushed(self, number: int, direction: Tensor) -> list[np.ndarray]:
        from ..func.forward_mode import jvp

        _, found = jvp(self.by_input(number), (self.inputs[number].detach(),), (direction,))
        return [_real(elements(t)) for t in found]

    def by_input(self, number: int) -> Callable[[Tensor], tuple[Tensor, ...]]:
        """The results that have a gradient, as a function of one input."""
        kept = [bool(t.requires_grad) for t in self._leaves(self.given)]

        def function(x: Tensor) -> tuple[Tensor, ...]:
            args = [a.detach() if isinstance(a, Tensor) else a for a in self.given]
            args[self.places[number]] = x
            leaves = self._leaves(args)
            return tuple(t for t, keep in zip(leaves, kept, strict=True) if keep)

        return function

    def _leaves(self, args: Sequence[Any]) -> list[Tensor]:
        with setting(grad_enabled=True):
            leaves, _ = flatten_tree(self.func(*args))
        return [x for x in leaves if isinstance(x, Tensor)]

    # What is compared

    def compare(
        self, what: str, found: list[list[np.ndarray]], expected: list[list[np.ndarray]]
    ) -> None:
        for number, (parts, others) in enumerate(zip(found, expected, strict=True)):
            for output, (a, b) in enumerate(zip(parts, others, strict=True)):
                if not np.allclose(a, b, self.rtol, self.atol, equal_nan=True):
                    raise GradcheckError(
                        f"gradcheck: the Jacobian of result {output} by input "
                        f"{self.places[number]} differs\n{what}:\n{a}\ndifferences:\n{b}"
                    )

    def compare_runs(
        self, found: list[list[np.ndarray]], again: list[list[np.ndarray]], tolerance: float
    ) -> None:
        for parts, others in zip(found, again, strict=True):
            for a, b in zip(parts, others, strict=True):
                if not np.allclose(a, b, 0, tolerance, equal_nan=True):
                    raise GradcheckError(
                        "gradcheck: backward() gives another gradient when it runs again"
                    )

    def undefined(self) -> None:
        """A gradient of zeros gives zeros."""
        outputs = _outputs(self.func, self.given)
        for output in outputs:
            zeros = beside(np.zeros(tuple(output.shape), output.dtype.numpy), output)
            if any(np.any(g != 0) for g in self.gradients(output, zeros)):
                raise GradcheckError("gradcheck: backward() of zeros is not zero")

    def dtypes(self) -> None:
        outputs = _outputs(self.func, self.given)
        for output in outputs:
            found = grad(output, self.inputs, output.detach(), retain_graph=True, allow_unused=True)
            for g, x in zip(found, self.inputs, strict=True):
                if g is not None and g.dtype is not x.dtype:
                    raise GradcheckError(f"gradcheck: a gradient {g.dtype} for {x.dtype}")

    def batched_reverse(self) -> None:
        """Two gradients at once are the two one by one."""
        rng = np.random.default_rng(3)
        for output in _outputs(self.func, self.given):
            seeds = [_random_like(output, rng) for _ in range(2)]
            many = stack(seeds)
            found = grad(
                output, self.inputs, many, retain_graph=True, is_grads_batched=True,
                materialize_grads=True,
            )  # fmt: skip
            single = [self.gradients(output, s) for s in seeds]
            for k, g in enumerate(found):
                assert g is not None
                if not np.allclose(elements(g), np.stack([p[k] for p in single])):
                    raise GradcheckError("gradcheck: batched gradients differ from single ones")

    def batched_forward(self) -> None:
        """Two tangents at once are the two one by one."""
        from ..func.forward_mode import jvp
        from ..func.vmap import vmap

        rng = np.random.default_rng(5)
        for number, x in enumerate(self.inputs):
            seeds = [_random_like(x, rng) for _ in range(2)]
            function, start = self.by_input(number), x.detach()
            found = vmap(lambda t, f=function, x=start: jvp(f, (x,), (t,))[1])(stack(seeds))
            single = [self.pushed(number, s) for s in seeds]
            for k, t in enumerate(found):
                both = np.stack([p[k] for p in single]).reshape(-1)
                if not np.allclose(_real(elements(t)), both):
                    raise GradcheckError("gradcheck: batched tangents differ from single ones")
