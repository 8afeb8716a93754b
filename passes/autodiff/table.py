"""The table of gradient rules: one entry for each op, or why it has none."""

from __future__ import annotations

from .rule import NotDifferentiable, Rule
from .rules_contraction import CONTRACTION
from .rules_custom import CUSTOM
from .rules_elementwise import ELEMENTWISE
from .rules_indexed import INDEXED
from .rules_linalg import LINALG
from .rules_reduction import REDUCTION
from .rules_sorting import SORTING
from .rules_view import VIEW

_INDEX = NotDifferentiable("its result is an index")
_SOURCE = NotDifferentiable("it has no operand to pass a gradient to")

GRADIENTS: dict[str, Rule | NotDifferentiable] = {
    **ELEMENTWISE,
    **VIEW,
    **REDUCTION,
    **CONTRACTION,
    **INDEXED,
    **CUSTOM,
    **LINALG,
    **SORTING,
    "argmax": _INDEX,
    "argmin": _INDEX,
    "constant": _SOURCE,
    "iota": _SOURCE,
    "size": _SOURCE,
    "rng_bits": NotDifferentiable("random bits are integers"),
    "random_bits": NotDifferentiable("random bits are integers"),
    "opaque": lambda node, cotangents: node.attrs["pull"](node, cotangents),
    "scan": NotDifferentiable("its rule comes with the next change"),
    "while": NotDifferentiable(
        "the number of its turns is not known; use sley.scan or sley.fori_loop with a known length"
    ),
    "cond": NotDifferentiable("its rule comes with the next change"),
    "call": NotDifferentiable("its rule comes with the next change"),
    "barrier": lambda node, cotangents: cotangents,
    "launch": NotDifferentiable("a kernel is made after gradients are taken"),
}
