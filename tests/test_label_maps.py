"""Label maps: brought to a grid, read from files, paired with scans, stored."""

import json

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - its usual name
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import faults

import hilum
from hilum.cli import main
from hilum.datasets.labels import LabelRequest, pair_labels
from hilum.errors import AnnotationError, GeometryError, MissingInputError, UnsupportedError
from hilum.geometry import Geometry
from hilum.io.labels.attach import attach_labels
from hilum.io.labels.label_maps import read_label_map
from hilum.io.labels.map_names import map_name
from hilum.ops.labels.filling import fill_greatest
from hilum.ops.labels.placing import place_label_map
from hilum.ops.labels.shares import WHOLE
from hilum.ops.resample import resampled_geometry
from hilum.phantom.chest import make_phantom
from hilum.scan import LabelMap, Scan
from hilum.scan_ref import LabelFile, ScanRef
from hilum.volume import Mask, Volume


def turned(angle, tilt=0.0):
    """Directions of the array axes z, y, x, turned about the body's long axis and tilted."""
    ca, sa, cb, sb = np.cos(angle), np.sin(angle), np.cos(tilt), np.sin(tilt)
    matrix = np.array([[ca, -sa, 0], [sa, ca, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, cb, -sb], [0, sb, cb]])
    return tuple(tuple(column) for column in matrix[:, ::-1].T.tolist())


def ellipsoid(grid, center, radii):
    """Mark the voxels whose centers lie in an ellipsoid, (x, y, z), LPS mm."""
    index = np.moveaxis(np.indices(grid.shape), 0, -1)
    return ((((grid.index_to_world(index) - center) / radii) ** 2).sum(axis=-1) < 1).astype(np.uint8)


def volume_and_centroid(mask, value=1):
    where = np.argwhere(mask.array == value)
    return len(where) * mask.geometry.voxel_volume, mask.geometry.index_to_world(where.mean(axis=0))


@settings(max_examples=40, deadline=None)
@given(
    slices=st.sampled_from([0.6, 1.0, 1.25, 2.5, 3.0, 5.0, 8.0]), pixel=st.floats(0.5, 0.98),
    angles=st.tuples(st.floats(-0.3, 0.3), st.sampled_from([0.0, 0.2])),
    radii=st.tuples(*[st.floats(6.3, 14.0)] * 3), shift=st.tuples(*[st.floats(-2.0, 2.0)] * 3),
    flips=st.tuples(*[st.booleans()] * 3), other_grid=st.booleans(),
)  # fmt: skip
def test_a_label_keeps_its_volume_and_its_place_on_any_grid(slices, pixel, angles, radii, shift, flips, other_grid):
    shape = tuple(int(n) for n in np.ceil(np.array([60.0, 70.0, 70.0]) / (slices, pixel, pixel)))
    direction = [np.array(axis) * (-1 if flip else 1) for axis, flip in zip(turned(*angles), flips, strict=True)]
    grid = Geometry(shape, (slices, pixel, pixel), (-30.0, 12.0, 80.0), tuple(map(tuple, direction)))
    center = np.array(grid.center) + shift
    mask = Mask(ellipsoid(grid, center, radii), grid)
    volume, centroid = volume_and_centroid(mask)
    if volume < 1000:
        return
    out = resampled_geometry(grid, spacing=1.0)
    if other_grid:
        out = Geometry((72, 80, 90), (1.0, 1.0, 1.0), tuple(center - (45.0, 40.0, 36.0)))
    placed = place_label_map(LabelMap(mask, {"ball": 1}), out)
    assert not placed.lost
    assert not placed.outside
    found, at = volume_and_centroid(placed.label_map.mask)
    assert found == pytest.approx(volume, rel=0.01)
    assert np.linalg.norm(at - centroid) < 0.1


