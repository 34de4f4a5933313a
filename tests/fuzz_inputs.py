"""Tiny scans in every format that is read, and ways to hurt them: the same seed and number give the same bytes.

Each file is a string of bytes with a mark on every byte that decides voxels or place (`Bytes`). A mutation that
touches no marked byte must not change what is read, unless a note says so.
"""

from __future__ import annotations

import gzip
import importlib.util
import random
import re
import struct
import tempfile
import warnings
import zlib
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, JPEG2000Lossless, JPEGLSLossless

from hilum import Geometry, Volume
from hilum.io.volumes.metaimage import write_metaimage
from hilum.io.volumes.nifti import write_nifti
from hilum.phantom.dicom_dialects import DIALECTS
from hilum.phantom.files import write_dicom_series

if TYPE_CHECKING:
    from collections.abc import Callable

GRID = Geometry((6, 16, 16), (2.5, 0.7, 0.8), (-5.0, -6.0, 80.0))
UID_ROOT = "1.2.826.0.1.3680043.10.9999"
SERIES_UID = "9.8.7.6"
SECRET = "Phantom^Chest"  # noqa: S105 - the patient's name in every DICOM file here; no message may show it

_DECIDES = frozenset((
    0x00020010, 0x00080008, 0x00080016, 0x00080018, 0x00080060, 0x0020000E, 0x00200012, 0x00200013, 0x00200032,
    0x00200037, 0x00280002, 0x00280004, 0x00280006, 0x00280008, 0x00280010, 0x00280011, 0x00280030, 0x00280100,
    0x00280101, 0x00280102, 0x00280103, 0x00280120, 0x00280121, 0x00281052, 0x00281053, 0x00281054, 0x52009229,
    0x52009230, 0x7FE00010,
))  # fmt: skip
"""Elements of which voxels, place or the choice of slices depend (DICOM PS3.3 C.7.6, C.8.2)."""

_LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT")
_NIFTI = ((0, 4), (40, 56), (70, 74), (76, 108), (108, 120), (123, 124), (252, 280), (280, 328), (344, 352))
"""Bytes of a NIfTI-1 header that decide: sizes, types, pixdim, offset, scaling, units, forms, magic (nifti1.h)."""


class Span(NamedTuple):
    """A unit of a format: a DICOM element, a line of text, a field. Its value starts at `value`."""

    start: int
    value: int
    stop: int


class Bytes:
    """Bytes and, for each, whether it decides; `touched` once one that does was changed or moved."""

    def __init__(self, data: bytes, mark: bytes) -> None:
        self.data, self.mark, self.touched = bytearray(data), bytearray(mark), False

    def put(self, start: int, stop: int, new: bytes, mark: bytes = b"") -> None:
        """Replace a stretch; what is put in decides where what it replaces did, or where `mark` says so."""
        if bytes(self.data[start:stop]) == new:
            return
        decides = any(self.mark[start:stop]) or any(mark)
        # Between two bytes of one value that decides, an insertion changes it.
        inside = start == stop and 0 < start < len(self.mark) and self.mark[start - 1] and self.mark[start]
        self.touched |= bool(decides or inside)
        self.data[start:stop] = new
        self.mark[start:stop] = mark or bytes([bool(decides or inside)]) * len(new)


@dataclass(frozen=True)
class Part:
    """What can be hurt in one file: its bytes as they are, or as they are before they are packed."""

    name: str
    data: bytes
    mark: bytes
    spans: tuple[Span, ...]
    head: int
    """Where the header ends: most mutations fall before."""
    pack: Callable[[bytes], bytes] = field(default=bytes)
    kind: str = "binary"
    order: str = "<"


@dataclass(frozen=True)
class Base:
    """An unhurt input: files by name, which of them is read, and what can be hurt."""

    name: str
    files: dict[str, bytes]
    entry: str
    parts: tuple[Part, ...]
    annotations: str = ""


