"""DICOM segmentations: every frame at its position, whoever wrote it."""

from __future__ import annotations

import warnings
from contextlib import suppress

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, RLELossless
from region_files import FRAME, LABELMAP, SEG, SERIES, images, item, save_to, segmentation, structure_set
from test_dicom import GRID, UID, write
from test_tilt import SHAPE, SPACING, position, tilted, write_tilted

from hilum.errors import HilumError
from hilum.geometry import Geometry
from hilum.io.dicom.reader import read_dicom
from hilum.io.labels.regions import list_regions
from hilum.io.labels.rtstruct import read_rtstruct
from hilum.io.labels.seg import read_seg
from hilum.ops.regrid import regrid_mask

OBLIQUE = Geometry(
    (7, 12, 10), (2.5, 0.75, 0.8), (-4.0, -5.0, 80.0), ((0.0, -0.6, 0.8), (0.0, 0.8, 0.6), (1.0, 0.0, 0.0)),
)  # fmt: skip
GRIDS = {"axial": GRID, "oblique": OBLIQUE}


@pytest.fixture(scope="module", params=list(GRIDS))
def scan(tmp_path_factory, request):
    return read_dicom(write(tmp_path_factory.mktemp("ct"), grid=GRIDS[request.param]))


@pytest.fixture(scope="module")
def axial(tmp_path_factory):
    return read_dicom(write(tmp_path_factory.mktemp("ct")))


def blobs(count=2, seed=0):
    """Masks that overlap, each empty on some slices."""
    random = np.random.default_rng(seed)
    masks = {f"Segment {n}": random.random(GRID.shape) > 0.6 for n in range(1, count + 1)}
    for n, mask in enumerate(masks.values()):
        mask[[n, n + 3]] = False
    return masks


def pairs(masks):
    return tuple((name, name.lower().replace(" ", "_")) for name in masks)


def read(made, tmp_path, scan, masks):
    return read_seg(save_to(made, tmp_path / "seg.dcm"), scan, pairs(masks))


def on_scan(label_map, scan):
    return regrid_mask(label_map.mask, scan.ct.geometry).array.astype(bool)


def codes(notes):
    return [note.code for note in notes]


def refusal(code, made, tmp_path, scan, masks=("Segment 1",)):
    with pytest.raises(HilumError) as caught:
        read(made, tmp_path, scan, masks)
    assert caught.value.code == code, caught.value
    text = str(caught.value)
    assert "\n" not in text
    assert not any(secret in text for secret in ("ZZDOE", "MRN123", "19610203"))
    return text


def test_the_segments_are_listed(tmp_path):
    for kind, sop_class in (("BINARY", SEG), ("LABELMAP", LABELMAP)):
        made = segmentation(blobs(3), kind=kind)
        assert made.SOPClassUID == sop_class
        listed = list_regions(save_to(made, tmp_path / "seg.dcm"))
        assert (listed.kind, listed.series_uids, listed.frame_uids) == ("seg", (SERIES,), (FRAME,))
        assert [(r.number, r.name, r.type) for r in listed.regions] == [(k, f"Segment {k}", "Organ") for k in (1, 2, 3)]


def test_equal_labels_are_told_by_their_side_or_number(tmp_path, axial):
    masks = blobs(4)
    made = segmentation(masks)
    for segment, side in zip(made.SegmentSequence, ("Left", "Right", "", ""), strict=True):
        segment.SegmentLabel = "Lung" if side else "Node"
        if side:
            kind = segment.SegmentedPropertyTypeCodeSequence[0]
            kind.SegmentedPropertyTypeModifierCodeSequence = Sequence([item(CodeMeaning=side)])
    assert list_regions(save_to(made, tmp_path / "seg.dcm")).names == ("Lung Left", "Lung Right", "Node#3", "Node#4")
    maps, _ = read(made, tmp_path, axial, ["Lung Right", "Node#4"])
    for number, label_map in zip((2, 4), maps.values(), strict=True):
        assert np.array_equal(on_scan(label_map, axial), masks[f"Segment {number}"])


@pytest.mark.parametrize(
    "order", [None, lambda frames: frames[::-1], lambda frames: sorted(frames, key=lambda f: f[1] % 3)]
)
@pytest.mark.parametrize("empty", [False, True])
def test_every_frame_lies_at_its_position(tmp_path, scan, order, empty):
    masks = blobs()
    grid = scan.ct.geometry
    maps, notes = read(segmentation(masks, grid=grid, order=order, empty=empty), tmp_path, scan, masks)
    assert list(maps) == ["segment_1", "segment_2"]
    for mask, label_map in zip(masks.values(), maps.values(), strict=True):
        assert np.array_equal(on_scan(label_map, scan), mask)
        assert set(label_map.values.values()) == {1}
    assert notes == ()


