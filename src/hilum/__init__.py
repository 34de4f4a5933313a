"""hilum: chest CT scans in, training-ready and geometry-true data out.

Every public name is listed, with its type, in ``__init__.pyi``; each is imported when it is first used, so
that ``import hilum`` costs next to nothing.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "hilum.errors": (
        "HilumError InputError MissingInputError FormatError UnsupportedError SeriesError GeometryError "
        "AnnotationError RecipeError OutputError"
    ),
    "hilum.geometry": "Geometry",
    "hilum.volume": "Volume Mask",
    "hilum.scan": "Scan ScanRef Nodule Reading Note",
    "hilum.io.scan_files": "read write",
    "hilum.ops.froc": "froc Froc",
    "hilum.ops.resample": "resample resampled_geometry",
    "hilum.ops.reorient": "reorient",
    "hilum.ops.intensity": "normalize zero_center window apply_voi_lut WINDOW_PRESETS",
    "hilum.ops.lungs.segment": "segment_lungs",
    "hilum.ops.morphology": "dilate",
    "hilum.ops.nodules.masks": "mask_nodules cover_nodules",
    "hilum.ops.nodules.outlines": "consensus_mask reading_mask",
    "hilum.ops.nodules.readings": "agreement",
    "hilum.ops.tissues": "TISSUES Tissue tissue_map",
    "hilum.recipes": "Recipe RECIPES recipe",
    "hilum.pipeline": "preprocess",
    "hilum.train.augment": "Augment",
    "hilum.train.batches": "batches",
    "hilum.train.dataset": "PatchDataset",
    "hilum.train.folder": "PatchFolder",
    "hilum.viewer.notebook": "show",
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = ["__version__", *sorted(_HOME_OF)]  # noqa: PLE0604 - built from the table above, all strings


def __getattr__(name: str) -> Any:
    """Import a public name from its room when it is first asked for."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'hilum' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted({*globals(), *__all__})
