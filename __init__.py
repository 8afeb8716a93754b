"""sley: a tracing compiler for machine learning.

It records what a model function does, turns it into a small SSA program, transforms that program,
and weaves it into fused kernels for the processor at hand.
"""

__version__ = "0.1.0"
