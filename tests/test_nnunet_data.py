"""nnU-Net's raw data sets and the Medical Decathlon are read with their label maps; broken ones are refused."""

from __future__ import annotations

import json
import tarfile

import numpy as np
import pytest
from dataset_trees import FAST, check_places, chest, places, stored_map, stored_scans, write_decathlon, write_nnunet
from small_runs import everything

import hilum
from hilum import batch, cli
from hilum.datasets import folder, nnunet, recognize
from hilum.errors import FormatError, MissingInputError, UnsupportedError
from hilum.geometry import Geometry
from hilum.outputs.ledger import read_ledger
from hilum.phantom.chest import make_phantom
from hilum.volume import Mask

pytestmark = pytest.mark.usefixtures("no_workers")

NAMES = {"background": 0, "right": 1, "left": 2, "ball": 3}


def tiny(seed=0):
    scan = make_phantom(seed=seed, shape=(24, 48, 48), spacing=(12.0, 8.0, 8.0)).scan
    return scan.ct, scan.lungs


def run(tmp_path, root, recipe=FAST, *more):
    (tmp_path / "r.toml").write_text(recipe)
    words = ["run", root, "--out", tmp_path / "out", "--recipe", tmp_path / "r.toml", *more]
    return cli.main([str(word) for word in words])


def test_every_label_is_where_it_was(tmp_path, capsys):
    cases = {name: chest(k, name) for k, name in enumerate(("plain", "flipped", "oblique", "thick"))}
    named = {f"case_{k}": case for k, case in enumerate(cases.values())}
    root = write_nnunet(tmp_path / "Dataset501_X", {**named, "case_9": (named["case_0"][0], None)}, labels=NAMES)
    assert recognize(root) == recognize(tmp_path) == "nnunet"
    assert run(tmp_path, root) == 0
    assert "detected the data set nnunet" in capsys.readouterr().err
    for name, (_, truth) in named.items():
        stored, values = stored_map(tmp_path / "out", name)
        assert values == {"right": 1, "left": 2, "ball": 3}
        check_places(stored, truth)
        assert sorted(places(truth)) == [1, 2, 3]
    records = {name: record for name, (_, record) in stored_scans(tmp_path / "out").items()}
    assert records["case_0"].geometry.spacing == (1.0, 1.0, 1.0)
    assert {name: record.labels["split"] for name, record in records.items()} == {
        **dict.fromkeys(named, "train"), "case_9": "test",
    }  # fmt: skip
    assert not records["case_9"].label_maps


def test_the_decathlon_is_read(tmp_path):
    cases = {"lung_001": tiny(1), "lung_1234": tiny(2), "lung_002": (tiny(3)[0], None)}
    cases = {name: (ct, mask and Mask(mask.array == 1, mask.geometry)) for name, (ct, mask) in cases.items()}
    listing = nnunet.index(write_decathlon(tmp_path / "Task06_Lung", cases))
    assert [(ref.scan_id, ref.known.labels["split"]) for ref in listing.refs] == [
        ("lung_001", "train"), ("lung_1234", "train"), ("lung_002", "test"),
    ]  # fmt: skip
    assert [[file.values for file in ref.label_files] for ref in listing.refs] == [[(("cancer", 1),)]] * 2 + [[]]
    assert [note.code for note in listing.notes] == ["scans-without-labels"]
    assert run(tmp_path, tmp_path / "Task06_Lung", FAST + "[resample]\ngrid = 'native'\n") == 0
    stored, values = stored_map(tmp_path / "out", "lung_001")
    assert values == {"cancer": 1}
    assert (stored.array > 0).sum() == cases["lung_001"][1].array.sum()


def test_names_of_people_do_not_leave(tmp_path):
    root = write_nnunet(tmp_path / "Dataset001_X", {"MILLER_ANNA": tiny()}, labels=NAMES)
    (ref,) = nnunet.index(root).refs
    assert ref.scan_id.startswith("ct-")
    assert len(ref.label_files) == 1
    hilum.write(tiny()[0], root / "imagesTr" / "MILLER_OTTO.nii.gz")
    assert run(tmp_path, root, FAST, "--hide-paths") == 1
    assert not [content for content in everything(tmp_path / "out") if b"MILLER" in content]


def test_a_folder_of_nifti_is_none(tmp_path):
    (tmp_path / "a" / "imagesTr").mkdir(parents=True)
    hilum.write(tiny()[0], tmp_path / "a" / "imagesTr" / "case_1.nii.gz")
    assert recognize(tmp_path / "a") == recognize(tmp_path / "a" / "imagesTr") == "folder"
    (tmp_path / "a" / "labelsTr").mkdir()
    assert recognize(tmp_path / "a") == "nnunet"
    assert [note.code for note in nnunet.index(tmp_path / "a").notes] == ["no-dataset-json", "scans-without-labels"]
    (tmp_path / "b").mkdir()
    with pytest.raises(MissingInputError, match="imagesTr"):
        nnunet.index(tmp_path / "b")


