"""hilum: chest CT scans in, training-ready and geometry-true data out.

``__init__.pyi`` lists every public name. lazy-loader reads it and imports a name when it is first used, so that
``import hilum`` stays fast.
"""

from lazy_loader import attach_stub

__version__ = "0.1.0"

__getattr__, _, _names = attach_stub(__name__, __file__)
__all__ = ["__version__", *_names]  # noqa: PLE0604 - the stub's names, all strings


def __dir__() -> list[str]:
    """List the public names, imported or not, and nothing else."""
    return sorted(__all__)