def test_a_label_map_and_a_binary_segmentation_of_the_same_segments_are_equal(tmp_path, axial):
    masks = blobs(3)
    masks["Segment 2"] &= ~masks["Segment 3"]
    masks["Segment 1"] &= ~masks["Segment 2"] & ~masks["Segment 3"]
    for kind in ("BINARY", "LABELMAP"):
        maps, _ = read(segmentation(masks, kind=kind), tmp_path, axial, masks)
        for mask, label_map in zip(masks.values(), maps.values(), strict=True):
            assert np.array_equal(on_scan(label_map, axial), mask)


def test_a_fractional_segmentation_is_cut_at_a_half(tmp_path, axial):
    shares = np.random.default_rng(3).choice([0, 0.25, 0.495, 0.5, 0.505, 1], GRID.shape)
    maps, notes = read(segmentation({"Segment 1": shares}, kind="FRACTIONAL"), tmp_path, axial, ["Segment 1"])
    assert np.array_equal(on_scan(maps["segment_1"], axial), shares >= 0.5)
    assert codes(notes) == ["fractional-seg"]


def test_packed_frames_need_not_begin_at_a_byte(tmp_path):
    grid = Geometry((5, 7, 9), (2.0, 0.75, 0.8), (-4.0, -5.0, 80.0))
    scan = read_dicom(write(tmp_path / "ct", np.zeros(grid.shape, int), grid))
    masks = {"Segment 1": np.random.default_rng(0).random(grid.shape) > 0.5}
    maps, _ = read(segmentation(masks, grid=grid), tmp_path, scan, masks)
    assert np.array_equal(on_scan(maps["segment_1"], scan), masks["Segment 1"])


def test_compressed_frames_are_read(tmp_path, axial):
    masks = blobs(3)
    made = segmentation(masks, kind="LABELMAP")
    whole = np.frombuffer(made.PixelData, np.uint8).reshape(-1, *GRID.shape[1:])
    options = {"rows": 12, "columns": 10, "samples_per_pixel": 1, "number_of_frames": 1, "bits_allocated": 8,
               "bits_stored": 8, "pixel_representation": 0, "photometric_interpretation": "MONOCHROME2"}  # fmt: skip
    made.PixelData = encapsulate([RLELosslessEncoder.encode(frame.tobytes(), **options) for frame in whole])
    made["PixelData"].is_undefined_length = True
    made.file_meta.TransferSyntaxUID = RLELossless
    maps, _ = read(made, tmp_path, axial, ["Segment 3"])
    assert np.array_equal(on_scan(maps["segment_3"], axial), masks["Segment 3"])


def test_a_segmentation_on_another_grid_keeps_its_own(tmp_path, axial):
    """Its planes lie between those of the scan, and not all of them have a frame."""
    grid = Geometry((9, 20, 16), (1.7, 0.5, 0.5), (-3.9, -4.8, 80.6))
    mask = np.random.default_rng(0).random(grid.shape) > 0.5
    mask[[1, 2, 5]] = False
    for stated in (True, False):
        made = segmentation({"Segment 1": mask}, grid=grid, order=lambda frames: frames[::-1])
        if not stated:
            del made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices
        maps, _ = read(made, tmp_path, axial, ["Segment 1"])
        assert maps["segment_1"].mask.geometry.isclose(grid)
        assert np.array_equal(maps["segment_1"].mask.array, mask)


@pytest.mark.parametrize(("step", "expected"), [("1.5", 1.5), (None, 9.0)])
def test_a_single_frame_between_slices_is_as_thick_as_it_says(tmp_path, axial, step, expected):
    grid = Geometry((1, 12, 10), (1.5, 0.75, 0.8), (-4.0, -5.0, 81.0))
    made = segmentation({"Segment 1": np.ones(grid.shape, bool)}, grid=grid)
    measures = made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    if step is None:
        del measures.SpacingBetweenSlices
    maps, _ = read(made, tmp_path, axial, ["Segment 1"])
    assert maps["segment_1"].mask.spacing[0] == expected
    measures.SliceThickness = "0"
    if step is None:
        refusal("irregular-seg", made, tmp_path, axial)


