"""Lungs and nodules as DICOM Segmentation objects, which refer to the slices that they were made of.

The masks of a run lie on its resampled grid. They are brought to the series' own by world coordinates
(`hilum.ops.regrid`), so that a viewer lays them over the very slices. highdicom writes the object.

Source: DICOM PS3.3 A.51 (Segmentation IOD), C.8.20.2; PS3.16 CID 7150, 7162; SNOMED CT codes of pydicom's dictionary.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import hilum
from hilum.errors import FormatError, HilumError, InputError, OutputError, one_line
from hilum.export.finished import checked_run
from hilum.export.seg_source import find_source, index_sources
from hilum.io.atomic import atomic_folder
from hilum.io.output_kinds import RECIPE
from hilum.ops.regrid import regrid_mask
from hilum.outputs.volumes import read_stored
from hilum.recipes import recipe
from hilum.train.runs import Skip
from hilum.volume import Mask

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import ModuleType

    from hilum.export.seg_source import Source
    from hilum.train.runs import RunScan

_RIGHT, _LEFT, _NODULE = (115, 170, 220), (120, 200, 150), (235, 140, 60)
"""Recommended colors, RGB."""

_SERIES_NUMBERS = {"lungs": 901, "nodules": 902}


@dataclass(frozen=True)
class Segmentations:
    """What was written: scans, files, segments in them, and what was left out."""

    scans: int
    files: int
    segments: int
    skipped: list[Skip]


class _Segment(NamedTuple):
    value: int
    label: str
    side: str
    color: tuple[int, int, int]


def write_segmentations(folder: Path, out: Path, *, sources: Sequence[Path], overwrite: bool = False) -> Segmentations:
    """Write ``lungs.dcm`` and ``nodules.dcm`` for each scan of a run, on the grid of its DICOM series.

    The same run and series give the same UIDs and the same bytes: the content's date is that of the series.

    A segmentation holds the patient's and the study's data of its source, as DICOM wants it: it is as identifying as
    the series is.

    Parameters
    ----------
    folder : Path
        The output folder of ``hilum run``.
    out : Path
        A folder for ``SCAN/lungs.dcm`` and ``SCAN/nodules.dcm``. A scan's folder appears when it is whole.
    sources : sequence of Path
        Folders with the DICOM series; each scan's is found by its UID.
    overwrite : bool
        Whether folders of scans that are there are replaced.

    Returns
    -------
    Segmentations
        Scans without masks, and scans that were not read from DICOM, are left out.

    Raises
    ------
    InputError
        If highdicom is not installed, the run is not whole, or a scan's series is not there, or is not the series
        that was read, or the run's recipe hides the series: before anything is written.
    OutputError
        If a folder is there already, or the file system refuses.
    """
    highdicom = _highdicom()
    scans, skipped = checked_run(folder)
    if recipe(folder / RECIPE).output.series_uid == "hash":
        what = "its recipe hides the series UID, and a segmentation names its series"
        raise InputError(what, where=folder, do="run with output.series_uid = 'keep'", code="hidden-series")
    found = index_sources(sources)
    used = []
    for scan in scans:
        if not any(file.startswith(("lungs.", "nodules.")) for file in scan.record.files):
            skipped.append(Skip(scan=scan.record.scan_id, code="no-masks", reason="it has no mask"))
        else:
            find_source(scan, found)
            used.append(scan)
        if (out / scan.record.scan_id).exists() and not overwrite:
            what, do = "is there already", "give --overwrite, or another --out"
            raise OutputError(what, where=out / scan.record.scan_id, do=do, code="exists")
    files = segments = 0
    for scan in used:
        objects = _objects(highdicom, scan, find_source(scan, found))
        if not objects:
            skipped.append(Skip(scan=scan.record.scan_id, code="empty-masks", reason="its masks are empty"))
            continue
        with atomic_folder(out / scan.record.scan_id) as partial:
            for name, made in objects.items():
                made.save_as(partial / f"{name}.dcm")
        files += len(objects)
        segments += sum(len(made.SegmentSequence) for made in objects.values())
    return Segmentations(scans=len(used), files=files, segments=segments, skipped=skipped)


def _highdicom() -> ModuleType:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own imports; nothing of ours is hidden
            import highdicom
    except ImportError:
        what = "DICOM segmentations need highdicom, which is not installed"
        raise InputError(what, do="pip install 'hilum[seg]'", code="no-highdicom") from None
    module: ModuleType = highdicom
    return module


def _objects(highdicom: ModuleType, scan: RunScan, source: Source) -> dict[str, Any]:
    """The scan's segmentations, by the name of their mask; those in which nothing is marked are none."""
    made = {}
    for name in ("lungs", "nodules"):
        stored = read_stored(scan.folder, scan.record, name)
        if stored is None:
            continue
        mask = regrid_mask(Mask(stored.array, stored.geometry), source.geometry)
        values = [int(value) for value in np.unique(mask.array) if value]
        if values:
            try:
                made[name] = _segmentation(highdicom, scan, source, mask=mask, name=name, values=values)
            except HilumError:
                raise
            except (AttributeError, KeyError, TypeError, ValueError) as problem:
                what = f"its series cannot be segmented: {one_line(problem, limit=120)}"
                raise FormatError(what, where=scan.folder, do="look at the headers of its series") from None
    return made


