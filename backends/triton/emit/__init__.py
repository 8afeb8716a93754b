"""Kernels and their schedules of blocks as Triton text."""
