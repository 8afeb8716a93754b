"""The table of gradient rules: one entry for each op, or why it has none."""

from __future__ import annotations

from .rule import NotDifferentiable, RegionRule, Rule
from .rules_attention import ATTENTION
from .rules_contraction import CONTRACTION
from .rules_control import CONTROL
from .rules_custom import CUSTOM
from .rules_elementwise import ELEMENTWISE
from .rules_fourier import FOURIER
from .rules_indexed import INDEXED
from .rules_linalg import LINALG
from .rules_reduction import REDUCTION
from .rules_sorting import SORTING
from .rules_view import VIEW

_INDEX = NotDifferentiable("its result is an index")
_SOURCE = NotDifferentiable("it has no operand to pass a gradient to")

GRADIENTS: dict[str, Rule | RegionRule | NotDifferentiable] = {
    **ELEMENTWISE,
    **VIEW,
    **REDUCTION,
    **CONTRACTION,
    **ATTENTION,
    **INDEXED,
    **FOURIER,
    **CONTROL,
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
    "opaque": RegionRule(lambda node, *given: node.attrs["pull"](node, *given)),
    "launch": NotDifferentiable("a kernel is made after gradients are taken"),
    "order": NotDifferentiable("sorts are lowered after gradients are taken"),
    "paired": NotDifferentiable("complex values are split after gradients are taken"),
}
