"""The nouns behave as people expect who know numpy, nibabel and SimpleITK; each is one line on the screen."""

from __future__ import annotations

import pickle
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st

import hilum
from hilum.errors import GeometryError, InputError
from hilum.geometry import Geometry
from hilum.scan import LabelMap, Nodule, Note, Reading, Scan
from hilum.scan_ref import ScanRef
from hilum.testing import geometries, masks, volumes
from hilum.volume import Mask, Volume

GRID = Geometry((2, 3, 4), (2.0, 1.0, 0.5))


def zeros(dtype=np.int16):
    return Volume(np.zeros(GRID.shape, dtype), GRID)


def test_numpy_sees_the_voxels_without_a_copy():
    volume = zeros()
    assert np.asarray(volume) is not None
    assert np.shares_memory(np.asarray(volume), volume.array)
    assert np.shares_memory(np.array(volume, copy=False), volume.array)
    assert np.asarray(volume).dtype == np.int16
    assert np.asarray(volume, np.float32).dtype == np.float32
    copy = np.array(volume)
    copy[:] = 1
    assert not volume.array.any()
    with pytest.raises(ValueError, match="copy"):
        np.array(volume, np.float32, copy=False)
    assert (volume.shape, volume.ndim, volume.dtype) == ((2, 3, 4), 3, np.int16)


def test_numpy_computes_with_volumes_and_gives_arrays():
    volume = Volume(np.arange(24, dtype=np.int16).reshape(GRID.shape), GRID)
    for got in (volume + 1, 1 + volume, np.add(volume, 1), volume + np.ones(GRID.shape, np.int16)):
        assert type(got) is np.ndarray
        assert np.array_equal(got, volume.array + 1)
    assert np.array_equal(volume > 5, volume.array > 5)
    assert np.array_equal(volume == volume, np.ones(GRID.shape, bool))  # noqa: PLR0124 - voxel by voxel
    assert (volume != 3).sum() == 23
    assert np.array_equal(volume * volume, volume.array**2)
    assert np.sum(volume) == volume.array.sum()
    assert np.percentile(volume, 50) == 11.5
    assert np.array_equal(np.where(volume > 5, volume, 0), np.where(volume.array > 5, volume.array, 0))
    assert len({volume, volume, zeros()}) == 2


def test_volumes_on_different_grids_are_not_added():
    moved = replace(zeros(), geometry=replace(GRID, origin=(0.0, 0.0, 5.0)))
    with pytest.raises(GeometryError, match=r"different grids.*like=b"):
        zeros() + moved
    nearly = replace(zeros(), geometry=replace(GRID, origin=(0.0, 0.0, 1e-5)))
    assert not np.any(zeros() + nearly)


def test_what_would_change_or_mislead_is_refused():
    volume, mask = zeros(), Mask(np.zeros(GRID.shape, np.uint8), GRID)
    with pytest.raises(InputError, match="cannot be changed"):
        volume += 1
    with pytest.raises(InputError, match="cannot be changed"):
        np.add(volume, 1, out=volume)
    with pytest.raises(TypeError):
        volume[0:1] = 3
    with pytest.raises(InputError, match="mask == 0"):
        np.invert(mask)
    with pytest.raises(InputError, match="mask == 0"):
        _ = ~mask
    assert np.array_equal(~zeros(), ~volume.array)


def test_an_array_that_owns_its_memory_is_frozen_in_place():
    array = np.zeros(GRID.shape, np.int16)
    volume = Volume(array, GRID)
    assert np.shares_memory(volume.array, array)
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0, 0] = 7
    with pytest.raises(ValueError, match="WRITEABLE"):
        volume.array.flags.writeable = True
    whole = np.zeros(24, np.int16)
    assert np.shares_memory(Volume(whole.reshape(GRID.shape), GRID).array, whole)
    assert not whole.flags.writeable
    turned = np.zeros(GRID.shape[::-1], bool)
    assert np.shares_memory(Mask(turned.T, GRID).array, turned)
    assert not turned.flags.writeable


def test_what_others_can_write_to_is_copied(tmp_path):
    stack = np.zeros((2, *GRID.shape), np.int16)
    buffer = bytearray(48)
    file = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.int16, GRID.shape)
    hidden = stack[1].view()
    hidden.flags.writeable = False
    for array in (stack[0], hidden, np.frombuffer(buffer, np.int16).reshape(GRID.shape), file, file[:]):
        volume = Volume(array, GRID)
        assert not np.shares_memory(volume.array, array)
        assert not volume.array.flags.writeable
    stack[0, 0, 0, 0] = 1  # theirs stay writable
    file[0, 0, 0] = 1


