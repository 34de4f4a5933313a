"""Pictures of one scan: `hilum plot KIND`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

import hilum
from hilum.cli.status import ALL_WELL
from hilum.console import say, warn
from hilum.errors import InputError, UnsupportedError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hilum.scan import Scan

Preset = Literal["lung", "mediastinum", "soft-tissue", "bone"]
Flag = Annotated[bool, Parameter(negative="")]
Slice = Annotated[int | None, Parameter(name="--slice")]

PICTURES = (".png", ".svg", ".pdf")
"""How a picture's name may end."""


@Parameter(name="*")
@dataclass(frozen=True)
class Options:
    """What every picture takes.

    Parameters
    ----------
    annotations
        A LUNA16 annotations.csv, or a reading of LIDC-IDRI in .xml.
    series
        Series Instance UID, where the folder holds several.
    series_uid
        Series Instance UID, where the file does not know its own.
    dpi
        Dots per inch of a .png; the figure's own without it.
    """

    annotations: Path | None = None
    series: str = ""
    series_uid: str = ""
    dpi: int | None = None


_USUAL = Options()


def histogram(source: Path, /, *, out: Path, bins: int = 80, lungs: Flag = False, options: Options = _USUAL) -> int:
    """Draw how often each HU value occurs, beside the ranges of tissues.

    Parameters
    ----------
    source
        A DICOM folder, a volume file, or a finished scan's folder.
    out
        Ends in .png, .svg or .pdf.
    bins
        Of equal width, over -1100 to 1500 HU.
    lungs
        Count the voxels of the lungs alone.
    """
    check_picture(out)
    from hilum.pictures.histogram import histogram as draw

    scan = _load(source, options)
    return _save(draw(scan.ct, mask=_with_lungs(scan).lungs if lungs else None, bins=bins), out, options)


def montage(
    source: Path,
    /,
    *,
    out: Path,
    plane: Literal["axial", "coronal", "sagittal"] = "axial",
    every: int = 5,
    columns: int = 8,
    preset: Preset = "lung",
    lungs: Flag = False,
    options: Options = _USUAL,
) -> int:
    """Draw every n-th slice on one sheet.

    Parameters
    ----------
    source
        A DICOM folder, a volume file, or a finished scan's folder.
    out
        Ends in .png, .svg or .pdf.
    plane
        How the slices lie.
    every
        Slices from one that is drawn to the next.
    columns
        Slices a row.
    preset
        The window.
    lungs
        Find the lungs and outline them; those of a finished scan are outlined anyway.
    """
    check_picture(out)
    from hilum.pictures.montage import montage as draw

    scan = _load(source, options)
    scan = _with_lungs(scan) if lungs else scan
    figure = draw(
        scan.ct, plane=plane, every=every, columns=columns, preset=preset, lungs=scan.lungs, nodules=scan.nodules
    )
    return _save(figure, out, options)


def surface(
    source: Path,
    /,
    *,
    out: Path | None = None,
    mesh: Path | None = None,
    kind: Literal["lungs", "skeleton"] = "lungs",
    threshold_hu: float = 400.0,
    cell_mm: float = 2.0,
    options: Options = _USUAL,
) -> int:
    """Draw the lungs with their nodules, or the skeleton, in three dimensions; or write them as a mesh.

    Parameters
    ----------
    source
        A DICOM folder, a volume file, or a finished scan's folder.
    out
        A picture: .png, .svg or .pdf.
    mesh
        A mesh in LPS mm: .stl, .ply or .glb.
    kind
        What is shown.
    threshold_hu
        The skeleton is above it.
    cell_mm
        Voxels are averaged in cells of about this size.
    """
    if out is None and mesh is None:
        raise InputError("nothing to write", do="give --out for a picture, --mesh for a mesh, or both", code="option")
    from hilum.io.meshes import check_mesh_output, write_meshes

    if out is not None:
        check_picture(out)
    if mesh is not None:
        check_mesh_output(mesh)
    _need("skimage", "scikit-image")
    _need("matplotlib", "matplotlib")
    from hilum.ops.surfaces import surfaces
    from hilum.pictures.surface import part_color
    from hilum.pictures.surface import surface as draw

    scan = _load(source, options)
    scan = _with_lungs(scan) if kind == "lungs" else scan
    found = surfaces(scan, kind=kind, threshold_hu=threshold_hu, cell_mm=cell_mm)
    if mesh is not None:
        write_meshes([(part, part_color(part)) for part in found], mesh)
        say(f"{mesh}: {', '.join(f'{m.name} {len(m.faces)} triangles' for m in found)}")
    if out is not None:
        _save(draw(scan, kind=kind, threshold_hu=threshold_hu, meshes=found), out, options)
    return ALL_WELL


