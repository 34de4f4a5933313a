"""The phantom chest: the same patient on every grid, a matching truth, files that other readers read alike."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813 - the name that its own manual uses
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from hilum.errors import GeometryError, InputError, OutputError
from hilum.geometry import IDENTITY_DIRECTION, Geometry
from hilum.phantom import patient
from hilum.phantom.chest import (
    Phantom,
    PhantomOptions,
    make_phantom,
    outside_field,
)
from hilum.phantom.dicom_dialects import DIALECTS, Dialect
from hilum.phantom.files import reverse_in_plane, write_dicom_series, write_luna16
from hilum.phantom.shapes import Tubes, ellipse, voxel_fraction
from hilum.testing import assert_same_geometry, directions
from hilum.volume import Volume

if TYPE_CHECKING:
    from pathlib import Path

QUIET = PhantomOptions(noise_hu=0)
SMALL = (40, 96, 96)


@pytest.fixture(scope="module")
def chest() -> Phantom:
    return make_phantom(seed=5, shape=(60, 128, 128))


@pytest.fixture(scope="module")
def quiet() -> Phantom:
    return make_phantom(seed=5, shape=SMALL, options=QUIET)


def digest(phantom: Phantom) -> str:
    parts = (phantom.scan.ct, phantom.lungs, phantom.airways, phantom.bowel)
    return hashlib.sha256(b"".join(part.array.tobytes() for part in parts)).hexdigest()


def index_of(phantom: Phantom, world) -> tuple[int, ...]:
    return tuple(np.rint(phantom.scan.ct.geometry.world_to_index(world)).astype(int).tolist())


# One patient, whatever the grid


def test_same_seed_same_bytes_on_any_number_of_threads():
    first = digest(make_phantom(seed=9, shape=(24, 64, 64), workers=1))
    patient.draw_patient.cache_clear()
    assert digest(make_phantom(seed=9, shape=(24, 64, 64), workers=3)) == first
    assert digest(make_phantom(seed=10, shape=(24, 64, 64), workers=3)) != first


def test_noise_is_drawn_anew_for_every_slice_and_seed():
    noise = [make_phantom(seed=s, shape=(8, 64, 64), options=PhantomOptions(field_of_view=False)) for s in (1, 2)]
    calm = [make_phantom(seed=s, shape=(8, 64, 64), options=replace(QUIET, field_of_view=False)) for s in (1, 2)]
    one, two = (a.scan.ct.array.astype(float) - b.scan.ct.array for a, b in zip(noise, calm, strict=True))
    # Air is clipped at -1024; soft tissue in the middle of the lowest slices shows all of the noise.
    body = np.s_[:, 24:40, 24:40]
    assert one[body].std() == pytest.approx(20, rel=0.1)
    assert abs(np.corrcoef(one[body].ravel(), two[body].ravel())[0, 1]) < 0.1
    assert abs(np.corrcoef(one[0, 24:40, 24:40].ravel(), one[1, 24:40, 24:40].ravel())[0, 1]) < 0.25


def test_a_part_of_a_grid_has_the_same_voxels(quiet):
    start, stop = (7, 20, 31), (29, 70, 80)
    part = make_phantom(seed=5, geometry=quiet.scan.ct.geometry.crop(start, stop), options=QUIET)
    box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    difference = np.abs(part.scan.ct.array - quiet.scan.ct.array[box].astype(int))
    assert np.quantile(difference, 0.999) <= 1  # float32 places the edges of both grids a rounding apart
    assert np.mean(part.lungs.array != quiet.lungs.array[box]) < 1e-4


def test_coarse_grid_shows_the_same_patient_as_a_fine_one(quiet):
    coarse = quiet.scan.ct.geometry
    spacing = tuple(s / 3 for s in coarse.spacing)
    low, high = np.array((6, 24, 12)), np.array((30, 60, 60))
    fine = Geometry(tuple(((high - low - 1) * 3 + 1).tolist()), spacing, tuple(coarse.index_to_world(low).tolist()))
    sharp = make_phantom(seed=5, geometry=fine, options=QUIET)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    assert np.mean(sharp.lungs.array[::3, ::3, ::3] != quiet.lungs.array[box]) < 1e-4
    assert np.mean(sharp.airways.array[::3, ::3, ::3] != quiet.airways.array[box]) < 1e-4
    difference = np.abs(sharp.scan.ct.array[::3, ::3, ::3] - quiet.scan.ct.array[box].astype(float))
    assert np.median(difference) <= 5
    assert np.mean(difference > 300) < 0.05  # partial volume at edges; elsewhere the tissue is the same
    shifted = np.roll(sharp.lungs.array[::3, ::3, ::3], 1, axis=2)
    assert np.mean(shifted != quiet.lungs.array[box]) > 0.01


@settings(max_examples=6)
@given(direction=directions(), seed=st.integers(0, 3))
def test_oblique_grid_shows_the_same_patient(direction, seed):
    plain = make_phantom(seed=seed, shape=SMALL, options=QUIET)
    turned = make_phantom(seed=seed, shape=(24, 24, 24), spacing=(6.0, 6.0, 6.0), direction=direction, options=QUIET)
    index = np.moveaxis(np.indices((24, 24, 24)), 0, -1)
    world = turned.scan.ct.geometry.index_to_world(index)
    there = np.moveaxis(plain.scan.ct.geometry.world_to_index(world), -1, 0)
    seen = ndimage.map_coordinates(plain.lungs.array, there, order=0)
    assert np.mean(seen != turned.lungs.array) < 0.06  # the nearest voxel lies up to half a voxel off
    assert np.mean(np.roll(seen, 5, axis=0) != turned.lungs.array) > 0.06
    assert (turned.lungs.array > 0).any()


def test_flipped_and_permuted_axes_give_the_same_voxels(quiet):
    nz, ny, nx = SMALL
    z, y, x = IDENTITY_DIRECTION
    away = tuple(-v for v in x)
    sz, sy, sx = quiet.scan.ct.spacing
    turned = make_phantom(seed=5, shape=(nx, nz, ny), spacing=(sx, sz, sy), direction=(away, z, y), options=QUIET)
    back = np.moveaxis(turned.scan.ct.array[::-1], 0, 2)
    assert np.quantile(np.abs(back.astype(int) - quiet.scan.ct.array), 0.999) <= 1
    assert np.mean(np.moveaxis(turned.lungs.array[::-1], 0, 2) != quiet.lungs.array) < 1e-4


def test_default_grid_covers_the_field_of_view():
    phantom = make_phantom(seed=0, spacing=(10.0, 6.0, 4.0))
    assert phantom.scan.ct.shape == (30, 64, 96)
    assert make_phantom(seed=0, shape=(10, 48, 32)).scan.ct.spacing == (30.0, 8.0, 12.0)
    z, y, x = IDENTITY_DIRECTION
    sagittal = make_phantom(seed=0, spacing=(8.0, 30.0, 8.0), direction=(x, z, y))
    assert sagittal.scan.ct.shape == (48, 10, 48)


# The truth


def test_lungs_lie_where_they_should(chest):
    lungs, hu = chest.lungs.array, chest.scan.ct.array
    x = [np.mean(np.nonzero(lungs == label)[2]) for label in (1, 2)]
    assert x[0] < x[1]  # the patient's right lies at smaller x
    assert np.unique(lungs).tolist() == [0, 1, 2]
    for label in (1, 2):
        assert -870 < hu[lungs == label].mean() < -780
        assert 1000 < chest.lungs.volume_ml(label) < 2500
        pieces, _ = ndimage.label(lungs == label)
        assert np.bincount(pieces.ravel())[1:].max() > 0.995 * np.count_nonzero(lungs == label)
    assert chest.lungs.volume_ml(1) > chest.lungs.volume_ml(2)  # the heart takes its room on the left
    assert lungs[[0, -1]].sum() == 0
    assert chest.scan.lungs is chest.lungs
    assert chest.scan.annotated


def test_lung_tissue_is_denser_at_the_back(chest):
    y = np.broadcast_to(np.arange(128)[:, None], chest.scan.ct.shape)
    tissue = (chest.lungs.array > 0) & (chest.scan.ct.array < -700)
    middle = np.median(y[tissue])
    front, back = (np.median(chest.scan.ct.array[tissue & side]) for side in (y < middle, y >= middle))
    assert front + 15 < back


def test_lungs_have_vessels_and_their_masks_have_no_holes(chest):
    lungs = chest.lungs.array > 0
    assert 0.004 < np.mean(chest.scan.ct.array[lungs] > -300) < 0.1
    for label in (1, 2):
        lung = chest.lungs.array == label
        assert (ndimage.binary_fill_holes(lung) == lung).all()


def test_airways_and_bowel_are_not_in_the_lungs(chest):
    lungs, airways, bowel = (mask.array > 0 for mask in (chest.lungs, chest.airways, chest.bowel))
    assert not (lungs & airways).any()
    assert not (lungs & bowel).any()
    assert airways[-1].any()  # the trachea leaves the scan at the top
    pieces, count = ndimage.label(airways, np.ones((3, 3, 3)))
    assert count == 1, np.bincount(pieces.ravel())
    assert chest.scan.ct.array[bowel].mean() < -800
    left = np.nonzero(chest.lungs.array == 2)
    assert np.nonzero(bowel)[0].max() < left[0].max()
    assert np.abs(np.nonzero(bowel)[2].mean() - left[2].mean()) < 20


def test_nodules_have_the_properties_of_their_kinds(chest):
    assert [n.kind for n in chest.nodules] == list(PhantomOptions().nodules)
    assert tuple(n.nodule for n in chest.nodules) == chest.scan.nodules
    sharp = {}
    for found in chest.nodules:
        assert chest.lungs.array[index_of(chest, found.nodule.center)] > 0
        center = np.array(found.nodule.center)
        grid = Geometry((41, 41, 41), (1.0, 1.0, 1.0), tuple((center - 20).tolist()))
        near = make_phantom(seed=5, geometry=grid, options=QUIET)
        far = np.linalg.norm(grid.index_to_world(np.moveaxis(np.indices((41, 41, 41)), 0, -1)) - center, axis=-1)
        inside = far < found.nodule.diameter_mm / 2 - 1
        sharp[found.kind] = near, far
        assert near.scan.ct.array[20, 20, 20] == pytest.approx(found.hu, abs=5)
        assert np.median(near.scan.ct.array[inside]) == pytest.approx(found.hu, abs=5)
        shell = (far > found.nodule.diameter_mm / 2 + 1.5) & (far < found.nodule.diameter_mm / 2 + 3)
        assert np.median(near.scan.ct.array[shell & (near.lungs.array > 0)]) < -750
        touches = (near.lungs.array[inside] == 0).any() or (near.lungs.array[shell] == 0).any()
        assert touches == (found.kind == "wall")


def test_lungs_touch_in_front_on_a_coarse_grid():
    phantom = make_phantom(seed=0, shape=SMALL, options=QUIET)
    lungs, hu = phantom.lungs.array, phantom.scan.ct.array
    touching = (lungs[..., :-1] == 1) & (lungs[..., 1:] == 2)
    assert touching.any()
    assert np.minimum(hu[..., :-1], hu[..., 1:])[touching].max() < -320
    pieces, _ = ndimage.label(touching, np.ones((3, 3, 3)))
    largest = np.argwhere(pieces == np.bincount(pieces.ravel())[1:].argmax() + 1)
    middle = phantom.scan.ct.geometry.index_to_world(largest[len(largest) // 2])
    grid = Geometry((4, 4, 60), (0.4, 0.4, 0.4), tuple((middle - (10.0, 0.6, 0.6)).tolist()))
    fine = make_phantom(seed=0, geometry=grid, options=QUIET)
    rows = fine.lungs.array.reshape(-1, 60)
    assert (rows[:, 0] == 1).all()
    assert (rows[:, -1] == 2).all()
    membrane = (rows == 0).sum(axis=1) * 0.4  # seen at last, in every row
    assert ((membrane > 0.7) & (membrane < 2.5)).all()
    assert (fine.scan.ct.array.reshape(-1, 60)[rows == 0] > -320).mean() > 0.6


def components(hu, truth) -> set[tuple[int, int]]:
    """Give pairs of a lung and the air component with most of its voxels."""
    pieces, _ = ndimage.label(hu < -320)
    return {(side, Counter(pieces[(truth == side) & (pieces > 0)].tolist()).most_common(1)[0][0]) for side in (1, 2)}


@pytest.mark.parametrize("seed", [0, 3])
def test_a_threshold_connects_the_lungs_as_in_real_scans(seed):
    phantom = make_phantom(seed=seed, shape=SMALL)
    hu, truth = phantom.scan.ct.array, phantom.lungs.array
    assert len({piece for _, piece in components(hu, truth)}) == 1
    split = np.where(phantom.airways.array > 0, 0, hu)
    assert len({piece for _, piece in components(split, truth)}) == 1  # the front contact is enough on 4 mm voxels
    parted = ndimage.binary_dilation(truth == 1, iterations=2) & (truth != 1)
    assert len({piece for _, piece in components(np.where(parted, 0, split), truth)}) == 2


def test_airways_connect_the_lungs_where_the_junction_line_is_resolved():
    full = make_phantom(seed=0, shape=(30, 320, 320), options=QUIET)
    assert len({piece for _, piece in components(full.scan.ct.array, full.lungs.array)}) == 1
    closed = np.where(full.airways.array > 0, 0, full.scan.ct.array)
    assert len({piece for _, piece in components(closed, full.lungs.array)}) == 2


# Options


def test_diseases_change_what_they_should(quiet):
    truth, hu = quiet.lungs.array, quiet.scan.ct.array
    solid = make_phantom(seed=5, shape=SMALL, options=replace(QUIET, consolidation=True))
    assert (solid.lungs.array == truth).all()  # consolidated lung is lung
    changed = solid.scan.ct.array > hu + 300
    assert 20 < np.count_nonzero(changed) * solid.lungs.geometry.voxel_volume / 1000 < 400
    assert set(np.unique(truth[changed])) <= {0, 1}
    fluid = make_phantom(seed=5, shape=SMALL, options=replace(QUIET, effusion=True))
    lost = (truth == 2) & (fluid.lungs.array == 0)
    assert np.median(fluid.scan.ct.array[lost]) == pytest.approx(8, abs=1)
    assert (fluid.lungs.array[truth != 2] == truth[truth != 2]).all()
    patchy = make_phantom(seed=5, shape=SMALL, options=replace(QUIET, emphysema=True))
    assert np.mean(patchy.scan.ct.array[truth > 0] < -930) > 0.01 + np.mean(hu[truth > 0] < -930)


def test_field_of_view_and_padding_value():
    phantom = make_phantom(seed=5, shape=(6, 64, 64), options=PhantomOptions(padding_hu=-3024))
    outside = outside_field(phantom.scan.ct.geometry)
    assert ((phantom.scan.ct.array == -3024) == outside).all()
    assert 0.15 < outside.mean() < 0.25  # 1 - pi / 4
    whole = make_phantom(seed=5, shape=(6, 64, 64), options=PhantomOptions(field_of_view=False))
    assert (whole.scan.ct.array[~outside] == phantom.scan.ct.array[~outside]).all()
    assert whole.scan.ct.array.min() >= -1024


def test_table_is_under_the_back_with_air_between(quiet):
    bare = make_phantom(seed=5, shape=SMALL, options=replace(QUIET, table=False))
    table = np.nonzero(quiet.scan.ct.array != bare.scan.ct.array)
    assert len(table[0])
    body = np.nonzero(bare.scan.ct.array[:, :, 48] > -300)[1].max()
    assert table[1].min() > body - 6
    assert not (bare.scan.ct.array[:, 88:] > -900).any()


def test_kernels_shape_the_noise():
    def noise(kernel):
        options = PhantomOptions(kernel=kernel, noise_hu=30, field_of_view=False)
        seen, calm = (
            make_phantom(seed=5, shape=(4, 96, 96), options=o).scan.ct.array[:, 36:60, 24:72].astype(float)
            for o in (options, replace(options, noise_hu=0))
        )
        tissue = seen[calm > -300] - calm[calm > -300]
        pairs = (calm[..., 1:] > -300) & (calm[..., :-1] > -300)
        grain = seen - calm
        return tissue.std(), np.corrcoef(grain[..., 1:][pairs], grain[..., :-1][pairs])[0, 1]

    (plain, none), (soft, along), (sharp, against) = noise("standard"), noise("soft"), noise("sharp")
    assert plain == pytest.approx(30, rel=0.05)
    assert soft == pytest.approx(30, rel=0.1)
    assert sharp > 1.15 * plain
    assert abs(none) < 0.1
    assert along > 0.4
    assert against < 0.1


def test_sharp_kernel_overshoots_at_edges(quiet):
    sharp = make_phantom(seed=5, shape=SMALL, options=replace(QUIET, kernel="sharp"))
    muscle = quiet.scan.ct.array == 45
    assert np.std(sharp.scan.ct.array[muscle]) > 20
    assert np.std(quiet.scan.ct.array[muscle]) == 0


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"nodules": ("inside", "outside")}, "outside"),
        ({"noise_hu": -1.0}, "noise_hu"),
        ({"noise_hu": float("nan")}, "noise_hu"),
        ({"padding_hu": 40000}, "padding_hu"),
        ({"kernel": "crisp"}, "crisp"),
        ({"missing": "both"}, "both"),
    ],
)
def test_options_that_make_no_sense_are_refused(wrong, word):
    with pytest.raises(InputError, match=word):
        PhantomOptions(**wrong)


def test_grids_and_seeds_that_make_no_sense_are_refused():
    with pytest.raises(InputError, match="seed"):
        make_phantom(seed=-1, shape=(4, 4, 4))
    with pytest.raises(InputError, match="geometry"):
        make_phantom(shape=(4, 4, 4), geometry=Geometry((4, 4, 4), (1.0, 1.0, 1.0)))
    with pytest.raises(GeometryError):
        make_phantom(spacing=(0.0, 1.0, 1.0))
    with pytest.raises(GeometryError):
        make_phantom(shape=(4, 0, 4))
    with pytest.raises(GeometryError):
        make_phantom(shape=(4, 4, 4), direction=((1.0, 0.0, 0.0),) * 3)
    with pytest.raises(InputError, match="no space for 400 nodules"):
        make_phantom(shape=(4, 4, 4), options=PhantomOptions(nodules=("wall",) * 400))


def test_phantom_without_nodules_and_away_from_the_patient():
    nothing = make_phantom(seed=1, shape=(6, 32, 32), options=PhantomOptions(nodules=()))
    assert nothing.scan.nodules == ()
    elsewhere = make_phantom(seed=1, geometry=Geometry((3, 4, 5), (1.0, 1.0, 1.0), (900.0, 900.0, 900.0)))
    assert (elsewhere.scan.ct.array == -1024).all()
    assert not elsewhere.lungs.array.any()


# Shapes


def test_thin_shapes_fill_a_fraction_of_a_thick_voxel():
    distance = np.array([-9.0, -2.0, 0.0, 1.0, 2.0, 9.0], np.float32)
    assert voxel_fraction(distance, 4.0).tolist() == [1.0, 1.0, 0.5, 0.25, 0.0, 0.0]
    slab = voxel_fraction(distance - 0.5, 4.0) - voxel_fraction(distance + 0.5, 4.0)  # 1 mm thick
    assert slab.tolist() == pytest.approx([0, 0.125, 0.25, 0.25, 0.125, 0])


@given(st.tuples(*[st.floats(-30, 30)] * 3), st.floats(1.0, 12.0))
def test_splitting_tubes_keeps_their_surface(place, length):
    tube = Tubes(np.array([(0.0, 0.0, 0.0)]), np.array([(9.0, -14.0, 20.0)]), np.array([(5.0, 2.0)]))
    pieces = tube.split(length)
    point = tuple(np.array([v], np.float32) for v in place)
    whole = tube.distance(0, point)[0]
    parts = np.min([pieces.distance(k, point)[0] for k in range(len(pieces.radii))])
    assert parts == pytest.approx(whole[0], abs=0.6)  # the nearest point of a taper is not quite the axis's foot
    assert np.linalg.norm(pieces.stop - pieces.start, axis=1).max() <= length + 1e-9


def test_ellipse_distance_is_signed_and_zero_on_the_edge():
    angle = np.linspace(0, 6, 50, dtype=np.float32)
    on = ellipse(7 * np.cos(angle), 3 * np.sin(angle), 7.0, 3.0)
    assert np.abs(on).max() < 1e-4
    assert ellipse(np.float32([0, 20]), np.float32([0, 0]), 7.0, 3.0)[1] == pytest.approx(13)


# DICOM


def read_with_itk(folder: Path) -> sitk.Image:
    names = [path for path in folder.iterdir() if path.is_file()]
    order = {str(p): pydicom.dcmread(p, stop_before_pixels=True).ImagePositionPatient for p in names}
    normal = np.cross(*np.split(np.array(pydicom.dcmread(names[0]).ImageOrientationPatient, float), 2))
    return sitk.ReadImage(sorted(order, key=lambda name: float(np.dot(order[name], normal))))


def expected_hu(phantom: Phantom, dialect: Dialect):
    low = dialect.intercept if not dialect.signed and dialect.slope else -1024
    hu = np.maximum(phantom.scan.ct.array.astype(float), low)
    if dialect.padding is not None:
        raw = dialect.padding * (dialect.slope or 1) + dialect.intercept
        hu[outside_field(phantom.scan.ct.geometry)] = raw
    return hu


@pytest.fixture(scope="module")
def tiny() -> Phantom:
    return make_phantom(seed=2, shape=(7, 40, 48))


@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_pydicom_reads_the_volume_from_every_dialect(tiny, tmp_path, name, monkeypatch):
    for setting in ("reading_validation_mode", "writing_validation_mode"):
        monkeypatch.setattr(pydicom.config.settings, setting, pydicom.config.RAISE)
    dialect = DIALECTS[name]
    folder = write_dicom_series(tiny, tmp_path / "series", dialect=name)
    slices = sorted((pydicom.dcmread(p) for p in folder.iterdir()), key=lambda d: d.ImagePositionPatient[2])
    hu = np.stack([d.pixel_array * float(d.RescaleSlope) + float(d.RescaleIntercept) for d in slices])
    tolerance = max(dialect.slope / 2, 0.02)
    assert np.abs(hu - expected_hu(tiny, dialect)).max() <= tolerance
    for number, dataset in enumerate(slices):
        list(dataset.walk(lambda *_: None) or dataset)  # every element converted, strictly
        assert dataset.file_meta.TransferSyntaxUID == dialect.transfer_syntax
        assert dataset.SOPClassUID == pydicom.uid.CTImageStorage
        assert dataset.SeriesInstanceUID == tiny.scan.series_uid
        assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
        assert dataset.SOPInstanceUID.is_valid
        assert dataset.PatientPosition == dialect.patient_position
        assert dataset.InstanceNumber == (7 - number if dialect.reversed_numbers else number + 1)
        where = tiny.scan.ct.geometry.index_to_world((number, 0, 0))
        assert np.allclose(np.array(dataset.ImagePositionPatient, float), where, atol=1e-6)
    assert len({d.SOPInstanceUID for d in slices}) == 7
    if name == "slope-per-slice":
        assert len({d.RescaleSlope for d in slices}) > 3
    tag = slices[0].get("PixelPaddingValue")
    assert tag == (None if not dialect.padding_tag else 63536 if dialect.padding_tag == "US" else -2000)


@pytest.mark.parametrize("name", [n for n in sorted(DIALECTS) if n != "slope-per-slice"])
def test_itk_reads_the_volume_from_every_dialect(tiny, tmp_path, name):
    image = read_with_itk(write_dicom_series(tiny, tmp_path / "series", dialect=name))
    hu = sitk.GetArrayFromImage(image)
    assert np.abs(hu - expected_hu(tiny, DIALECTS[name])).max() <= DIALECTS[name].slope / 2
    assert_same_geometry(itk_geometry(image), tiny.scan.ct.geometry)


def itk_geometry(image: sitk.Image) -> Geometry:
    columns = np.array(image.GetDirection()).reshape(3, 3).T
    return Geometry(
        image.GetSize()[::-1], image.GetSpacing()[::-1], image.GetOrigin(), tuple(tuple(v) for v in columns[::-1])
    )


@settings(max_examples=5)
@given(direction=directions())
def test_itk_reads_the_volume_from_oblique_series(tmp_path_factory, direction):
    volume = make_phantom(seed=4, shape=(4, 20, 24), spacing=(9.0, 7.0, 5.0), direction=direction).scan.ct
    image = read_with_itk(write_dicom_series(volume, tmp_path_factory.mktemp("oblique") / "series"))
    hu, where = sitk.GetArrayFromImage(image), itk_geometry(image)
    # ITK counts slices along the right-handed normal: the same voxels, maybe from the other end.
    first = where.index_to_world((0, 0, 0))
    rising = np.allclose(first, volume.geometry.index_to_world((0, 0, 0)), atol=1e-3)
    assert np.array_equal(hu if rising else hu[::-1], volume.array)
    known = where if rising else Geometry(
        where.shape,
        where.spacing,
        tuple(where.index_to_world((3, 0, 0)).tolist()),
        (tuple(-v for v in where.direction[0]), *where.direction[1:]),
    )  # fmt: skip
    assert_same_geometry(known, volume.geometry)


def test_same_series_same_bytes(tiny, tmp_path):
    first, second = (write_dicom_series(tiny, tmp_path / name, dialect="shuffled") for name in "ab")
    names = sorted(p.name for p in first.iterdir())
    assert names == sorted(p.name for p in second.iterdir())
    assert all((first / n).read_bytes() == (second / n).read_bytes() for n in names)
    positions = [pydicom.dcmread(first / n).ImagePositionPatient[2] for n in names]
    assert positions != sorted(positions)
    assert positions != sorted(positions, reverse=True)


def test_a_volume_becomes_a_series_with_its_own_uid(tiny, tmp_path):
    crop = tiny.scan.ct.crop((1, 4, 8), (3, 20, 24))
    folder = write_dicom_series(crop, tmp_path / "a", dialect="padding-declared")
    other = Volume(crop.array + np.int16(1), crop.geometry)
    uids = {pydicom.dcmread(p).SeriesInstanceUID for p in folder.iterdir()}
    uids |= {pydicom.dcmread(p).SeriesInstanceUID for p in write_dicom_series(other, tmp_path / "b").iterdir()}
    assert len(uids) == 2
    named = write_dicom_series(crop, tmp_path / "c", series_uid="1.2.3")
    assert {pydicom.dcmread(p).SeriesInstanceUID for p in named.iterdir()} == {"1.2.3"}
    stored = np.stack([pydicom.dcmread(p).pixel_array for p in sorted(folder.iterdir())])
    assert ((stored == -2000) == (crop.array <= -1024)).all()


def test_series_go_to_empty_folders_in_known_dialects(tiny, tmp_path):
    with pytest.raises(InputError, match="klingon"):
        write_dicom_series(tiny, tmp_path / "x", dialect="klingon")
    assert not (tmp_path / "x").exists()
    with pytest.raises(InputError, match="bits_stored"):
        write_dicom_series(tiny, tmp_path / "y", dialect=Dialect(bits_stored=14))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "other.dcm").write_bytes(b"")
    with pytest.raises(OutputError, match="empty folder"):
        write_dicom_series(tiny, tmp_path / "full")
    with pytest.raises(OutputError, match="cannot be made"):
        write_dicom_series(tiny, tmp_path / "full" / "other.dcm" / "series")


# LUNA16


def test_luna16_tree_is_what_itk_reads(tmp_path):
    phantoms = [make_phantom(seed=s, shape=(6, 32, 40)) for s in range(3)]
    root = write_luna16(phantoms, tmp_path / "luna", subsets=2, flipped=(1,))
    assert sorted(p.parent.name for p in root.rglob("*.mhd")) == ["subset0", "subset0", "subset1"]
    for number, phantom in enumerate(phantoms):
        path = root / f"subset{number % 2}" / f"{phantom.scan.series_uid}.mhd"
        assert path.with_suffix(".raw").exists()
        image = sitk.ReadImage(path)
        hu = sitk.GetArrayFromImage(image)
        header = dict(line.split(" = ", 1) for line in path.read_text(encoding="ascii").splitlines())
        matrix = [float(v) for v in header["TransformMatrix"].split()]
        assert matrix == ([-1, 0, 0, 0, -1, 0, 0, 0, 1] if number == 1 else [1, 0, 0, 0, 1, 0, 0, 0, 1])
        assert np.array_equal(hu[:, ::-1, ::-1] if number == 1 else hu, phantom.scan.ct.array)
        for nodule in phantom.nodules:  # the world decides, flipped or not
            index = image.TransformPhysicalPointToContinuousIndex(nodule.nodule.center)[::-1]
            there = ndimage.map_coordinates(hu, np.array(index)[:, None], order=0)[0]
            assert there == phantom.scan.ct.array[index_of(phantom, nodule.nodule.center)]
    with (root / "annotations.csv").open(encoding="ascii", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["seriesuid", "coordX", "coordY", "coordZ", "diameter_mm"]
    assert len(rows) == 15
    want = [(p.scan.series_uid, *n.center, n.diameter_mm) for p in phantoms for n in p.scan.nodules]
    for row, (uid, *numbers) in zip(rows, want, strict=True):
        assert row["seriesuid"] == uid
        assert [float(v) for v in list(row.values())[1:]] == pytest.approx(numbers, abs=1e-6)


def test_invalid_luna16_folders_are_refused(tiny, tmp_path):
    with pytest.raises(InputError, match="subsets"):
        write_luna16([tiny], tmp_path / "a", subsets=0)
    with pytest.raises(InputError, match="twice"):
        write_luna16([tiny, tiny], tmp_path / "b")
    with pytest.raises(OutputError, match="empty folder"):
        write_luna16([tiny], tmp_path / "b")


def test_reversed_axes_keep_voxels_in_place(tiny):
    turned = reverse_in_plane(tiny.scan.ct)
    assert turned.geometry.direction == ((0.0, 0.0, 1.0), (0.0, -1.0, 0.0), (-1.0, 0.0, 0.0))
    far = np.array(tiny.scan.ct.shape) - 1
    for index in np.random.default_rng(0).integers(0, far + 1, (20, 3)):
        there = tuple(np.rint(turned.geometry.world_to_index(tiny.scan.ct.geometry.index_to_world(index))).astype(int))
        assert turned.array[there] == tiny.scan.ct.array[tuple(index)]
    again = reverse_in_plane(turned)
    assert np.array_equal(again.array, tiny.scan.ct.array)
    assert_same_geometry(again.geometry, tiny.scan.ct.geometry)
