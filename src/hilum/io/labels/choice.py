"""Choose a region of a structure set or segmentation by its name, and check that it belongs to the scan."""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from hilum.errors import SeriesError, name_some
from hilum.io.labels.regions import Region, RegionList
from hilum.scan import Note, Scan


def choose_region(listed: RegionList, name: str, path: Path, *, is_empty: Callable[[Region], bool]) -> Region:
    """The region of a name; of several with this name the one that is not empty.

    Parameters
    ----------
    listed : RegionList
        The regions of the file.
    name : str
        As `RegionList.names` has it, or without a number.
    path : Path
        The file, for the message of an error.
    is_empty : callable
        Whether a region has nothing that could be filled.

    Raises
    ------
    SeriesError
        If there is none, or several are not empty.
    """
    numbered = dict(zip(listed.names, listed.regions, strict=True))
    if name in numbered:
        return numbered[name]
    named = {full: region for full, region in numbered.items() if region.name == name}
    if not named:
        there = name_some(f"'{full}'" for full in numbered)
        raise SeriesError(f"no region is called '{name}'; there are {there}", where=path, code="no-such-region")
    full = [region for region in named.values() if not is_empty(region)]
    if len(full) > 1:
        what = f"{len(full)} regions are called '{name}'"
        do = f"choose one by its number, such as '{next(iter(named))}'"
        raise SeriesError(what, where=path, do=do, code="ambiguous-region")
    return (full or list(named.values()))[0]


def check_series(
    listed: RegionList, region: Region, images: AbstractSet[str], scan: Scan, path: Path
) -> tuple[Note, ...]:
    """Check that a region belongs to a scan: by the images that it names, else by its series.

    De-identified structure sets exist whose contours name images that are nowhere else, not even in the list of images
    of the same file. This list decides then.

    Parameters
    ----------
    listed : RegionList
        The regions of the file.
    region : Region
        The region that was chosen.
    images : set of str
        The images that the contours or frames of the region name, by SOP Instance UID; empty if they name none.
    scan : Scan
        The scan that it should belong to.
    path : Path
        The file, for the message of an error.

    Returns
    -------
    tuple of Note
        If the file says less than it should, or contradicts itself.

    Raises
    ------
    SeriesError
        If it belongs to another series.
    """
    own = {uid for uid in scan.slice_uids if uid}
    known = images & listed.image_uids or listed.image_uids
    do = "give the file that was drawn on this series"
    if own and images & own:
        return ()
    if own and known and not known & own:
        what = "refers to images that are not slices of this scan: it belongs to another series"
        raise SeriesError(what, where=path, do=do, code="other-regions")
    if not (own and known):
        if region.series_uids is not None and scan.series_uid not in region.series_uids:
            what = "refers to another series or frame of reference than this scan's"
            raise SeriesError(what, where=path, do=do, code="other-regions")
        if region.series_uids is None and not own:
            what = "names no series, and the scan has no DICOM slices: nothing says that they belong together"
            raise SeriesError(what, where=path, do="give the DICOM series that it was drawn on", code="other-regions")
    if own and images:
        text = "contours name images that are not in the file's own list; the file as a whole names this series"
        return (Note("region-images", text),)
    if region.series_uids is None and not known:
        text = "the file names neither its series nor its images: only the frame of reference fits"
        return (Note("region-by-frame", text),)
    return ()


def empty_error(regions: Sequence[tuple[str, str]], why: str, path: Path) -> SeriesError:
    """Make the error for chosen regions of which none has a pixel."""
    names = name_some(f"'{name}'" for name, _ in regions)
    what = f"no pixel is inside {names}: {why}"
    return SeriesError(what, where=path, do="choose another region, or correct the file", code="empty-region")
