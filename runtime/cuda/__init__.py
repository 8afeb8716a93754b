"""Programs on NVIDIA GPUs: the driver, memory, and executables of planned kernels."""
