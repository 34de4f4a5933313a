"""A run in every format: the same voxels in the same place, whoever reads them; what is damaged is refused."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import sys

import blosc2
import google_crc32c
import nibabel
import numpy as np
import pytest
import SimpleITK
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import finished_scans, tree
from training_inputs import OBLIQUE, make_run

import hilum
from hilum import RunScan, batch
from hilum.cli import main
from hilum.errors import FormatError, HilumError, InputError, OutputError
from hilum.io.volumes.b2nd import read_b2nd, write_b2nd
from hilum.io.volumes.formats import STORES, is_volume
from hilum.io.volumes.npy import open_npy, write_npy
from hilum.io.volumes.ome_zarr import read_zarr, write_zarr
from hilum.io.volumes.open_volumes import OpenArray, read_all, read_padded_box
from hilum.ops.patches.boxes import cut_array
from hilum.ops.pyramid import halve
from hilum.outputs.finished import is_intact, open_stored, read_record, read_stored
from hilum.phantom.chest import make_phantom
from hilum.recipes import parse_recipe
from hilum.stats import fingerprint
from hilum.testing import masks, volumes
from hilum.train.dataset import PatchDataset
from hilum.train.patch_records import PatchOptions
from hilum.train.patches import write_patches
from hilum.train.slices import write_slices
from hilum.verify import Fault, verify
from hilum.volume import Mask, Volume

NEW = ("zarr", "b2nd")
WRITE = {"zarr": write_zarr, "b2nd": write_b2nd, "npy": write_npy}
READ = {"zarr": read_zarr, "b2nd": read_b2nd}
UID = "1.2.826.0.1.111"

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Two scans, the second oblique, and the nodules of both."""
    root, rows = tmp_path_factory.mktemp("inputs"), ["seriesuid,coordX,coordY,coordZ,diameter_mm"]
    scan = make_phantom(seed=3, shape=(48, 96, 96), spacing=(6.5, 4.0, 4.0)).scan
    oblique = hilum.Geometry(scan.ct.shape, scan.ct.spacing, scan.ct.geometry.origin, OBLIQUE)
    for uid, grid in ((UID, scan.ct.geometry), (UID + ".2", oblique)):
        hilum.write(Volume(scan.ct.array, grid), root / f"{uid}.mhd")
        for nodule in scan.nodules:
            center = grid.index_to_world(scan.ct.geometry.world_to_index(nodule.center))
            rows.append(f"{uid},{','.join(map(str, center))},{nodule.diameter_mm}")
    (root / "annotations.csv").write_text("\n".join([*rows, ""]))
    return root


@pytest.fixture(scope="module")
def runs(inputs, tmp_path_factory):
    """The output folder of a run in each format."""
    made = {}
    for name in STORES:
        made[name] = tmp_path_factory.mktemp(name) / "out"
        refs, _ = batch.index([inputs], annotations=inputs / "annotations.csv")
        rows = batch.run(refs, parse_recipe(f'[resample]\nspacing_mm = 3.0\n[output]\nformat = "{name}"'), made[name])
        assert {row.status for row in rows} <= {"done", "repaired"}
    return made


def by_strangers(path, part, name):
    """Array and affine (LPS, of voxels z, y, x) as libraries that know nothing of hilum read them."""
    if name == "nifti":
        image = SimpleITK.ReadImage(path / f"{part}.nii.gz")
        matrix = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
        affine = np.column_stack([matrix[:, ::-1], image.GetOrigin()])
        again = nibabel.load(path / f"{part}.nii.gz")
        array = np.asarray(again.dataobj).T
        assert np.array_equal(array, SimpleITK.GetArrayFromImage(image))
        ras = (again.affine[:3] * np.array([[-1], [-1], [1]]))[:, [2, 1, 0, 3]]
        assert np.abs(ras - affine).max() < 1e-4
        return array, affine
    if name == "npy":
        array, place = np.load(path / f"{part}.npy"), json.loads((path / f"{part}.json").read_text())
    elif name == "b2nd":
        opened = blosc2.open(path / f"{part}.b2nd", mode="r")
        (array,), place = opened[:], json.loads(opened.schunk.meta["hilum"])
    else:
        group = zarr.open_group(path / f"{part}.zarr", mode="r")
        array, place = group["0"][:], group.attrs["hilum"]
    steps = np.array(place["direction"]).T * np.array(place["spacing"])
    return array, np.column_stack([steps, place["origin"]])


