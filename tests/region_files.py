"""Structure sets and segmentations as planning systems and viewers write them, made with pydicom alone."""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian
from test_dicom import CT, GRID, UID

RTSTRUCT, SEG, LABELMAP = (f"1.2.840.10008.5.1.4.1.1.{tail}" for tail in ("481.3", "66.4", "66.7"))
SERIES, FRAME = f"{UID}.1", f"{UID}.91"
SECRETS = ("ZZDOE^JANE", "MRN123", "19610203")


def item(**values):
    made = Dataset()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def header(sop_class, modality, number=1):
    made = item(
        SOPClassUID=sop_class, SOPInstanceUID=f"{UID}.77.{number}", Modality=modality, StudyInstanceUID=f"{UID}.90",
        SeriesInstanceUID=f"{UID}.78.{number}", StructureSetLabel="RS", SpecificCharacterSet="ISO_IR 192",
    )  # fmt: skip
    made.PatientName, made.PatientID, made.PatientBirthDate = SECRETS
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID, made.file_meta.MediaStorageSOPInstanceUID = sop_class, made.SOPInstanceUID
    return made


def images(numbers=range(GRID.shape[0]), series=SERIES):
    return Sequence([item(ReferencedSOPClassUID=CT, ReferencedSOPInstanceUID=f"{series}.{k + 1}") for k in numbers])


def square(grid, k, top, left, bottom, right):
    """The points of a rectangle in slice `k` of a grid, LPS mm."""
    return grid.index_to_world([(k, top, left), (k, top, right), (k, bottom, right), (k, bottom, left)])


def contour(points, kind="CLOSED_PLANAR", image=None):
    made = item(
        ContourGeometricType=kind, NumberOfContourPoints=len(points),
        ContourData=[f"{v:.4f}" for v in np.asarray(points, float).ravel()],
    )  # fmt: skip
    if image is not None:
        made.ContourImageSequence = images([image])
    return made


def structure_set(regions, *, series=SERIES, frame=FRAME, number=1):
    """A structure set.

    Parameters
    ----------
    regions : list of (str, list)
        Name and contours of each: points in slices, or items from `contour`.
    """
    made = header(RTSTRUCT, "RTSTRUCT", number)
    study = item(
        RTReferencedSeriesSequence=Sequence(
            [item(SeriesInstanceUID=series, ContourImageSequence=images(series=series))]
        )
    )
    made.ReferencedFrameOfReferenceSequence = Sequence(
        [item(FrameOfReferenceUID=frame, RTReferencedStudySequence=Sequence([study]))]
    )
    made.StructureSetROISequence = Sequence([
        item(ROINumber=k, ReferencedFrameOfReferenceUID=frame, ROIName=name, ROIGenerationAlgorithm="MANUAL")
        for k, (name, _) in enumerate(regions, 1)
    ])  # fmt: skip
    made.ROIContourSequence = Sequence([
        item(
            ReferencedROINumber=k,
            ContourSequence=Sequence([one if isinstance(one, Dataset) else contour(one) for one in contours]),
        )
        for k, (_, contours) in enumerate(regions, 1)
    ])  # fmt: skip
    numbers = range(1, len(regions) + 1)
    made.RTROIObservationsSequence = Sequence([
        item(ObservationNumber=k, ReferencedROINumber=k, RTROIInterpretedType="ORGAN") for k in numbers
    ])  # fmt: skip
    return made


def segmentation(masks, *, grid=GRID, kind="BINARY", order=None, empty=False, series=SERIES, number=1):
    """A segmentation.

    Parameters
    ----------
    masks : dict of str to ndarray, shape (z, y, x)
        The mask of each segment; of a fractional one, values from 0 to 1.
    order : callable, optional
        From the list of frames (segment, slice) to that in the file.
    empty : bool
        Whether to write frames without pixels.
    """
    made = header(LABELMAP if kind == "LABELMAP" else SEG, "SEG", number)
    made.SegmentationType, made.FrameOfReferenceUID = kind, FRAME
    made.ReferencedSeriesSequence = Sequence(
        [item(SeriesInstanceUID=series, ReferencedInstanceSequence=images(series=series))]
    )
    made.SegmentSequence = Sequence([
        item(
            SegmentNumber=k, SegmentLabel=name, SegmentAlgorithmType="MANUAL",
            SegmentedPropertyTypeCodeSequence=Sequence([item(CodeMeaning="Organ")]),
        )
        for k, name in enumerate(masks, 1)
    ])  # fmt: skip
    arrays = list(masks.values())
    if kind == "LABELMAP":
        arrays = [np.max([k * (mask > 0) for k, mask in enumerate(arrays, 1)], axis=0)]
    frames = [(n, k) for n, mask in enumerate(arrays, 1) for k in range(len(mask)) if empty or mask[k].any()]
    frames = frames if order is None else order(frames)
    made.Rows, made.Columns, made.NumberOfFrames = *grid.shape[1:], len(frames)
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PixelRepresentation = 1, "MONOCHROME2", 0
    made.SharedFunctionalGroupsSequence = Sequence([
        item(
            PlaneOrientationSequence=Sequence([
                item(ImageOrientationPatient=[f"{v:.10f}"[:16] for v in (*grid.direction[2], *grid.direction[1])])
            ]),
            PixelMeasuresSequence=Sequence([
                item(PixelSpacing=[str(v) for v in grid.spacing[1:]], SpacingBetweenSlices=f"{grid.spacing[0]:.10g}",
                     SliceThickness="9")
            ]),
        )
    ])  # fmt: skip
    made.PerFrameFunctionalGroupsSequence = Sequence([
        item(
            PlanePositionSequence=Sequence([
                item(ImagePositionPatient=[f"{v:.6f}" for v in grid.index_to_world((k, 0, 0))])
            ]),
            **({} if kind == "LABELMAP" else {
                "SegmentIdentificationSequence": Sequence([item(ReferencedSegmentNumber=n)])
            }),
        )
        for n, k in frames
    ])  # fmt: skip
    stored = np.array([arrays[n - 1][k] for n, k in frames])
    bits = 1 if kind == "BINARY" else 8
    made.BitsAllocated, made.BitsStored, made.HighBit = bits, bits, bits - 1
    if kind == "FRACTIONAL":
        made.MaximumFractionalValue, made.SegmentationFractionalType = 200, "PROBABILITY"
        stored = np.rint(stored * 200)
    data = np.packbits(stored.ravel() > 0, bitorder="little") if bits == 1 else stored.astype(np.uint8)
    made.PixelData = data.tobytes() + bytes(data.nbytes % 2)
    made["PixelData"].VR = "OB"
    return made


def save_to(made, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path, enforce_file_format=True)
    return path
