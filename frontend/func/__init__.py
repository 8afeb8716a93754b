"""`sley.func`: transformations of functions. They may be nested in any order, used eager, and
inside of compiled functions."""

from .forward_mode import jvp, linearize
from .jacobians import hessian, jacfwd, jacrev
from .modules import functional_call, stack_module_state
from .reverse import grad, grad_and_value, value_and_grad, vjp
from .vmap import vmap

__all__ = [
    "functional_call",
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacrev",
    "jvp",
    "linearize",
    "stack_module_state",
    "value_and_grad",
    "vjp",
    "vmap",
]
