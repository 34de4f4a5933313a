"""Phantoms' structures as DICOM structure sets: the edges of masks as contours (DICOM PS3.3 section A.19)."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID

from hilum.errors import OutputError
from hilum.phantom.dicom_dialects import EXPLICIT, derived_uid
from hilum.volume import Mask

_STRUCTURE_SET, _CT_IMAGE = "1.2.840.10008.5.1.4.1.1.481.3", "1.2.840.10008.5.1.4.1.1.2"

_Point = tuple[float, float]


def write_masks(masks: Mapping[str, Mask], path: Path, series_uid: str) -> None:
    """Write the structure set of a series that `hilum.phantom.dicom.write_slices` wrote.

    Parameters
    ----------
    masks : mapping of str to Mask
        By the names of the regions; on the grid of the series.
    path : Path
        The file to write.
    series_uid : str
        The series that the contours belong to.
    """
    frame = derived_uid(series_uid, "frame of reference")
    dataset = _item(
        SpecificCharacterSet="ISO_IR 192", SOPClassUID=_STRUCTURE_SET, Modality="RTSTRUCT", StructureSetLabel="PHANTOM",
        SOPInstanceUID=derived_uid(series_uid, "structures", path.name), PatientName="Phantom^Chest",
        PatientID="PHANTOM",
        SeriesInstanceUID=derived_uid(series_uid, "structures"), StudyInstanceUID=derived_uid(series_uid, "study"),
        Manufacturer="hilum phantom", StudyDate="20200101", StudyTime="120000", PatientBirthDate="", PatientSex="",
    )  # fmt: skip
    count = max((mask.shape[0] for mask in masks.values()), default=0)
    series = _item(SeriesInstanceUID=series_uid, ContourImageSequence=_images(series_uid, range(count)))
    study = _item(
        ReferencedSOPInstanceUID=derived_uid(series_uid, "study"), RTReferencedSeriesSequence=Sequence([series])
    )
    dataset.ReferencedFrameOfReferenceSequence = Sequence(
        [_item(FrameOfReferenceUID=frame, RTReferencedStudySequence=Sequence([study]))]
    )
    dataset.StructureSetROISequence = Sequence()
    dataset.ROIContourSequence = Sequence()
    dataset.RTROIObservationsSequence = Sequence()
    for number, (name, mask) in enumerate(masks.items(), 1):
        dataset.StructureSetROISequence.append(
            _item(ROINumber=number, ROIName=name, ReferencedFrameOfReferenceUID=frame, ROIGenerationAlgorithm="")
        )
        contours = Sequence(_contours(mask, series_uid))
        dataset.ROIContourSequence.append(_item(ReferencedROINumber=number, ContourSequence=contours))
        dataset.RTROIObservationsSequence.append(
            _item(ObservationNumber=number, ReferencedROINumber=number, RTROIInterpretedType="ORGAN", ROIInterpreter="")
        )
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(EXPLICIT)
    try:
        pydicom.dcmwrite(
            path, FileDataset(str(path), dataset, preamble=b"\0" * 128, file_meta=meta), enforce_file_format=True
        )
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", where=path) from error


def _item(**values: object) -> Dataset:
    item = Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    return item


def _images(series_uid: str, slices: range) -> Sequence:
    return Sequence(
        [_item(ReferencedSOPClassUID=_CT_IMAGE, ReferencedSOPInstanceUID=derived_uid(series_uid, k)) for k in slices]
    )


def _contours(mask: Mask, series_uid: str) -> Iterator[Dataset]:
    for k, image in enumerate(mask.array):
        for outline in _outlines(image != 0):
            points = mask.geometry.index_to_world([(k, row, column) for row, column in outline])
            yield _item(
                ContourGeometricType="CLOSED_PLANAR",
                NumberOfContourPoints=len(points),
                ContourData=[f"{value:.8g}" for value in points.ravel()],
                ContourImageSequence=_images(series_uid, range(k, k + 1)),
            )


def _outlines(image: NDArray[np.bool_]) -> Iterator[list[_Point]]:
    """The outlines of regions and holes, along the edges of pixels; corners (row, column)."""
    padded = np.pad(image, 1)
    steps = {(-0.5, -0.5): (0, 1), (-0.5, 0.5): (1, 0), (0.5, 0.5): (0, -1), (0.5, -0.5): (-1, 0)}
    ends: dict[_Point, list[_Point]] = {}
    for (top, left), (down, right) in steps.items():  # the four edges of a pixel, clockwise
        beyond = np.roll(padded, (right, -down), (0, 1))  # the neighbor on the other side of the edge
        for row, column in (np.argwhere(padded & ~beyond) - 1).tolist():
            ends.setdefault((row + top, column + left), []).append((row + top + down, column + left + right))
    while ends:
        start = point = next(iter(ends))
        outline = []
        while True:
            following = ends[point].pop()
            if not ends[point]:
                del ends[point]
            outline.append(point)
            point = following
            if point == start:
                break
        yield _corners(outline)


def _corners(outline: list[_Point]) -> list[_Point]:
    """The points of an outline at which it turns."""
    around = zip(outline[-1:] + outline[:-1], outline, outline[1:] + outline[:1], strict=True)
    return [b for a, b, c in around if (b[0] - a[0], b[1] - a[1]) != (c[0] - b[0], c[1] - b[1])]
