"""The table of volume formats: how a file of each suffix is read and written, and which formats a run can store."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hilum.errors import HilumError, UnsupportedError
from hilum.io import names, optional_packages
from hilum.io.volumes import b2nd, metaimage, npy, nrrd, ome_zarr, open_volumes, volume_file
from hilum.io.volumes.nifti import open_nifti, read_nifti, read_nifti_header, write_nifti
from hilum.io.volumes.zarr_shards import OpenZarr, read_zarr_header


@dataclass(frozen=True)
class Format:
    """A format of volume files.

    Parameters
    ----------
    suffix : str
        Lower case, with its dot.
    read : callable
        From a path to the file's contents. Raises `FormatError`, `UnsupportedError`, `GeometryError`,
        `MissingInputError` or `InputError` if the file is damaged, truncated or missing, is not one 3-D volume of
        numbers, or does not state its orientation, or if the format needs a package that is not installed.
    read_header : callable
        From a path to the file's header, without voxels or packages; raises as `read`.
    write : callable or None
        Takes a volume or mask, a path with the suffix, and ``series_uid``, which goes into the header if it is a UID.
        The file appears only when it is complete, and the same volume gives the same bytes. Raises `UnsupportedError`
        if the format cannot store the volume, `OutputError` if it cannot be written, `InputError` if a package is not
        installed. None where hilum does not write the format.
    """

    suffix: str
    read: Callable[[Path], volume_file.VolumeFile]
    read_header: Callable[[Path], volume_file.VolumeHeader]
    write: Callable[..., None] | None


@dataclass(frozen=True)
class Store(Format):
    """A format in which a run can store its volumes.

    Parameters
    ----------
    name : str
        As recipes name it; also the extra that installs its packages, where it needs any.
    open : callable
        From a path to a volume of which boxes are read; raises as `read`.
    files : tuple of str
        The files that a volume has at least, each the name of the volume and one of these. The first shows that the
        volume exists.
    in_order : bool
        Whether the CT must be written before the masks, whose files name it.
    """

    name: str
    open: Callable[[Path], open_volumes.OpenVolume]
    files: tuple[str, ...]
    in_order: bool = False


_ZARR_FILES = (".zarr/zarr.json", ".zarr/0/zarr.json", ".zarr/0/c/0/0/0")

FORMATS: dict[str, Format] = {
    format_.suffix: format_
    for format_ in (
        Format(".mhd", metaimage.read_metaimage, metaimage.read_metaimage_header, metaimage.write_metaimage),
        Format(".mha", metaimage.read_metaimage, metaimage.read_metaimage_header, metaimage.write_metaimage),
        Format(".nii", read_nifti, read_nifti_header, write_nifti),
        Store(".nii.gz", read_nifti, read_nifti_header, write_nifti, "nifti", open_nifti, (".nii.gz",)),
        Format(".nrrd", nrrd.read_nrrd, nrrd.read_nrrd_header, nrrd.write_nrrd),
        Format(".nhdr", nrrd.read_nrrd, nrrd.read_nrrd_header, None),
        Store(".npy", npy.read_npy, npy.read_npy_header, npy.write_npy, "npy", npy.open_npy, (".npy", ".json")),
        Store(
            ".zarr",
            ome_zarr.read_zarr,
            read_zarr_header,
            ome_zarr.write_zarr,
            "zarr",
            OpenZarr,
            _ZARR_FILES,
            in_order=True,
        ),
        Store(".b2nd", b2nd.read_b2nd, b2nd.read_b2nd_header, b2nd.write_b2nd, "b2nd", b2nd.OpenB2nd, (".b2nd",)),
    )
}
"""Every format, by suffix. A folder without one of these suffixes, and any other file, is read as DICOM."""

STORES: dict[str, Store] = {store.name: store for store in FORMATS.values() if isinstance(store, Store)}
"""Every format of a run, by its name in a recipe."""

SCAN_SUFFIXES = frozenset(FORMATS) - {".npy", ".zarr", ".b2nd"}
"""The suffixes of files that a search of a folder takes for scans; the others are read only where a user names them."""


def suffix_of(path: Path) -> str:
    """The suffix that decides a file's format.

    Returns
    -------
    str
        Lower case, with its dot, ``.nii.gz`` as one; empty where there is none.
    """
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()


def stem_of(path: Path) -> str:
    """The name of a file without the suffix that decides its format."""
    return path.name[: len(path.name) - len(suffix_of(path))]


def is_volume(path: Path) -> bool:
    """Whether a path is that of a volume file, by its suffix; any other path is read as DICOM.

    Returns
    -------
    bool
        True also for a ``.zarr`` folder with a ``zarr.json``.
    """
    suffix = suffix_of(path)
    if suffix == ".zarr" and path.is_dir():
        return (path / "zarr.json").is_file()
    return suffix in FORMATS and not path.is_dir()


def read_header(path: Path) -> volume_file.VolumeHeader:
    """Read the header of a volume file.

    Parameters
    ----------
    path : Path
        With one of the suffixes of `FORMATS`.

    Raises
    ------
    InputError
        If it is damaged.
    """
    return FORMATS[suffix_of(path)].read_header(path)


def header_uid(path: Path) -> str:
    """Read the Series Instance UID in the header of a volume file.

    Returns
    -------
    str
        Empty where the header has no UID, or cannot be read.
    """
    try:
        uid = read_header(path).series_uid
    except (HilumError, OSError, KeyError):
        return ""
    return uid if names.is_uid(uid) else ""


def check_output(path: Path) -> Callable[..., None]:
    """Check that hilum can write the format of a path, before any work is done.

    Returns
    -------
    callable
        The function that writes it: takes a volume, the path and ``series_uid``.

    Raises
    ------
    UnsupportedError
        If hilum writes no format with this suffix.
    InputError
        If the format needs a package that is not installed.
    """
    suffix = suffix_of(path)
    write = FORMATS[suffix].write if suffix in FORMATS else None
    if write is None:
        suffixes = " ".join(suffix for suffix, format_ in FORMATS.items() if format_.write)
        raise UnsupportedError(f"cannot write {suffix or 'a file without suffix'}", where=path, do=f"use {suffixes}")
    optional_packages.check_packages(suffix.removeprefix("."))
    return write