def test_what_nobody_can_write_to_is_kept(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros(GRID.shape, np.int16))
    for array in (np.frombuffer(bytes(48), np.int16).reshape(GRID.shape), np.load(path, mmap_mode="r"), zeros().array):
        assert np.shares_memory(Volume(array, GRID).array, array)
    part = zeros()[:, 1:2]
    assert np.shares_memory(replace(part).array, part.array)


def test_other_things_than_numbers_are_refused():
    lists = Volume([[[1, 2]]], Geometry((1, 1, 2), (1.0, 1.0, 1.0)))
    assert lists.array.tolist() == [[[1, 2]]]
    for array in (np.zeros(GRID.shape, object), np.zeros(GRID.shape, "S1"), None):
        with pytest.raises(InputError, match="voxels are numbers"):
            Volume(array, GRID)
    with pytest.raises(InputError, match="masked array"):
        Volume(np.ma.zeros(GRID.shape), GRID)
    with pytest.raises(InputError, match="from_array"):
        Volume(np.zeros(GRID.shape), GRID.spacing)


def numpy_slices(n):
    return st.slices(n).filter(lambda part: len(range(n)[part]) > 0)


@given(st.data(), volumes(max_size=7) | masks(max_size=7))
def test_slices_keep_every_voxel_in_its_place(data, volume):
    box = tuple(data.draw(numpy_slices(n)) for n in volume.shape)
    part = volume[box]
    assert type(part) is type(volume)
    assert np.array_equal(part.array, volume.array[box])
    assert np.shares_memory(part.array, volume.array)
    assert part.geometry == volume.geometry[box]
    where = np.stack(np.meshgrid(*(np.arange(n)[s] for n, s in zip(volume.shape, box, strict=True)), indexing="ij"))
    index = np.stack(np.meshgrid(*map(np.arange, part.shape), indexing="ij"))
    got, want = (
        one.geometry.index_to_world(places.reshape(3, -1).T) for one, places in ((part, index), (volume, where))
    )
    np.testing.assert_allclose(got, want, atol=1e-9)


@given(st.data(), volumes(max_size=7, min_size=2))
def test_simpleitk_slices_alike(data, volume):
    """SimpleITK's slicing is the oracle of origin and spacing; not with negative steps, where its frame differs."""
    starts = [data.draw(st.integers(0, n - 1)) for n in volume.shape]
    box = tuple(slice(start, None, data.draw(st.integers(1, 3))) for start in starts)
    image = SimpleITK.GetImageFromArray(volume.array)
    image.SetSpacing(volume.spacing[::-1])
    image.SetOrigin(volume.origin)
    image.SetDirection(np.array(volume.direction)[::-1].T.ravel().tolist())
    want = image[box[::-1]]
    part = volume[box]
    assert np.array_equal(SimpleITK.GetArrayViewFromImage(want), part.array)
    np.testing.assert_allclose(want.GetOrigin(), part.origin, atol=1e-9)
    np.testing.assert_allclose(want.GetSpacing()[::-1], part.spacing)


def test_short_indices_and_dots_are_completed():
    volume = zeros()
    assert volume[1:].shape == (1, 3, 4)
    assert volume[..., 1:3].shape == (2, 3, 2)
    assert volume[:, ..., ::2].shape == (2, 3, 2)
    assert volume[...].geometry == GRID


@pytest.mark.parametrize("index", [0, (0, 1, 2), (slice(None), 0), None, [0, 1], "a", (slice(None),) * 4, np.int64(1)])
def test_an_index_that_drops_axes_is_refused(index):
    with pytest.raises(InputError, match=r"volume\.array\[\.\.\.\] takes any index"):
        zeros()[index]


def test_a_mask_as_index_is_refused_with_what_works():
    volume = zeros()
    with pytest.raises(InputError, match=r"volume\.array"):
        volume[volume > 1]
    with pytest.raises(InputError, match=r"volume\.array"):
        list(volume)
    for index in (slice(5, 9), slice(1, 1), (slice(None), slice(2, 0))):
        with pytest.raises(GeometryError, match="no voxel"):
            volume[index]


def test_a_crop_takes_a_box_of_slices():
    volume = zeros()
    assert volume.crop((slice(1, 2), slice(0, 3), slice(None))).geometry == volume.crop((1, 0, 0), (2, 3, 4)).geometry
    for box, word in (
        ((slice(0, 3), slice(0, 3), slice(0, 4)), "not inside"),
        ((slice(-1, None), slice(0, 3), slice(0, 4)), "not inside"),
        ((slice(0, 2, 2), slice(0, 3), slice(0, 4)), "no steps"),
        ((slice(0, 2), slice(0, 3)), "three slices"),
        ((0, 0, 0), "three slices"),
        (3, "three slices"),
    ):
        with pytest.raises(InputError, match=word):
            volume.crop(box)


