"""Pictures of one scan: `hilum plot KIND`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

import hilum
from hilum.cli.plot_files import (
    Options,
    check_picture,
    finished_folder,
    index_of,
    load,
    need,
    rescale_of,
    save,
    with_lungs,
)
from hilum.cli.status import ALL_WELL
from hilum.console import say
from hilum.errors import InputError

Preset = Literal["lung", "mediastinum", "soft-tissue", "bone"]
Flag = Annotated[bool, Parameter(negative="")]
Slice = Annotated[int | None, Parameter(name="--slice")]

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

    scan = load(source, options)
    return save(draw(scan.ct, mask=with_lungs(scan).lungs if lungs else None, bins=bins), out, options)


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

    scan = load(source, options)
    scan = with_lungs(scan) if lungs else scan
    figure = draw(
        scan.ct, plane=plane, every=every, columns=columns, preset=preset, lungs=scan.lungs, nodules=scan.nodules
    )
    return save(figure, out, options)


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
    need("skimage", "scikit-image")
    need("matplotlib", "matplotlib")
    from hilum.ops.surfaces import surfaces
    from hilum.pictures.surface import part_color
    from hilum.pictures.surface import surface as draw

    scan = load(source, options)
    scan = with_lungs(scan) if kind == "lungs" else scan
    found = surfaces(scan, kind=kind, threshold_hu=threshold_hu, cell_mm=cell_mm)
    if mesh is not None:
        write_meshes([(part, part_color(part)) for part in found], mesh)
        say(f"{mesh}: {', '.join(f'{m.name} {len(m.faces)} triangles' for m in found)}")
    if out is not None:
        save(draw(scan, kind=kind, threshold_hu=threshold_hu, meshes=found), out, options)
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

    scan = load(source, options)
    return save(draw(scan.ct, method=method, index=index_of(slice_number)), out, options)


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

    return save(draw(load(source, options), preset=preset, level=consensus, most=most), out, options)


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

    scan = load(source, options)
    return save(draw(scan, index=index_of(slice_number), rescale=rescale_of(source, scan)), out, options)


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
    if finished_folder(source) is not None:
        do = "give the folder or file that it was made from"
        raise InputError("recipes are compared on a scan as it was read, and this one is finished", where=source, do=do)
    return save(draw(load(source, options), first, second, preset=preset), out, options)


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

    return save(draw(with_lungs(load(source, options)), preset=preset), out, options)
