"""Lungs and nodules as DICOM Segmentation objects that refer to the slices of the series.

The masks of a run are on its resampled grid. `hilum.ops.resample` brings them to the grid of the series by world
coordinates, so that a viewer can overlay them on the slices. highdicom writes the object.

Source: DICOM PS3.3 A.51 (Segmentation IOD), C.8.20.2; PS3.16 CID 7150, 7162; SNOMED CT codes of pydicom's dictionary.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import hilum
from hilum.errors import FormatError, HilumError, InputError, OutputError, one_line
from hilum.export.checked_run import checked_run
from hilum.export.seg_source import SourceSeries, index_sources, read_source
from hilum.io import atomic, folders
from hilum.ops.resample import regrid_mask
from hilum.recipes import recipe
from hilum.scan import LEFT_LUNG, RIGHT_LUNG
from hilum.volume import Mask

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import ModuleType

    from hilum.train.runs import RunScan, Skip


class Segmentations(NamedTuple):
    """How many scans, files and segments were written, and what was left out."""

    scans: int
    files: int
    segments: int
    skipped: list[Skip]


class _Segment(NamedTuple):
    """The name and side of a segment, and the recommended color, RGB, to display it in."""

    label: str
    side: str
    color: tuple[int, int, int]


_LUNGS = {
    RIGHT_LUNG: _Segment("right lung", "Right", (115, 170, 220)),
    LEFT_LUNG: _Segment("left lung", "Left", (120, 200, 150)),
}


def write_segmentations(folder: Path, out: Path, *, sources: Sequence[Path], overwrite: bool = False) -> Segmentations:
    """Write ``lungs.dcm`` and ``nodules.dcm`` for each scan of a run, on the grid of its DICOM series.

    The same run and series give the same UIDs and bytes; the content date is that of the series. As DICOM requires, a
    segmentation copies the patient's and the study's data: it identifies the patient as much as the series does.

    Parameters
    ----------
    folder : Path
        The output folder of ``hilum run``.
    out : Path
        A folder for ``SCAN/lungs.dcm`` and ``SCAN/nodules.dcm``. A scan's folder appears when it is complete.
    sources : sequence of Path
        Folders with the DICOM series, which are looked up by UID.
    overwrite : bool
        Replace the folders of scans that exist.

    Returns
    -------
    Segmentations
        Scans without masks are left out.

    Raises
    ------
    InputError
        If highdicom is not installed, the run is not complete, its recipe hides the series UID, or a scan's series
        is missing or has changed. Nothing is written then.
    OutputError
        If a scan's folder exists, or the file system refuses.
    """
    highdicom = _import_highdicom()
    scans, skipped = checked_run(folder)
    if recipe(folder / folders.RECIPE).output.series_uid == "hash":
        what = "its recipe hides the series UID, and a segmentation must name its series"
        raise InputError(what, where=folder, do="run with output.series_uid = 'keep'", code="hidden-series")
    series = index_sources(sources)
    used = []
    for scan in scans:
        if not any(file.startswith(("lungs.", "nodules.")) for file in scan.record.files):
            skipped.append(scan.skip("no-masks", "it has no mask"))
        else:
            read_source(scan, series)  # refuses before anything is written
            used.append(scan)
        if (out / scan.scan_id).exists() and not overwrite:
            do = "give --overwrite, or another --out"
            raise OutputError("exists already", where=out / scan.scan_id, do=do, code="exists")
    files = segments = 0
    for scan in used:
        objects = _segmentations(highdicom, scan, read_source(scan, series))
        if not objects:
            skipped.append(scan.skip("empty-masks", "its masks are empty"))
            continue
        with atomic.atomic_folder(out / scan.scan_id) as partial:
            for name, segmentation in objects.items():
                segmentation.save_as(partial / f"{name}.dcm")
        files += len(objects)
        segments += sum(len(segmentation.SegmentSequence) for segmentation in objects.values())
    return Segmentations(scans=len(used), files=files, segments=segments, skipped=skipped)


def _import_highdicom() -> ModuleType:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # those of highdicom's own imports
            import highdicom
    except ImportError:
        what = "DICOM segmentations need highdicom, which is not installed"
        raise InputError(what, do="pip install 'hilum[seg]'", code="no-highdicom") from None
    return highdicom


def _segmentations(highdicom: ModuleType, scan: RunScan, source: SourceSeries) -> dict[str, Any]:
    """Make a segmentation of each mask that is not empty, by the mask's name."""
    objects = {}
    for name in ("lungs", "nodules"):
        if (stored := scan.read(name)) is None:
            continue
        mask = regrid_mask(Mask(stored.array, stored.geometry), source.geometry)
        values = [int(value) for value in np.unique(mask.array) if value]
        if values:
            try:
                objects[name] = _segmentation(highdicom, scan, source, mask=mask, name=name, values=values)
            except HilumError:
                raise
            except (AttributeError, KeyError, TypeError, ValueError) as problem:
                what = f"its series cannot be segmented: {one_line(problem, limit=120)}"
                raise FormatError(what, where=scan.folder, do="look at the headers of its series") from None
    return objects