def test_the_nearest_voxel_alone_would_not_keep_them():
    grid = Geometry((24, 90, 90), (2.5, 0.7, 0.7))
    mask = Mask(ellipsoid(grid, np.add(grid.center, (0.3, 0.2, 0.9)), (6.5, 6.5, 6.5)), grid)
    volume, centroid = volume_and_centroid(mask)
    out = resampled_geometry(grid, spacing=1.0)
    errors = []
    for order in (0, 1):
        found, at = volume_and_centroid(place_label_map(LabelMap(mask, {"ball": 1}), out, order=order).label_map.mask)
        errors.append((abs(found / volume - 1), float(np.linalg.norm(at - centroid))))
    assert max(errors[0]) > 0.01
    assert errors[1][0] < 0.001
    assert errors[1][1] < 0.04


@pytest.mark.parametrize("order", [0, 1])
def test_the_same_lattice_is_copied_bit_for_bit(order):
    rng = np.random.default_rng(1)
    grid = Geometry((6, 7, 8), (2.0, 0.5, 0.75), (1.0, 2.0, 3.0))
    mask = Mask(rng.integers(0, 4, grid.shape).astype(np.uint8), grid)
    label_map = LabelMap(mask, {"a": 1, "b": 2, "c": 3})
    assert np.array_equal(place_label_map(label_map, grid, order=order).label_map.mask.array, mask.array)
    part = grid.crop((1, -2, 3), (5, 6, 8))  # two rows beyond the mask
    placed = place_label_map(label_map, part, order=order).label_map.mask.array
    assert np.array_equal(placed[:, 2:], mask.array[1:5, 0:6, 3:8])
    assert not placed[:, :2].any()
    flipped = Geometry(
        grid.shape, grid.spacing, tuple(grid.index_to_world((5, 6, 7))), tuple(-np.array(grid.direction))
    )
    assert np.array_equal(
        place_label_map(label_map, flipped, order=order).label_map.mask.array, mask.array[::-1, ::-1, ::-1]
    )


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 1.3, 2.0)])
def test_order_0_is_the_nearest_voxel_of_itk(spacing):
    rng = np.random.default_rng(2)
    grid = Geometry((9, 11, 12), (2.3, 0.7, 0.9), (5.0, -3.0, 20.0), turned(0.1, 0.05))
    mask = Mask(rng.integers(0, 3, grid.shape).astype(np.uint8), grid)
    out = Geometry((20, 9, 8), spacing, tuple(np.add(grid.origin, (1.1, 0.7, -2.3))), grid.direction)
    images = []
    for geometry, array in ((grid, mask.array), (out, np.zeros(out.shape, np.uint8))):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(geometry.spacing[::-1])
        image.SetOrigin(geometry.origin)
        image.SetDirection(np.array(geometry.direction)[::-1].T.ravel().tolist())
        images.append(image)
    wanted = sitk.GetArrayFromImage(sitk.Resample(images[0], images[1], sitk.Transform(), sitk.sitkNearestNeighbor))
    placed = place_label_map(LabelMap(mask, {"a": 1, "b": 2}), out, order=0).label_map.mask.array
    assert np.mean(placed != wanted) < 0.002  # at the very edge of the grid they may disagree
    assert (placed > 0).any()


def test_touching_labels_stay_whole_and_share_no_voxel():
    grid = Geometry((20, 40, 40), (3.0, 0.8, 0.8))
    array = np.zeros(grid.shape, np.uint8)
    array[4:16, 8:32, 6:20], array[4:16, 8:32, 20:34] = 1, 2
    placed = place_label_map(LabelMap(Mask(array, grid), {"a": 1, "b": 2}), resampled_geometry(grid, spacing=1.0))
    for value in (1, 2):
        wanted = np.count_nonzero(array == value) * grid.voxel_volume
        assert volume_and_centroid(placed.label_map.mask, value)[0] == pytest.approx(wanted, rel=0.02)
    gap = placed.label_map.mask.array[15:45, 10:22, 5:27]
    assert np.count_nonzero(gap[:, :, 8:14] == 0) == 0  # no hole between them


