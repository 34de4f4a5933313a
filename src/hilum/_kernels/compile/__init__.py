"""Kernels as machine code: compiled by numba once, cached in files, loaded through llvmlite."""
