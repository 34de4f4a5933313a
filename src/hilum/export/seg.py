"""Lungs, nodules and label maps as DICOM Segmentation objects that refer to the slices of the series.

The masks of a run are on its resampled grid. `hilum.ops.resample` brings them to the grid of the series by world
coordinates, so that a viewer can overlay them on the slices. Labels of label maps keep their volume and centroid.
highdicom writes the object.

Source: DICOM PS3.3 A.51 (Segmentation IOD), C.8.20.2; PS3.16 CID 7150, 7162; SNOMED CT codes of pydicom's dictionary.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

import hilum
from hilum.errors import FormatError, HilumError, InputError, OutputError, one_line
from hilum.export.checked_run import checked_run
from hilum.export.seg_codes import Segment, lung_segment, named_segment, nodule_segment
from hilum.export.seg_source import SourceSeries, index_sources, read_source
from hilum.io import atomic
from hilum.ops.labels.placing import place_label_map
from hilum.ops.regrid import regrid_mask
from hilum.outputs.finished import LABELS
from hilum.runs.run import AnyRun, open_run
from hilum.scan import LEFT_LUNG, RIGHT_LUNG, LabelMap
from hilum.train.runs import ListedScan, Skip
from hilum.volume import Mask


class Segmentations(NamedTuple):
    """How many scans, files and segments were written, and what was left out."""

    scans: int
    files: int
    segments: int
    skipped: list[Skip]


_SIDES = {RIGHT_LUNG: "Right", LEFT_LUNG: "Left"}


def write_segmentations(
    folder: AnyRun, out: Path, *, sources: Sequence[Path], overwrite: bool = False
) -> Segmentations:
    """Write ``lungs.dcm``, ``nodules.dcm`` and label maps for each scan of a run, on the grid of its DICOM series.

    The same run and series give the same UIDs and bytes; the content date is that of the series. As DICOM requires, a
    segmentation copies the patient's and the study's data: it identifies the patient as much as the series does.

    Parameters
    ----------
    folder : str or path
        The output folder of ``hilum run``, or a `hilum.Run`.
    out : Path
        A folder for ``SCAN/lungs.dcm``, ``SCAN/nodules.dcm`` and ``SCAN/labels/NAME.dcm``. A scan's folder appears
        when it is complete.
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
    run = open_run(folder)
    scans, skipped = checked_run(run)
    if run.recipe.output.series_uid == "hash":
        what = "its recipe hides the series UID, and a segmentation must name its series"
        raise InputError(what, where=run.folder, do="run with output.series_uid = 'keep'", code="hidden-series")
    series = index_sources(sources)
    used = []
    for scan in scans:
        if not any(file.startswith(("lungs.", "nodules.", f"{LABELS}/")) for file in scan.record.files):
            skipped.append(scan.skip("no-masks", "it has no mask"))
        else:
            read_source(scan, series)  # refuses before anything is written
            used.append(scan)
        if (out / scan.scan_id).exists() and not overwrite:
            do = "give --overwrite, or another --out"
            raise OutputError("exists already", where=out / scan.scan_id, do=do, code="exists")
    files = segments = 0
    for scan in used:
        if not (objects := _segmentations(highdicom, scan, read_source(scan, series), skipped)):
            skipped.append(scan.skip("empty-masks", "its masks are empty"))
            continue
        with atomic.atomic_folder(out / scan.scan_id) as partial:
            if any("/" in name for name in objects):
                (partial / LABELS).mkdir()
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


def _segmentations(
    highdicom: ModuleType, scan: ListedScan, source: SourceSeries, skipped: list[Skip]
) -> dict[str, Any]:
    """Make a segmentation of each mask that is not empty, by the mask's part of the scan."""
    objects = {}
    for name in ("lungs", "nodules", *(f"{LABELS}/{one}" for one in scan.record.label_maps)):
        if (stored := scan.read(name)) is None:
            continue
        if (kind := name.partition("/")[2]) and stored.array.any():
            given = LabelMap(Mask(stored.array, scan.geometry), scan.record.label_maps[kind].values)
            placed = place_label_map(given, source.geometry)
            mask = placed.label_map.mask
            for label, volume in placed.lost.items():
                what = f"{label} of {kind}, {volume:.3g} ml, is too small for the voxels of the series"
                skipped.append(scan.skip("label-lost", what))
        else:
            mask = regrid_mask(Mask(stored.array, stored.geometry), source.geometry)
        if values := [int(value) for value in np.unique(mask.array) if value]:
            try:
                objects[name] = _segmentation(highdicom, scan, source, mask=mask, name=name, values=values)
            except HilumError:
                raise
            except (AttributeError, KeyError, TypeError, ValueError) as problem:
                what = f"its series cannot be segmented: {one_line(problem, limit=120)}"
                raise FormatError(what, where=scan.folder, do="look at the headers of its series") from None
    return objects


def _segmentation(
    highdicom: ModuleType, scan: ListedScan, source: SourceSeries, *, mask: Mask, name: str, values: list[int]
) -> Any:
    from pydicom.sr.codedict import codes
    from pydicom.uid import generate_uid

    segments = [_segment(scan, name, value) for value in values]
    title = name.rpartition("/")[2]
    order = ["lungs", "nodules", *(f"{LABELS}/{one}" for one in scan.record.label_maps)].index(name)
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
            series_number=901 + order,
            sop_instance_uid=generate_uid(entropy_srcs=[*seeds, "instance"]),
            instance_number=1,
            manufacturer="hilum",
            manufacturer_model_name="hilum",
            software_versions=hilum.__version__,
            device_serial_number="1",
            content_label=title.upper().replace("-", "_")[:16],
            content_description=f"{title} by hilum",
            series_description=f"{title} by hilum",
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


def _segment(scan: ListedScan, part: str, value: int) -> Segment:
    if part == "nodules":
        return nodule_segment(value)
    if name := part.partition("/")[2]:
        names = {number: label for label, number in scan.record.label_maps[name].values.items()}
        label = names.get(value, str(value))
        return named_segment(f"{name} {label}" if label.isdecimal() else label, value - 1)
    if value not in _SIDES:
        raise FormatError(f"the lung mask has the label {value}, expected 1 right and 2 left", do="run it again")
    return lung_segment(_SIDES[value])


def _describe(highdicom: ModuleType, segment: Segment, number: int, *, uid: str) -> Any:
    from pydicom.sr.codedict import codes

    kind = highdicom.seg.SegmentAlgorithmTypeValues
    family = codes.CID7162.MorphologicalOperations if segment.automatic else codes.CID7162.ManualProcessing
    algorithm = highdicom.AlgorithmIdentificationSequence(name="hilum", family=family, version=hilum.__version__)
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=segment.label,
        segmented_property_category=getattr(codes.CID7150, segment.category),
        segmented_property_type=getattr(codes.SCT, segment.property),
        algorithm_type=kind.AUTOMATIC if segment.automatic else kind.SEMIAUTOMATIC,
        algorithm_identification=algorithm,
        tracking_uid=uid,
        tracking_id=segment.label,
        anatomic_regions=[codes.SCT.Lung] if segment.in_lung else None,
        display_color=highdicom.color.CIELabColor.from_rgb(*segment.color),
    )
