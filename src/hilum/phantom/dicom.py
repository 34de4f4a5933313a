"""Phantoms as DICOM: one CT Image Storage file per slice (DICOM PS3.3 section A.3)."""

import hashlib
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID

from hilum.errors import InputError, OutputError
from hilum.phantom.dicom_dialects import BIG_ENDIAN, EXPLICIT, RLE, Dialect, derived_uid
from hilum.volume import Volume

_CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
_CONSTANTS: dict[str, str | int | list[str]] = {
    "SpecificCharacterSet": "ISO_IR 100", "SOPClassUID": _CT_IMAGE_STORAGE, "Modality": "CT", "KVP": "120",
    "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "Manufacturer": "hilum phantom", "ConvolutionKernel": "STANDARD",
    "PatientName": "Phantom^Chest", "PatientID": "PHANTOM", "SeriesDescription": "CHEST", "BodyPartExamined": "CHEST",
    "StudyID": "1", "SeriesNumber": "2", "AcquisitionNumber": "1", "WindowCenter": "-600", "WindowWidth": "1500",
    "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "RescaleType": "HU",
    **dict.fromkeys(("StudyDate", "SeriesDate", "ContentDate"), "20200101"),
    **dict.fromkeys(("StudyTime", "SeriesTime", "ContentTime"), "120000"),
    **dict.fromkeys(("AccessionNumber", "ReferringPhysicianName", "PatientBirthDate", "PatientSex"), ""),
    "PositionReferenceIndicator": "",
}  # fmt: skip
_WRITER = "2.25.164519274215862384927338419820334016512"  # Implementation Class UID of hilum's phantoms


def write_slices(volume: Volume, padding: NDArray[np.bool_], folder: Path, dialect: Dialect, series_uid: str) -> None:
    """Write the slices of a volume.

    Parameters
    ----------
    volume : Volume
        int16 HU.
    padding : ndarray of bool, shape (z, y, x)
        Voxels that get the dialect's padding value.
    folder : path
        Where the files go.
    dialect : Dialect
        How headers and pixels are written.
    series_uid : str
        If empty, it is derived from the voxels.

    Raises
    ------
    InputError
        If the dialect does not store 12 or 16 bits.
    OutputError
        If a file cannot be written.
    """
    if dialect.bits_stored not in (12, 16):
        raise InputError(f"bits_stored is {dialect.bits_stored}, expected 12 or 16", code="bad-option")
    if not series_uid:
        series_uid = derived_uid("volume", hashlib.sha256(volume.array.tobytes()).hexdigest(), volume.geometry)
    count = volume.shape[0]
    seed = int.from_bytes(hashlib.sha256(series_uid.encode()).digest()[:16])
    order = np.random.default_rng(seed).permutation(count)
    common = _common(volume, dialect, series_uid)
    for k in range(count):
        dataset = Dataset(common)
        # Slice 0 is at the feet; a scan that starts at the head numbers slices in reverse.
        dataset.InstanceNumber = count - k if dialect.reversed_numbers else k + 1
        dataset.SOPInstanceUID = derived_uid(series_uid, k)
        dataset.ImagePositionPatient = [_ds(v) for v in volume.geometry.index_to_world((k, 0, 0))]
        _put_pixels(dataset, volume.array[k], padding[k], dialect)
        name = f"{order[k]:08X}" if dialect.shuffled_names else f"{k + 1:04d}.dcm"
        try:
            _save(dataset, folder / name, dialect)
        except OSError as error:
            raise OutputError(f"cannot be written: {error.strerror}", where=folder / name) from error


def _ds(value: float) -> str:
    """A decimal string of at most 16 characters (VR DS, PS3.5 section 6.2)."""
    digits = 15
    while len(text := f"{float(value):.{digits}g}") > 16:
        digits -= 1
    return text


def _common(volume: Volume, dialect: Dialect, series_uid: str) -> Dataset:
    """Make the attributes that all slices share."""
    geometry = volume.geometry
    dataset = Dataset()
    for name, value in _CONSTANTS.items():
        setattr(dataset, name, value)
    dataset.PatientPosition = dialect.patient_position
    dataset.StudyInstanceUID = derived_uid(series_uid, "study")
    dataset.SeriesInstanceUID = series_uid
    dataset.FrameOfReferenceUID = derived_uid(series_uid, "frame of reference")
    # A row runs along the last array axis, a column along the axis before.
    dataset.ImageOrientationPatient = [_ds(v) for axis in (2, 1) for v in geometry.direction[axis]]
    dataset.SliceThickness = _ds(geometry.spacing[0])
    dataset.PixelSpacing = [_ds(v) for v in geometry.spacing[1:]]
    _, dataset.Rows, dataset.Columns = geometry.shape
    dataset.BitsStored = dialect.bits_stored
    dataset.HighBit = dialect.bits_stored - 1
    dataset.PixelRepresentation = int(dialect.signed)
    if dialect.padding is not None and dialect.padding_tag:
        value = dialect.padding % 65536 if dialect.padding_tag == "US" else dialect.padding
        dataset.add_new("PixelPaddingValue", dialect.padding_tag, value)
    return dataset


def _put_pixels(dataset: Dataset, hu: NDArray[np.int16], padding: NDArray[np.bool_], dialect: Dialect) -> None:
    """Set the stored values: HU by the inverse rescale, rounded, clipped to the bits stored."""
    bits = dialect.bits_stored
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if dialect.signed else (0, (1 << bits) - 1)
    slope, intercept = dialect.slope, dialect.intercept
    if slope == 0:
        inside = hu[~padding] if not padding.all() else hu
        slope = float(_ds(max(float(inside.max()) - float(inside.min()), 1.0) / (high - low)))
        intercept = float(_ds(float(inside.min()) - slope * low))
    stored = np.clip(np.rint((hu.astype(np.float64) - intercept) / slope), low, high).astype(np.int64)
    if dialect.padding is not None:
        stored[padding] = dialect.padding
    dataset.RescaleSlope, dataset.RescaleIntercept = _ds(slope), _ds(intercept)
    order = ">" if dialect.transfer_syntax == BIG_ENDIAN else "<"
    dataset.add_new("PixelData", "OW", stored.astype(f"{order}{'i2' if dialect.signed else 'u2'}").tobytes())


def _save(dataset: Dataset, path: Path, dialect: Dialect) -> None:
    meta = FileMetaDataset()

    # `compress` needs uncompressed pixels, and sets the transfer syntax of RLE.
    meta.TransferSyntaxUID = UID(EXPLICIT if dialect.transfer_syntax == RLE else dialect.transfer_syntax)
    meta.ImplementationClassUID = UID(_WRITER)
    meta.ImplementationVersionName = "HILUM_PHANTOM"
    file = FileDataset(str(path), dataset, preamble=b"\0" * 128, file_meta=meta)
    if dialect.transfer_syntax == RLE:
        file.compress(RLE, generate_instance_uid=False)
    pydicom.dcmwrite(path, file, enforce_file_format=True)