def steps(
    source: Path,
    /,
    *,
    out: Path,
    method: Literal["tutorial2d", "hilum"] = "tutorial2d",
    slice_number: Slice = None,
    options: Options = _USUAL,
) -> int:
    """Draw how the lungs are found on one slice, step by step.

    Parameters
    ----------
    source
        A DICOM folder, a volume file, or a finished scan's folder.
    out
        Ends in .png, .svg or .pdf.
    method
        The eight steps of the 2017 tutorial, or the stages of hilum's own method.
    slice_number
        From 1 at the feet; that with the most lung without it.
    """
    check_picture(out)
    from hilum.pictures.steps import steps as draw

    scan = _load(source, options)
    return _save(draw(scan.ct, method=method, index=_index(slice_number)), out, options)


def nodules(
    source: Path,
    /,
    *,
    out: Path,
    preset: Preset = "lung",
    consensus: float = 0.5,
    most: int = 12,
    options: Options = _USUAL,
) -> int:
    """Draw each nodule as image, mask and overlay in three planes.

    Parameters
    ----------
    source
        A DICOM folder, a volume file, or a finished scan's folder.
    out
        Ends in .png, .svg or .pdf.
    preset
        The window.
    consensus
        The share of a nodule's readers who must have drawn a place: above 0, at most 1.
    most
        Nodules drawn, the largest first.
    """
    check_picture(out)
    from hilum.pictures.nodules import nodules as draw

    return _save(draw(_load(source, options), preset=preset, level=consensus, most=most), out, options)


def window(source: Path, /, *, out: Path, slice_number: Slice = None, options: Options = _USUAL) -> int:
    """Draw a slice under every preset, and the curves from stored value to gray.

    Parameters
    ----------
    source
        A DICOM folder, a volume file, or a finished scan's folder.
    out
        Ends in .png, .svg or .pdf.
    slice_number
        From 1 at the feet; that of the largest nodule, or the middle, without it.
    """
    check_picture(out)
    from hilum.pictures.window import window as draw

    scan = _load(source, options)
    return _save(draw(scan, index=_index(slice_number), rescale=_rescale(source, scan)), out, options)


def compare(
    source: Path,
    /,
    *,
    out: Path,
    recipe: str = "default",
    beside: str = "tutorial2017",
    preset: Preset = "lung",
    options: Options = _USUAL,
) -> int:
    """Draw what two recipes make of a scan, and what habits of 2017 would do to it.

    Parameters
    ----------
    source
        A DICOM folder or a volume file.
    out
        Ends in .png, .svg or .pdf.
    recipe
        Name of a recipe that ships, or a TOML file.
    beside
        The other recipe.
    preset
        The window.
    """
    check_picture(out)
    from hilum.pictures.compare import compare as draw

    first, second = hilum.recipe(recipe), hilum.recipe(beside)
    if _finished(source) is not None:
        do = "give the folder or file that it was made from"
        raise InputError("recipes are compared on a scan as it was read, and this one is finished", where=source, do=do)
    return _save(draw(_load(source, options), first, second, preset=preset), out, options)


def overview(source: Path, /, *, out: Path, preset: Preset = "lung", options: Options = _USUAL) -> int:
    """Draw slices in three planes with lungs and nodules.

    Parameters
    ----------
    source
        A DICOM folder, a volume file, or a finished scan's folder.
    out
        Ends in .png, .svg or .pdf.
    preset
        The window.
    """
    check_picture(out)
    from hilum.pictures.overview import overview as draw

    return _save(draw(_with_lungs(_load(source, options)), preset=preset), out, options)


