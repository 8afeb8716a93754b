"""What `Tensor` can do, in one list: every operator and method that is a function elsewhere."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

from . import autograd, copies, indexing, inplace, interop, reading, viewing
from .functions import (
    assembling,
    complex,
    conversion,
    counting,
    covariance,
    creation,
    distance,
    gamma,
    gathering,
    integers,
    joining,
    logic,
    math,
    matrix,
    ordering,
    prefix,
    random,
    reduction,
    select,
    shape,
    special,
    spectra,
    statistics,
    writes,
)
from .guarding import published
from .linalg import decompositions, root, systems
from .linalg import products as linear_products
from .nn.functional import activation, structure
from .operators import OPERATORS
from .tensor import Tensor

METHODS: dict[str, Callable[..., Any]] = {
    "__matmul__": matrix.matmul,
    "__rmatmul__": matrix.rmatmul,
    # Reading and copying
    **reading.METHODS,
    "__copy__": copies.copied,
    "__deepcopy__": copies.deepcopied,
    "__reduce__": copies.reduced,
    **interop.METHODS,
    # Indexing
    "__getitem__": indexing.getitem,
    "__setitem__": indexing.setitem,
    # Writes
    "copy_": inplace.copy_,
    "fill_": inplace.fill_,
    "zero_": inplace.zero_,
    "uniform_": random.uniform_,
    "normal_": random.normal_,
    "bernoulli_": random.bernoulli_,
    "exponential_": random.exponential_,
    "random_": random.random_,
    "add_": inplace.add_,
    "sub_": inplace.sub_,
    "mul_": inplace.mul_,
    "div_": inplace.div_,
    "addcmul_": inplace.addcmul_,
    "addcdiv_": inplace.addcdiv_,
    # History
    "detach": inplace.detach,
    "detach_": inplace.detach_,
    "clone": inplace.clone,
    "backward": autograd.tensor_backward,
    "retain_grad": autograd.retain_grad,
    "register_hook": autograd.register_hook,
    # Conversions
    "to": conversion.to,
    "type": conversion.type_,
    "type_as": conversion.type_as,
    "cpu": conversion.cpu,
    "cuda": conversion.cuda,
    "new_tensor": conversion.new_tensor,
    "new_zeros": conversion.new_zeros,
    "new_ones": conversion.new_ones,
    "new_full": conversion.new_full,
    **conversion.DTYPE_METHODS,
    "where": math.where_self,
    "pad": structure.pad,
    "storage_offset": viewing.offset_of,
    "ndimension": Tensor.dim,
    "ger": matrix.outer,
    "split_with_sizes": joining.split,
}

# Functions whose first argument is the tensor: the method has their name.
FUNCTIONS: dict[ModuleType, str] = {
    math: """
        sqrt rsqrt exp exp2 expm1 log log2 log10 log1p sin cos tan asin acos atan arcsin arccos
        arctan sinh cosh tanh erf sigmoid floor ceil trunc fix add sub subtract mul multiply div
        divide true_divide floor_divide remainder fmod pow square neg negative positive
        abs absolute sign sgn reciprocal round frac lerp addcmul addcdiv copysign heaviside
        clamp clip clamp_min clamp_max maximum minimum atan2 arctan2 bitwise_and bitwise_or
        bitwise_xor bitwise_left_shift bitwise_right_shift eq ne lt le gt ge not_equal less
        less_equal greater greater_equal
    """,
    logic: """
        isnan isinf isfinite isposinf isneginf isreal signbit isclose allclose equal
        logical_and logical_or logical_xor logical_not bitwise_not fmax fmin nan_to_num
    """,
    special: """
        hypot logaddexp logaddexp2 asinh acosh atanh arcsinh arccosh arctanh logit sinc xlogy
        deg2rad rad2deg erfinv float_power ldexp
    """,
    reduction: """
        sum nansum mean nanmean prod amax amin aminmax max min argmax argmin any all count_nonzero
        cumsum cumprod cummax cummin
    """,
    ordering: """
        sort argsort msort topk kthvalue median nanmedian mode quantile nanquantile
    """,
    counting: "unique unique_consecutive bincount histc histogram",
    distance: "dist",
    gathering: "scatter_reduce index_reduce masked_scatter put",
    prefix: "logcumsumexp diff",
    integers: "gcd lcm",
    covariance: "cov corrcoef",
    assembling: """
        hsplit vsplit dsplit diag_embed diagflat diagonal_scatter select_scatter slice_scatter
    """,
    gamma: "lgamma digamma polygamma erfc",
    spectra: "stft istft",
    statistics: "var std var_mean std_mean logsumexp norm",
    shape: """
        reshape view view_as reshape_as flatten unflatten ravel squeeze unsqueeze permute transpose
        swapaxes swapdims t movedim moveaxis expand expand_as broadcast_to contiguous unfold
        diagonal diag as_strided sum_to_size
    """,
    joining: """
        narrow select split chunk tensor_split unbind repeat tile repeat_interleave roll flip fliplr
        flipud rot90
    """,
    select: """
        index_select gather take_along_dim take scatter scatter_add index_add index_copy index_fill
        index_put masked_fill masked_select nonzero argwhere
    """,
    matrix: """
        matmul mm bmm mv dot vdot inner outer addmm addmv addr baddbmm trace kron
    """,
    creation: "tril triu",
    complex: """
        conj conj_physical resolve_conj is_conj angle view_as_real view_as_complex adjoint
    """,
    activation: "relu softmax log_softmax",
    root: "inverse pinverse cholesky cholesky_inverse logdet cross addbmm",
    systems: "det slogdet cholesky_solve",
    linear_products: "matrix_power",
    decompositions: "matrix_exp",
    random: "bernoulli multinomial",
    conversion: "new_empty pin_memory is_pinned is_signed",
    writes: """
        squeeze_ unsqueeze_ transpose_ swapaxes_ swapdims_ t_ as_strided_ log_normal_ cauchy_
        geometric_ apply_ map_ fill_diagonal_
    """,
}

# Those that also have a form `name_`, which writes the result back into the tensor.
INPLACE = """
    sqrt rsqrt exp exp2 expm1 log log2 log10 log1p sin cos tan asin acos atan arcsin arccos
    arctan sinh cosh tanh erf sigmoid floor ceil trunc fix subtract multiply divide true_divide
    floor_divide remainder fmod pow float_power square neg negative abs absolute sign sgn
    reciprocal round frac lerp copysign heaviside clamp clip clamp_min clamp_max atan2 arctan2
    bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift bitwise_not eq ne
    lt le gt ge not_equal less less_equal greater greater_equal logical_and logical_or
    logical_xor logical_not nan_to_num hypot asinh acosh atanh arcsinh arccosh arctanh logit
    sinc xlogy deg2rad rad2deg erfinv cumsum cumprod tril triu scatter scatter_add index_add
    index_copy index_fill index_put masked_fill addmm addmv baddbmm relu ldexp erfc lgamma digamma
    gcd lcm masked_scatter put scatter_reduce index_reduce