def test_frames_of_a_tilted_gantry_move_with_their_slices(tmp_path):
    grid = tilted(18)
    scan = read_dicom(write_tilted(tmp_path / "ct", grid))
    center, radius = grid.index_to_world((12, 30, 28)), 14.0
    down, across = np.array(grid.direction)[1:]
    y, x = np.mgrid[: SHAPE[1], : SHAPE[2]]
    mask = np.zeros(SHAPE, bool)
    made = segmentation({"Segment 1": np.ones(SHAPE, bool)}, grid=grid)
    for k, frame in enumerate(made.PerFrameFunctionalGroupsSequence):
        first = position(grid, k)
        frame.PlanePositionSequence[0].ImagePositionPatient = [f"{v:.6f}" for v in first]
        points = first + y[..., None] * down * SPACING[1] + x[..., None] * across * SPACING[2]
        mask[k] = np.linalg.norm(points - center, axis=-1) < radius
    made.PixelData = np.packbits(mask.ravel(), bitorder="little").tobytes()
    maps, notes = read(made, tmp_path, scan, ["Segment 1"])
    placed = maps["segment_1"].mask
    assert placed.volume_ml() * 1000 == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.01)
    middle = placed.geometry.index_to_world(np.argwhere(placed.array)).mean(axis=0)
    assert np.abs(middle - center).max() < 0.2
    assert codes(notes) == ["shifted-seg"]
    straight = read_dicom(write(tmp_path / "other"))
    made.ReferencedSeriesSequence[0].ReferencedInstanceSequence = images()
    refusal("irregular-seg", made, tmp_path, straight)


def test_a_frame_beside_the_others_lies_where_it_says(tmp_path, axial):
    mask = np.zeros(GRID.shape, bool)
    mask[1:4, 4:7, 2:5] = True
    made = segmentation({"Segment 1": mask})
    at(made, 1, GRID.index_to_world((2, -1.1, 3)))
    maps, notes = read(made, tmp_path, axial, ["Segment 1"])
    mask[2] = np.roll(mask[2], (-1, 3), (0, 1))
    assert np.array_equal(on_scan(maps["segment_1"], axial), mask)
    assert codes(notes) == ["shifted-seg"]
    assert "moved by up to 0.1 pixels" in notes[0].text


# --- the right file, and damaged ones --------------------------------------------------------------------------------


def test_a_segmentation_of_another_series_is_refused(tmp_path, axial):
    refusal("other-regions", segmentation(blobs(), series=f"{UID}.5"), tmp_path, axial)
    made = segmentation(blobs())
    made.ReferencedSeriesSequence[0].ReferencedInstanceSequence = images(series=f"{UID}.5")
    refusal("other-regions", made, tmp_path, axial)
    del made.ReferencedSeriesSequence
    assert codes(read(made, tmp_path, axial, ["Segment 1"])[1]) == ["region-by-frame"]
    for frame in made.PerFrameFunctionalGroupsSequence:
        frame.DerivationImageSequence = Sequence([item(SourceImageSequence=images([1]))])
    assert codes(read(made, tmp_path, axial, ["Segment 1"])[1]) == []


def test_names_that_are_not_there_or_twice_are_refused(tmp_path, axial):
    made = segmentation(blobs(3))
    assert "'Segment 1', 'Segment 2'" in refusal("no-such-region", made, tmp_path, axial, ["Segment 9"])
    made.SegmentSequence[1].SegmentLabel = "Segment 1"
    refusal("ambiguous-region", made, tmp_path, axial)
    made = segmentation({"Segment 1": blobs()["Segment 1"], "Segment 2": np.zeros(GRID.shape, bool)})
    assert codes(read(made, tmp_path, axial, ["Segment 1", "Segment 2"])[1]) == ["empty-region"]
    refusal("empty-region", made, tmp_path, axial, ["Segment 2"])
    made.SegmentSequence[1].SegmentLabel = "Segment 1"  # the second is empty
    assert list(read(made, tmp_path, axial, ["Segment 1"])[0]) == ["segment_1"]


def shared(made):
    return made.SharedFunctionalGroupsSequence[0]


def frame(made, k=1):
    return made.PerFrameFunctionalGroupsSequence[k]


def at(made, k, xyz):
    frame(made, k).PlanePositionSequence[0].ImagePositionPatient = [f"{v:.10g}" for v in xyz]


def spaced(made, values):
    shared(made).PixelMeasuresSequence[0].PixelSpacing = values


