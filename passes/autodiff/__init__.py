"""Reverse-mode automatic differentiation as a transformation of programs."""