@given(geometries())
def test_both_affines_send_a_voxel_to_its_place(geometry):
    volume = Volume(np.zeros(geometry.shape, np.uint8), geometry)
    for index in ((0, 0, 0), tuple(n - 1 for n in geometry.shape), (0.5, 1.25, -3.0)):
        lps = (volume.affine_lps @ (*index, 1))[:3]
        np.testing.assert_allclose(lps, geometry.index_to_world(index), atol=1e-9)
        np.testing.assert_allclose((volume.affine_ras @ (*index[::-1], 1))[:3], lps * (-1, -1, 1), atol=1e-9)
    back = Geometry.from_affine_ras(volume.affine_ras, volume.shape[::-1])
    assert back.isclose(geometry, tolerance=1e-9)
    assert (volume.origin, volume.spacing, volume.direction) == (geometry.origin, geometry.spacing, geometry.direction)
    np.testing.assert_allclose(nibabel.affines.voxel_sizes(volume.affine_ras), geometry.spacing[::-1])
    letters = "".join(nibabel.aff2axcodes(volume.affine_ras))[::-1]
    assert letters in repr(geometry) or "oblique" in repr(geometry)


@pytest.mark.parametrize(
    ("affine", "word"),
    [
        (np.eye(3), "4 x 4"),
        (np.diag([1, 1, 0, 1]), "length zero"),
        ("spacing", "affine is spacing, expected numbers"),
        (np.full((4, 4), np.nan), "finite"),
        ([[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "sheared"),
    ],
)
def test_an_affine_that_is_no_grid_is_refused(affine, word):
    with pytest.raises(GeometryError, match=word):
        Geometry.from_affine_ras(affine, (2, 2, 2))


def test_a_volume_is_made_of_an_array():
    array = np.zeros((4, 5, 6), np.float32)
    volume = Volume.from_array(array, spacing=(2.0, 1.0, 0.5), origin=(1.0, 2.0, 3.0))
    assert np.shares_memory(volume.array, array)
    assert volume.geometry == Geometry((4, 5, 6), (2.0, 1.0, 0.5), (1.0, 2.0, 3.0))
    assert Mask.from_array(np.eye(3)[None], spacing=(1, 1, 1)).dtype == np.uint8
    with pytest.raises(TypeError, match="spacing"):
        Volume.from_array(array)
    for shape in ((1, 4, 5, 6), (5, 6), ()):
        with pytest.raises(GeometryError, match=r"expected \(z, y, x\)"):
            Volume.from_array(np.zeros(shape), spacing=(1, 1, 1))
    for spacing in (1.0, "abc", None, ("a", "b", "c"), object()):
        with pytest.raises(GeometryError, match=r"spacing is .*, expected .*numbers"):
            Volume.from_array(array, spacing=spacing)
    for wrong in (0.5, -1, 256, np.nan, np.inf):
        with (
            np.errstate(invalid="ignore"),
            pytest.raises(InputError, match="whole numbers from 0 to 255"),
        ):
            Mask.from_array(np.full((1, 1, 1), wrong), spacing=(1, 1, 1))


def test_a_mask_knows_the_names_and_volumes_of_its_labels():
    array = np.zeros(GRID.shape, np.uint8)
    array[0, 0, :3], array[1, 0, 0], array[1, 1, 1] = 1, 2, 7
    mask = Mask(array, GRID, {1: "right lung", 3: "airways"})
    assert mask.volumes_ml() == {"right lung": 0.003, "airways": 0.0, 2: 0.001, 7: 0.001}
    assert mask.volume_ml("right lung") == mask.volume_ml(1) == 0.003
    with pytest.raises(InputError, match="'left lung'; names: right lung, airways"):
        mask.volume_ml("left lung")
    for copy in (mask[1:], mask.crop((0, 0, 0), (1, 1, 1)), replace(mask), pickle.loads(pickle.dumps(mask))):  # noqa: S301
        assert dict(copy.names) == {1: "right lung", 3: "airways"}
    for same in (hilum.resample(mask, spacing=1.0), hilum.reorient(mask[::-1]), hilum.dilate(mask, radius_mm=1.0)):
        assert same.names == mask.names
    with pytest.raises(TypeError):
        mask.names[4] = "x"
    for names in ({0: "x"}, {256: "x"}, {1: 2}, {"x": 1}):
        with pytest.raises(InputError, match="names"):
            Mask(array, GRID, names)
    assert dict(LabelMap(Mask(array, GRID), {"lobe": 2}).mask.names) == {2: "lobe"}
    assert LabelMap(mask, {"lobe": 2}).mask is mask


def test_segmented_lungs_know_their_names():
    air = np.full((20, 60, 60), -1000, np.int16)
    ct = Volume.from_array(air, spacing=(5.0, 5.0, 5.0))
    assert dict(hilum.segment_lungs(ct).names) == {1: "right lung", 2: "left lung"}
    assert dict(hilum.segment_lungs(ct, airways=True).names)[3] == "airways"
    assert dict(hilum.segment_lungs(ct, method="tutorial3d").names) == {1: "lungs"}


@pytest.mark.parametrize("name", ["lungs", "nodule_mask"])
def test_a_scan_refuses_a_mask_of_another_grid(name):
    mask = Mask(np.zeros(GRID.shape, np.uint8), GRID)
    nearly = replace(mask, geometry=replace(GRID, origin=(1e-5, 0.0, 0.0)))
    assert getattr(Scan("1", zeros(), **{name: nearly}), name) is nearly
    for grid in (replace(GRID, origin=(0.0, 0.0, 2.0)), replace(GRID, spacing=(1.0, 1.0, 0.5))):
        with pytest.raises(GeometryError, match=rf"{name} lies on another grid than the ct.*like=scan\.ct"):
            Scan("1", zeros(), **{name: replace(mask, geometry=grid)})
    with pytest.raises(GeometryError, match="another grid"):
        Scan("1", zeros(), **{name: mask[1:]})
    with pytest.raises(InputError, match=rf"{name} of a scan is a hilum\.Mask, not Volume"):
        Scan("1", zeros(), **{name: zeros()})
    with pytest.raises(InputError, match=r"ct of a scan is a hilum\.Volume, not ndarray"):
        Scan("1", zeros().array)
    assert Scan("1", zeros(), label_maps={"far": LabelMap(mask[1:], {"x": 1})}).label_maps


@pytest.mark.parametrize("take", [np.asarray, np.array, np.sum, np.mean, lambda scan: np.zeros(GRID.shape) + scan])
def test_a_scan_is_no_array(take):
    with pytest.raises(InputError, match=r"np\.asarray\(scan\.ct\)"):
        take(Scan("1", zeros()))


def test_every_noun_is_one_short_line():
    turned = ((0.0, 0.6, 0.8), (0.0, -0.8, 0.6), (-1.0, 0.0, 0.0))
    oblique = Geometry((2, 3, 4), (2.0, 1.0, 0.7000001), direction=turned)
    mask = Mask(np.zeros(GRID.shape, np.uint8), GRID, {1: "right lung"})
    label_map = LabelMap(mask, {"tumor": 1})
    reading = Reading(2, GRID, (np.zeros((3, 3)),), scores={"malignancy": 3.0})
    nodule = Nodule((1.0, 2.5, -300.0), 6.25, (reading,) * 4, {"malignancy": 4.0})
    notes = tuple(Note("code", "text") for _ in range(20))
    ref = ScanRef("folder", "ct-1", "DOE^JOHN")
    scan = Scan("1.2.3", zeros(), (nodule,) * 3, annotated=True, lungs=mask, label_maps={"x": label_map}, notes=notes)
    shown = [repr(one) for one in (GRID, oblique, zeros(), mask, label_map, reading, nodule, ref)]
    assert shown == [
        "Geometry(shape=(2, 3, 4), spacing=(2, 1, 0.5) mm, origin=(0, 0, 0), axes=SPL)",
        "Geometry(shape=(2, 3, 4), spacing=(2, 1, 0.7) mm, origin=(0, 0, 0), axes=SAR oblique)",
        "Volume(int16, shape=(2, 3, 4), spacing=(2, 1, 0.5) mm, origin=(0, 0, 0), axes=SPL)",
        "Mask(shape=(2, 3, 4), spacing=(2, 1, 0.5) mm, origin=(0, 0, 0), axes=SPL, names: 1='right lung')",
        "LabelMap({'tumor': 1}, shape=(2, 3, 4), spacing=(2, 1, 0.5) mm, origin=(0, 0, 0), axes=SPL)",
        "Reading(reader=2, 1 contour, 0 holes)",
        "Nodule(center=(1, 2.5, -300), diameter_mm=6.25, 4 readings, malignancy=4)",
        "ScanRef('folder', 'ct-1')",
    ]
    geometry = repr(zeros()).removeprefix("Volume(").removesuffix(")")
    assert repr(scan) == f"Scan('1.2.3', {geometry}, 3 nodules, lungs, x, 20 notes)"
    assert repr(Scan("1", zeros())).endswith("not annotated)")
