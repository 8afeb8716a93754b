"""Kernels and schedules to code: one folder for each target, each with the same interface."""