def test_small_and_outer_labels_are_told_with_their_volume():
    grid = Geometry((10, 10, 10), (0.5, 0.5, 0.5))
    array = np.zeros(grid.shape, np.uint8)
    array[5, 5, 5] = 1
    array[:, :, :2] = 2
    array[2:4, 2:4, 6:8] = 3
    out = Geometry((3, 3, 3), (2.0, 2.0, 2.0), (2.0, 0.5, 0.5))
    placed = place_label_map(LabelMap(Mask(array, grid), {"dot": 1, "wall": 2, "cube": 3, "absent": 4}), out)
    assert placed.lost == {"dot": pytest.approx(0.000125), "cube": pytest.approx(0.001)}
    assert placed.outside == {"wall": pytest.approx(0.025)}
    assert "absent" not in placed.lost
    far = Geometry((3, 3, 3), (2.0, 2.0, 2.0), (500.0, 0.0, 0.0))
    placed = place_label_map(LabelMap(Mask(array, grid), {"dot": 1, "wall": 2, "cube": 3}), far)
    assert not placed.lost
    assert set(placed.outside) == {"dot", "wall", "cube"}


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), most=st.sampled_from([3, WHOLE]))
def test_filled_voxels_are_as_many_as_the_shares_sum_to(seed, most):
    rng = np.random.default_rng(seed)
    shares = rng.integers(0, most + 1, (5, 6, 7)).astype(np.uint8)
    filling = fill_greatest(shares, (1.0, 2.0, 0.5))
    total, chosen = filling.volume, shares == WHOLE
    assert filling.whole == np.count_nonzero(chosen)
    chosen.reshape(-1)[filling.parts] = True
    assert total == pytest.approx(shares.sum(dtype=float) / WHOLE)
    assert abs(np.count_nonzero(chosen) - total) <= 0.5
    assert chosen[shares == WHOLE].all()
    assert not chosen[shares == 0].any()


def test_the_result_does_not_depend_on_the_number_of_threads():
    grid = Geometry((12, 40, 40), (2.5, 0.7, 0.7))
    mask = Mask(ellipsoid(grid, np.array(grid.center) + 0.4, (7.0, 8.0, 9.0)), grid)
    outs = [
        resampled_geometry(grid, spacing=1.0),
        Geometry((30, 30, 30), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), turned(0.2)),
    ]
    for out in outs:
        one, two = (place_label_map(LabelMap(mask, {"a": 1}), out, workers=n).label_map.mask.array for n in (1, 2))
        assert np.array_equal(one, two)


def test_values_of_a_label_map_are_numbers_with_one_name():
    mask = Mask(np.zeros((2, 2, 2), np.uint8), Geometry((2, 2, 2), (1.0, 1.0, 1.0)))
    for values in ({"a": 1, "b": 1}, {"a": 0}, {"a": 256}):
        with pytest.raises(AnnotationError, match="different numbers from 1 to 255"):
            LabelMap(mask, values)


@pytest.mark.parametrize(
    ("text", "name"),
    [("GTV-1", "gtv-1"), ("Lung L", "lung_l"), ("../../x", "x"), ("con\u00e9", "con_labels"), ("...", "labels"),
     ("LPT1", "lpt1_labels"), ("con1", "con1"), ("", "labels"), ("a" * 80, "a" * 48), ("Tumor (old)", "tumor_old")],
)  # fmt: skip
def test_names_of_label_maps_are_safe_file_names(text, name):
    assert map_name(text) == name


GRID = Geometry((6, 8, 10), (2.0, 0.5, 0.5), (10.0, 20.0, 30.0))


def labels_of(grid, value=1):
    array = np.zeros(grid.shape, np.uint8)
    array[1:4, 2:6, 3:8] = value
    return array


def test_a_label_map_is_read_with_its_geometry_and_names(tmp_path):
    array = labels_of(GRID)
    array[4] = 7
    for suffix in (".nii.gz", ".nrrd", ".mha"):
        hilum.write(Mask(array, GRID), tmp_path / f"a{suffix}")
        label_map, notes = read_label_map(tmp_path / f"a{suffix}", name="a", scan_grid=GRID)
        assert label_map.mask.geometry.isclose(GRID)
        assert np.array_equal(label_map.mask.array, array)
        assert label_map.values == {"1": 1, "7": 7}
        assert not notes
    one = read_label_map(tmp_path / "a.nrrd", name="a", scan_grid=GRID, values=[("tumor", 1), ("node", 7)])[0]
    assert one.values == {"tumor": 1, "node": 7}
    with pytest.raises(AnnotationError, match="holds the values 7, which its data set does not name"):
        read_label_map(tmp_path / "a.nrrd", name="a", scan_grid=GRID, values=[("tumor", 1)])


