"""Timings of sley beside numpy, and jax and torch where these are installed.

`python -m benchmarks` from the repository root. The only folder that may import torch or jax.
"""
