"""Masks that are read as masks: the labels of the file on its own grid, and nothing else."""

from __future__ import annotations

import nibabel
import nrrd
import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from itk_oracle import itk_image

import hilum
from hilum import Geometry, Mask, Volume
from hilum.errors import InputError, MissingInputError, UnsupportedError
from hilum.testing import assert_same_geometry, masks

OBLIQUE = Geometry((4, 5, 6), (2.5, 0.7, 0.8), (3.0, -7.0, 9.0), ((0, 0, 1), (0.6, 0.8, 0), (0.8, -0.6, 0)))


def labels():
    return np.random.default_rng(0).integers(0, 4, OBLIQUE.shape, dtype=np.uint8)


@pytest.mark.parametrize("suffix", ["nii", "nii.gz", "nrrd", "mha", "mhd", "npy", "zarr", "b2nd"])
def test_a_written_mask_is_read_as_it_was(tmp_path, suffix):
    mask = Mask(labels(), OBLIQUE)
    hilum.write(mask, tmp_path / f"mask.{suffix}")
    read = hilum.read_mask(tmp_path / f"mask.{suffix}")
    assert type(read) is Mask
    assert np.array_equal(read.array, mask.array)
    assert_same_geometry(read.geometry, OBLIQUE, tolerance=1e-5)


def test_names_come_back_where_the_format_has_them(tmp_path):
    mask = Mask(labels(), OBLIQUE, {1: "right lung", 2: "left lung", 7: "no voxel"})
    for name, names in (("mask.nrrd", dict(mask.names)), ("mask.nii.gz", {})):
        hilum.write(mask, tmp_path / name)
        assert dict(hilum.read_mask(tmp_path / name).names) == names


@given(masks())
def test_any_mask_of_simpleitk_is_read(tmp_path_factory, mask):
    path = tmp_path_factory.mktemp("itk") / "mask.mha"
    SimpleITK.WriteImage(itk_image(mask), str(path))
    read = hilum.read_mask(str(path))
    assert np.array_equal(read.array, mask.array)
    assert_same_geometry(read.geometry, mask.geometry, tolerance=1e-5)


def test_the_names_of_segments_are_those_of_the_mask(tmp_path):
    path = tmp_path / "mask.seg.nrrd"
    fields = {"Segment0_Name": "Left\x1b lobe", "Segment0_LabelValue": "1", "Segment1_Name": "GTV"}
    nrrd.write(str(path), labels().T, fields | {"Segment1_LabelValue": "300", "space": "LPS", "space origin": [0, 0, 0],
               "space directions": np.eye(3)})  # fmt: skip
    read = hilum.read_mask(path)
    assert dict(read.names) == {1: "Left? lobe"}
    assert read.volume_ml("Left? lobe") == np.count_nonzero(labels() == 1) / 1000


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_whole_numbers_of_any_type_are_labels(tmp_path, dtype):
    path = tmp_path / "mask.nii"
    nibabel.save(nibabel.Nifti1Image(labels().T.astype(dtype), np.diag([-1.0, -2.0, 3.0, 1.0])), path)
    assert np.array_equal(hilum.read_mask(path).array, labels())


@pytest.mark.parametrize("values", [(0, 1.5), (-1, 1), (0, 256), (-1000, 40)])
def test_what_is_no_mask_is_refused_with_the_call_that_reads_it(tmp_path, values):
    array = np.resize(np.array(values, np.float32), (4, 5, 6))
    path = tmp_path / "ct.nii.gz"
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), path)
    with pytest.raises(UnsupportedError, match=r"expected whole numbers from 0 to 255.*; hilum\.read\(\.\.\.\) reads"):
        hilum.read_mask(path)


def test_other_paths_are_refused(tmp_path):
    with pytest.raises(MissingInputError, match="no such file"):
        hilum.read_mask(tmp_path / "nowhere.nii")
    (tmp_path / "seg.dcm").write_bytes(b"DICM")
    for path in (tmp_path, tmp_path / "seg.dcm"):
        with pytest.raises(UnsupportedError, match=r"is no volume file; hilum\.attach_labels\(\.\.\.\)"):
            hilum.read_mask(path)


def test_read_names_the_call_for_a_mask_of_a_run(tmp_path):
    hilum.write(Mask(labels(), OBLIQUE), tmp_path / "lungs.npy")
    with pytest.raises(InputError, match=r"contains labels, not a CT; hilum\.read_mask\(\.\.\.\)"):
        hilum.read(tmp_path / "lungs.npy")
    hilum.write(Volume(labels().astype(np.int16) * 500, OBLIQUE), tmp_path / "ct.npy")
    with pytest.raises(InputError, match="it is no label map"):
        hilum.read_mask(tmp_path / "ct.npy")
