"""The table of volume formats: how a file of each suffix is read and written, and which formats a run can store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hilum.errors import HilumError, UnsupportedError
from hilum.io.optional_packages import check_packages
from hilum.io.uids import is_uid
from hilum.io.volumes.b2nd import OpenB2nd, read_b2nd, read_b2nd_header, write_b2nd
from hilum.io.volumes.metaimage import read_metaimage, read_metaimage_header, write_metaimage
from hilum.io.volumes.nifti import open_nifti, read_nifti, read_nifti_header, write_nifti
from hilum.io.volumes.npy import open_npy, read_npy, read_npy_header, write_npy
from hilum.io.volumes.nrrd import read_nrrd, read_nrrd_header, write_nrrd
from hilum.io.volumes.ome_zarr import read_zarr, write_zarr
from hilum.io.volumes.zarr_shards import OpenZarr, read_zarr_header

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hilum.io.volumes.open_volumes import OpenVolume
    from hilum.io.volumes.volume_file import VolumeFile, VolumeHeader


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format of volume files.

    Parameters
    ----------
    suffix : str
        Lower case, with its dot.
    read : callable
        From a path to the file's contents.
    read_header : callable
        From a path to the file's header, without voxels.
    write : callable or None
        Takes a volume, a path and ``series_uid``; None where hilum does not write the format.
    is_searched : bool
        Whether a search of a folder takes such files for scans; the others are read only where a user names them.
    """

    suffix: str
    read: Callable[[Path], VolumeFile]
    read_header: Callable[[Path], VolumeHeader]
    write: Callable[..., None] | None = None
    is_searched: bool = True


@dataclass(frozen=True, kw_only=True)
class Store(Format):
    """A format in which a run can store its volumes.

    Parameters
    ----------
    name : str
        As recipes name it; also the extra that installs its packages, where it needs any.
    open : callable
        From a path to a volume of which boxes are read.
    files : tuple of str
        The files that a volume has at least, each the name of the volume and one of these. The first shows that the
        volume exists.
    """

    name: str
    open: Callable[[Path], OpenVolume]
    files: tuple[str, ...]


FORMATS: dict[str, Format] = {
    format_.suffix: format_
    for format_ in (
        Format(suffix=".mhd", read=read_metaimage, read_header=read_metaimage_header, write=write_metaimage),
        Format(suffix=".mha", read=read_metaimage, read_header=read_metaimage_header, write=write_metaimage),
        Format(suffix=".nii", read=read_nifti, read_header=read_nifti_header, write=write_nifti),
        Store(
            name="nifti",
            suffix=".nii.gz",
            files=(".nii.gz",),
            read=read_nifti,
            read_header=read_nifti_header,
            open=open_nifti,
            write=write_nifti,
        ),
        Format(suffix=".nrrd", read=read_nrrd, read_header=read_nrrd_header, write=write_nrrd),
        Format(suffix=".nhdr", read=read_nrrd, read_header=read_nrrd_header),
        Store(
            name="npy",
            suffix=".npy",
            files=(".npy", ".json"),
            read=read_npy,
            read_header=read_npy_header,
            open=open_npy,
            write=write_npy,
            is_searched=False,
        ),
        Store(
            name="zarr",
            suffix=".zarr",
            files=(".zarr/zarr.json", ".zarr/0/zarr.json", ".zarr/0/c/0/0/0"),
            read=read_zarr,
            read_header=read_zarr_header,
            open=OpenZarr,
            write=write_zarr,
            is_searched=False,
        ),
        Store(
            name="b2nd",
            suffix=".b2nd",
            files=(".b2nd",),
            read=read_b2nd,
            read_header=read_b2nd_header,
            open=OpenB2nd,
            write=write_b2nd,
            is_searched=False,
        ),
    )
}
"""Every format, by suffix. A folder without one of these suffixes, and any other file, is read as DICOM."""

STORES: dict[str, Store] = {store.name: store for store in FORMATS.values() if isinstance(store, Store)}
"""Every format of a run, by its name in a recipe."""

SCAN_SUFFIXES = frozenset(suffix for suffix, format_ in FORMATS.items() if format_.is_searched)
"""The suffixes of files that a search of a folder takes for scans."""


def suffix_of(path: Path) -> str:
    """The suffix that decides a file's format.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str
        Lower case, with its dot, ``.nii.gz`` as one; empty where there is none.
    """
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def is_volume(path: Path) -> bool:
    """Whether a path is that of a volume file, by its suffix; any other path is read as DICOM.

    Parameters
    ----------
    path : Path

    Returns
    -------
    bool
        True also for a ``.zarr`` folder with a ``zarr.json``.
    """
    suffix = suffix_of(path)
    if suffix == ".zarr" and path.is_dir():
        return (path / "zarr.json").is_file()
    return suffix in FORMATS and not path.is_dir()


def read_header(path: Path) -> VolumeHeader:
    """Read the header of a volume file.

    Parameters
    ----------
    path : Path
        With one of the suffixes of `FORMATS`.

    Returns
    -------
    VolumeHeader

    Raises
    ------
    InputError
        If it is damaged.
    """
    return FORMATS[suffix_of(path)].read_header(path)


def header_uid(path: Path) -> str:
    """Read the Series Instance UID in the header of a volume file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str
        Empty where the header has no UID, or cannot be read.
    """
    try:
        uid = read_header(path).series_uid
    except (HilumError, OSError, KeyError):
        return ""
    return uid if is_uid(uid) else ""


def check_output(path: Path) -> Callable[..., None]:
    """Check that hilum can write the format of a path, before any work is done.

    Parameters
    ----------
    path : Path

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
    check_packages(suffix.removeprefix("."))
    return write