def _segmentation(
    highdicom: ModuleType, scan: RunScan, source: Source, *, mask: Mask, name: str, values: list[int]
) -> Any:
    from pydicom.uid import generate_uid

    segments = [_lung(value) if name == "lungs" else _nodule(value) for value in values]
    numbers = np.zeros(256, np.uint8)
    numbers[values] = np.arange(1, len(values) + 1)
    stored = next(facts.sha256 for file, facts in scan.record.files.items() if file.startswith(f"{name}."))
    seeds = [hilum.__version__, scan.record.series_uid, name, stored]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on names and values of the source, which are copied as they are
        made = highdicom.seg.Segmentation(
            source_images=source.headers,
            pixel_array=numbers[mask.array[list(source.slots)]],
            segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[
                _describe(highdicom, one, number, uid=generate_uid(entropy_srcs=[*seeds, "tracked", str(one.value)]))
                for number, one in enumerate(segments, start=1)
            ],
            series_instance_uid=generate_uid(entropy_srcs=[*seeds, "series"]),
            series_number=_SERIES_NUMBERS[name],
            sop_instance_uid=generate_uid(entropy_srcs=[*seeds, "instance"]),
            instance_number=1,
            manufacturer="hilum",
            manufacturer_model_name="hilum",
            software_versions=hilum.__version__,
            device_serial_number="1",
            content_label=name.upper(),
            content_description=f"{name} by hilum",
            series_description=f"{name} by hilum",
        )
    _set_origin(made, source.headers[0], organization=generate_uid(entropy_srcs=[*seeds, "dimensions"]))
    if name == "lungs":
        for one, item in zip(segments, made.SegmentSequence, strict=True):
            _set_side(highdicom, item, one.side)
    return made


def _set_origin(made: Any, header: Any, *, organization: str) -> None:
    """Put the source's date in place of the clock's, and a UID that follows from the input in place of a random one.

    The same input then gives the same bytes, and an instance of one UID has one content, as DICOM wants it.
    """
    for kind, unknown in (("Date", "19000101"), ("Time", "000000")):
        told = (header.get(f"{of}{kind}") for of in ("Content", "Acquisition", "Series", "Study"))
        setattr(made, f"Content{kind}", next((str(value) for value in told if value), unknown))
        delattr(made, f"InstanceCreation{kind}")
    for item in made.get("ContributingEquipmentSequence", ()):  # highdicom's own
        item.pop("ContributionDateTime", None)
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        item.DimensionOrganizationUID = organization


def _lung(value: int) -> _Segment:
    if value > 2:
        raise FormatError(f"the lung mask has the label {value}, expected 1 right and 2 left", do="run it again")
    return _Segment(value, *(("right lung", "Right", _RIGHT), ("left lung", "Left", _LEFT))[value - 1])


def _nodule(value: int) -> _Segment:
    return _Segment(value, f"nodule {value}", "", _NODULE)


def _describe(highdicom: ModuleType, segment: _Segment, number: int, *, uid: str) -> Any:
    from pydicom.sr.codedict import codes

    lung = bool(segment.side)
    # Nodules are drawn by rule into what a reader or a table has marked: neither automatic nor by hand.
    kind = highdicom.seg.SegmentAlgorithmTypeValues
    family = codes.CID7162.MorphologicalOperations if lung else codes.CID7162.ManualProcessing
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=segment.label,
        segmented_property_category=(
            codes.CID7150.AnatomicalStructure if lung else codes.CID7150.MorphologicallyAbnormalStructure
        ),
        segmented_property_type=codes.SCT.Lung if lung else codes.SCT.Nodule,
        algorithm_type=kind.AUTOMATIC if lung else kind.SEMIAUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name="hilum", family=family, version=hilum.__version__
        ),
        tracking_uid=uid,
        tracking_id=segment.label,
        anatomic_regions=None if lung else [codes.SCT.Lung],
        display_color=highdicom.color.CIELabColor.from_rgb(*segment.color),
    )


def _set_side(highdicom: ModuleType, item: Any, side: str) -> None:
    from pydicom.sr.codedict import codes

    code = highdicom.sr.CodedConcept.from_code(getattr(codes.SCT, side))
    item.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [code]