def test_the_segment_names_of_slicer_are_used(tmp_path):
    path = tmp_path / "a.seg.nrrd"
    image = sitk.GetImageFromArray(labels_of(GRID, value=2))
    image.SetSpacing(GRID.spacing[::-1])
    image.SetOrigin(GRID.origin)
    for key, value in (("Segment0_Name", "Left lobe"), ("Segment0_LabelValue", "1"), ("Segment1_Name", "GTV"),
                       ("Segment1_LabelValue", "2"), ("Segment1_Color", "1 0 0")):  # fmt: skip
        image.SetMetaData(key, value)
    sitk.WriteImage(image, str(path))
    label_map, _ = read_label_map(path, name="a", scan_grid=GRID)
    assert label_map.values == {"Left lobe": 1, "GTV": 2}
    assert label_map.mask.geometry.isclose(GRID)


def test_a_mask_of_one_value_is_called_as_the_map_and_an_empty_one_is_noted(tmp_path):
    hilum.write(Mask(labels_of(GRID, value=255), GRID), tmp_path / "a.nii.gz")
    assert read_label_map(tmp_path / "a.nii.gz", name="tumor", scan_grid=GRID)[0].values == {"tumor": 255}
    hilum.write(Mask(np.zeros(GRID.shape, np.uint8), GRID), tmp_path / "b.nii.gz")
    label_map, notes = read_label_map(tmp_path / "b.nii.gz", name="tumor", scan_grid=GRID)
    assert [note.code for note in notes] == ["empty-labels"]
    assert not label_map.values


def test_what_is_no_label_map_is_refused(tmp_path):
    for k, array in enumerate((labels_of(GRID).astype(np.int16) * -100, labels_of(GRID).astype(np.float32) * 0.5)):
        hilum.write(Volume(array, GRID), tmp_path / f"{k}.nrrd")
        with pytest.raises(UnsupportedError, match="expected whole numbers from 0 to 255"):
            read_label_map(tmp_path / f"{k}.nrrd", name="a", scan_grid=GRID)
    hilum.write(Volume(labels_of(GRID).astype(np.float32), GRID), tmp_path / "good.nrrd")
    assert read_label_map(tmp_path / "good.nrrd", name="a", scan_grid=GRID)[0].values == {"a": 1}


def test_a_file_without_a_geometry_is_refused_or_laid_voxel_on_voxel(tmp_path):
    path = tmp_path / "a.nii"
    array = labels_of(GRID)
    nibabel.Nifti1Image(array.transpose(2, 1, 0), np.diag([-1.0, -1.0, 1.0, 1.0])).to_filename(path)
    with pytest.raises(GeometryError, match=r"states no geometry.*--label-grid voxels"):
        read_label_map(path, name="a", scan_grid=GRID)
    label_map, notes = read_label_map(path, name="a", scan_grid=GRID, grid="voxels")
    assert np.array_equal(label_map.mask.array, array)
    assert label_map.mask.geometry == GRID
    assert [note.code for note in notes] == ["labels-on-voxels"]
    with pytest.raises(GeometryError, match="6 x 8 x 10 voxels, the scan has 6 x 8 x 11"):
        read_label_map(path, name="a", scan_grid=Geometry((6, 8, 11), (1.0, 1.0, 1.0)), grid="voxels")
    same = Geometry(GRID.shape, (1.0, 1.0, 1.0))  # a scan that states no geometry either: the label map fits it
    assert read_label_map(path, name="a", scan_grid=same)[0].mask.geometry.isclose(same)


def test_labels_elsewhere_in_the_world_are_refused(tmp_path):
    far = Geometry(GRID.shape, GRID.spacing, (500.0, 20.0, 30.0))
    hilum.write(Mask(labels_of(far), far), tmp_path / "a.nii.gz")
    with pytest.raises(GeometryError, match="shares no voxel with the scan"):
        read_label_map(tmp_path / "a.nii.gz", name="a", scan_grid=GRID)
    near = Geometry(GRID.shape, GRID.spacing, (11.0, 20.0, 30.0))
    hilum.write(Mask(labels_of(near), near), tmp_path / "b.nii.gz")
    assert read_label_map(tmp_path / "b.nii.gz", name="a", scan_grid=GRID)[0].mask.geometry.isclose(near)