def check_picture(out: Path) -> None:
    """Refuse a picture that cannot be drawn before any work is done for it."""
    if out.suffix.lower() not in PICTURES:
        raise UnsupportedError(f"a picture ends in {', '.join(PICTURES)}", where=out, do="give such a name")
    _need("matplotlib", "matplotlib")


def save_picture(figure: Figure, out: Path, *, dpi: int | None = None) -> None:
    """Write a figure, which appears under its name only when it is whole."""
    from hilum.io.atomic import atomic_path

    if dpi is not None and not 10 <= dpi <= 1200:
        raise InputError(f"dpi is {dpi}, expected 10 to 1200", code="option")
    with atomic_path(out) as temporary:
        dots: int | Literal["figure"] = "figure" if dpi is None else dpi
        if out.suffix.lower() == ".png":
            figure.savefig(
                temporary, dpi=dots, pil_kwargs={"compress_level": 1}
            )  # packing well takes longer than drawing
        else:
            figure.savefig(temporary, dpi=dots)


def _need(module: str, package: str) -> None:
    if find_spec(module) is None:
        do = "pip install 'hilum[plots]'"
        raise InputError(f"a picture needs {package}, which is not installed", do=do, code="option")


def _save(figure: Figure, out: Path, options: Options) -> int:
    save_picture(figure, out, dpi=options.dpi)
    say(f"{out}: {out.stat().st_size / 1e6:.2f} MB")
    return ALL_WELL


def _load(source: Path, options: Options) -> Scan:
    """Read a scan, finished or not, in HU."""
    from hilum.io import annotate
    from hilum.io.store import HU, read_finished, read_record

    folder = _finished(source)
    if folder is None:
        scan = hilum.read(source, series=options.series, annotations=options.annotations, series_uid=options.series_uid)
        for note in scan.notes:
            warn(str(note))
        return scan
    record = read_record(folder)
    if record is None:
        raise InputError("scan.json is none of this version", where=folder, do="run the scan again")
    if record.unit != HU:
        what = f"this scan is stored in the {record.unit}, and pictures are drawn of HU"
        raise InputError(what, where=folder, do="give the scan that it was made from", code="not-in-hu")
    scan = read_finished(folder, record)
    return scan if options.annotations is None else annotate(scan, options.annotations)


def _finished(source: Path) -> Path | None:
    """The folder of a finished scan: the one given, or the only one of a run's output."""
    from hilum.io.store import finished_scans

    if (source / "scan.json").is_file():
        return source
    if not ((source / "scans").is_dir() and (source / "recipe.toml").is_file()):
        return None
    found = [path for path, _ in finished_scans(source)]
    if len(found) != 1:
        do = f"give one of them: {found[0]}" if found else "look at its ledger.jsonl"
        raise InputError(f"{len(found)} finished scans here, expected one", where=source, do=do, code="option")
    return found[0]


def _with_lungs(scan: Scan) -> Scan:
    if scan.lungs is not None:
        return scan
    mask = hilum.segment_lungs(scan.ct)
    if not mask.array.any():
        warn("lungs: no lung was found")
    return replace(scan, lungs=mask)


def _index(slice_number: int | None) -> int | None:
    if slice_number is not None and slice_number < 1:
        raise InputError(f"slice {slice_number}, but they are counted from 1", code="option")
    return None if slice_number is None else slice_number - 1


def _rescale(source: Path, scan: Scan) -> tuple[float, float] | None:
    """Slope and intercept that all slices of a DICOM series share; None for other files, and where they differ."""
    if not scan.slice_uids:
        return None
    from hilum.io.dicom import index_dicom

    uids = set(scan.slice_uids)
    pairs = {(h.slope, h.intercept) for s in index_dicom(source) for h in s.slices if h.sop_uid in uids and not h.lut}
    slope, intercept = pairs.pop() if len(pairs) == 1 else (None, None)
    if slope is None or intercept is None:
        warn("rescale: slices differ in slope and intercept, or have a table; the curve is an example")
        return None
    return slope, intercept
