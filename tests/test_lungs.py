"""Lungs in three dimensions: the tutorial's against scikit-image, hilum's against phantoms and real scans."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from hilum.errors import InputError
from hilum.geometry import Geometry
from hilum.ops.lungs.segment import METHODS, segment_lungs
from hilum.ops.nodules.masks import mask_nodules
from hilum.ops.quality.measure import measure, quality_notes
from hilum.ops.reorient import body_axes
from hilum.phantom.chest import PhantomOptions, make_phantom
from hilum.scan import AIRWAYS, LEFT_LUNG, RIGHT_LUNG
from hilum.testing import directions, volumes
from hilum.volume import Volume

SMALL = (3.0, 3.0, 3.0)


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / max(1, np.count_nonzero(a) + np.count_nonzero(b))


def volume_of(array, spacing=(1.0, 1.0, 1.0)):
    return Volume(array, Geometry(array.shape, spacing))


def largest(labels):
    sizes = np.bincount(labels.ravel())[1:]
    return labels == 1 + np.argmax(sizes) if sizes.size else np.zeros(labels.shape, bool)


def tutorial(hu, *, fill):
    """The recipe in words: air around the corner is solid; per plane all but the largest solid is inside."""
    from skimage.measure import label

    air = hu <= -320
    both = label(np.where(air, 1, 2))
    air &= both != both[0, 0, 0]
    if fill:
        for plane in air:
            solid = label(~plane)
            if solid.any():
                plane[:] = ~largest(solid)
    return largest(label(air))


@st.composite
def fields(draw):
    """Blobs of air in tissue, air all around or not, on volumes thin and wide."""
    shape = tuple(draw(st.integers(1, n)) for n in (7, 24, 80))
    noise = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).normal(size=shape)
    blurred = ndimage.gaussian_filter(noise, draw(st.sampled_from([0.0, 0.8, 2.0])))
    spread = blurred.std() or 1.0
    return (blurred / spread * 400 - 320 + draw(st.integers(-500, 500))).astype(np.int16)


@settings(max_examples=50)
@given(fields(), st.booleans())
def test_tutorial3d_is_the_recipe_with_scikit_image(hu, fill):
    got = segment_lungs(volume_of(hu), method="tutorial3d", fill=fill)
    assert np.array_equal(got.array, tutorial(hu, fill=fill))


@pytest.mark.parametrize("fill", [True, False])
@pytest.mark.parametrize("hu", [-1000, 40, -320, -319])
def test_tutorial3d_on_a_volume_of_one_substance(hu, fill):
    array = np.full((3, 4, 70), hu, np.int16)
    got = segment_lungs(volume_of(array), method="tutorial3d", fill=fill).array
    assert np.array_equal(got, tutorial(array, fill=fill))


def test_tutorial3d_takes_the_first_of_equals_and_the_corner_out():
    array = np.full((4, 20, 40), 40, np.int16)
    array[1:3, 5:9, 5:9] = array[1:3, 5:9, 20:24] = -900
    got = segment_lungs(volume_of(array), method="tutorial3d").array
    assert got[1, 6, 6] == 1
    assert got.sum() == 32
    array = array.copy()  # the volume's is read-only
    array[0, 0, 0] = -900
    array[:, 12:, :] = -1000  # more air than the pockets, but not the corner's
    assert segment_lungs(volume_of(array), method="tutorial3d", fill=False).array[0, 15, 0] == 1


def test_tutorial3d_on_a_phantom_fills_vessels():
    chest = make_phantom(seed=2, spacing=SMALL)
    full, open_ = (segment_lungs(chest.scan.ct, method="tutorial3d", fill=f).array for f in (True, False))
    assert np.array_equal(full, tutorial(chest.scan.ct.array, fill=True))
    assert np.array_equal(open_, tutorial(chest.scan.ct.array, fill=False))
    assert full.sum() > open_.sum() > 50_000


@pytest.mark.parametrize("seed", [0, 1, 4])
@pytest.mark.parametrize("spacing", [(2.0, 1.6, 1.6), (8.0, 1.2, 1.2), (5.0, 4.0, 4.0)])
def test_phantom_lungs_by_side(seed, spacing):
    chest = make_phantom(seed=seed, spacing=spacing)
    got, want = segment_lungs(chest.scan.ct).array, chest.lungs.array
    assert dice(got == RIGHT_LUNG, want == RIGHT_LUNG) > 0.98
    assert dice(got == LEFT_LUNG, want == LEFT_LUNG) > 0.98
    assert dice(got > 0, want > 0) > 0.985
    assert set(np.unique(got).tolist()) == {0, RIGHT_LUNG, LEFT_LUNG}
    airways, bowel = chest.airways.array > 0, chest.bowel.array > 0
    assert np.count_nonzero(got[airways]) < 0.35 * np.count_nonzero(airways)
    assert np.count_nonzero(got[bowel]) < 0.02 * np.count_nonzero(bowel)


@pytest.mark.parametrize(
    "options",
    [
        PhantomOptions(emphysema=True),
        PhantomOptions(effusion=True),
        PhantomOptions(kernel="sharp", noise_hu=60.0),
        PhantomOptions(table=False, field_of_view=False, noise_hu=0.0),
    ],
    ids=["emphysema", "effusion", "sharp", "clean"],
)
def test_phantoms_with_disease_and_noise(options):
    chest = make_phantom(seed=3, spacing=(2.5, 1.6, 1.6), options=options)
    got, want = segment_lungs(chest.scan.ct).array, chest.lungs.array
    assert min(dice(got == side, want == side) for side in (RIGHT_LUNG, LEFT_LUNG)) > 0.975


def nodule_shares(chest, got):
    """Of each wall nodule the share of its ball that lies in the mask: all of it, and of what was lung."""
    drawn = mask_nodules(chest.scan.ct.geometry, chest.scan.nodules).array
    for label, nodule in enumerate(chest.nodules, 1):
        if nodule.kind == "wall":
            near = drawn == label
            yield got[near].mean(), got[near & (chest.lungs.array > 0)].mean()


@pytest.mark.parametrize(("seed", "spacing"), [(1, (1.5, 1.2, 1.2)), (2, (2.5, 1.2, 1.2)), (3, (1.0, 1.4, 1.4))])
def test_nodules_on_the_wall_are_kept_with_what_lies_in_the_wall(seed, spacing):
    chest = make_phantom(seed=seed, spacing=spacing, options=PhantomOptions(nodules=("wall",) * 4))
    plain = segment_lungs(chest.scan.ct, fill=False).array > 0
    got = segment_lungs(chest.scan.ct).array > 0
    assert max(whole for whole, _ in nodule_shares(chest, plain)) < 0.6
    for whole, inner in nodule_shares(chest, got):
        assert inner >= 0.99
        assert whole >= 0.97
    extra = np.count_nonzero(got & (chest.lungs.array == 0)) / np.count_nonzero(got)
    assert extra < 0.006


@pytest.mark.parametrize(
    ("seed", "spacing", "worst"), [(26, 5.0, 0.91), (6, 5.0, 0.85), (29, 8.0, 0.85), (48, 8.0, 0.9)]
)
def test_nodules_on_the_wall_are_kept_in_thick_slices(seed, spacing, worst, monkeypatch):
    # Beside the front of the mediastinum, faint between two slices, beside the heart.
    options = PhantomOptions(nodules=("wall",) * 4, noise_hu=25)
    chest = make_phantom(seed=seed, spacing=(spacing, 0.9, 0.9), options=options)
    got = segment_lungs(chest.scan.ct).array > 0
    assert min(whole for whole, _ in nodule_shares(chest, got)) >= 0.99
    assert dice(got, chest.lungs.array > 0) > 0.985
    monkeypatch.setattr("hilum.ops.lungs.hilum_method.find_nodules", lambda *_, **__: [np.zeros((0, 4))] * 2)
    without = segment_lungs(chest.scan.ct).array > 0
    assert min(whole for whole, _ in nodule_shares(chest, without)) < worst


def test_ground_glass_is_lung_unless_it_is_excluded():
    sick, well = (
        make_phantom(seed=11, spacing=(2.5, 1.8, 1.8), options=PhantomOptions(haze=haze, nodules=()))
        for haze in (True, False)
    )
    hu = sick.scan.ct.array
    gray = (sick.lungs.array > 0) & (hu > well.scan.ct.array + 300) & (hu < -150)
    got, without = (segment_lungs(sick.scan.ct, pathology=p).array > 0 for p in ("include", "exclude"))
    assert np.count_nonzero(gray) > 1000
    assert got[gray].mean() > without[gray].mean() + 0.05
    assert np.count_nonzero(without & ~got) < 1e-3 * np.count_nonzero(got)


@pytest.mark.parametrize("share", [0.0, 0.35])
def test_consolidation_at_the_wall_is_left_out_and_measured(share):
    chest = make_phantom(seed=11, spacing=(2.5, 1.8, 1.8), options=PhantomOptions(nodules=()))
    hu = chest.scan.ct.array.copy()
    back = (chest.lungs.array > 0) & (
        np.arange(hu.shape[1])[:, None] > np.argwhere(chest.lungs.array)[:, 1].max() * (1 - share)
    )
    hu[back] = 40
    ct = Volume(hu, chest.scan.ct.geometry)
    mask = segment_lungs(ct)
    assert not share or mask.array[back].astype(bool).mean() < 0.15
    codes = {note.code for note in quality_notes(measure(ct, mask, None))}
    assert ("dense-lung-missing" in codes) == bool(share)


@pytest.mark.parametrize("seed", [11, 15])
def test_a_mass_at_the_hilum_is_lung(seed):
    options = PhantomOptions(mass=True, nodules=())
    sick, well = (make_phantom(seed=seed, spacing=(2.0, 1.6, 1.6), options=o) for o in (options, PhantomOptions()))
    mass = (sick.lungs.array > 0) & (sick.scan.ct.array > well.scan.ct.array + 450)
    got = segment_lungs(sick.scan.ct).array
    assert np.count_nonzero(mass) > 5000
    assert (got[mass] == RIGHT_LUNG).mean() > 0.85
    assert dice(got > 0, sick.lungs.array > 0) > 0.985


def test_fluid_is_not_lung():
    chest = make_phantom(seed=12, spacing=SMALL, options=PhantomOptions(effusion=True))
    whole = make_phantom(seed=12, spacing=SMALL).lungs.array > 0
    fluid = whole & (chest.lungs.array == 0)
    got = segment_lungs(chest.scan.ct).array > 0
    assert np.count_nonzero(fluid) > 5000
    assert got[fluid].mean() < 0.06


@pytest.mark.parametrize(
    "options",
    [
        PhantomOptions(prone=True),
        PhantomOptions(prone=True, effusion=True, haze=True, kernel="sharp"),
        PhantomOptions(missing="right"),
        PhantomOptions(missing="left", consolidation=True),
    ],
    ids=["prone", "prone and ill", "left only", "right only"],
)
@pytest.mark.parametrize("spacing", [(1.5, 2.0, 2.0), (5.0, 1.6, 1.6)])
def test_other_patients(options, spacing):
    chest = make_phantom(seed=13, spacing=spacing, options=options)
    got, want = segment_lungs(chest.scan.ct).array, chest.lungs.array
    for side in (RIGHT_LUNG, LEFT_LUNG):
        if np.count_nonzero(want == side):
            assert dice(got == side, want == side) > 0.97
        else:
            assert np.count_nonzero(got == side) < 0.01 * np.count_nonzero(got)


@pytest.mark.parametrize(
    ("first", "last"),
    [((0.0, 0.0, 0.1), (1.0, 1.0, 0.9)), ((0.0, 0.12, 0.0), (1.0, 0.9, 1.0)), ((0.1, 0.1, 0.05), (0.8, 0.9, 0.95))],
    ids=["right and left", "front and back", "all"],
)
def test_a_volume_that_cuts_through_the_lungs(first, last):
    chest = make_phantom(seed=14, spacing=(3.0, 2.0, 2.0))
    places = np.argwhere(chest.lungs.array)
    low, size = places.min(axis=0), np.ptp(places, axis=0) + 1
    box = [tuple((low + np.array(share) * size).astype(int).tolist()) for share in (first, last)]
    got, want = segment_lungs(chest.scan.ct.crop(*box)).array, chest.lungs.crop(*box).array
    assert dice(got == RIGHT_LUNG, want == RIGHT_LUNG) > 0.97
    assert dice(got == LEFT_LUNG, want == LEFT_LUNG) > 0.97


def test_airways_get_a_label_of_their_own_where_asked_for():
    chest = make_phantom(seed=2, spacing=(2.0, 1.6, 1.6))
    plain, kept = (segment_lungs(chest.scan.ct, airways=a).array for a in (False, True))
    assert np.array_equal(np.where(kept == AIRWAYS, 0, kept), plain)
    trachea = chest.airways.array > 0
    trachea[: trachea.shape[0] // 2] = False
    assert (kept[trachea] == AIRWAYS).mean() > 0.65  # the phantom's has all of its wall
    assert (plain[trachea] > 0).mean() < 0.05
    assert AIRWAYS not in plain


def test_several_seeds_of_background_are_what_the_authors_meant():
    """A table that cuts the air in two makes the tutorial take what lies under it."""
    hu = np.full((12, 60, 80), -1000, np.int16)
    hu[:, 10:40, 15:65] = 40
    hu[:, 15:35, 20:38] = hu[:, 15:35, 42:60] = -850
    hu[:, 44:46] = 300
    pockets = [segment_lungs(volume_of(hu), method="tutorial3d", background=b).array for b in ("corner", "sides")]
    assert pockets[0][5, 55, 40] == 1
    assert not pockets[0][:, :40].any()
    assert not pockets[1][:, 44:].any()
    assert pockets[1][5, 25, 30] == 1


def test_a_dome_of_the_diaphragm_is_not_filled():
    z, y, x = np.ogrid[:80, :110, :140]
    hu = np.full((80, 110, 140), -1000, np.int16)
    hu[((y - 55) / 48) ** 2 + ((x - 70) / 62) ** 2 + 0 * z <= 1] = 40
    hu[:, 45:65, 12:16] = hu[:, 45:65, 124:128] = 500
    for side in (42, 98):
        lung = (((y - 55) / 36) ** 2 + ((x - side) / 22) ** 2 + 0 * z <= 1) & (z > 10)
        dome = ((z - 10) / 25) ** 2 + ((y - 55) / 18) ** 2 + ((x - side) / 14) ** 2 <= 1
        mass = (z - 60) ** 2 + (y - 55) ** 2 + (x - side) ** 2 <= 100
        hu[lung & ~dome & ~mass] = -850
    got = segment_lungs(volume_of(hu, (3.0, 2.0, 2.0)))
    assert not got.array[15:28, 55, [42, 98]].any()
    assert got.array[52:68, 55, 42].all()
    assert got.array[52:68, 55, 98].all()


@settings(max_examples=8)
@given(directions(oblique=False))
def test_the_same_lungs_in_every_order_of_the_axes(direction):
    plain = make_phantom(seed=5, spacing=(6.0, 5.0, 4.0)).scan.ct
    want = segment_lungs(plain).array
    assert min(np.count_nonzero(want == side) for side in (RIGHT_LUNG, LEFT_LUNG)) > 1000
    order, flips = body_axes(Geometry((1, 1, 1), SMALL, direction=direction))
    back = np.argsort(order)
    steps = tuple(slice(None, None, -1 if flip else 1) for flip in flips)
    turned = np.ascontiguousarray(np.transpose(plain.array[steps], back))
    spacing = tuple(plain.spacing[axis] for axis in back)
    got = segment_lungs(Volume(turned, Geometry(turned.shape, spacing, direction=direction))).array
    assert np.array_equal(got, np.transpose(want[steps], back))


def test_oblique_axes_are_taken_for_the_nearest():
    tilt = np.deg2rad(12.0)
    direction = ((0.0, -np.sin(tilt), np.cos(tilt)), (0.0, np.cos(tilt), np.sin(tilt)), (1.0, 0.0, 0.0))
    chest = make_phantom(seed=1, spacing=SMALL, direction=direction)
    got = segment_lungs(chest.scan.ct).array
    assert min(dice(got == side, chest.lungs.array == side) for side in (RIGHT_LUNG, LEFT_LUNG)) > 0.97


@pytest.mark.parametrize("missing", [RIGHT_LUNG, LEFT_LUNG])
def test_one_lung_is_enough(missing):
    chest = make_phantom(seed=4, spacing=SMALL)
    hu = chest.scan.ct.array.copy()
    hu[ndimage.binary_dilation(chest.lungs.array == missing, iterations=2)] = 30
    got = segment_lungs(Volume(hu, chest.scan.ct.geometry)).array
    other = RIGHT_LUNG + LEFT_LUNG - missing
    assert dice(got == other, chest.lungs.array == other) > 0.95
    assert np.count_nonzero(got == missing) < 0.02 * np.count_nonzero(got == other)


@pytest.mark.parametrize("hu", [-1000, 40])
@pytest.mark.parametrize("shape", [(20, 40, 40), (1, 1, 1)])
def test_no_lungs_give_an_empty_mask(hu, shape):
    got = segment_lungs(volume_of(np.full(shape, hu, np.int16), SMALL))
    assert got.shape == shape
    assert not got.array.any()


def test_a_body_without_lungs_on_a_table_gives_an_empty_mask():
    chest = make_phantom(seed=0, spacing=(4.0, 3.0, 3.0))
    hu = chest.scan.ct.array.copy()
    inside = (chest.lungs.array | chest.airways.array | chest.bowel.array) > 0
    hu[ndimage.binary_dilation(inside, iterations=3)] = 40
    assert segment_lungs(Volume(hu, chest.scan.ct.geometry)).volume_ml() < 20


@pytest.mark.parametrize("start", [20, 45, 70])
def test_a_block_of_few_slices(start):
    chest = make_phantom(seed=1, spacing=SMALL)
    stop = start + 9
    box = ((start, 0, 0), (stop, *chest.scan.ct.shape[1:]))
    got, want = segment_lungs(chest.scan.ct.crop(*box)).array, chest.lungs.crop(*box).array
    assert dice(got > 0, want > 0) > 0.95
    assert dice(got == LEFT_LUNG, want == LEFT_LUNG) > 0.93


@settings(max_examples=25)
@given(volumes(), st.sampled_from(sorted(METHODS)))
def test_any_volume_gets_labels_on_its_own_grid(volume, method):
    got = segment_lungs(volume, method=method)
    assert got.geometry == volume.geometry
    assert got.array.max() <= LEFT_LUNG


def test_unfilled_lungs_lie_in_the_filled_and_leave_the_vessels_out():
    ct = make_phantom(seed=2, spacing=SMALL).scan.ct
    full, open_ = segment_lungs(ct).array, segment_lungs(ct, fill=False).array
    assert (ct.array[open_ > 0] <= -400).all()
    assert np.count_nonzero(full) > 1.005 * np.count_nonzero(open_)
    assert np.count_nonzero((open_ > 0) & (full == 0)) < 0.01 * np.count_nonzero(open_)


def test_dilated_lungs_hold_the_lungs():
    ct = make_phantom(seed=2, spacing=(5.0, 4.0, 4.0)).scan.ct
    plain, wide = segment_lungs(ct), segment_lungs(ct, dilate_mm=8.0)
    assert np.array_equal(wide.array[plain.array > 0], plain.array[plain.array > 0])
    far = ndimage.distance_transform_edt(plain.array == 0, sampling=ct.spacing)
    assert np.array_equal(wide.array > 0, far <= 8.0)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_floats_and_any_number_of_threads_give_the_same(method):
    ct = make_phantom(seed=6, spacing=(5.0, 4.0, 4.0)).scan.ct
    want = segment_lungs(ct, method=method, workers=1).array
    assert want.any()
    assert np.array_equal(segment_lungs(ct, method=method, workers=3).array, want)
    as_float = Volume(ct.array.astype(np.float32), ct.geometry)
    assert np.array_equal(segment_lungs(as_float, method=method).array, want)


def test_options_that_do_not_exist_are_named():
    ct = volume_of(np.zeros((2, 2, 2), np.int16))
    with pytest.raises(InputError, match="hilum, tutorial3d, tutorial2d") as caught:
        segment_lungs(ct, method="unet")
    assert caught.value.code == "method"
    with pytest.raises(InputError, match="dilate_mm"):
        segment_lungs(ct, dilate_mm=-1.0)
    with pytest.raises(InputError, match="tutorial2d"):
        segment_lungs(ct, method="tutorial2d", fill=False)
    for method, option in (("tutorial3d", {"airways": True}), ("tutorial2d", {"pathology": "exclude"})):
        with pytest.raises(InputError, match=f"{method} has no option {next(iter(option))}"):
            segment_lungs(ct, method=method, **option)
    with pytest.raises(InputError, match="hilum has no option background"):
        segment_lungs(ct, background="sides")
    with pytest.raises(InputError, match="pathology is 'some', expected include or exclude"):
        segment_lungs(ct, pathology="some")


def test_importing_the_door_is_cheap():
    modules = "hilum.ops.lungs.segment, hilum.ops.lungs.tutorial2d, hilum.ops.morphology"
    code = f"import sys, {modules}; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.real
def test_real_whole_lungs_agree_with_the_chest_imaging_platforms(real_data):
    from hilum.io.scan_files import read

    got = segment_lungs(read(real_data / "cip-ct64" / "ct-64Dicom").ct)
    want = read(real_data / "cip-ct64" / "wholeLung-64.nrrd").ct.array > 0
    assert dice(got.array > 0, want) > 0.98
    assert 2200 < got.volume_ml(RIGHT_LUNG) < 2700
    assert 1950 < got.volume_ml(LEFT_LUNG) < 2450


@pytest.mark.real
@pytest.mark.parametrize(
    ("folder", "right_ml", "left_ml"),
    [
        ("lidc-idri-0314/image", (880, 1000), (1830, 2000)),  # the right upper lobe has collapsed
        ("lung-pet-ct-dx-A0002/*/2.*", (1050, 1200), (1520, 1680)),
        ("lung-pet-ct-dx-A0002/*/3.*", (1050, 1200), (1520, 1680)),
        ("lidc-idri-partial/small/LIDC-IDRI-0001", (440, 500), (420, 475)),
        ("lidc-idri-partial/small/LIDC-IDRI-0002", (120, 150), (115, 140)),
        ("lidc-idri-partial/small/LIDC-IDRI-0003", (350, 410), (380, 440)),
    ],
)
def test_real_volumes_by_side(real_data, folder, right_ml, left_ml):
    from hilum.io.scan_files import read

    (path,) = real_data.glob(folder)
    ct = read(path).ct
    got = segment_lungs(ct)
    assert right_ml[0] < got.volume_ml(RIGHT_LUNG) < right_ml[1]
    assert left_ml[0] < got.volume_ml(LEFT_LUNG) < left_ml[1]
    x = [ct.geometry.index_to_world(np.argwhere(got.array == side).mean(axis=0))[0] for side in (RIGHT_LUNG, LEFT_LUNG)]
    assert x[0] + 80 < x[1]


@pytest.mark.real
def test_tutorial3d_on_a_real_scan(real_data):
    from hilum.io.scan_files import read

    hu = read(real_data / "lidc-idri-0314" / "image").ct.array[::3, ::2, ::2]
    got = segment_lungs(volume_of(np.ascontiguousarray(hu)), method="tutorial3d").array
    assert np.array_equal(got, tutorial(hu, fill=True))
    assert got.any()
