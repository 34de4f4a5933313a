"""Commands on one scan: inspect it, convert it, segment its lungs, draw its nodules, look at it."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import hilum
from hilum import cli
from hilum.cli.status import ALL_WELL, REFUSED
from hilum.console import describe_volume, inspection_text, print_note, print_notes, print_result, print_stderr
from hilum.errors import InputError

if TYPE_CHECKING:
    from hilum.scan import Note, Scan


def info(
    source: Path,
    /,
    *,
    headers: cli.options.Flag = False,
    max_gap_mm: cli.options.MaxGap = None,
    tilt: cli.options.Tilt = True,
    values: cli.options.Values = None,
    json: cli.options.Json = False,
) -> int:
    """Show what a file or folder holds, its problems, and how hilum would handle them.

    Parameters
    ----------
    source
        A DICOM folder, a volume file, an archive (.zip, .tar, .tgz), or a folder of them.
    headers
        Read only the headers of DICOM series: faster, but problems of the pixels are not found.
    """
    from hilum.io.inspect import inspection_json

    given = _stated(max_gap_mm, values, tilt=tilt)
    found = hilum.series(source, on_note=_print_short, pixels=not headers, **given)
    print_result(inspection_json(found) if json else inspection_text(found))
    return ALL_WELL if any(series.usable for series in found) else REFUSED


def _print_short(note: Note) -> None:
    print_note(note.terminal_text)


def convert(
    source: cli.options.ScanSource,
    /,
    output: cli.options.VolumeOut,
    *,
    series: cli.options.Series = "",
    phase: cli.options.Phase = "",
    volume: cli.options.VolumeNumber = None,
    max_gap_mm: cli.options.MaxGap = None,
    slice_spacing_mm: float | None = None,
    tilt: cli.options.Tilt = True,
    values: cli.options.Values = None,
) -> None:
    """Write a scan in Hounsfield units on its own grid.

    Parameters
    ----------
    slice_spacing_mm
        For DICOM slices or frames without positions: distance in mm from one InstanceNumber or frame to the next,
        negative if they count from head to feet.
    """
    from hilum._kernels.threads import begin

    given = _stated(max_gap_mm, values, tilt=tilt) | _chosen(series, phase, volume)
    scan = _read(source, output, slice_spacing_mm=slice_spacing_mm, **given)
    described = begin(lambda: describe_volume(scan))
    hilum.write(scan.ct, output, series_uid=scan.series_uid)
    print_result(f"{output}: {described()}")


def lungs(
    source: cli.options.ScanSource,
    /,
    output: cli.options.VolumeOut,
    *,
    method: cli.options.Method = "hilum",
    dilate_mm: float = 0.0,
    pathology: Literal["include", "exclude"] = "include",
    airways: bool = False,
    background: Literal["corner", "sides"] = "corner",
    series: cli.options.Series = "",
    phase: cli.options.Phase = "",
    volume: cli.options.VolumeNumber = None,
    max_gap_mm: cli.options.MaxGap = None,
    tilt: cli.options.Tilt = True,
    values: cli.options.Values = None,
) -> None:
    """Write a lung mask on the scan's own grid: 1 right, 2 left.

    Parameters
    ----------
    method
        hilum, tutorial3d, tutorial2d, or onnx:PATH for your own model. The tutorial methods do not separate the sides
        and label both lungs 1.
    dilate_mm
        Dilate the mask by this distance in mm.
    pathology
        Whether ground-glass belongs to the mask (method hilum). Consolidation at the wall and fluid do not.
    airways
        Label trachea and main bronchi 3 (method hilum).
    background
        Air around the patient: connected to the first voxel, or to any side of the volume (method tutorial3d).
    """
    from hilum.ops.quality.measure import quality_notes
    from hilum.pipeline import make_lungs
    from hilum.recipe_sections import Lungs

    step = Lungs(
        method=method, dilate_mm=dilate_mm, pathology=pathology, airways=airways, background=background,
        fallback=method == "hilum",
    )  # fmt: skip
    scan = _read(source, output, **_stated(max_gap_mm, values, tilt=tilt), **_chosen(series, phase, volume))
    mask, figures, notes = make_lungs(scan.ct, step)
    if mask is None or not mask.array.any():
        do = "look at the scan, or try another --method"
        raise InputError("no lung was found", where=source, do=do, code="lungs")
    print_notes((*notes, *quality_notes(figures)))
    hilum.write(mask, output, series_uid=scan.series_uid)
    print_result(f"{output}: {mask.volume_ml(1):.0f} ml labeled 1, {mask.volume_ml(2):.0f} ml labeled 2")


def nodules(
    source: cli.options.ScanSource,
    annotations: Path,
    /,
    output: cli.options.VolumeOut,
    *,
    consensus: cli.options.Consensus = 0.5,
    min_readers: cli.options.MinReaders = 1,
    contour_pixel: Literal["exclude", "include"] = "exclude",
    series: cli.options.Series = "",
    phase: cli.options.Phase = "",
    volume: cli.options.VolumeNumber = None,
    series_uid: str = "",
    table: cli.options.Table = None,
    max_gap_mm: cli.options.MaxGap = None,
    tilt: cli.options.Tilt = True,
    values: cli.options.Values = None,
) -> None:
    """Write a nodule mask on the scan's own grid.

    Parameters
    ----------
    annotations
        A table of nodules (.csv), a list of boxes (.json), or a LIDC-IDRI reading in .xml.
    contour_pixel
        Whether the pixels on an outline belong to the nodule. LIDC-IDRI's readers drew just outside the nodule.
    series_uid
        Series Instance UID of the scan in the annotations, if its file does not state it.
    """
    from hilum.cli.options import table_columns
    from hilum.ops.nodules import masks, outlines, readings
    from hilum.ops.nodules.axes import note_axes
    from hilum.pipeline import note_outside

    outlines.check_level(consensus)
    readings.check_readers(min_readers)
    given = _stated(max_gap_mm, values, tilt=tilt) | _chosen(series, phase, volume)
    columns = table_columns(table)
    read = _read(source, output, annotations=annotations, columns=columns, series_uid=series_uid, **given)
    scan = readings.require_readers(read, least=min_readers)
    print_notes((*scan.notes[len(read.notes) :], *note_outside(scan, scan.ct), *note_axes(scan, scan.ct)))
    mask = masks.mask_nodules(scan.ct.geometry, scan.nodules, level=consensus, contour_pixel=contour_pixel)
    hilum.write(mask, output, series_uid=scan.series_uid)
    print_result(f"{output}: {len(scan.nodules)} nodules, {mask.volume_ml():.2f} ml")


def _stated(max_gap_mm: float | None, values: cli.options.ValueOptions | None, *, tilt: bool) -> dict[str, Any]:
    """Options of the command line as `hilum.read` takes them."""
    stated = {} if values is None else asdict(values)
    return {"max_gap_mm": max_gap_mm, "tilt": "correct" if tilt else "refuse", **stated}


def _chosen(series: str, phase: str, volume: int | None) -> dict[str, Any]:
    return {"series": series, "phase": phase, "volume": volume}


def _read(source: Path, output: Path, *, annotations: Path | None = None, **options: Any) -> Scan:
    """Read a CT scan as `hilum.read` with these options, for a volume that can be written to `output`."""
    from hilum.io.scan_files import check_is_ct
    from hilum.io.volumes.formats import check_output

    check_output(output)
    scan = check_is_ct(hilum.read(source, annotations=annotations, **options), source)
    if annotations is not None:
        from hilum.io.annotate import check_annotated

        check_annotated(scan, annotations, columns=options.get("columns"))
    print_notes(scan.notes)
    return scan


def view(
    source: Path,
    /,
    *,
    annotations: Path | None = None,
    table: cli.options.Table = None,
    labels: cli.options.ViewLabels = (),
    label_grid: Literal["world", "voxels"] = "world",
    roi: cli.options.Regions = None,
    detections: Path | None = None,
    original: Path | None = None,
    beside: Path | None = None,
    series: cli.options.Series = "",
    phase: cli.options.Phase = "",
    volume: cli.options.VolumeNumber = None,
    max_gap_mm: cli.options.MaxGap = None,
    tilt: cli.options.Tilt = True,
    values: cli.options.Values = None,
    port: int = 0,
    host_name: cli.options.HostNames = (),
    browser: cli.options.Browser = True,
    who: str | None = None,
) -> None:
    """Look at a scan or a finished output in the browser: slices, lungs, nodules, label maps, 3-D. All data stay here.

    Parameters
    ----------
    source
        A DICOM folder, a volume file, an output folder of 'hilum run', or one of its scans, OUT/scans/ID.
    annotations
        For one scan: a table of nodules (.csv), a list of boxes (.json), or a LIDC-IDRI reading in .xml.
    labels
        A mask or label map to show, such as a prediction; NAME=FILE names it. For an output folder: a folder of them,
        called as the scans. For one scan also a DICOM structure set or segmentation. May be repeated.
    label_grid
        Place label maps by their geometry, or voxel on voxel if their files state none.
    roi
        For one scan: regions of structure sets and segmentations beside it to show, as 'hilum run' takes them.
    detections
        A detector's marks: a CSV file with the columns seriesuid, coordX, coordY, coordZ (LPS mm), probability, and
        diameter_mm if known.
    original
        For an output folder: the input of that run, to compare with the result.
    beside
        Another scan beside a scan, or another output folder beside an output folder, series by series.
    port
        Port on 127.0.0.1; 0 for any free port.
    host_name
        A name that the browser may use instead of 127.0.0.1 in the address, such as localhost. May be repeated.
    browser
        Open a browser; hilum prints a single-use address for one browser in any case.
    who
        The name under which corrected masks are saved beside a run; by default your login name.
    """
    from hilum.cli.options import table_columns
    from hilum.viewer import corrections, server, sources

    def ready(address: str) -> None:
        print_result(address)
        print_stderr("Press Ctrl-C to stop")

    def again(address: str) -> None:
        print_stderr(f"for another browser: {address}")

    def failed() -> None:
        print_stderr("could not start a browser: open the address above")

    server.check(host_name)
    given = _stated(max_gap_mm, values, tilt=tilt) | _chosen(series, phase, volume)
    given |= {"annotations": annotations, "columns": table_columns(table)}
    given |= {"original": original, "beside": beside, "detections": detections}
    opened = sources.open_source(source, labels=labels, label_grid=label_grid, rois=roi or (), **given)
    opened = replace(opened, who=corrections.who_saves(who))
    server.serve(opened, port=port, browser=browser, host_names=host_name, ready=ready, again=again, failed=failed)
