"""Kernels as machine code: compiled by numba once, kept in files, loaded through llvmlite."""