CORRUPT = {
    "no type": ("unsupported", lambda ds: setattr(ds, "SegmentationType", "CLOUD")),
    "no frames": ("no-pixels", lambda ds: delattr(ds, "PerFrameFunctionalGroupsSequence")),
    "no segments": ("no-such-region", lambda ds: delattr(ds, "SegmentSequence")),
    "no position": ("bad-geometry", lambda ds: delattr(frame(ds), "PlanePositionSequence")),
    "no orientation": ("bad-geometry", lambda ds: delattr(shared(ds), "PlaneOrientationSequence")),
    "no spacing": ("bad-geometry", lambda ds: delattr(shared(ds), "PixelMeasuresSequence")),
    "no segment of a frame": ("damaged", lambda ds: delattr(frame(ds), "SegmentIdentificationSequence")),
    "no rows": ("damaged", lambda ds: delattr(ds, "Rows")),
    "zero rows": ("bad-matrix", lambda ds: setattr(ds, "Rows", 0)),
    "12 bits": ("unsupported", lambda ds: setattr(ds, "BitsAllocated", 12)),
    "cut off": ("truncated", lambda ds: setattr(ds, "PixelData", ds.PixelData[:10])),
    "no pixels": ("truncated", lambda ds: delattr(ds, "PixelData")),
    "between the others": ("irregular-seg", lambda ds: at(ds, 1, (-4, -5, 80.6))),
    "beside the others": ("irregular-seg", lambda ds: (at(ds, 1, (-1, -5, 85)), spaced(ds, ["0.5", "0.8"]))),
    "far away": ("irregular-seg", lambda ds: at(ds, 1, (-4, -5, 1e8 + 2.5))),
    "another orientation": (
        "irregular-seg",
        lambda ds: setattr(
            frame(ds),
            "PlaneOrientationSequence",
            Sequence([item(ImageOrientationPatient=["0", "1", "0", "1", "0", "0"])]),
        ),
    ),
    "impossible axes": (
        "geometry",
        lambda ds: setattr(shared(ds).PlaneOrientationSequence[0], "ImageOrientationPatient", ["1", "0", "0"] * 2),
    ),
    "zero spacing": ("bad-geometry", lambda ds: spaced(ds, ["0", "0.8"])),
    "negative spacing": ("bad-geometry", lambda ds: spaced(ds, ["0.75", "-0.8"])),
    "two frames in one place": ("conflicting-frames", lambda ds: at(ds, 1, GRID.index_to_world((1, 0, 0)))),
}


@pytest.mark.parametrize(
    ("moved", "expected"),
    [
        ((0, 0, 0.08), []),  # mm along the normal: rounded
        ((0, 0, 0.15), "irregular-seg"),
        ((0.07, 0, 0), []),  # less than a tenth of a pixel beside the others
        ((0.09, 0, 0), ["shifted-seg"]),
        ((0, -0.07, 0), []),
        ((0, -0.08, 0), ["shifted-seg"]),
    ],
)
def test_how_far_a_frame_may_lie_from_its_place(tmp_path, axial, moved, expected):
    masks = blobs(1)
    made = segmentation(masks)
    at(made, 2, np.array(frame(made, 2).PlanePositionSequence[0].ImagePositionPatient, float) + moved)
    if isinstance(expected, str):
        refusal(expected, made, tmp_path, axial)
    else:
        maps, notes = read(made, tmp_path, axial, masks)
        assert codes(notes) == expected
        assert np.array_equal(on_scan(maps["segment_1"], axial), masks["Segment 1"])


@pytest.mark.parametrize(("stated", "read_as"), [("1.715", 1.7), ("1.72", 1.7), ("0.85", 1.7), ("5", 1.7)])
def test_the_planes_say_whether_a_stated_distance_is_true(tmp_path, axial, stated, read_as):
    """Of two planes alone, further apart than stated, those between may be absent: they are empty."""
    grid = Geometry((6, 12, 10), (1.7, 0.5, 0.5), (-3.9, -4.8, 80.6))
    mask = np.ones(grid.shape, bool)
    for few in (False, True):
        mask[2:] = not few
        made = segmentation({"Segment 1": mask}, grid=grid)
        shared(made).PixelMeasuresSequence[0].SpacingBetweenSlices = stated
        maps, _ = read(made, tmp_path, axial, ["Segment 1"])
        assert maps["segment_1"].mask.spacing[0] == pytest.approx(0.85 if few and stated == "0.85" else read_as)


