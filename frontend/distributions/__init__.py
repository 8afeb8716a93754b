"""`sley.distributions`: random numbers with their densities, under PyTorch's names.

Draws are the same bits eager and compiled, as all of sley's. `rsample` draws with gradients of the
parameters (variational autoencoders); `log_prob` of a `sample` gives those of expected rewards
(REINFORCE).
"""

from .discrete import Bernoulli, Categorical, OneHotCategorical
from .distribution import Distribution
from .divergence import kl_divergence, register_kl
from .joint import Independent, MultivariateNormal
from .located import Cauchy, Gumbel, HalfNormal, Laplace, LogNormal, Normal
from .ranged import Exponential, Geometric, Uniform

__all__ = [
    "Bernoulli",
    "Categorical",
    "Cauchy",
    "Distribution",
    "Exponential",
    "Geometric",
    "Gumbel",
    "HalfNormal",
    "Independent",
    "Laplace",
    "LogNormal",
    "MultivariateNormal",
    "Normal",
    "OneHotCategorical",
    "Uniform",
    "kl_divergence",
    "register_kl",
]
