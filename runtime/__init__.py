"""Code to results: devices, buffers, executables, caches and threads."""
