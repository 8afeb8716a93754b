"""The GPU backend: kernels and their schedules of blocks become Triton text, and that cubins."""