def test_every_format_holds_the_same_in_the_same_place(runs):
    for folder, record in finished_scans(runs["npy"]):
        wanted = RunScan(folder).scan()
        assert wanted.nodule_mask.array.any()
        for name, out in runs.items():
            path = out / "scans" / folder.name
            told = read_record(path)
            assert (told.geometry, told.figures, told.notes) == (record.geometry, record.figures, record.notes)
            for part, volume in (("ct", wanted.ct), ("lungs", wanted.lungs), ("nodules", wanted.nodule_mask)):
                array, affine = by_strangers(path, part, name)
                assert np.array_equal(array, volume.array)
                assert array.dtype == volume.array.dtype
                assert np.abs(affine - volume.geometry.affine[:3]).max() < (1e-4 if name == "nifti" else 1e-12)
                again = read_stored(path, told, part)
                assert np.array_equal(again.array, volume.array)
                assert again.geometry.isclose(volume.geometry, tolerance=1e-4 if name == "nifti" else 1e-12)
            for one in told.nodules:
                assert one.round_trip_mm < 1e-3
                assert np.allclose(affine[:, :3] @ one.voxel + affine[:, 3], one.world, atol=1e-3)
    with pytest.raises(AssertionError):
        assert np.array_equal(array + (array == array.max()), volume.array)  # the comparison can fail


def test_every_tool_takes_every_format(runs, inputs, tmp_path):
    seen = {}
    for name, out in runs.items():
        assert not any(isinstance(found, Fault) for found in verify(out))
        for folder, record in finished_scans(out):
            assert is_intact(folder, record, digest=False)
            assert set(record.files) == set(tree(folder)) - {"scan.json"}
            for file, facts in record.files.items():
                assert hashlib.sha256((folder / file).read_bytes()).hexdigest() == facts.sha256
        write_patches(out, tmp_path / name / "p", PatchOptions(size=16))
        write_slices(out, tmp_path / name / "s")
        data = PatchDataset(out, size=16, rule="balanced", length=6, window=(-1000, 400))
        images = [data[k] for k in range(6)]
        seen[name] = (
            fingerprint(out).overall,
            [(item["image"].tobytes(), item["mask"].tobytes(), item["scan"]) for item in images],
            {file: content for file, content in tree(tmp_path / name).items() if file.endswith(".npy")},
        )
        assert main(["report", str(out), "--out", str(tmp_path / f"{name}.html")]) == 0
        refs, _ = batch.index([inputs], annotations=inputs / "annotations.csv")
        before = {file: (out / file).stat().st_mtime_ns for file in tree(out) if "scans" in file}
        batch.run(refs, parse_recipe((out / "recipe.toml").read_text()), out)  # all of it is kept
        assert before == {file: (out / file).stat().st_mtime_ns for file in tree(out) if "scans" in file}
    assert all(found == seen["npy"] for found in seen.values())


@pytest.mark.parametrize("name", NEW)
def test_what_is_written_is_read_bit_for_bit_and_written_so_again(name, tmp_path_factory):
    folder = tmp_path_factory.mktemp(name)
    path = folder / f"a.{name}"

    @given(st.one_of(volumes(), masks()))
    @settings(max_examples=25)
    def there_and_back(volume):
        WRITE[name](volume, path)
        got = READ[name](path).to_volume()
        assert np.array_equal(got.array, volume.array)
        assert (got.array.dtype, got.geometry, type(got)) == (volume.array.dtype, volume.geometry, type(volume))
        assert hilum.Volume(got.array, got.geometry).array.flags.c_contiguous
        first = tree(folder)
        WRITE[name](volume, path)
        assert tree(folder) == first

    there_and_back()


SHAPE = (61, 100, 130)  # several chunks along each axis, none a whole number of them
VOXELS = np.random.default_rng(1).integers(-1024, 2000, SHAPE).astype(np.int16)
GRID = hilum.Geometry(SHAPE, (2.5, 0.7, 0.8), (-10.0, 20.0, 30.0), OBLIQUE)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """One volume, open in every store."""
    folder = make_folder = tmp_path_factory.mktemp("boxes")
    for name, put in WRITE.items():
        put(Volume(VOXELS, GRID), make_folder / f"ct.{name}")
    from hilum.io.volumes.b2nd import OpenB2nd
    from hilum.io.volumes.zarr_shards import OpenZarr

    return [
        open_npy(folder / "ct.npy"),
        OpenB2nd(folder / "ct.b2nd"),
        OpenZarr(folder / "ct.zarr"),
        OpenArray(VOXELS, GRID, resident=True),
    ]


