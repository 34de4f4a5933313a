"""Read the label files of a scan into its label maps."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from hilum.errors import AnnotationError
from hilum.io.archives import opened_member
from hilum.io.labels.label_maps import read_label_map
from hilum.io.labels.rtstruct import read_rtstruct
from hilum.io.labels.seg import read_seg
from hilum.ops.arguments import expect, scan_of
from hilum.scan import LabelMap, Note, Scan
from hilum.scan_ref import LabelFile


def attach_labels(scan: Scan, files: Sequence[LabelFile]) -> Scan:
    """Give a scan its label maps.

    Parameters
    ----------
    scan : Scan
        On its own grid, as `hilum.read` returns it.
    files : sequence of LabelFile
        The files to read, in this order; none gives the scan as it is.

    Returns
    -------
    Scan
        With ``label_maps``, each on the grid of its file, and notes on what was odd.

    Raises
    ------
    InputError
        If a file cannot be read or does not belong to the scan, or two label maps have one name.

    Examples
    --------
    >>> import hilum
    >>> scan = hilum.read("ct.nii.gz")
    >>> file = hilum.LabelFile("lungs.nii.gz", "map", name="lungs", values=(("right", 1), ("left", 2)))
    >>> dict(hilum.attach_labels(scan, [file]).label_maps["lungs"].values)
    {'right': 1, 'left': 2}
    """
    scan = scan_of(scan)
    maps: dict[str, LabelMap] = dict(scan.label_maps)
    notes: list[Note] = []
    do = "give a list of hilum.LabelFile"
    for file in expect(files, (list, tuple), "list of label files", do=do):
        expect(file, LabelFile, "label file", do=do)
        made, odd = _read(scan, file)
        if twice := sorted(made.keys() & maps.keys()):
            what = f"two label maps of this scan are called {twice[0]!r}"
            raise AnnotationError(what, where=file.path, do="leave one out, or give it another name", code="two-labels")
        maps |= made
        notes += odd
    if not files:
        return scan
    return replace(scan, label_maps=MappingProxyType(maps), notes=(*scan.notes, *notes))


def _read(scan: Scan, file: LabelFile) -> tuple[dict[str, LabelMap], tuple[Note, ...]]:
    if file.kind != "map":
        with opened_member(Path(file.path)) as path:
            if file.kind == "seg":
                return read_seg(path, scan, file.regions)
            return read_rtstruct(path, scan, file.regions, xor=file.xor)
    label_map, notes = read_label_map(
        file.path, name=file.name, scan_grid=scan.ct.geometry, values=file.values, grid=file.grid
    )
    return {file.name: label_map}, notes
