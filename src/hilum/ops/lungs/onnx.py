"""Segment the lungs with the user's own deep model, an ONNX file; docs/onnx.md has the contract.

1. The volume is reoriented to axial planes, and each plane is cropped to the body's box.
2. The box is resampled linearly to the model's matrix (256 x 256), with the corner pixels on each other; HU from -1024
   to 600 become 0 to 1.
3. The model gives each pixel a score for background, right lung and left lung; the highest score wins.
4. The labels are resampled to the plane's pixels by nearest neighbor. The largest component of each label in 3-D
   remains. Other components get the label of the large component that they touch, or are removed.

J. Hofmanninger et al. describe these steps for the model R231 ("Automatic lung segmentation in routine imaging is
primarily a data diversity problem, not a methodology problem", European Radiology Experimental 4, 2020), so a model
that was trained for them fits.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum._kernels.anatomy import coarse
from hilum._kernels.bitmask import bits, morphology
from hilum._kernels.bitmask.mask import Shape
from hilum._kernels.components import labeling, selection
from hilum._kernels.threads import count_workers
from hilum.errors import InputError, MissingInputError, UnsupportedError, one_line
from hilum.ops.reorient import reorient, restore_axes
from hilum.scan import LEFT_LUNG, RIGHT_LUNG
from hilum.volume import Volume

LOWEST_HU, HIGHEST_HU = -1024, 600
SIDE = 256
"""Default size of the matrix, in pixels, if the model does not fix it."""

SIDES = range(32, 1025)
BATCH = 8
"""Default number of planes per call, if the model does not fix it."""

LABELS = 3
"""Background, right lung, left lung."""

BODY_MIN_HU, SHELL_MM = -500, 4.0
"""The body has at least this value; parts thinner than twice the shell are table or clothes."""

LARGEST_FILE = 2**31
"""Largest size of a model's file, bytes."""

LARGE_FRACTION = 0.1
"""The body's box contains the components of a plane with at least this fraction of the largest one's area."""


@dataclass(frozen=True)
class _Model:
    """A session of onnxruntime with one input of (batch, 1, rows, columns)."""

    session: Any
    name: str
    batch: int
    rows: int
    columns: int
    path: Path


def model_digest(path: Path) -> str:
    """Compute the SHA-256 of a model's file.

    Parameters
    ----------
    path : Path
        The model's file.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    return hashlib.sha256(_content(path)).hexdigest()


def lungs_by_model(volume: Volume, *, path: Path, fill: bool, workers: int = 0) -> NDArray[np.uint8]:
    """Label the right lung 1 and the left lung 2 with a model.

    Parameters
    ----------
    volume : Volume
        HU.
    path : Path
        An ONNX file.
    fill : bool
        Whether holes of axial planes are filled.
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    ndarray of uint8, shape (z, y, x)
        All 0 if the model found no lung.

    Raises
    ------
    UnsupportedError
        If onnxruntime is not installed.
    InputError
        If the file is not a model, or violates the contract.
    """
    model = _load(path, workers)
    oriented = reorient(volume)
    hu = np.ascontiguousarray(np.clip(oriented.array, LOWEST_HU, HIGHEST_HU), dtype=np.int16)
    boxes = body_boxes(hu, oriented.spacing, workers=workers)
    labels = np.zeros(hu.shape, np.uint8)
    for start in range(0, len(hu), model.batch):
        planes = range(start, min(start + model.batch, len(hu)))
        small = np.zeros((model.batch, 1, model.rows, model.columns), np.float32)
        for k, z in enumerate(planes):
            small[k, 0] = _shrink(hu[z][boxes[z]], (model.rows, model.columns))
        small_labels = _run(model, small)
        for k, z in enumerate(planes):
            labels[z][boxes[z]] = _enlarge(small_labels[k], labels[z][boxes[z]].shape)
    return restore_axes(_largest(labels, fill=fill, workers=workers), volume.geometry)


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise MissingInputError("no such model", where=path, do="give the path of an ONNX file", code="onnx")
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= LARGEST_FILE else b""
    except OSError as problem:
        raise InputError(f"cannot be read: {problem.strerror}", where=path, code="onnx") from None
    if not content:
        raise InputError(f"a file of {size} bytes is not a model", where=path, do="give an ONNX file", code="onnx")
    return content


def _load(path: Path, workers: int) -> _Model:
    content = _content(path)
    try:
        import onnxruntime
    except ImportError:
        raise UnsupportedError(
            "a model needs onnxruntime, which is not installed", do="pip install 'hilum[dl]'", code="no-onnxruntime"
        ) from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # onnxruntime must not write to stderr
    options.intra_op_num_threads = count_workers(workers)
    options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as problem:  # noqa: BLE001 - it raises many kinds, none of them public
        raise InputError(f"not a model: {one_line(problem, limit=120)}", where=path, code="onnx") from None
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or not outputs or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 4:
        listed = "; ".join(f"{part.type} {part.shape}" for part in inputs)
        raise _unfit(path, f"inputs are {listed or 'none'}, expected one, tensor(float) [n, 1, {SIDE}, {SIDE}]")
    batch, channels, rows, columns = (
        size if isinstance(size, int) and size > 0 else usual
        for size, usual in zip(inputs[0].shape, (BATCH, 1, SIDE, SIDE), strict=True)
    )
    if channels != 1 or rows not in SIDES or columns not in SIDES or batch > 64 * BATCH:
        raise _unfit(path, f"its input is {inputs[0].shape}, expected [n, 1, {SIDE}, {SIDE}]")
    return _Model(session, inputs[0].name, batch, rows, columns, path)


def _run(model: _Model, planes: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The label with the highest score in every pixel, shape (batch, rows, columns)."""
    expected = (model.batch, LABELS, model.rows, model.columns)
    try:
        scores = model.session.run([model.session.get_outputs()[0].name], {model.name: planes})[0]
    except Exception as problem:  # noqa: BLE001 - as above
        raise InputError(f"the model failed: {one_line(problem, limit=120)}", where=model.path, code="onnx") from None
    if not isinstance(scores, np.ndarray) or scores.dtype.kind != "f" or scores.shape != expected:
        actual = f"{scores.dtype} {scores.shape}" if isinstance(scores, np.ndarray) else type(scores).__name__
        raise _unfit(model.path, f"its output is {actual}, expected float {expected}")
    if not np.isfinite(scores).all():
        raise _unfit(model.path, "its output has values that are not finite")
    labels: NDArray[np.uint8] = scores.argmax(axis=1).astype(np.uint8)
    return labels