@given(st.data())
@settings(max_examples=60)
def test_any_box_equals_numpys_slice(opened, data):
    start = [data.draw(st.integers(0, n - 1)) for n in SHAPE]
    size = [data.draw(st.integers(1, n - a)) for a, n in zip(start, SHAPE, strict=True)]
    beyond = [data.draw(st.integers(-40, n + 40)) for n in SHAPE]
    wanted = VOXELS[tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))]
    for stored in opened:
        box = stored.read(start, size)
        assert np.array_equal(box, wanted)
        assert box.flags.c_contiguous
        assert box.flags.owndata or box.base is not None
        assert np.array_equal(
            read_padded_box(stored, beyond, (24, 30, 16), fill=-7), cut_array(VOXELS, beyond, (24, 30, 16), fill=-7)
        )


def test_a_box_outside_is_refused_and_the_whole_is_the_whole(opened):
    for stored in opened:
        assert (stored.shape, stored.dtype, stored.geometry) == (SHAPE, np.int16, GRID)
        assert np.array_equal(read_all(stored), VOXELS)
        for start, size in (((-1, 0, 0), (1, 1, 1)), ((0, 0, 0), (62, 1, 1)), ((0, 0, 0), (0, 1, 1))):
            with pytest.raises(InputError, match="not inside"):
                stored.read(start, size)


def edit(path, change):
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def set_shape(path, shape):
    edit(path / "0" / "zarr.json", lambda record: record.update(shape=shape))
    edit(path / "zarr.json", lambda record: record["attributes"]["hilum"].update(shape=shape))


def sharding(path, **changes):
    edit(path / "0" / "zarr.json", lambda record: record["codecs"][0]["configuration"].update(changes))


def shard(path):
    return path / "0" / "c" / "0" / "0" / "0"


