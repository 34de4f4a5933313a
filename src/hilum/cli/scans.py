"""Commands on one scan: look at it, convert it, find its lungs, draw its nodules."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

import hilum
from hilum.cli.status import ALL_WELL, REFUSED
from hilum.console import describe, inspection_text, say, warn
from hilum.errors import AnnotationError, InputError

if TYPE_CHECKING:
    from hilum.scan import Scan


ContourPixel = Literal["exclude", "include"]


def _known(_type: object, method: str) -> None:
    """Refuse a method that there is not, as a mistake of usage."""
    from hilum.ops.lungs.segment import METHODS, MODEL

    if method not in METHODS and not method.startswith(MODEL):
        raise ValueError(f"expected one of {', '.join(METHODS)}, {MODEL}PATH")


Method = Annotated[str, Parameter(validator=_known)]


def info(
    source: Path,
    /,
    *,
    headers: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Say what a file or folder holds, what is odd about it, and what would be done.

    Parameters
    ----------
    source
        A DICOM folder, a volume file, or a folder of them.
    headers
        Look at the headers of DICOM series alone: sooner, and what only the pixels tell is not known.
    json
        Print JSON for programs in place of text.
    """
    from hilum.datasets import folder
    from hilum.io.inspect import inspect, inspection_json
    from hilum.io.volumes.formats import is_volume

    if source.is_dir() and not is_volume(source):
        listing = folder.index(source)
        for note in listing.notes:
            warn(note.told)
        volumes = [ref.path for ref in listing.refs if is_volume(ref.path)]
        found = inspect(source, pixels=not headers, volumes=volumes, refused=listing.refused)
    else:
        found = inspect(source, pixels=not headers)
    say(inspection_json(found) if json else inspection_text(found))
    return ALL_WELL if any(series.usable for series in found) else REFUSED


def convert(source: Path, output: Path, /, *, series: str = "", slice_spacing_mm: float | None = None) -> int:
    """Write a scan in Hounsfield units on its own grid.

    Parameters
    ----------
    source
        A DICOM folder or a volume file.
    output
        Ends in .nii, .nii.gz, .nrrd, .mha, .mhd, .npy, .zarr or .b2nd.
    series
        Series Instance UID, where the folder holds several.
    slice_spacing_mm
        For DICOM slices without positions: distance from one InstanceNumber to the next in mm, negative where they
        count from head to feet.
    """
    from hilum.io.scan_files import write
    from hilum.io.volumes.formats import writer_of

    writer_of(output)
    scan = _read(source, series=series, slice_spacing_mm=slice_spacing_mm)
    write(scan.ct, output, series_uid=scan.series_uid)
    say(f"{output}: {describe(scan)}")
    return ALL_WELL


def lungs(
    source: Path,
    output: Path,
    /,
    *,
    method: Method = "hilum",
    dilate_mm: float = 0.0,
    pathology: Literal["include", "exclude"] = "include",
    airways: bool = False,
    background: Literal["corner", "sides"] = "corner",
    series: str = "",
) -> int:
    """Write a lung mask on the scan's own grid: 1 right, 2 left.

    Parameters
    ----------
    source
        A DICOM folder or a volume file.
    output
        Ends in .nii, .nii.gz, .nrrd, .mha, .mhd, .npy, .zarr or .b2nd.
    method
        hilum, tutorial3d, tutorial2d, or onnx:PATH for a model of yours. The tutorial's methods do not tell sides:
        their lungs are all 1.
    dilate_mm
        Growth of the mask in mm.
    pathology
        Whether consolidated and hazy lung belongs to the mask (method hilum); fluid never does.
    airways
        Label windpipe and main bronchi with 3 (method hilum).
    background
        Air around the patient: joined with the first voxel, or with any side (method tutorial3d).
    series
        Series Instance UID, where the folder holds several.
    """
    from hilum.io.scan_files import write
    from hilum.io.volumes.formats import writer_of
    from hilum.ops.lungs.fallback import find_lungs
    from hilum.ops.lungs.segment import WITHOUT_SIDES, segment_lungs
    from hilum.ops.morphology import dilate
    from hilum.ops.quality.measure import judge

    writer_of(output)
    scan = _read(source, series=series)
    sides = method not in WITHOUT_SIDES
    own = method == "hilum"
    segment = partial(segment_lungs, method=method, pathology=pathology, airways=airways, background=background)
    found = find_lungs(scan.ct, segment, own=own, sides=sides, fallback=own)
    if not found.mask.array.any():
        raise InputError(
            "no lung was found", where=source, do="look at the scan, or try another --method", code="lungs"
        )
    for note in (*found.notes, *judge(found.figures)):
        warn(str(note))
    mask = dilate(found.mask, radius_mm=dilate_mm) if dilate_mm else found.mask
    write(mask, output, series_uid=scan.series_uid)
    say(f"{output}: {mask.volume_ml(1):.0f} ml labelled 1, {mask.volume_ml(2):.0f} ml labelled 2")
    return ALL_WELL


def nodules(
    source: Path,
    annotations: Path,
    output: Path,
    /,
    *,
    consensus: float = 0.5,
    contour_pixel: ContourPixel = "exclude",
    series: str = "",
    series_uid: str = "",
) -> int:
    """Write a nodule mask on the scan's own grid.

    Parameters
    ----------
    source
        A DICOM folder or a volume file.
    annotations
        A LUNA16 annotations.csv, or a reading of LIDC-IDRI in .xml.
    output
        Ends in .nii, .nii.gz, .nrrd, .mha, .mhd, .npy, .zarr or .b2nd.
    consensus
        The share of a nodule's readers who must have drawn a place: above 0, at most 1.
    contour_pixel
        Whether the pixels on an outline belong to the nodule; LIDC-IDRI's readers kept just outside of it.
    series
        Series Instance UID, where the folder holds several.
    series_uid
        What the annotations call the scan, where its file does not know its Series Instance UID.
    """
    from hilum.io.scan_files import write
    from hilum.io.volumes.formats import writer_of
    from hilum.ops.nodules.masks import mask_nodules, nodules_outside
    from hilum.ops.nodules.outlines import check_level

    writer_of(output)
    check_level(consensus)
    scan = _read(source, series=series, annotations=annotations, series_uid=series_uid)
    for number in nodules_outside(scan.ct.geometry, scan.nodules):
        warn(f"nodule-outside: nodule {number + 1} at {scan.nodules[number].center} mm lies outside the scan")
    mask = mask_nodules(scan.ct.geometry, scan.nodules, level=consensus, contour_pixel=contour_pixel)
    write(mask, output, series_uid=scan.series_uid)
    say(f"{output}: {len(scan.nodules)} nodules, {mask.volume_ml():.2f} ml")
    return ALL_WELL


def _read(
    source: Path,
    *,
    series: str = "",
    annotations: Path | None = None,
    series_uid: str = "",
    slice_spacing_mm: float | None = None,
) -> Scan:
    from hilum.io.scan_files import check_is_ct

    scan = hilum.read(
        source, series=series, annotations=annotations, series_uid=series_uid, slice_spacing_mm=slice_spacing_mm
    )
    check_is_ct(scan, source)
    if annotations is not None and not scan.annotated:
        what = f"no row is of {scan.series_uid}, so that nothing is known of its nodules"
        do = "check the table, or state what it calls the scan (--series-uid)"
        raise AnnotationError(what, where=annotations, do=do, code="no-row-fits")
    for note in scan.notes:
        warn(str(note))
    return scan