def _unfit(path: Path, what: str) -> InputError:
    return InputError(one_line(what, limit=160), where=path, do="see docs/onnx.md for the contract", code="onnx")


def body_boxes(
    hu: NDArray[np.int16], spacing: tuple[float, float, float], *, workers: int = 0
) -> list[tuple[slice, slice]]:
    """Find the rows and columns of the body in each plane.

    Parameters
    ----------
    hu : ndarray of int16, shape (z, y, x), HU
        Planes are axial.
    spacing : tuple of float, (z, y, x), mm
        Distance of voxel centers.
    workers : int
        Threads; 0 for one per available core.

    Returns
    -------
    list of two slices
        The whole plane if it contains no body.
    """
    shape: Shape = hu.shape
    ball = morphology.ellipsoid(SHELL_MM, (np.inf, *spacing[1:]), shape)
    solid = bits.threshold(hu, BODY_MIN_HU, HIGHEST_HU, workers=workers)
    thick = morphology.erode(solid, ball, workers=workers)
    parts = labeling.find_components(thick, corners=False, planes=True, workers=workers)
    sizes, bounds = labeling.sizes(parts), labeling.boxes(parts)
    grown = [int(np.ceil(SHELL_MM / s)) for s in spacing[1:]]
    boxes = [(slice(0, shape[1]), slice(0, shape[2])) for _ in range(shape[0])]
    for z in np.unique(bounds[:, 0]):
        here = bounds[:, 0] == z
        large = here & (sizes >= LARGE_FRACTION * sizes[here].max())
        first, stop = bounds[large, 1:3].min(axis=0) - grown, bounds[large, 4:6].max(axis=0) + grown
        low, high = np.maximum(first, 0).tolist(), np.minimum(stop, shape[1:]).tolist()
        boxes[z] = (slice(low[0], high[0]), slice(low[1], high[1]))
    return boxes


def _shrink(plane: NDArray[np.int16], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Interpolate linearly, with the corner pixels on each other, and scale HU to 0 to 1."""
    values = plane.astype(np.float32)
    for axis in (0, 1):
        at = np.linspace(0, values.shape[axis] - 1, shape[axis])
        low = np.floor(at).astype(np.intp)
        high = np.minimum(low + 1, values.shape[axis] - 1)
        weight = (at - low).astype(np.float32)
        weight = weight[:, None] if axis == 0 else weight
        values = values.take(low, axis=axis) * (1 - weight) + values.take(high, axis=axis) * weight
    return (values - LOWEST_HU) / np.float32(HIGHEST_HU - LOWEST_HU)


def _enlarge(labels: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Take the nearest pixels of the small plane, with the corner pixels on each other."""
    rows, columns = (
        np.rint(np.linspace(0, small - 1, large)).astype(np.intp)
        for small, large in zip(labels.shape, shape, strict=True)
    )
    return labels[np.ix_(rows, columns)]


def _largest(labels: NDArray[np.uint8], *, fill: bool, workers: int) -> NDArray[np.uint8]:
    """Keep each label's largest component, and let it grow into the other components that touch it."""
    main = np.zeros(labels.shape, np.uint8)
    for label in (RIGHT_LUNG, LEFT_LUNG):
        components = labeling.find_components(
            bits.equal(labels, label, workers=workers), corners=False, workers=workers
        )
        if components.number:
            largest = np.arange(components.number) == int(np.argmax(labeling.sizes(components)))
            bits.write_label(selection.select(components, largest, workers=workers), main, label=label, workers=workers)
    grown = coarse.grow_labels(main, labels > 0)
    if fill:
        for label in (RIGHT_LUNG, LEFT_LUNG):
            filled = selection.fill_planes(bits.equal(grown, label, workers=workers), workers=workers)
            free = filled & bits.equal(grown, 0, workers=workers)
            bits.write_label(free, grown, label=label, workers=workers)
    return grown