def test_two_label_maps_of_one_name_are_refused(tmp_path):
    hilum.write(Mask(labels_of(GRID), GRID), tmp_path / "a.nii.gz")
    scan = Scan("1.2.3", Volume(np.zeros(GRID.shape, np.int16), GRID))
    file = LabelFile(tmp_path / "a.nii.gz", "map", "tumor")
    assert list(attach_labels(scan, [file]).label_maps) == ["tumor"]
    with pytest.raises(AnnotationError, match="two label maps of this scan are called 'tumor'"):
        attach_labels(scan, [file, file])


def refs_of(paths):
    return [ScanRef("folder", f"ct-{k}", path) for k, path in enumerate(paths)]


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


def paired(tmp_path, scans, labels, source):
    refs = refs_of([touch(tmp_path / name) for name in scans])
    for name in labels:
        touch(tmp_path / name)
    found, notes = pair_labels(refs, LabelRequest((source,)), inputs=[tmp_path])
    given = {
        ref.path.relative_to(tmp_path).as_posix(): {
            f.name: f.path.resolve().relative_to(tmp_path).as_posix() for f in ref.label_files
        }
        for ref in found
    }
    return given, [note.code for note in notes]


@pytest.mark.parametrize(
    ("scans", "labels", "source", "wanted"),
    [
        (["imagesTr/a.nii.gz", "imagesTr/b.nii.gz"], ["labelsTr/a.nii.gz", "labelsTr/b.nii.gz"], "labelsTr",
         {"imagesTr/a.nii.gz": {"labels": "labelsTr/a.nii.gz"}, "imagesTr/b.nii.gz": {"labels": "labelsTr/b.nii.gz"}}),
        (["imagesTr/a_0000.nii.gz"], ["labelsTr/a.nii.gz"], "labelsTr",
         {"imagesTr/a_0000.nii.gz": {"labels": "labelsTr/a.nii.gz"}}),
        (["a.nii.gz", "a_seg.nii.gz"], [], "*_seg.nii.gz", {"a.nii.gz": {"seg": "a_seg.nii.gz"}}),
        (["ct/a.nii.gz"], ["lab/a.lungs.nii.gz", "lab/a.tumor.nrrd"], "lab",
         {"ct/a.nii.gz": {"lungs": "lab/a.lungs.nii.gz", "tumor": "lab/a.tumor.nrrd"}}),
        (["ct/a.nii.gz", "ct/a_2.nii.gz"], ["lab/a_2.nii.gz", "lab/a_2_seg.nii.gz"], "lab",
         {"ct/a.nii.gz": {}, "ct/a_2.nii.gz": {"lab": "lab/a_2.nii.gz", "seg": "lab/a_2_seg.nii.gz"}}),
        (["ct/case7.nii.gz"], ["masks/case7/GTV 1.nii.gz"], "masks",
         {"ct/case7.nii.gz": {"gtv_1": "masks/case7/GTV 1.nii.gz"}}),
        (["ct/a.nii.gz"], ["lab/a.nii.gz"], "Tumor=lab", {"ct/a.nii.gz": {"tumor": "lab/a.nii.gz"}}),
        (["ct/p1/image.nii.gz", "ct/p2/image.nii.gz"], ["ct/p1/gtv.nii.gz"], "*/gtv.nii.gz",
         {"ct/p1/image.nii.gz": {"gtv": "ct/p1/gtv.nii.gz"}, "ct/p2/image.nii.gz": {}}),
    ],
)  # fmt: skip
def test_label_maps_find_their_scans(tmp_path, monkeypatch, scans, labels, source, wanted):
    monkeypatch.chdir(tmp_path)
    if source.startswith("*/"):
        source = f"ct/{source}"
        refs = refs_of([touch(tmp_path / name) for name in scans])
        refs = [ScanRef("folder", ref.scan_id, ref.path, case=ref.path.parent.name) for ref in refs]
        for name in labels:
            touch(tmp_path / name)
        found, _ = pair_labels(refs, LabelRequest((source,)), inputs=[tmp_path])
        given = {
            ref.path.relative_to(tmp_path).as_posix(): {
                f.name: str(f.path.resolve().relative_to(tmp_path)) for f in ref.label_files
            }
            for ref in found
        }
        assert given == wanted
        return
    assert paired(tmp_path, scans, labels, source)[0] == wanted