@dataclass(frozen=True)
class Mutant:
    """A hurt input: the base with one file replaced, what was done, and whether that may change the voxels."""

    base: Base
    name: str
    data: bytes
    decides: bool
    story: str


def truth(side: int = 16) -> np.ndarray:
    """Hounsfield units of every input: noise around tissue, within 12 bits."""
    return np.random.default_rng(5).integers(-1000, 1500, (6, side, side)).astype(np.int16)


# ---------------------------------------------------------------- the inputs


@cache
def bases() -> tuple[Base, ...]:
    """Every format once."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # encoders of what is too small to be an image
        made = [*_dicom_bases(Path(folder)), *_volume_bases(Path(folder))]
    return tuple(made)


def _dicom_bases(folder: Path) -> list[Base]:
    made = []
    for dialect in ("plain", "implicit", "big-endian", "deflated", "rle", "padding-63536"):
        files = _series(folder / dialect, dialect)
        made.append(_dicom_base(f"dicom {dialect}", files))
    for name, syntax, side in (("jpeg2000", JPEG2000Lossless, 32), ("jpeg-ls", JPEGLSLossless, 16)):
        if name == "jpeg-ls" and importlib.util.find_spec("jpeg_ls") is None:
            continue
        _series(folder / name, "plain", side)
        for path in (folder / name).iterdir():
            ds = pydicom.dcmread(path)
            ds.compress(UID(syntax), generate_instance_uid=False)
            ds.save_as(path)
        made.append(_dicom_base(f"dicom {name}", _files(folder / name)))
    made.append(_dicom_base("dicom enhanced", {"frames.dcm": _enhanced(folder)}))
    return made


def _series(folder: Path, dialect: str, side: int = 16) -> dict[str, bytes]:
    grid = replace(GRID, shape=(6, side, side))
    write_dicom_series(Volume(truth(side), grid), folder, dialect=DIALECTS[dialect], series_uid=f"{UID_ROOT}.1")
    return _files(folder)


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def _enhanced(folder: Path) -> bytes:
    """The plain series as one Enhanced CT file (PS3.3 A.38)."""
    _series(folder / "single", "plain")
    slices = [pydicom.dcmread(path) for path in sorted((folder / "single").iterdir())]
    ds, shared = slices[0].copy(), Dataset()
    measures, orientation, rescale = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, orientation.ImageOrientationPatient = ds.PixelSpacing, ds.ImageOrientationPatient
    rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = "1", ds.RescaleIntercept, "HU"
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PlaneOrientationSequence = Sequence([orientation])
    shared.PixelValueTransformationSequence = Sequence([rescale])
    frames = []
    for one in slices:
        frame, place = Dataset(), Dataset()
        place.ImagePositionPatient = one.ImagePositionPatient
        frame.PlanePositionSequence = Sequence([place])
        frames.append(frame)
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept"):
        delattr(ds, name)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    ds.NumberOfFrames, ds.PixelData = len(slices), b"".join(one.PixelData for one in slices)
    ds.SharedFunctionalGroupsSequence, ds.PerFrameFunctionalGroupsSequence = Sequence([shared]), Sequence(frames)
    ds.save_as(folder / "frames.dcm")
    return (folder / "frames.dcm").read_bytes()


def _dicom_base(name: str, files: dict[str, bytes]) -> Base:
    middle, last = sorted(files)[len(files) // 2], max(files)
    parts = [_dicom_part(victim, files[victim], name) for victim in dict.fromkeys((middle, last))]
    if "deflated" in name:  # the packed bytes themselves: no checksum guards them
        data = files[middle]
        start = _dataset_start(data)
        parts.append(Part(middle, data, bytes(start) + b"\1" * (len(data) - start), (), len(data)))
    return Base(name, files, "", tuple(parts))


def _dataset_start(data: bytes) -> int:
    return 144 + struct.unpack("<I", data[140:144])[0]


def _dicom_part(victim: str, data: bytes, name: str) -> Part:
    pack: Callable[[bytes], bytes] = bytes
    start = _dataset_start(data)
    if "deflated" in name:
        meta = data[:start]
        data = meta + zlib.decompress(data[start:], -15)

        def pack(hurt: bytes) -> bytes:
            packer = zlib.compressobj(wbits=-15)
            return hurt[:start] + packer.compress(hurt[start:]) + packer.flush()

    spans = [*_elements(data, 132, start, implicit=False, big=False)]
    spans += _elements(data, start, len(data), implicit="implicit" in name, big="big" in name)
    mark = bytearray(len(data))
    big = "big" in name
    for span in spans:
        group, number = struct.unpack_from(">HH" if big and span.start >= start else "<HH", data, span.start)
        if group << 16 | number in _DECIDES:
            mark[span.start : span.stop] = b"\1" * (span.stop - span.start)
    return Part(victim, data, bytes(mark), tuple(spans), spans[-1].value, pack, "dicom", ">" if big else "<")


def _elements(data: bytes, at: int, stop: int, *, implicit: bool, big: bool) -> list[Span]:
    order, spans = ">" if big else "<", []
    while at + 8 <= stop:
        wide = implicit or data[at + 4 : at + 6] in _LONG
        value = at + (8 if implicit or not wide else 12)
        length = struct.unpack_from(f"{order}{'I' if wide else 'H'}", data, value - (4 if wide else 2))[0]
        end = stop if length == 0xFFFFFFFF else value + length
        spans.append(Span(at, value, end))
        at = end
    return spans


def _volume_bases(folder: Path) -> list[Base]:
    volume, raw = Volume(truth(), GRID), truth().astype("<i2").tobytes()
    made = [_meta_base(folder, volume, raw, packed) for packed in (False, True)]
    write_metaimage(volume, folder / "a.mha")
    mha = (folder / "a.mha").read_bytes()
    made.append(Base("mha", {"a.mha": mha}, "a.mha", (_text_part("a.mha", mha, len(mha) - len(raw), _META_INERT),)))
    write_nifti(volume, folder / "a.nii")
    nii = (folder / "a.nii").read_bytes()
    mark = bytearray(352) + b"\1" * len(raw)
    for start, stop in _NIFTI:
        mark[start:stop] = b"\1" * (stop - start)
    spans = tuple(Span(at, at, at + size) for at in range(0, 352, 4) for size in (2, 4))
    part = Part("a.nii", nii, bytes(mark), spans, 352)
    made.append(Base("nii", {"a.nii": nii}, "a.nii", (part,)))
    made.append(_gz_base("nii.gz", "a.nii.gz", replace(part, name="a.nii.gz"), lambda d: gzip.compress(d, 1, mtime=0)))
    return made + _nrrd_bases(raw)


_META_INERT = re.compile(rb"(Comment|Modality|AnatomicalOrientation|ObjectType|CenterOfRotation) = .*")
_NRRD_INERT = re.compile(rb"(#.*|content: .*|\w+:=.*)")


def _meta_base(folder: Path, volume: Volume, raw: bytes, packed: bool) -> Base:
    write_metaimage(volume, folder / "a.mhd", series_uid=SERIES_UID)
    header = b"Comment = a scan\nAnatomicalOrientation = RAI\n" + (folder / "a.mhd").read_bytes()
    data, name = raw, "a.raw"
    if packed:
        data, name = zlib.compress(raw, 1), "a.zraw"
        header = header.replace(
            b"CompressedData = False", b"CompressedData = True\nCompressedDataSize = %d" % len(data)
        )
        header = header.replace(b"a.raw", b"a.zraw")
    head = _text_part("a.mhd", header, len(header), _META_INERT)
    # Bytes that a checksum guards decide nothing: if they are hurt, that has to be noticed.
    body = Part(name, data, bytes([not packed]) * len(data), (), len(data))
    csv = _csv_part()
    files = {"a.mhd": header, name: data, csv.name: csv.data}
    if packed:
        return Base("mhd+zraw", files, "a.mhd", (head, head, body))
    return Base("mhd+raw", files, "a.mhd", (head, head, body, csv), "luna.csv")


def _csv_part() -> Part:
    rows = [b"seriesuid,coordX,coordY,coordZ,diameter_mm"]
    rows += [b"%s.%d,%d.5,-2.25,85.0,6.5" % (UID_ROOT.encode(), k, k) for k in (7, 8)]
    ours = SERIES_UID.encode()
    rows += [ours + b",-3.5,-2.25,85.0,4.5", ours + b",1e0,2.0,90.0,7", b"1.2.3,4,5,6,-1"]
    lines = _text_part("luna.csv", b"\n".join(rows) + b"\n", 10**6, re.compile(rb"1\.2\..*"))
    return replace(lines, kind="table")


def _text_part(name: str, data: bytes, head: int, inert: re.Pattern[bytes]) -> Part:
    """Lines; a line that decides has the end of the line before it, too."""
    mark, spans, at = bytearray(b"\1" * len(data)), [], 0
    for line in data[:head].splitlines(keepends=True):
        if inert.fullmatch(line.strip()):
            mark[at : at + len(line.rstrip())] = bytes(len(line.rstrip()))
        value = re.match(rb"[^:=,]*[:=,]*\s*", line)
        spans.append(Span(at, at + (value.end() if value else 0), at + len(line)))
        at += len(line)
    return Part(name, data, bytes(mark), tuple(spans), min(head, len(data)), bytes, "text")


def _gz_base(name: str, entry: str, inner: Part, pack: Callable[[bytes], bytes]) -> Base:
    packed = pack(inner.data)
    outer = Part(entry, packed, bytes(len(packed)), (), len(packed))
    return Base(name, {entry: packed}, entry, (replace(inner, pack=pack), outer))


def _nrrd_bases(raw: bytes) -> list[Base]:
    text = (
        b"NRRD0004\n# a comment\ntype: int16\ndimension: 3\nspace: left-posterior-superior\nsizes: 16 16 6\n"
        b"space directions: (0.8,0,0) (0,0.7,0) (0,0,2.5)\nkinds: domain domain domain\ncontent: a scan\n"
        b"endian: little\nencoding: ENC\nspace origin: (-5,-6,80)\nkey:=value\n"
    )
    plain, packed = text.replace(b"ENC", b"raw") + b"\n", text.replace(b"ENC", b"gzip") + b"\n"
    whole = _text_part("a.nrrd", plain + raw, len(plain), _NRRD_INERT)
    body = gzip.compress(raw, 1, mtime=0)
    head = _text_part("a.nrrd", packed, len(packed), _NRRD_INERT)
    inside = Part("a.nrrd", packed + body, bytes(b"\1" * len(packed) + bytes(len(body))), (), len(packed) + len(body))
    beside = plain[:-1] + b"data file: a.raw\n\n"
    return [
        Base("nrrd raw", {"a.nrrd": whole.data}, "a.nrrd", (whole,)),
        Base("nrrd gzip", {"a.nrrd": packed + body}, "a.nrrd", (replace(head, pack=lambda d: d + body), inside)),
        Base(
            "nhdr",
            {"a.nhdr": beside, "a.raw": raw},
            "a.nhdr",
            (
                _text_part("a.nhdr", beside, len(beside), _NRRD_INERT),
                Part("a.raw", raw, b"\1" * len(raw), (), len(raw)),
            ),
        ),
    ]


def make(seed: int, number: int) -> Mutant:
    """The input of that seed and number."""
    from fuzz_mutations import hurt  # the ways to hurt stand beside

    rng = random.Random(f"{seed}/{number}")  # noqa: S311 - no secret is made
    base = bases()[number % len(bases())]
    part = rng.choice(base.parts)
    broken, story = hurt(part, rng)
    return Mutant(base, part.name, part.pack(bytes(broken.data)), broken.touched, f"{part.name}: {', '.join(story)}")
