"""Kernels before they are compiled: a Python function of numba's subset, and the instructions it may use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Definition:
    """A function to compile, with the fast-math flags that its code may rely on."""

    def __init__(self, function: Callable[..., Any], *, fastmath: frozenset[str]) -> None:
        self.function = function
        self.fastmath = fastmath


class Intrinsic:
    """One machine instruction, for use inside kernels: a function of the protocol of numba's ``intrinsic``."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *_operands: Any) -> Any:
        """Stand in for the instruction where a type checker looks."""
        raise TypeError(f"{self.function.__name__} is an instruction of compiled kernels; call it from one")