def _segmentation(
    highdicom: ModuleType, scan: RunScan, source: SourceSeries, *, mask: Mask, name: str, values: list[int]
) -> Any:
    from pydicom.sr.codedict import codes
    from pydicom.uid import generate_uid

    segments = [_segment(name, value) for value in values]
    numbers = np.zeros(256, np.uint8)
    numbers[values] = np.arange(1, len(values) + 1)
    sha256 = next(record.sha256 for file, record in scan.record.files.items() if file.startswith(f"{name}."))
    seeds = [hilum.__version__, scan.record.series_uid, name, sha256]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about names and values of the source, which are copied unchanged
        segmentation = highdicom.seg.Segmentation(
            source_images=source.headers,
            pixel_array=numbers[mask.array[list(source.slots)]],
            segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[
                _describe(highdicom, one, number, uid=generate_uid(entropy_srcs=[*seeds, "tracked", str(value)]))
                for number, (value, one) in enumerate(zip(values, segments, strict=True), start=1)
            ],
            series_instance_uid=generate_uid(entropy_srcs=[*seeds, "series"]),
            series_number=901 if name == "lungs" else 902,
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
    _make_reproducible(segmentation, source.headers[0], organization=generate_uid(entropy_srcs=[*seeds, "dimensions"]))
    for one, item in zip(segments, segmentation.SegmentSequence, strict=True):
        if one.side:
            code = highdicom.sr.CodedConcept.from_code(getattr(codes.SCT, one.side))
            item.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [code]
    return segmentation


def _make_reproducible(segmentation: Any, header: Any, *, organization: str) -> None:
    """Replace the current time by the source's, and a random UID by one derived from the input.

    So the same input gives the same bytes, and one UID always has the same content, as DICOM requires.
    """
    for kind, unknown in (("Date", "19000101"), ("Time", "000000")):
        values = (header.get(f"{of}{kind}") for of in ("Content", "Acquisition", "Series", "Study"))
        setattr(segmentation, f"Content{kind}", next((str(value) for value in values if value), unknown))
        delattr(segmentation, f"InstanceCreation{kind}")
    for item in segmentation.get("ContributingEquipmentSequence", ()):  # highdicom's own
        item.pop("ContributionDateTime", None)
    for item in (*segmentation.DimensionOrganizationSequence, *segmentation.DimensionIndexSequence):
        item.DimensionOrganizationUID = organization


def _segment(name: str, value: int) -> _Segment:
    if name == "nodules":
        return _Segment(f"nodule {value}", "", (235, 140, 60))
    if value not in _LUNGS:
        raise FormatError(f"the lung mask has the label {value}, expected 1 right and 2 left", do="run it again")
    return _LUNGS[value]


def _describe(highdicom: ModuleType, segment: _Segment, number: int, *, uid: str) -> Any:
    from pydicom.sr.codedict import codes

    lung = bool(segment.side)
    # Nodule masks follow from what a reader or a table marked: neither automatic nor manual.
    kind = highdicom.seg.SegmentAlgorithmTypeValues
    family = codes.CID7162.MorphologicalOperations if lung else codes.CID7162.ManualProcessing
    algorithm = highdicom.AlgorithmIdentificationSequence(name="hilum", family=family, version=hilum.__version__)
    category = codes.CID7150.AnatomicalStructure if lung else codes.CID7150.MorphologicallyAbnormalStructure
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=segment.label,
        segmented_property_category=category,
        segmented_property_type=codes.SCT.Lung if lung else codes.SCT.Nodule,
        algorithm_type=kind.AUTOMATIC if lung else kind.SEMIAUTOMATIC,
        algorithm_identification=algorithm,
        tracking_uid=uid,
        tracking_id=segment.label,
        anatomic_regions=None if lung else [codes.SCT.Lung],
        display_color=highdicom.color.CIELabColor.from_rgb(*segment.color),
    )
