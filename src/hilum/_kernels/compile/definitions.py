"""Definitions of kernels and intrinsics, as the compiler takes them."""

from collections.abc import Callable
from typing import Any


class Definition:
    """A function to compile, and whether LLVM may contract a product and a sum to a fused multiply-add."""

    def __init__(self, function: Callable[..., Any], *, contract: bool) -> None:
        self.function = function
        self.contract = contract


class Intrinsic:
    """Instructions for use inside kernels: a function as numba's ``intrinsic`` takes it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *_operands: Any) -> Any:
        """Satisfy type checkers; kernels call the compiled instructions."""
        raise TypeError(f"{self.function.__name__} is an instruction of compiled kernels; call it from one")


class UnknownConventionError(Exception):
    """numba compiled a function that hilum does not know how to call."""