def test_a_pattern_may_be_absolute(tmp_path):
    for name in ("lab/a_seg.nii.gz", "other/b_seg.nii.gz"):
        touch(tmp_path / name)
    given, _ = paired(tmp_path, ["ct/a.nii.gz", "ct/b.nii.gz"], [], f"{tmp_path.as_posix()}/lab/*_seg.nii.gz")
    assert given == {"ct/a.nii.gz": {"seg": "lab/a_seg.nii.gz"}, "ct/b.nii.gz": {}}
    with pytest.raises(MissingInputError, match="no file fits the pattern"):
        paired(tmp_path, ["ct/a.nii.gz"], [], f"{tmp_path.as_posix()}/none/*_seg.nii.gz")


def test_label_maps_without_a_scan_and_scans_without_one_are_counted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given, codes = paired(tmp_path, ["ct/a.nii.gz", "ct/b.nii.gz"], ["lab/a.nii.gz", "lab/zz.nii.gz"], "lab")
    assert given["ct/b.nii.gz"] == {}
    assert codes == ["labels-paired", "scans-without-labels", "labels-without-scan"]


def test_label_maps_that_fit_no_scan_or_twice_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AnnotationError, match="belongs to any of the 1 scans") as refusal:
        paired(tmp_path, ["ct/a.nii.gz"], ["lab/zz.nii.gz"], "lab")
    assert refusal.value.code == "no-label-fits"
    with pytest.raises(AnnotationError, match="two label maps called 'seg'"):
        paired(tmp_path, ["ct/a.nii.gz"], ["two/a_seg.nii.gz", "two/a-seg.nrrd"], "two")
    with pytest.raises(MissingInputError, match="no such folder of label maps"):
        paired(tmp_path, ["ct/a.nii.gz"], [], "nowhere")
    with pytest.raises(MissingInputError, match="no file fits the pattern"):
        paired(tmp_path, ["ct/a.nii.gz"], [], "*_nothing.nii.gz")
    touch(tmp_path / "empty/readme.txt")
    with pytest.raises(MissingInputError, match="holds no label map"):
        paired(tmp_path, ["ct/a.nii.gz"], [], "empty")