@pytest.mark.parametrize(
    ("content", "error", "what"),
    [
        ("{", FormatError, "is not valid JSON"),
        ("[]", FormatError, "is not a JSON object"),
        ("{}", FormatError, "names no labels"),
        ({"labels": {"background": 0, "tumor": 256}}, FormatError, "'tumor' is not a whole number from 0 to 255"),
        ({"labels": {"background": 0, "tumor": True}}, FormatError, "'tumor' is not a whole number"),
        ({"labels": {"background": 0, "tumor": []}}, FormatError, "'tumor' is not a whole number"),
        ({"labels": {"background": 0, "a": 1, "b": 1}}, FormatError, "the value 1 has two names, 'a' and 'b'"),
        ({"labels": {"0": "background", "1": "a", "2": "a"}}, FormatError, "gives two values one name"),
        ({"labels": NAMES, "channel_names": ["CT"]}, FormatError, "channel_names is not a table"),
        ({"labels": NAMES, "file_ending": ".png"}, UnsupportedError, "files that end in .png"),
    ],
)
def test_a_broken_description_is_refused(tmp_path, content, error, what):
    root = write_nnunet(tmp_path / "Dataset001_X", {"case_1": tiny()}, labels=NAMES)
    (root / "dataset.json").write_text(content if isinstance(content, str) else json.dumps(content))
    assert recognize(root) == "nnunet"
    with pytest.raises(error, match=what):
        nnunet.index(root)
    refs, (row,) = batch.index([root])
    assert not refs
    assert what.split("'")[0] in row.full_reason


def test_regions_keep_the_values(tmp_path):
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "ball": [3]}
    listing = nnunet.index(write_nnunet(tmp_path / "Dataset001_X", {"case_1": tiny()}, labels=labels))
    assert listing.refs[0].label_files[0].values == (("1", 1), ("2", 2), ("ball", 3))
    (note,) = listing.notes
    assert note.code == "region-labels"
    assert "whole is 1, 2, 3; core is 2, 3" in note.text


def test_only_the_channel_of_the_ct_is_read(tmp_path):
    root = write_nnunet(tmp_path / "Dataset001_X", {"case_1": tiny()}, labels=NAMES, channel="_0001",
                        channel_names={"0": "PET", "1": "CT"})  # fmt: skip
    hilum.write(tiny()[0], root / "imagesTr" / "case_1_0000.nii.gz")
    hilum.write(tiny()[0], root / "imagesTr" / "case_2_0000.nii.gz")
    hilum.write(tiny()[0], root / "imagesTr" / "odd.nii.gz")
    listing = nnunet.index(root)
    assert [ref.path.name for ref in listing.refs] == ["case_1_0001.nii.gz"]
    assert len(listing.refs[0].label_files) == 1
    assert [note.code for note in listing.notes] == ["one-channel"]
    assert [refusal.code for refusal in listing.refused] == ["no-channel", "no-channel"]


def test_missing_labels_and_scans_are_counted(tmp_path):
    root = write_nnunet(tmp_path / "Dataset001_X", {f"case_{k}": tiny() for k in range(3)}, labels=NAMES)
    (root / "labelsTr" / "case_0.nii.gz").unlink()
    (root / "imagesTr" / "case_1_0000.nii.gz").unlink()
    notes = {note.code: note.text for note in nnunet.index(root).notes}
    assert notes == {
        "scans-without-labels": "1 of 2 scans have no label map in labelsTr",
        "labels-without-scan": "1 label maps in labelsTr belong to no scan: left out",
        "case-count": "dataset.json counts 3 training cases, 2 are here",
    }


def test_labels_that_do_not_fit_are_refused(tmp_path):
    cases = {f"case_{k}": tiny() for k in range(4)}
    root = write_nnunet(tmp_path / "Dataset001_X", cases, labels={"background": 0, "right": 1})
    ct, lungs = cases["case_0"]
    small = Geometry(tuple(n - 2 for n in ct.shape), ct.spacing, ct.geometry.origin, ct.geometry.direction)
    right = (lungs.array == 1).astype(np.uint8)
    nowhere = Geometry(small.shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), ct.geometry.direction)
    hilum.write(Mask(right[:-2, :-2, :-2], small), root / "labelsTr" / "case_1.nii.gz")
    hilum.write(Mask(right[:-2, :-2, :-2], nowhere), root / "labelsTr" / "case_2.nii.gz")
    hilum.write(Mask(right, ct.geometry), root / "labelsTr" / "case_3.nii.gz")
    assert run(tmp_path, root, FAST + "[resample]\ngrid = 'native'\n") == 1
    rows = read_ledger(tmp_path / "out")
    assert (rows["case_0"].status, rows["case_0"].code) == ("refused", "unknown-label")
    assert (rows["case_2"].status, rows["case_2"].code) == ("refused", "label-grid")
    for name in ("case_1", "case_3"):  # another shape with a geometry of its own is placed by it
        assert (stored_map(tmp_path / "out", name)[0].array == right).all()


