"""Kernels as machine code: from the library of a wheel, or compiled by numba once and loaded through llvmlite."""
