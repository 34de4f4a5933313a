"""NIfTI files with sheared axes: small shears are read as straight, larger ones are corrected; a note names either."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

import hilum
from hilum import cli
from hilum.errors import GeometryError, UnsupportedError
from hilum.io.volumes.nifti import read_nifti
from hilum.io.volumes.shear import straighten

SHAPE, SPACING = (44, 40, 18), (1.4, 1.5, 2.5)  # x, y, z, as the file has them
RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def sheared(degrees, *, along=1, stack=2):
    """An affine in LPS whose slices are moved along another axis, by a tangent of the angle for each step."""
    affine = np.diag([*SPACING, 1.0])
    affine[:3, 3] = (-30.0, -31.0, 40.0)
    affine[along, stack] = SPACING[stack] * np.tan(np.radians(degrees))
    return affine


def density(points):
    x, y, z = np.moveaxis(points, -1, 0)
    return 300 * np.sin(x / 7) + 250 * np.cos(y / 6.5) + 200 * np.sin(z / 8 + 1)


def voxels(affine, shape=SHAPE):
    index = np.moveaxis(np.indices(shape), 0, -1)
    return density(index @ affine[:3, :3].T + affine[:3, 3])


def store(path, affine, values=None, *, dtype=np.int16, qform=None):
    values = voxels(affine) if values is None else values
    image = nib.Nifti1Image(np.asarray(values).astype(dtype), RAS @ affine)
    image.set_sform(RAS @ affine, 1)
    if qform is None:
        image.set_qform(None, 0)
    else:
        image.set_qform(RAS @ qform, 1)
    nib.save(image, path)
    return path


def codes(scan):
    return {note.code for note in scan.notes}


def off(volume, margin=6):
    """The largest difference from the truth inside the planes, away from the edges of what was scanned, HU."""
    array = volume.array.astype(float)
    truth = density(volume.geometry.index_to_world(np.moveaxis(np.indices(array.shape), 0, -1)))
    width = [1 if n == min(array.shape) else 2 * margin + 1 for n in array.shape]
    inside = ndimage.minimum_filter(array, width) > -1000
    for axis, n in enumerate(array.shape):
        if width[axis] > 1:
            inside &= (
                np.abs(np.arange(n) - (n - 1) / 2).reshape([-1 if k == axis else 1 for k in range(3)]) < n / 2 - margin
            )
    assert inside.sum() > 1000
    return np.abs(array - truth)[inside].max()


@pytest.mark.parametrize("degrees", [5.0, -12.0, 20.0])
@pytest.mark.parametrize("along", [0, 1])
@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64])
def test_a_sheared_volume_becomes_straight(tmp_path, degrees, along, dtype):
    scan = hilum.read(store(tmp_path / "a.nii", sheared(degrees, along=along), dtype=dtype))
    assert codes(scan) >= {"gantry-tilt"}
    (text,) = [n.text for n in scan.notes if n.code == "gantry-tilt"]
    assert f"{abs(degrees):.1f} degrees" in text
    assert off(scan.ct) < 15
    assert scan.ct.spacing == pytest.approx(SPACING[::-1])
    wide = round(abs(np.tan(np.radians(degrees))) * SPACING[2] * (SHAPE[2] - 1) / SPACING[along])
    grown = [n - m for n, m in zip(scan.ct.shape[::-1], SHAPE, strict=True)]
    assert grown[1 - along] == grown[2] == 0
    assert abs(grown[along] - wide) <= 1


def test_slices_along_another_array_axis_are_found_by_the_table(tmp_path):
    affine = sheared(12.0)[:, [2, 0, 1, 3]]  # the slices follow one another along the first axis of the file
    shape = tuple(SHAPE[k] for k in (2, 0, 1))
    scan = hilum.read(store(tmp_path / "a.nii", affine, voxels(affine, shape)))
    assert "gantry-tilt" in codes(scan)
    assert off(scan.ct) < 15


def test_labels_are_never_mixed(tmp_path):
    labels = np.zeros(SHAPE, np.uint8)
    labels[10:20, 10:20, 4:12], labels[20:30, 10:20, 4:12] = 1, 7
    path = store(tmp_path / "a.nii", sheared(12.0), labels, dtype=np.uint8)
    for volume in (hilum.read(path).ct, read_nifti(path).to_volume()):
        assert set(np.unique(volume.array)) == {0, 1, 7}
        assert np.count_nonzero(volume.array == 7) == np.count_nonzero(labels == 7)


def test_nan_is_air_beside_the_scan_and_does_not_spread(tmp_path):
    values = voxels(sheared(12.0))
    values[:4] = np.nan
    scan = hilum.read(store(tmp_path / "a.nii", sheared(12.0), values, dtype=np.float32))
    assert {"gantry-tilt", "nan-to-air"} <= codes(scan)
    assert off(scan.ct) < 15


@pytest.mark.parametrize(("voxels_off", "code"), [(0.49, "small-shear"), (0.51, "gantry-tilt")])
def test_half_a_voxel_over_the_whole_volume_is_tolerated(tmp_path, voxels_off, code):
    degrees = np.degrees(np.arctan(voxels_off * SPACING[1] / (SHAPE[2] - 1) / SPACING[2]))
    scan = hilum.read(store(tmp_path / "a.nii", sheared(degrees)))
    assert codes(scan) & {"small-shear", "gantry-tilt"} == {code}
    assert (scan.ct.shape == SHAPE[::-1]) == (code == "small-shear")
    assert off(scan.ct) < (20 if code == "small-shear" else 15)


def test_right_angles_stay_as_they_are(tmp_path):
    scan = hilum.read(store(tmp_path / "a.nii", sheared(0.0)))
    assert not codes(scan) & {"small-shear", "gantry-tilt"}
    assert np.array_equal(scan.ct.array, voxels(sheared(0.0)).astype(np.int16).T)


@pytest.mark.parametrize(
    ("affine", "words"),
    [
        (sheared(20.0, along=0, stack=1), "right angles"),  # within the slices
        (sheared(20.0) + sheared(20.0, along=0, stack=1) - sheared(0.0), "right angles"),
        (sheared(50.0), "50.0 degrees"),
        (sheared(40.0) @ np.diag([1.0, 1.0, 8.0, 1.0]), "40.0 degrees"),  # by five times the size of a slice
    ],
)
def test_a_shear_that_no_scanner_makes_is_refused(tmp_path, affine, words):
    with pytest.raises(GeometryError, match=words):
        hilum.read(store(tmp_path / "a.nii", affine))


def test_a_good_qform_beside_a_sheared_sform_is_told(tmp_path):
    scan = hilum.read(store(tmp_path / "a.nii", sheared(12.0), qform=sheared(0.0)))
    assert codes(scan) == {"forms-differ"}  # pixdim is the qform's step, not the longer one of the sform
    assert scan.ct.shape == SHAPE[::-1]
    both = hilum.read(store(tmp_path / "c.nii", sheared(12.0), qform=sheared(12.0)))  # as nibabel writes it
    assert codes(both) == {"forms-differ", "gantry-tilt"}
    assert off(both.ct) < 15
    small = hilum.read(store(tmp_path / "b.nii", sheared(0.2), qform=sheared(0.0)))
    assert small.ct.shape == SHAPE[::-1]
    assert codes(small) & {"small-shear", "forms-differ"}


def test_the_option_refuses(tmp_path, capsys):
    path = store(tmp_path / "a.nii", sheared(12.0))
    with pytest.raises(UnsupportedError, match="sheared") as caught:
        hilum.read(path, tilt="refuse")
    assert caught.value.code == "gantry-tilt"
    assert cli.main(["convert", str(path), str(tmp_path / "out.nii"), "--no-tilt"]) == 1
    assert "--no-tilt" in capsys.readouterr().err
    assert cli.main(["info", str(path), "--no-tilt"]) == 1
    assert cli.main(["convert", str(path), str(tmp_path / "out.nii")]) == 0
    assert hilum.read(tmp_path / "out.nii").ct.geometry.isclose(hilum.read(path).ct.geometry)
    small = store(tmp_path / "b.nii", sheared(0.2))
    assert hilum.read(small, tilt="refuse").ct.shape == SHAPE[::-1]


def test_a_tolerated_shear_leaves_the_center(tmp_path):
    steps = sheared(0.3)[:3, :3].T[::-1]
    straight, origin, shear, (note,) = straighten(SHAPE[::-1], steps, np.zeros(3), tmp_path)
    assert shear is None
    assert "0.3 degrees" in note.text
    middle = (np.array(SHAPE[::-1]) - 1) / 2
    np.testing.assert_allclose(middle @ steps, origin + middle @ straight, atol=1e-9)
