"""Pictures of one scan: `hilum plot KIND`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

import hilum
from hilum.cli import plot_files
from hilum.cli.options import Consensus, Flag, OutOrNone, PictureOut, PlotSource, Preset, ScanSource
from hilum.cli.plot_files import Options, load, save
from hilum.console import print_result
from hilum.errors import InputError

Slice = Annotated[int | None, Parameter(name="--slice")]

_DEFAULTS = Options()


def histogram(
    source: PlotSource,
    /,
    *,
    out: PictureOut,
    bins: int = 80,
    tissues: str = "chest",
    lungs: Flag = False,
    options: Options = _DEFAULTS,
) -> None:
    """Draw a histogram of the HU values and the HU ranges of tissues.

    Parameters
    ----------
    bins
        Number of bins of equal width from -1100 to 1500 HU.
    tissues
        Tissues whose HU are shown: chest, all (also those of the head), or names, for example "air,lung,bone".
    lungs
        Count only the voxels of the lungs.
    """
    scan = load(source, options, out)
    from hilum.pictures.histogram import histogram as draw

    mask = plot_files.with_lungs(scan).lungs if lungs else None
    save(draw(scan.ct, mask=mask, bins=bins, tissues=tissues, width_mm=options.width_mm), out, options)


def montage(
    source: PlotSource,
    /,
    *,
    out: PictureOut,
    plane: Literal["axial", "coronal", "sagittal"] = "axial",
    every: int = 5,
    columns: int | None = None,
    preset: Preset = "lung",
    lungs: Flag = False,
    options: Options = _DEFAULTS,
) -> None:
    """Draw every n-th slice on one sheet.

    Parameters
    ----------
    plane
        Orientation of the slices.
    every
        Step from one drawn slice to the next. Slices before and after the lungs, or the body, are left out.
    columns
        Slices per row; by default 8, or as many as fit --width-mm.
    lungs
        Segment and outline the lungs; the lung mask and label maps of a finished scan are always outlined.
    """
    scan = load(source, options, out)
    from hilum.pictures.montage import montage as draw

    scan = plot_files.with_lungs(scan) if lungs else scan
    save(draw(scan, plane=plane, every=every, columns=columns, preset=preset, width_mm=options.width_mm), out, options)


def surface(
    source: PlotSource,
    /,
    *,
    out: OutOrNone = None,
    mesh: Path | None = None,
    kind: Literal["lungs", "skeleton"] = "lungs",
    threshold_hu: float = 400.0,
    cell_mm: float = 2.0,
    options: Options = _DEFAULTS,
) -> None:
    """Draw the lungs with their nodules, or the skeleton, in 3-D, or write them as a mesh.

    Parameters
    ----------
    out
        Picture to write: .png, .svg or .pdf.
    mesh
        Mesh to write, in LPS mm: .stl, .ply or .glb.
    kind
        What to draw.
    threshold_hu
        Voxels above this value belong to the skeleton.
    cell_mm
        Approximate size of the cells over which voxels are averaged.
    """
    if out is None and mesh is None:
        raise InputError("nothing to write", do="give --out for a picture, --mesh for a mesh, or both", code="option")
    from hilum.io.meshes import check_mesh_output, write_meshes

    if out is not None:
        plot_files.check_picture(out)
    if mesh is not None:
        check_mesh_output(mesh)
    plot_files.require("skimage", "scikit-image")
    plot_files.require("matplotlib", "matplotlib")
    from hilum.ops.surfaces import surfaces
    from hilum.pictures import surface as picture

    scan = load(source, options)
    scan = plot_files.with_lungs(scan) if kind == "lungs" else scan
    meshes = surfaces(scan, kind=kind, threshold_hu=threshold_hu, cell_mm=cell_mm)
    if mesh is not None:
        write_meshes([(part, picture.part_color(part)) for part in meshes], mesh)
        print_result(f"{mesh}: {', '.join(f'{part.name} {len(part.faces)} triangles' for part in meshes)}")
    if out is not None:
        figure = picture.surface(scan, kind=kind, threshold_hu=threshold_hu, meshes=meshes, width_mm=options.width_mm)
        save(figure, out, options)


def steps(
    source: PlotSource,
    /,
    *,
    out: PictureOut,
    method: Literal["tutorial2d", "hilum"] = "tutorial2d",
    slice_number: Slice = None,
    options: Options = _DEFAULTS,
) -> None:
    """Draw the steps of the lung segmentation on one slice.

    Parameters
    ----------
    method
        The eight steps of the 2017 tutorial, or the stages of hilum's own method.
    slice_number
        Slice number, counted from 1 at the feet; the slice with the most lung by default.
    """
    scan = load(source, options, out)
    from hilum.pictures.steps import steps as draw

    save(
        draw(scan.ct, method=method, index=plot_files.slice_index(slice_number), width_mm=options.width_mm),
        out,
        options,
    )


def nodules(
    source: PlotSource,
    /,
    *,
    out: PictureOut,
    preset: Preset = "lung",
    consensus: Consensus = 0.5,
    most: int = 12,
    options: Options = _DEFAULTS,
) -> None:
    """Draw each nodule as image, mask and overlay in three planes.

    Parameters
    ----------
    most
        Number of nodules to draw, the largest first.
    """
    scan = load(source, options, out)
    from hilum.pictures.nodules import nodules as draw

    save(draw(scan, preset=preset, level=consensus, most=most, width_mm=options.width_mm), out, options)


def window(source: PlotSource, /, *, out: PictureOut, slice_number: Slice = None, options: Options = _DEFAULTS) -> None:
    """Draw a slice under every window preset, and the curves from stored value to gray value.

    Parameters
    ----------
    slice_number
        Slice number, counted from 1 at the feet; by default the slice of the largest nodule, or the middle one.
    """
    scan = load(source, options, out)
    from hilum.pictures.window import window as draw

    index, rescale = plot_files.slice_index(slice_number), plot_files.rescale_of(source, scan)
    save(draw(scan, index=index, rescale=rescale, width_mm=options.width_mm), out, options)


def compare(
    source: ScanSource,
    /,
    *,
    out: PictureOut,
    recipe: str = "default",
    beside: str = "tutorial2017",
    preset: Preset = "lung",
    options: Options = _DEFAULTS,
) -> None:
    """Draw the results of two recipes on one scan, and the effects of common mistakes of 2017.

    Parameters
    ----------
    recipe
        Name of a built-in recipe, or a TOML file.
    beside
        The recipe to compare it with.
    """
    plot_files.check_picture(out)
    from hilum.pictures.compare import compare as draw

    first, second = hilum.recipe(recipe), hilum.recipe(beside)
    if plot_files.finished_scan(source) is not None:
        do = "give the folder or file that it was made from"
        raise InputError("is a finished scan; recipes are compared on the original scan", where=source, do=do)
    save(draw(load(source, options), first, second, preset=preset, width_mm=options.width_mm), out, options)


def overview(source: PlotSource, /, *, out: PictureOut, preset: Preset = "lung", options: Options = _DEFAULTS) -> None:
    """Draw slices in three planes with lungs and nodules."""
    scan = load(source, options, out)
    from hilum.pictures.overview import overview as draw

    save(draw(plot_files.with_lungs(scan), preset=preset, width_mm=options.width_mm), out, options)