def test_label_maps_without_geometry_are_taken_on_request(tmp_path, capsys):
    ct, lungs = tiny()
    root = write_nnunet(tmp_path / "Dataset001_X", {"case_0": (ct, lungs)}, labels={"right": 1, "left": 2})
    bare = Geometry(ct.shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), ct.geometry.direction)
    hilum.write(Mask(lungs.array, bare), root / "labelsTr" / "case_0.nii.gz")
    recipe = FAST + "[resample]\ngrid = 'native'\n"
    assert run(tmp_path, root, recipe) == 1
    assert "--label-grid voxels" in capsys.readouterr().err
    assert run(tmp_path, root, recipe, "--label-grid", "voxels") == 0
    assert (stored_map(tmp_path / "out", "case_0")[0].array == lungs.array).all()


def test_a_label_map_that_is_asked_for_twice_is_read_once(tmp_path):
    root = write_nnunet(tmp_path / "Dataset001_X", {"case_1": tiny()}, labels={"right": 1, "left": 2})
    assert run(tmp_path, root, FAST, "--labels", root / "labelsTr") == 0
    assert list(stored_scans(tmp_path / "out")["case_1"][1].label_maps) == ["labels"]


def test_label_maps_are_never_scans(tmp_path):
    root = write_decathlon(tmp_path / "a" / "b" / "Task06_Lung", {"lung_001": tiny(1), "lung_002": (tiny(2)[0], None)})
    assert recognize(tmp_path) == "folder"
    (tmp_path / "labelsTr").mkdir()  # without images beside it
    hilum.write(tiny()[0], tmp_path / "labelsTr" / "scan.nii.gz")
    listing = folder.index(tmp_path)
    assert sorted(ref.path.name for ref in listing.refs) == ["lung_001.nii.gz", "lung_002.nii.gz", "scan.nii.gz"]
    assert "1 label maps of nnU-Net" in next(n.text for n in listing.notes if n.code == "labels-without-scan")
    with tarfile.open(tmp_path / "Task06_Lung.tar", "w") as packed:
        packed.add(root, "Task06_Lung")
    assert [ref.files for ref in folder.index(tmp_path / "Task06_Lung.tar").refs] == [
        ("Task06_Lung/imagesTr/lung_001.nii.gz",), ("Task06_Lung/imagesTs/lung_002.nii.gz",),
    ]  # fmt: skip


@pytest.mark.parametrize("store", ["npy", "zarr", "b2nd"])
def test_every_store_holds_the_labels(tmp_path, store):
    if store != "npy":
        pytest.importorskip({"zarr": "zarr", "b2nd": "blosc2"}[store])
    case = chest(3, "oblique")
    root = write_nnunet(tmp_path / "Dataset001_X", {"case_1": case}, labels=NAMES)
    assert run(tmp_path, root, FAST, "--format", store) == 0
    check_places(stored_map(tmp_path / "out", "case_1")[0], case[1])


def test_an_export_is_read_back(tmp_path):
    from hilum.export.nnunet import write_nnunet as export

    (tmp_path / "in").mkdir()
    for seed in range(2):
        hilum.write(tiny(seed)[0], tmp_path / "in" / f"1.2.{seed}.mhd")
    assert run(tmp_path, tmp_path / "in", "[resample]\ngrid = 'native'\n") == 0
    before = stored_scans(tmp_path / "out")
    made = export(tmp_path / "out", tmp_path / "raw", labels="lungs")
    splits = [{"train": [name], "val": [other]} for name, other in zip(before, reversed(before), strict=True)]
    (made.folder / "splits_final.json").write_text(json.dumps(splits))
    (tmp_path / "out").rename(tmp_path / "first")
    assert run(tmp_path, made.folder, FAST + "[resample]\ngrid = 'native'\n") == 0
    after = stored_scans(tmp_path / "out")
    assert after.keys() == before.keys()
    assert sorted(record.labels["fold"] for _, record in after.values()) == [0, 1]
    for name in before:
        stored, values = stored_map(tmp_path / "out", name)
        assert values == {"lung_right": 1, "lung_left": 2}
        assert (stored.array == hilum.read(tmp_path / "first" / "scans" / name / "lungs.nii.gz").ct.array).all()
