"""Masks that a user shows over finished scans, such as predictions: which file is of which scan."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from hilum.datasets.labels import LabelRequest, pair_labels
from hilum.errors import AnnotationError
from hilum.io.labels.attach import attach_labels
from hilum.io.labels.map_names import split_named
from hilum.io.volumes.formats import is_volume
from hilum.outputs.scans_index import read_origins
from hilum.pipeline import place_label_maps
from hilum.recipes import Recipe
from hilum.runs.run_scan import RunScan
from hilum.scan import LabelMap, Note, Scan
from hilum.scan_ref import LabelFile, LabelGrid, ScanRef
from hilum.viewer.label_overlays import map_file


def masks_of_scans(
    given: Sequence[str], scans: Sequence[RunScan], run: Path | None, *, grid: LabelGrid
) -> dict[str, tuple[LabelFile, ...]]:
    """Find the masks that a user gives for finished scans.

    Parameters
    ----------
    given : sequence of str
        Each a volume file or a folder of them, with ``NAME=`` in front if the masks shall have that name. Files are
        paired with scans by their names, as `hilum.datasets.labels` does; a file that is given for one scan alone may
        have any name.
    scans : sequence of RunScan
        The scans that are shown.
    run : Path or None
        The run that they belong to; it may know their public cases.
    grid : {"world", "voxels"}
        As in `LabelFile`.

    Returns
    -------
    dict of str to tuple of LabelFile
        By scan id.

    Raises
    ------
    InputError
        If a path holds no mask, no mask is of one of the scans, or two of one scan have one name.
    """
    if not given:
        return {}
    origins = {} if run is None else read_origins(run)
    cases = {name: origin.case for name, origin in origins.items()}
    refs = [ScanRef("run", one.scan_id, one.folder, one.uid, case=cases.get(one.scan_id, "")) for one in scans]
    files: list[LabelFile] = []
    others: list[str] = []
    for text in given:
        name, where = split_named(text)
        if len(refs) == 1 and Path(where).is_file() and is_volume(Path(where)):
            files.append(map_file(Path(where), name, refs[0].scan_id, grid=grid))
        else:
            others.append(text)
    paired, _ = pair_labels(refs, LabelRequest(tuple(others), grid), inputs=())
    return {ref.scan_id: found for ref in paired if (found := (*files, *ref.label_files))}


def read_masks(
    files: Sequence[LabelFile], scan: Scan, taken: Sequence[str]
) -> tuple[Mapping[str, LabelMap], tuple[Note, ...]]:
    """Read masks and place them on the grid of a scan.

    Parameters
    ----------
    files : sequence of LabelFile
        The masks.
    scan : Scan
        Without label maps.
    taken : sequence of str
        The names of its own label maps.

    Returns
    -------
    masks : mapping of str to LabelMap
        By name.
    notes : tuple of Note
        On what was odd.

    Raises
    ------
    InputError
        If a file cannot be read or does not lie on the scan, or has the name of a label map of the scan.
    """
    if twice := next((one for one in files if one.name in taken), None):
        what = f"the scan has a label map called {twice.name!r} already"
        raise AnnotationError(what, where=twice.path, do="give it a name: --mask NAME=PATH", code="two-labels")
    bare = Scan(series_uid=scan.series_uid, ct=scan.ct)
    attached = attach_labels(bare, files)
    placed, notes = place_label_maps(attached, scan.ct.geometry, Recipe())
    return placed, (*attached.notes, *notes)