@pytest.mark.parametrize(
    ("stated", "planes", "read_as"), [("5", 3, 5), (None, 3, 2.5), ("2.5", 3, 2.5), ("5", 1, 5), ("2.5", 1, 2.5)]
)
def test_a_segmentation_of_thicker_slices_is_as_thick_as_it_says(tmp_path, axial, stated, planes, read_as):
    """Its planes are every second slice of the scan. Those of a region on single slices are, too."""
    grid = Geometry((planes, 12, 10), (5.0, 0.75, 0.8), GRID.origin)
    made = segmentation({"Segment 1": np.ones(grid.shape, bool)}, grid=grid)
    measures = shared(made).PixelMeasuresSequence[0]
    if stated is None:
        del measures.SpacingBetweenSlices
    else:
        measures.SpacingBetweenSlices = stated
    maps, _ = read(made, tmp_path, axial, ["Segment 1"])
    assert maps["segment_1"].mask.spacing[0] == read_as


@pytest.mark.parametrize("name", list(CORRUPT))
def test_a_corrupt_segmentation_is_refused_in_one_line(tmp_path, axial, name):
    code, change = CORRUPT[name]
    made = segmentation(blobs())
    change(made)
    refusal(code, made, tmp_path, axial)


def test_a_file_that_ends_early_or_is_noise_raises_nothing_else(tmp_path, axial):
    masks = blobs(1)
    whole = save_to(segmentation(masks), tmp_path / "seg.dcm").read_bytes()
    random = np.random.default_rng(5)
    path = tmp_path / "bad.dcm"
    for size in [*range(0, len(whole) - 1, 203), len(whole) - 2]:
        path.write_bytes(whole[:size])
        with pytest.raises(HilumError):
            read_seg(path, axial, pairs(masks))
    for _ in range(150):
        noisy = bytearray(whole)
        for k in random.integers(132, len(noisy), 3):
            noisy[k] = random.integers(256)
        path.write_bytes(noisy)
        with suppress(HilumError):
            read_seg(path, axial, pairs(masks))


def test_each_reader_refuses_the_other_kind(tmp_path, axial):
    seg, rt = (
        save_to(segmentation(blobs()), tmp_path / "a.dcm"),
        save_to(structure_set([("GTV", [])]), tmp_path / "b.dcm"),
    )
    with pytest.raises(HilumError, match="no structure set"):
        read_rtstruct(seg, axial, (("Segment 1", "a"),))
    with pytest.raises(HilumError, match="no segmentation"):
        read_seg(rt, axial, (("GTV", "a"),))
    made = segmentation(blobs())
    made.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    made.save_as(tmp_path / "big.dcm", implicit_vr=False, little_endian=False, enforce_file_format=False)
    with pytest.raises(HilumError):
        read_seg(tmp_path / "big.dcm", axial, (("Segment 1", "a"),))


# --- what highdicom writes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
@pytest.mark.parametrize("omit", [True, False])
def test_what_highdicom_writes_is_read_back(tmp_path, scan, kind, omit):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        highdicom = pytest.importorskip("highdicom")
    from pydicom.sr.codedict import codes as concepts

    folder = write(tmp_path / "ct", grid=scan.ct.geometry)
    headers = [pydicom.dcmread(path) for path in folder.iterdir()]  # in the order of the folder
    places = [round(float(scan.ct.geometry.world_to_index(ds.ImagePositionPatient)[0])) for ds in headers]
    labels = np.random.default_rng(0).integers(0, 4, scan.ct.shape).astype(np.uint8)
    labels[[0, 3]] = 0
    stored = labels[places]
    if kind == "FRACTIONAL":
        stored = np.stack([stored == n for n in (1, 2, 3)], axis=-1).astype(np.float32) * np.float32(0.7)
    described = [
        highdicom.seg.SegmentDescription(
            segment_number=n, segment_label=f"Segment {n}", segmented_property_category=concepts.SCT.Tissue,
            segmented_property_type=concepts.SCT.Lung, algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for n in (1, 2, 3)
    ]  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = highdicom.seg.Segmentation(
            source_images=headers, pixel_array=stored, segmentation_type=kind, segment_descriptions=described,
            series_instance_uid=f"{UID}.60", series_number=9, sop_instance_uid=f"{UID}.61", instance_number=1,
            manufacturer="x", manufacturer_model_name="x", software_versions="1", device_serial_number="1",
            omit_empty_frames=omit, content_label="LUNGS",
        )  # fmt: skip
        made.save_as(tmp_path / "seg.dcm")
    names = [f"Segment {n}" for n in (1, 2, 3)]
    maps, notes = read_seg(tmp_path / "seg.dcm", scan, pairs(names))
    for n, label_map in enumerate(maps.values(), 1):
        assert np.array_equal(on_scan(label_map, scan), labels == n)
    assert codes(notes) == (["fractional-seg"] if kind == "FRACTIONAL" else [])