def test_two_scans_of_one_name_get_no_label_map(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given, codes = paired(
        tmp_path, ["one/a.nii.gz", "two/a.nii.gz", "two/b.nii.gz"], ["lab/a.nii.gz", "lab/b.nii.gz"], "lab"
    )
    assert given == {"one/a.nii.gz": {}, "two/a.nii.gz": {}, "two/b.nii.gz": {"lab": "lab/b.nii.gz"}}
    assert "labels-without-scan" in codes


@pytest.fixture(scope="module")
def labeled(tmp_path_factory):
    """Two small scans, one of them flipped and on other voxels than its label map."""
    root = tmp_path_factory.mktemp("labeled")
    (root / "ct").mkdir()
    (root / "lab").mkdir()
    for k in range(2):
        phantom = make_phantom(seed=k, shape=(40, 64, 64), spacing=(7.0, 6.0, 6.0))
        grid = phantom.scan.ct.geometry
        hilum.write(phantom.scan.ct, root / "ct" / f"case{k}.nii.gz")
        fine = Geometry((90, 80, 80), (3.1, 4.4, 4.4), tuple(np.array(grid.center) - (170.0, 165.0, 135.0)))
        array = ellipsoid(fine, np.add(grid.center, (20.0, 5.0, 12.0)), (22.0, 30.0, 26.0))
        array[ellipsoid(fine, np.array(grid.center) - (60.0, 5.0, 12.0), (25.0, 25.0, 25.0)) > 0] = 2
        hilum.write(Mask(array, fine), root / "lab" / f"case{k}_organs.nii.gz")
    return root


@pytest.mark.parametrize("file_format", ["nifti", "npy", "zarr", "b2nd"])
def test_a_run_stores_label_maps_in_every_format(labeled, tmp_path, file_format):
    out = tmp_path / "out"
    (tmp_path / "r.toml").write_text("[resample]\nspacing_mm = 3.0\n[lungs]\nmethod = 'none'\n")
    command = ["run", str(labeled / "ct"), "--labels", str(labeled / "lab"), "--out", str(out), "--workers", "1"]
    assert main([*command, "--recipe", str(tmp_path / "r.toml"), "--format", file_format]) == 0
    assert not faults(out)
    for folder in sorted((out / "scans").iterdir()):
        record = json.loads((folder / "scan.json").read_text())
        assert "labels/organs" in record["parts"]
        assert record["label_maps"]["organs"]["values"] == {"1": 1, "2": 2}
        run_scan = next(s for s in hilum_runs(out) if s.folder == folder)
        stored = run_scan.read("labels/organs")
        stored = Mask(stored.array, run_scan.geometry)
        truth = nibabel.load(next(iter(sorted((labeled / "lab").iterdir()))))
        for value in (1, 2):
            wanted = np.count_nonzero(np.asanyarray(truth.dataobj) == value) * abs(np.linalg.det(truth.affine[:3, :3]))
            volume, _ = volume_and_centroid(stored, value)
            assert volume == pytest.approx(wanted, rel=0.01)
            assert record["label_maps"]["organs"]["volumes_ml"][str(value)] == pytest.approx(volume / 1000, abs=1e-3)


def hilum_runs(out):
    from hilum.train.runs import list_run

    return list_run(out)[0]


def test_a_rerun_without_labels_takes_none_away_and_a_changed_label_map_is_made_anew(labeled, tmp_path, capsys):
    out, lab = tmp_path / "out", tmp_path / "lab"
    lab.mkdir()
    for path in (labeled / "lab").iterdir():
        (lab / path.name).write_bytes(path.read_bytes())
    (tmp_path / "r.toml").write_text("[resample]\nspacing_mm = 6.0\n[lungs]\nmethod = 'none'\n")
    plain = ["run", str(labeled / "ct"), "--out", str(out), "--workers", "1", "--recipe", str(tmp_path / "r.toml")]
    assert main([*plain, "--labels", str(lab)]) == 0
    assert main(plain) == 1
    assert "would remove the label map organs of 2 scans; give --labels, --roi" in capsys.readouterr().err
    assert main([*plain, "--labels", str(lab)]) == 0
    assert "2 unchanged" in capsys.readouterr().out
    scan = hilum.read(labeled / "ct" / "case0.nii.gz")
    hilum.write(Mask(np.ones(scan.ct.shape, np.uint8), scan.ct.geometry), lab / "case0_organs.nii.gz")
    assert main([*plain, "--labels", str(lab)]) == 0
    assert "1 unchanged" in capsys.readouterr().out


def test_a_bad_label_map_refuses_its_scan_alone(labeled, tmp_path, capsys):
    out, lab = tmp_path / "out", tmp_path / "lab"
    lab.mkdir()
    (lab / "case0_organs.nii.gz").write_bytes((labeled / "lab" / "case0_organs.nii.gz").read_bytes())
    (lab / "case1_organs.nii.gz").write_bytes((labeled / "lab" / "case1_organs.nii.gz").read_bytes()[:400])
    (tmp_path / "r.toml").write_text("[resample]\nspacing_mm = 6.0\n[lungs]\nmethod = 'none'\n")
    command = ["run", str(labeled / "ct"), "--labels", str(lab), "--out", str(out), "--workers", "1"]
    assert main([*command, "--recipe", str(tmp_path / "r.toml")]) == 1
    err = capsys.readouterr().err
    assert "case1_organs.nii.gz" in err
    assert "Traceback" not in err
    assert len(list((out / "scans").iterdir())) == 1