def set_index(path, row):
    """Change the first entry of a shard's index, and its checksum with it."""
    data = shard(path).read_bytes()
    count = int(np.prod([-(-n // min(48, n)) for n in SHAPE]))
    index = bytearray(data[-16 * count - 4 : -4])
    index[:16] = struct.pack("<QQ", *row)
    shard(path).write_bytes(data[: -16 * count - 4] + index + struct.pack("<I", google_crc32c.value(bytes(index))))


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 16
    path.write_bytes(data)


def link(path):
    (path / "0" / "c").rename(path.with_name("elsewhere"))
    (path / "0" / "c").symlink_to(path.with_name("elsewhere"))


def inner(path, change):
    edit(path / "0" / "zarr.json", lambda record: change(record["codecs"][0]["configuration"]["codecs"]))


def lie_in_a_chunk(path):
    data = bytearray(shard(path).read_bytes())
    offset, length = struct.unpack("<QQ", data[-16 * 18 - 4 :][:16])
    data[offset + 4 : offset + 8] = struct.pack("<I", 2**31 - 1)  # what Blosc's header says it unpacks to
    body = bytes(data[offset : offset + length - 4])
    data[offset + length - 4 : offset + length] = struct.pack("<I", google_crc32c.value(body))
    shard(path).write_bytes(data)


ZARR_LIES = {
    "no shard": (lambda p: shard(p).unlink(), "missing"),
    "truncated": (lambda p: shard(p).write_bytes(shard(p).read_bytes()[:-9]), "does not match its checksum"),
    "empty": (lambda p: shard(p).write_bytes(b""), "ends early"),
    "flipped": (lambda p: flip(shard(p), 5000), "does not match its checksum"),
    "missing chunk": (lambda p: set_index(p, (2**64 - 1, 2**64 - 1)), "a chunk of .* is missing"),
    "chunk beyond": (lambda p: set_index(p, (2**40, 100)), "leads out"),
    "chunk of nothing": (lambda p: set_index(p, (0, 3)), "leads out"),
    "chunk wraps": (lambda p: set_index(p, (2**63, 2**63)), "leads out"),
    "chunk lies": (lie_in_a_chunk, "not have the size"),
    "shape": (lambda p: edit(p / "0" / "zarr.json", lambda r: r.update(shape=[61, 100, 131])), "form|shape"),
    "huge": (lambda p: (set_shape(p, [2000000] * 3), outer(p, [2000016] * 3)), "GiB"),
    "bomb": (lambda p: (set_shape(p, [960, 960, 960]), outer(p, [960] * 3)), "no scan packs so well"),
    "negative": (lambda p: set_shape(p, [-1, 100, 130]), "shape"),
    "type": (lambda p: edit(p / "0" / "zarr.json", lambda r: r.update(data_type="float64")), "says int16"),
    "sign": (lambda p: edit(p / "0" / "zarr.json", lambda r: r.update(data_type="uint16")), "says int16"),
    "text": (lambda p: edit(p / "0" / "zarr.json", lambda r: r.update(data_type="string")), "expected numbers"),
    "huge chunk": (lambda p: sharding(p, chunk_shape=[10**6] * 3), "has chunks of"),
    "no chunk": (lambda p: sharding(p, chunk_shape=[0, 0, 0]), "has chunks of"),
    "other codec": (lambda p: inner(p, lambda c: c.insert(1, {"name": "gzip", "configuration": {}})), "form"),
    "no checksum": (lambda p: inner(p, lambda c: c.pop()), "form"),
    "big endian": (lambda p: inner(p, lambda c: c[0].update(configuration={"endian": "big"})), "form"),
    "a link": (link, "leads over a link"),
    "no geometry": (
        lambda p: edit(p / "zarr.json", lambda r: r["attributes"].pop("hilum")),
        "not written by hilum",
    ),
    "spacing": (
        lambda p: edit(p / "zarr.json", lambda r: r["attributes"]["hilum"].update(spacing=[1, 0, 1])),
        "spacing",
    ),
    "a mask": (lambda p: edit(p / "zarr.json", lambda r: r["attributes"]["hilum"].update(kind="mask")), "it is a mask"),
    "version 2": (lambda p: edit(p / "zarr.json", lambda r: r.update(zarr_format=2)), "form"),
    "no json": (lambda p: (p / "zarr.json").write_bytes(b"{"), "form"),
    "long json": (lambda p: (p / "zarr.json").write_bytes(b" " * 70000), "longer than"),
}


def outer(path, shape):
    edit(path / "0" / "zarr.json", lambda r: r["chunk_grid"]["configuration"].update(chunk_shape=shape))


def patch_layer(path, before, after):
    data = path.read_bytes()
    assert data.count(before) == 1
    path.write_bytes(data.replace(before, after))


def shape_bytes(*shape):
    return b"\x94" + b"".join(b"\xd3" + struct.pack(">q", n) for n in shape)


OURS = shape_bytes(1, *SHAPE)

B2ND_LIES = {
    "truncated": (lambda p: p.write_bytes(p.read_bytes()[:-1]), "bytes, not the"),
    "longer": (lambda p: p.write_bytes(p.read_bytes() + b"1"), "bytes, not the"),
    "another": (lambda p: p.write_bytes(b"nothing like it" * 9), "not a Blosc2 frame"),
    "empty": (lambda p: p.write_bytes(b""), "not a Blosc2 frame"),
    "shape": (lambda p: patch_layer(p, OURS, shape_bytes(1, 61, 100, 131)), "shape"),
    "channels": (lambda p: patch_layer(p, OURS, shape_bytes(3, *SHAPE)), "expected"),
    "huge": (lambda p: patch_layer(p, OURS, shape_bytes(1, *[2000000] * 3)), "GiB"),
    "bomb": (lambda p: patch_layer(p, OURS, shape_bytes(1, 960, 960, 960)), "no scan packs so well"),
    "type": (lambda p: patch_layer(p, b"<i2", b"<f2"), "says int16"),
    "wide type": (lambda p: patch_layer(p, b"<i2", b"<f8"), "damaged|bytes|says"),
    "objects": (lambda p: patch_layer(p, b"<i2", b"|O8"), "damaged|expected numbers"),
    "no type": (lambda p: patch_layer(p, b"<i2", b"zzz"), "damaged"),
    "flipped": (lambda p: flip(p, 20000), "checksum|unpacked"),
}


LIES = {("zarr", lie): how for lie, how in ZARR_LIES.items()} | {("b2nd", lie): how for lie, how in B2ND_LIES.items()}


@pytest.mark.parametrize(("kind", "lie"), LIES)
def test_a_volume_that_lies_is_refused_in_one_line(kind, lie, tmp_path):
    path, (change, text) = tmp_path / f"ct.{kind}", LIES[kind, lie]
    WRITE[kind](Volume(VOXELS, GRID), path)
    change(path)
    with pytest.raises(HilumError, match=text) as caught:
        READ[kind](path)
    assert len(str(caught.value)) <= 300


def test_a_b2nd_of_strangers_is_refused_unopened(tmp_path):
    for number, meta in enumerate(({}, {"hilum": "{}", "LazyArray": {"expression": "1"}}, {"hilum": "{}"})):
        path = tmp_path / f"{number}.b2nd"
        blosc2.asarray(VOXELS[None], urlpath=str(path), meta=meta)
        with pytest.raises(InputError, match=r"not written by hilum|is not a geometry"):
            read_b2nd(path)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=3))
@settings(max_examples=60)
def test_no_changed_byte_of_a_b2nd_goes_unnoticed(tmp_path_factory, changes):
    path = tmp_path_factory.getbasetemp() / "changed.b2nd"
    small = Volume(VOXELS[:20, :20, :20], GRID.crop((0, 0, 0), (20, 20, 20)))
    write_b2nd(small, path)
    data = bytearray(path.read_bytes())
    for at, value in changes:
        data[at % len(data)] = value
    path.write_bytes(data)
    try:
        got = read_b2nd(path)
    except HilumError as error:
        assert len(str(error)) <= 300  # noqa: PT017 - reading is allowed to succeed
    else:
        assert np.array_equal(got.array, small.array)


def check_ome(group, *, labels):
    """The rules of OME-Zarr 0.5 that concern us, one by one."""
    ome = group.attrs["ome"]
    assert group.metadata.zarr_format == 3
    assert ome["version"] == "0.5"
    (image,) = ome["multiscales"]
    assert [(axis["name"], axis["type"], axis["unit"]) for axis in image["axes"]] == [
        (name, "space", "millimeter") for name in "zyx"
    ]
    sizes = []
    for dataset in image["datasets"]:
        array = group[dataset["path"]]
        scale, translation = dataset["coordinateTransformations"]  # exactly one scale, then one translation
        assert (scale["type"], translation["type"]) == ("scale", "translation")
        assert len(scale["scale"]) == len(translation["translation"]) == array.ndim == len(image["axes"])
        assert array.metadata.dimension_names == ("z", "y", "x")
        assert array.dtype == group["0"].dtype
        sizes.append((array.shape, scale["scale"], translation["translation"]))
    assert sizes == sorted(sizes, reverse=True)  # from the largest to the smallest
    if labels:
        assert group["0"].dtype.kind in "iu"
        assert all(len(color["rgba"]) == 4 for color in ome["image-label"]["colors"])
        assert zarr.open_group(group.store.root / ome["image-label"]["source"]["image"], mode="r")
    return sizes


def test_a_zarr_folder_follows_ome_zarr(runs, tmp_path):
    for folder, record in finished_scans(runs["zarr"]):
        for part in ("ct", "lungs", "nodules"):
            group = zarr.open_group(folder / f"{part}.zarr", mode="r")
            (shape, scale, place), *smaller = check_ome(group, labels=part != "ct")
            assert smaller
            grid = record.geometry
            assert (shape, scale) == (grid.shape, list(grid.spacing))
            straight = np.allclose(grid.direction, hilum.geometry.IDENTITY_DIRECTION)
            assert np.allclose(place, grid.origin[::-1] if straight else 0)
            one = group["1"][:]
            whole = group["0"][:][tuple(slice(0, 2 * n) for n in one.shape)]
            means = whole.reshape([k for n in one.shape for k in (n, 2)]).mean(axis=(1, 3, 5))
            wanted = np.floor(means + 0.5) if part == "ct" else whole[::2, ::2, ::2]
            assert np.array_equal(one, wanted)
            middle = 0.5 if part == "ct" else 0.0
            assert np.allclose(smaller[0][2], np.array(place) + middle * np.array(scale))
    write_zarr(Mask(VOXELS > 0, GRID), tmp_path / "alone.zarr")  # of no image that is there
    assert "image-label" not in zarr.open_group(tmp_path / "alone.zarr", mode="r").attrs["ome"]


def test_a_small_volume_halves_to_its_last_voxel():
    grid = hilum.Geometry((1, 3, 2), (5.0, 1.0, 1.0))
    values = np.array([[[1, 2], [3, 5], [9, 9]]], np.int16)
    assert halve(Volume(values, grid)).array.tolist() == [[[3]]]  # 11 / 4
    assert halve(Volume(-values, grid)).array.tolist() == [[[-3]]]
    assert halve(Volume(values / np.float32(2), grid)).array.tolist() == [[[1.375]]]
    assert halve(Mask(values.astype(np.uint8), grid)).array.tolist() == [[[1]]]


@pytest.mark.parametrize("name", [*NEW, "npy"])
def test_a_stored_scan_is_read_and_converted_like_any(name, runs, tmp_path):
    for folder, record in finished_scans(runs[name]):
        path = folder / f"ct.{name}"
        scan, wanted = hilum.read(path), read_stored(folder, record, "ct")
        assert is_volume(path)
        assert scan.ct.geometry == wanted.geometry
        assert np.array_equal(scan.ct.array, wanted.array)
        assert scan.series_uid == record.series_uid
        assert main(["convert", str(path), str(tmp_path / f"again.{name}")]) == 0
        assert np.array_equal(hilum.read(tmp_path / f"again.{name}").ct.array, scan.ct.array)
        assert main(["info", str(path)]) == 0
        with pytest.raises(InputError, match="contains labels"):
            hilum.read(folder / f"lungs.{name}")
    (tmp_path / "mine.zarr").mkdir()
    (tmp_path / "mine.zarr" / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="in use"):
        hilum.write(scan.ct, tmp_path / "mine.zarr")
    assert os.listdir(tmp_path / "mine.zarr") == ["thesis.txt"]
    for suffix in WRITE:
        with pytest.raises(InputError):
            hilum.write(scan.ct, tmp_path / f"a.{suffix}x")


@pytest.mark.parametrize("name", NEW)
def test_a_changed_byte_or_file_is_refused_by_verify_and_by_training(name, tmp_path):
    run = make_run(tmp_path / "run", file_format=name)
    path = run / "scans" / "ct-a" / ("ct.b2nd" if name == "b2nd" else "ct.zarr/0/c/0/0/0")
    whole = path.read_bytes()
    flip(path, 700)
    with pytest.raises(FormatError, match="does not match its checksum") as caught:
        PatchDataset(run, verify=True)
    assert len(str(caught.value)) <= 300
    assert any(isinstance(found, Fault) and found.where == str(path) for found in verify(run))
    path.write_bytes(whole[:-1])
    with pytest.raises(FormatError, match="size"):
        PatchDataset(run)
    path.unlink()
    with pytest.raises(InputError, match="missing or not a regular file"):
        PatchDataset(run)
    path.write_bytes(whole)
    record = read_record(run / "scans" / "ct-a")
    assert is_intact(run / "scans" / "ct-a", record, digest=False)
    other = hilum.Geometry((30, 48, 41), (2.0, 1.0, 1.5))
    WRITE[name](Volume(np.zeros(other.shape, np.int16), other), run / "scans" / "ct-a" / f"ct.{name}")
    with pytest.raises(FormatError, match=r"but scan.json says"):
        open_stored(run / "scans" / "ct-a", record, "ct")


@pytest.mark.parametrize(("name", "package"), [("zarr", "zarr"), ("zarr", "google_crc32c"), ("b2nd", "blosc2")])
def test_a_missing_package_is_named_before_any_work(name, package, runs, inputs, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)
    folder, record = finished_scans(runs[name])[0]
    for words in (
        ["run", str(inputs), "--out", str(tmp_path / "out"), "--format", name],
        ["store", str(runs["npy"]), "--format", name, "--out", str(tmp_path / "out")],
        ["convert", str(tmp_path / "not looked at"), str(tmp_path / f"x.{name}")],
        ["stats", str(runs[name])],
    ):
        assert main(words) == 1
        told = capsys.readouterr().err
        assert f"pip install 'hilum[{name}]'" in told
        assert told.count("\n") == 1
    assert not os.listdir(tmp_path)
    with pytest.raises(InputError, match="not installed"):
        open_stored(folder, record, "ct")


def test_a_zarr_folder_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    write_zarr(Volume(VOXELS, GRID), tmp_path / "a.zarr")
    before = tree(tmp_path)

    def full(*_args, **_more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hilum.io.volumes.ome_zarr._write_array", full)
    with pytest.raises(OutputError, match="No space left"):
        write_zarr(Volume(VOXELS + 1, GRID), tmp_path / "a.zarr")
    assert tree(tmp_path) == before
    shutil.rmtree(tmp_path / "a.zarr")
    with pytest.raises(OutputError):
        write_zarr(Volume(VOXELS, GRID), tmp_path / "a.zarr")
    assert not os.listdir(tmp_path)