"""

PROPERTIES: dict[str, Callable[[Tensor], Any]] = {
    "grad_fn": autograd.grad_fn,
    **interop.PROPERTIES,
    "is_cpu": conversion.is_cpu,
    "is_cuda": conversion.is_cuda,
    "T": shape.reversed_axes,
    "mT": shape.matrix_transpose,
    "mH": complex.adjoint,
    "H": complex.hermitian,
    "real": complex.real,
    "imag": complex.imag,
}


SETTERS: dict[str, Callable[[Tensor, Any], None]] = {
    "real": complex.set_real,
    "imag": complex.set_imag,
}


def _in_place(function: Callable[..., Tensor], name: str) -> Callable[..., Tensor]:
    """The form of `function` that writes its result into its first argument."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        held = inplace.before(self, (*args, *kwargs.values()))
        return inplace.update(self, function(held, *args, **kwargs), name)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"`{function.__name__}`, written back into this tensor."
    return method


def _methods() -> dict[str, Callable[..., Any]]:
    """Every method by its name."""
    found = {
        name: getattr(module, name) for module, names in FUNCTIONS.items() for name in names.split()
    }
    written = {f"{name}_": _in_place(found[name], f"{name}_") for name in INPLACE.split()}
    return {**found, **written, **METHODS}


def attach() -> None:
    """Give `Tensor` its operators and methods. Called once, when sley is imported."""
    for name, function in OPERATORS.items():
        setattr(Tensor, name, function)
    for name, function in _methods().items():
        plain = name.startswith("__")
        setattr(Tensor, name, function if plain else published(function, "sley", f"Tensor.{name}"))
    for name, getter in PROPERTIES.items():
        setattr(Tensor, name, property(getter, SETTERS.get(name)))


def declarations() -> str:
    """The text of `method_types.py`: every attached method, for type checkers and readers."""
    lines = [_DECLARED]
    for name, function in sorted((OPERATORS | _methods()).items()):
        parameters = list(inspect.signature(function).parameters.values())[1:]
        listed = ", ".join(["self", *_parameters(parameters)])
        result = "Tensor" if name in OPERATORS else _result(function)
        lines.append(f"    def {name}({listed}) -> {result}: ...")
    for name, getter in PROPERTIES.items():
        result = _result(getter)
        lines += ["    @property", f"    def {name}(self) -> {result}: ..."]
        if name in SETTERS:
            lines += [f"    @{name}.setter", f"    def {name}(self, value: Any) -> None: ..."]
    return "\n".join(lines) + "\n"


_DECLARED = '''"""What `methods.py` attaches to `Tensor`. Made by `methods.declarations()`."""

# fmt: off
# ruff: noqa: E501
# mypy: disable-error-code="override, misc, empty-body"

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .tensor import Tensor


class Methods:'''


def _parameters(parameters: list[inspect.Parameter]) -> list[str]:
    """Parameters as text, without the types: what is taken is told in each docstring."""
    texts: list[str] = []
    for number, p in enumerate(parameters):
        if p.kind is p.KEYWORD_ONLY and not any(t.startswith("*") for t in texts):
            texts.append("*")
        star = "*" if p.kind is p.VAR_POSITIONAL else "**" if p.kind is p.VAR_KEYWORD else ""
        default = "" if p.default is p.empty else " = ..."
        texts.append(f"{star}{p.name}: Any{default}")
        last = number + 1 == len(parameters)
        after = None if last else parameters[number + 1].kind
        if p.kind is p.POSITIONAL_ONLY and after is not p.POSITIONAL_ONLY:
            texts.append("/")
    return texts


def _result(function: Callable[..., Any]) -> str:
    found = str(function.__annotations__.get("return", "Any"))
    if found in ("bool", "int"):  # in the class these are names of methods
        return f"builtins.{found}"
    return found if found in ("Tensor", "None") else "Any"
