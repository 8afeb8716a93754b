"""The CPU backend: kernels to LLVM machine code."""
