"""A whole LUNA16 tree through the main job: every nodule lands, nothing vanishes, no patient is in two folds."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name everybody uses
from small_runs import finished_scans

import hilum
from hilum import RunScan, batch, cli
from hilum.datasets import luna16, recognize
from hilum.datasets.luna16 import PATIENTS, patient_folds, read_patients
from hilum.errors import AnnotationError, InputError, MissingInputError, OutputError
from hilum.io.volumes.formats import STORES, read_header
from hilum.io.volumes.nifti import read_nifti_affine
from hilum.ops.quality.nodules import compare_with_reference, measure_each_nodule
from hilum.outputs import parts
from hilum.outputs.dataset_summary import merge_tables, read_summary
from hilum.outputs.finished import read_record
from hilum.outputs.ledger import read_ledger
from hilum.outputs.parts import read_locations
from hilum.outputs.records import TableRecord
from hilum.phantom.chest import PhantomOptions, make_phantom
from hilum.phantom.files import write_luna16
from hilum.recipes import parse_recipe
from hilum.volume import Mask, Volume

COARSE = 'name = "luna16"\n[resample]\nspacing_mm = 4.0\n[lungs]\ndilate_mm = 5.0\n'
HEAD = "seriesuid,coordX,coordY,coordZ,diameter_mm"
FLIPPED = (1, 4, 6, 11)
BARE = 4

pytestmark = pytest.mark.usefixtures("no_workers")


@pytest.fixture(scope="module")
def phantoms():
    """Twelve patients; the fifth, which is stored flipped, has no nodule."""
    none = PhantomOptions(nodules=())
    return [
        make_phantom(seed=s, shape=(30, 48, 48), spacing=(10.0, 8.0, 8.0), options=none if s == BARE else None)
        for s in range(12)
    ]


@pytest.fixture(scope="module")
def tree(phantoms, tmp_path_factory):
    root = tmp_path_factory.mktemp("luna16") / "tree"
    return write_luna16(phantoms, root, subsets=3, flipped=FLIPPED, candidates=3, masks=True)


@pytest.fixture
def few(tree, phantoms, tmp_path):
    """A tree of two scans, the second flipped, free to be spoiled."""
    root = tmp_path / "few"
    root.mkdir()
    for name in ("annotations.csv", "candidates.csv", "annotations_excluded.csv"):
        shutil.copy(tree / name, root / name)
    for subset, phantom in (("subset0", phantoms[0]), ("subset1", phantoms[1])):
        (root / subset).mkdir()
        for suffix in (".mhd", ".raw"):
            shutil.copy(tree / subset / (phantom.scan.series_uid + suffix), root / subset)
    return root


def call(capsys, *words):
    status = cli.main([str(word) for word in words])
    told = capsys.readouterr()
    return status, told.out, told.err


def codes(listing):
    return [note.code for note in listing.notes]


def refusals(listing):
    return {ref.path.name: ref.known.refusal for ref in listing.refs if ref.known.refusal}


@pytest.fixture(scope="module")
def finished(tree, tmp_path_factory):
    """What the command makes of the tree, with no more said than where it is."""
    out = tmp_path_factory.mktemp("luna16") / "out"
    (out.parent / "coarse.toml").write_text(COARSE)
    words = ["run", tree, "--dataset", "luna16", "--recipe", out.parent / "coarse.toml", "--out", out]
    assert cli.main([str(word) for word in words]) == 0
    return out


def test_the_run_finishes_and_every_scan_is_in_the_ledger(finished, phantoms):
    rows = read_ledger(finished)
    records = [record for _, record in finished_scans(finished)]
    assert len(rows) == len(records) == len(phantoms) == 12
    assert {row.status for row in rows.values()} <= {"done", "repaired"}
    assert {record.series_uid for record in records} == {phantom.scan.series_uid for phantom in phantoms}
    assert {record.dataset for record in records} == {"luna16"}
    assert {record.series_uid: record.labels["fold"] for record in records} == {
        phantom.scan.series_uid: number % 3 for number, phantom in enumerate(phantoms)
    }


def test_every_nodule_is_at_its_voxel_flipped_or_not(finished, phantoms, tree):
    records = {record.series_uid: (folder, record) for folder, record in finished_scans(finished)}
    seen = 0
    for number, phantom in enumerate(phantoms):
        folder, record = records[phantom.scan.series_uid]
        stored = sitk.ReadImage(folder / "ct.nii.gz")
        source = sitk.ReadImage(tree / f"subset{number % 3}" / f"{phantom.scan.series_uid}.mhd")
        assert source.GetDirection()[0] == (-1 if number in FLIPPED else 1)
        assert len(record.nodules) == len(phantom.scan.nodules)
        assert (folder / "nodules.nii.gz").exists()
        for told, nodule in zip(record.nodules, phantom.scan.nodules, strict=True):
            for image, voxel in ((stored, told.voxel), (source, told.source_voxel)):
                index = image.TransformPhysicalPointToContinuousIndex(nodule.center)
                assert np.abs(np.array(index[::-1]) - voxel).max() < 0.01
            assert told.inside
            assert told.world == pytest.approx(nodule.center, abs=1e-6)
            assert told.round_trip_mm < 1e-3 * 4.0
            seen += 1
    assert seen == 55
    flipped, straight = (records[phantoms[k].scan.series_uid][1] for k in (1, 2))
    assert flipped.source_geometry.direction[2] == (-1.0, 0.0, 0.0)
    assert straight.source_geometry.direction[2] == (1.0, 0.0, 0.0)
    assert flipped.geometry.direction == straight.geometry.direction
    assert records[phantoms[BARE].scan.series_uid][1].nodules == []


def test_the_proof_of_each_nodule_is_what_its_voxels_say(finished):
    for folder, record in finished_scans(finished)[:4]:
        ct, lungs, labels = (hilum.read(folder / f"{name}.nii.gz").ct.array for name in ("ct", "lungs", "nodules"))
        for told in record.nodules:
            inside = labels == told.label
            assert told.voxels == inside.sum() > 0
            assert told.mean_hu == pytest.approx(ct[inside].mean(), abs=1e-3)
            assert told.inside_lungs == pytest.approx((lungs[inside] > 0).mean(), abs=1e-4)


def test_the_table_of_nodules_counts_what_landed(finished):
    (told,) = read_summary(finished)
    records = [record for _, record in finished_scans(finished)]
    assert (told.dataset, told.scans, told.finished, told.scans_with_nodules) == ("luna16", 12, 12, 11)
    assert (told.nodules, told.landed) == (55, 55)
    assert told.inside_lungs == sum(n.inside_lungs >= 0.5 for record in records for n in record.nodules)
    assert told.largest_round_trip_mm == max(n.round_trip_mm for record in records for n in record.nodules)
    assert told.folds == {"0": 4, "1": 4, "2": 4}
    assert {table.name: table.rows for table in told.tables} == {
        "annotations.csv": 55,
        "candidates.csv": 55 + 36,
        "annotations_excluded.csv": 12,
    }
    assert all(table.rows_without_scan == 0 for table in told.tables)


def test_candidates_and_excluded_findings_come_along(finished, tree):
    rows = [line.split(",") for line in (tree / "candidates.csv").read_text().splitlines()[1:]]
    for folder, record in finished_scans(finished):
        found = read_locations(folder, record)
        mine = np.array([[float(v) for v in row[1:]] for row in rows if row[0] == record.series_uid])
        assert np.array_equal(found["candidates"], mine)
        assert (found["candidates"][:, 3] == 1).sum() == len(record.nodules)
        assert found["excluded"].shape == (1, 4)
        assert found["excluded"][0, 3] == -1
        assert {"candidates.csv", "excluded.csv"} <= set(record.files)
        again = RunScan(folder).scan()
        assert again.labels == record.labels
        assert np.array_equal(again.locations["candidates"], mine)
        assert [f["voxels"] for f in again.nodule_figures] == [n.voxels for n in record.nodules]


def test_the_given_lungs_are_compared_on_the_same_grid(finished, phantoms, few):
    dice = [record.figures["given_lungs_dice"] for _, record in finished_scans(finished)]
    covered = [record.figures["given_lungs_covered"] for _, record in finished_scans(finished)]
    assert min(dice) > 0.85  # on voxels of 8 to 10 mm
    assert min(covered) > 0.85
    folder = few / "seg-lungs-LUNA16"
    folder.mkdir()
    uid = luna16.index(few).refs[0].series_uid
    hilum.write(replace_shape(phantoms[0].lungs), folder / f"{uid}.mhd")
    scan = luna16.load(luna16.index(few).refs[0])
    assert scan.lungs is None
    assert [note.code for note in scan.notes][-1] == "given-lungs"
    (folder / f"{uid}.raw").unlink()
    assert "given-lungs" in [note.code for note in luna16.load(luna16.index(few).refs[0]).notes]
    assert len(luna16.index(few).refs) == 2


def replace_shape(mask):
    return Mask(mask.array[:-1].copy(), mask.geometry.crop((0, 0, 0), tuple(np.array(mask.shape) - (1, 0, 0))))


def test_the_trees_tables_and_masks_are_true(tree, phantoms):
    rows = [line.split(",") for line in (tree / "candidates.csv").read_text().splitlines()[1:]]
    for number in (1, 2):
        phantom = phantoms[number]
        mask = sitk.ReadImage(tree / "seg-lungs-LUNA16" / f"{phantom.scan.series_uid}.mhd")
        labels = sitk.GetArrayFromImage(mask)
        labels = labels[:, ::-1, ::-1] if number in FLIPPED else labels
        airway, lungs = phantom.airways.array > 0, phantom.lungs.array
        assert np.array_equal(labels == 5, airway)
        assert np.array_equal(labels == 4, (lungs == 1) & ~airway)
        assert np.array_equal(labels == 3, (lungs == 2) & ~airway)
        mine = [[float(v) for v in row[1:]] for row in rows if row[0] == phantom.scan.series_uid]
        others = [place[:3] for place in mine if place[3] == 0]
        assert len(others) == 3
        for place in others:
            index = tuple(np.rint(phantom.lungs.geometry.world_to_index(place)).astype(int))
            assert lungs[index] > 0
            assert all(np.linalg.norm(np.subtract(place, n.center)) > n.diameter_mm / 2 for n in phantom.scan.nodules)


def test_the_command_says_what_it_took_and_what_did_not_fit(capsys, few, phantoms, tmp_path):
    (tmp_path / "coarse.toml").write_text(COARSE)
    assert recognize(few) == "luna16"
    status, out, err = call(capsys, "run", few, "--recipe", tmp_path / "coarse.toml", "--out", tmp_path / "out")
    assert status == 0
    assert "2 scans: 2 done" in out
    assert "luna16: 10 nodules in 2 of 2 scans; 10 lie in the volume" in out
    assert "detected the data set luna16" in err
    assert "annotations.csv: 45 of 55 rows name 9 series that are not here" in err
    (told,) = read_summary(tmp_path / "out")
    table = next(table for table in told.tables if table.name == "annotations.csv")
    here = {path.stem for path in few.rglob("*.mhd")}
    others = {p.scan.series_uid: len(p.scan.nodules) for p in phantoms if p.scan.series_uid not in here and p.nodules}
    assert table.series_without_scan == others
    assert (table.rows_of_scans, table.rows_without_scan) == (10, 45)
    assert all(len(line) <= 300 for line in err.splitlines())


def test_two_subsets_given_apart_are_one_data_set(few, tmp_path):
    found = batch.survey([few / "subset0", few / "subset1"])
    assert [ref.known.labels["fold"] for ref in found.refs] == [0, 1]
    assert [len(ref.known.nodules) for ref in found.refs] == [5, 5]
    batch.run(found.refs, parse_recipe(COARSE), tmp_path / "out", found=found)
    (told,) = read_summary(tmp_path / "out")
    table = next(table for table in told.tables if table.name == "annotations.csv")
    assert (table.rows_of_scans, table.rows_without_scan) == (10, 45)


def test_workers_do_not_change_a_byte(few, tmp_path):
    found = batch.survey([few])
    rows = [
        batch.run(found.refs, parse_recipe(COARSE), tmp_path / str(workers), workers=workers, found=found)
        for workers in (1, 2)
    ]
    assert [row.status for row in rows[1]] == [row.status for row in rows[0]] == ["done", "done"]
    one, two = (
        {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file() and p.name != "ledger.jsonl"}
        for root in (tmp_path / "1", tmp_path / "2")
    )
    assert one == two
    assert "dataset.json" in one


def test_an_index_reads_no_voxel_and_each_table_once(few, monkeypatch):
    for raw in few.rglob("*.raw"):
        raw.write_bytes(b"")
    reads = []
    real = luna16.luna.read_series_rows
    monkeypatch.setattr(luna16.luna, "read_series_rows", lambda path, kind: reads.append(path.name) or real(path, kind))
    assert len(luna16.index(few).refs) == 2
    assert sorted(reads) == ["annotations.csv", "annotations_excluded.csv", "candidates.csv"]


@pytest.mark.parametrize("missing", [".raw", ".mhd"])
def test_half_a_scan_is_a_refused_row(few, tmp_path, missing):
    gone = next((few / "subset1").glob("*" + missing))
    gone.unlink()
    found = batch.survey([few])
    rows = batch.run(found.refs, parse_recipe(COARSE), tmp_path / "out", found=found)
    assert [row.status for row in rows] == ["done", "refused"]
    assert rows[1].code == "missing"
    assert gone.stem[:20] in rows[1].full_reason
    assert len(read_ledger(tmp_path / "out")) == 2
    assert read_summary(tmp_path / "out")[0].finished == 1


def test_a_series_that_is_there_twice_is_used_once(few):
    first = next((few / "subset0").glob("*.mhd"))
    for part in (first, first.with_suffix(".raw")):
        shutil.copy(part, few / "subset1" / part.name)
    listing = luna16.index(few)
    assert len(listing.refs) == len({ref.scan_id for ref in listing.refs}) == 3
    (refusal,) = refusals(listing).values()
    assert refusal.code == "series-twice"
    with pytest.raises(InputError, match="there already, in subset0"):
        luna16.load(next(ref for ref in listing.refs if ref.known.refusal))


def test_a_scan_of_another_name_gets_no_nodules_by_chance(few):
    path = next((few / "subset0").glob("*.mhd"))
    path.rename(path.with_name("patient7.mhd"))
    listing = luna16.index(few)
    assert [type(refusal) for refusal in refusals(listing).values()][:1] == [AnnotationError]
    header = next((few / "subset1").glob("*.mhd"))
    header.write_text(header.read_text().replace("ElementDataFile", "SeriesInstanceUID = 1.2.3.4\nElementDataFile"))
    with pytest.raises(AnnotationError, match="another series"):
        luna16.load(next(ref for ref in listing.refs if ref.path == header))


def test_a_wrong_row_costs_its_own_scan(few, tmp_path):
    uids = [ref.series_uid for ref in luna16.index(few).refs]
    for name, row in (("annotations.csv", "abc,0,0,9"), ("candidates.csv", "0,0,0,2")):
        path = few / name
        before = path.read_bytes()
        path.write_bytes(before + f"{uids[1]},{row}\n".encode())
        listing = luna16.index(few)
        assert [ref.series_uid for ref in listing.refs if ref.known.refusal] == [uids[1]]
        assert name in str(listing.refs[1].known.refusal)
        line = len(before.splitlines()) + 1
        assert f"line {line}" in str(listing.refs[1].known.refusal)
        path.write_bytes(before)
    rows = batch.run(luna16.index(few).refs, parse_recipe(COARSE), tmp_path / "out")
    assert [row.status for row in rows] == ["done", "done"]


@pytest.mark.parametrize("name", ["annotations.csv", "candidates.csv", "annotations_excluded.csv"])
@pytest.mark.parametrize("raw", [b"", HEAD.encode("utf-16"), b"a,b\n1,2\n", HEAD.replace(",", ";").encode()])
def test_a_table_that_is_none_stops_the_run_at_once(capsys, few, tmp_path, name, raw):
    (few / name).write_bytes(raw)
    status, out, err = call(capsys, "run", few, "--dataset", "luna16", "--out", tmp_path / "out")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert name in err
    assert len(err) <= 301
    assert not (tmp_path / "out").exists()


def test_rows_that_repeat_and_nodules_outside_are_named(few, tmp_path):
    path = few / "annotations.csv"
    uids = [ref.series_uid for ref in luna16.index(few).refs]
    first = next(line for line in path.read_text().splitlines() if line.startswith(uids[0]))
    path.write_text(path.read_text() + f"{first}\n{uids[1]},9000,0,0,8\n")
    found = batch.survey([few])
    rows = batch.run(found.refs, parse_recipe(COARSE), tmp_path / "out", found=found)
    assert [row.status for row in rows] == ["done", "done"]
    assert [row.alarms[:1] for row in rows] == [[], ["nodule-outside"]]
    assert rows[0].notes[0].startswith("duplicate-nodules: 1 rows")
    assert any(note.startswith("nodule-outside: 1 of 6") for note in rows[1].notes)
    (told,) = read_summary(tmp_path / "out")
    assert (told.nodules, told.landed) == (11, 10)
    lost = read_record(tmp_path / "out" / "scans" / rows[1].id).nodules[-1]
    assert (lost.inside, lost.voxels, lost.mean_hu) == (False, 0, None)


def test_a_row_of_another_scan_does_not_make_a_finished_scan_old(few):
    refs = luna16.index(few).refs
    recipe = parse_recipe(COARSE)
    before = [batch.input_fingerprint(ref, recipe) for ref in refs]
    path = few / "annotations.csv"
    path.write_text(path.read_text() + "1.2.3,0,0,0,9\n")
    assert [batch.input_fingerprint(ref, recipe) for ref in luna16.index(few).refs] == before
    path.write_text(path.read_text() + f"{refs[1].series_uid},0,0,0,9\n")
    after = [batch.input_fingerprint(ref, recipe) for ref in luna16.index(few).refs]
    assert (after[0] == before[0], after[1] == before[1]) == (True, False)


def test_tables_are_found_where_people_put_them(few):
    (few / "CSVFILES").mkdir()
    for name in ("annotations.csv", "candidates.csv"):
        (few / name).rename(few / "CSVFILES" / name)
    listing = luna16.index(few)
    assert [len(ref.known.nodules) for ref in listing.refs] == [5, 5]
    assert "chose-table" not in codes(listing)
    shutil.copy(few / "CSVFILES" / "annotations.csv", few / "annotations.csv")  # the same once more is no question
    assert "chose-table" not in codes(luna16.index(few))
    (few / "annotations.csv").write_text(HEAD + "\n")
    listing = luna16.index(few)
    assert [len(ref.known.nodules) for ref in listing.refs] == [0, 0]
    assert "chose-table" in codes(listing)
    (few / "candidates_V2.csv").write_text("seriesuid,coordX,coordY,coordZ,class\n")
    assert [len(ref.known.locations["candidates"]) for ref in luna16.index(few).refs] == [0, 0]
    given = luna16.index(few, few / "CSVFILES" / "annotations.csv")
    assert [len(ref.known.nodules) for ref in given.refs] == [5, 5]
    beside = luna16.index(few / "subset1")
    assert [ref.known.labels["fold"] for ref in beside.refs] == [1]
    assert len(beside.refs[0].known.locations["excluded"]) == 1


def test_a_tree_without_annotations_is_not_annotated(few):
    (few / "annotations.csv").unlink()
    listing = luna16.index(few)
    assert "no-annotations" in codes(listing)
    assert not luna16.load(listing.refs[0]).annotated


def test_a_linked_folder_is_followed_once(few, tree):
    (few / "subset2").symlink_to(tree / "subset2", target_is_directory=True)
    (few / "again").symlink_to(few / "subset1", target_is_directory=True)
    listing = luna16.index(few)
    assert [ref.known.labels["fold"] for ref in listing.refs] == [0, 1, 2, 2, 2, 2]
    assert "ignored-links" in codes(listing)


def test_what_is_no_luna16_is_not_taken_for_it(tmp_path, tree):
    (tmp_path / "subset0").mkdir()
    assert recognize(tmp_path) == "folder"
    shutil.copy(next((tree / "subset0").glob("*.mhd")), tmp_path / "a.mhd")
    assert recognize(tmp_path) == "folder"
    assert recognize(tmp_path / "gone") == "folder"
    assert recognize(tmp_path / "a.mhd") == "folder"
    assert recognize(tree / "subset0") == "luna16"
    for path in (tmp_path / "subset0", tmp_path / "gone", tmp_path / "a.mhd"):
        with pytest.raises(MissingInputError):
            luna16.index(path)


def rename(root, uids):
    """Give the scans of a tree other series UIDs."""
    for path, uid in zip(sorted(root.rglob("*.mhd")), uids, strict=True):
        path.write_text(path.read_text().replace(path.stem, uid))
        path.with_suffix(".raw").rename(path.with_name(uid + ".raw"))
        path.rename(path.with_name(uid + ".mhd"))


def test_the_patient_of_two_subsets_is_in_one_fold(few):
    rename(few, PATIENTS)
    listing = luna16.index(few)
    assert [ref.known.labels for ref in listing.refs] == [
        {"fold": 0, "patient_fold": 0},
        {"fold": 1, "patient_fold": 0},
    ]
    (note,) = [note for note in listing.notes if note.code == "patient-in-folds"]
    assert "LIDC-IDRI-0332" in note.text


def test_folds_by_patient_follow_a_list_of_patients(few):
    uids = [ref.series_uid for ref in luna16.index(few).refs]
    assert [ref.known.labels["patient_fold"] for ref in luna16.index(few).refs] == [0, 1]
    for head in ("seriesuid,patient_id", "Collection,Series UID,Subject ID"):
        extra = ["LIDC-IDRI"] if "Collection" in head else []
        rows = [",".join([*extra, uid, "Miller^Anna"]) for uid in uids]
        (few / "patients.csv").write_text("\n".join([head, *rows, ""]))
        listing = luna16.index(few)
        assert [ref.known.labels["patient_fold"] for ref in listing.refs] == [0, 0]
        assert not any("Miller" in str(note) for note in listing.notes)
    (few / "patients.csv").write_text("seriesuid,name\n")
    with pytest.raises(AnnotationError, match="patient_id is missing"):
        luna16.index(few)


def test_no_patient_is_in_two_folds_whatever_the_list():
    rng = np.random.default_rng(0)
    folds = {str(k): int(rng.integers(10)) for k in range(300)}
    patients = {str(k): f"p{int(rng.integers(80))}" for k in range(250)}
    whole, _ = patient_folds(folds, patients)
    of_patient = {}
    for uid, fold in whole.items():
        of_patient.setdefault(patients.get(uid, uid), set()).add(fold)
    assert whole.keys() == folds.keys()
    assert {len(several) for several in of_patient.values()} == {1}
    assert patient_folds({"a": 3, "b": 7}, {}) == ({"a": 3, "b": 7}, [])


def test_patients_without_a_name_are_nobody(tmp_path):
    (tmp_path / "patients.csv").write_text("patient_id,seriesuid\nA,1.2.3\n ,1.2.4\nB\n")
    with pytest.raises(AnnotationError, match="line 4"):
        read_patients(tmp_path / "patients.csv")
    (tmp_path / "patients.csv").write_text("patient_id,seriesuid\nA,1.2.3\n ,1.2.4\n")
    assert read_patients(tmp_path / "patients.csv") == {"1.2.3": "A"}


def test_a_file_that_would_move_a_nodule_is_not_kept(few, tmp_path, monkeypatch):
    def moved(path):
        return read_nifti_affine(path) + np.array([[0.0, 0, 0, 0.02]] + 3 * [[0.0] * 4])

    monkeypatch.setattr(parts, "read_nifti_affine", moved)
    rows = batch.run(luna16.index(few).refs[:1], parse_recipe(COARSE), tmp_path / "out")
    assert (rows[0].status, rows[0].code) == ("failed", "round-trip")
    assert list((tmp_path / "out" / "scans").iterdir()) == []
    assert issubclass(OutputError, hilum.HilumError)


@pytest.mark.parametrize("file_format", ["npy", "nifti"])
def test_both_formats_are_read_back_for_the_proof(few, tmp_path, file_format):
    recipe = parse_recipe(COARSE + f'[output]\nformat = "{file_format}"\n')
    rows = batch.run(luna16.index(few).refs[:1], recipe, tmp_path / "out")
    record = read_record(tmp_path / "out" / "scans" / rows[0].id)
    assert 0 <= record.nodules[0].round_trip_mm < 1e-6
    stored = tmp_path / "out" / "scans" / rows[0].id / ("ct" + STORES[file_format].suffix)
    affine = read_nifti_affine(stored) if file_format == "nifti" else read_header(stored).geometry.affine
    image = hilum.read(next((few / "subset0").glob("*.mhd"))).ct.geometry
    assert np.allclose(affine[:3, :3] @ record.nodules[0].voxel + affine[:3, 3], record.nodules[0].world)
    assert image.index_to_world(record.nodules[0].source_voxel) == pytest.approx(record.nodules[0].world)


def test_figures_of_nodules_and_agreement_against_loops():
    rng = np.random.default_rng(1)
    grid = hilum.Geometry((5, 6, 7), (1.0, 1.0, 1.0))
    ct = Volume(rng.integers(-1000, 500, grid.shape).astype(np.int16), grid)
    labels, lungs, given = (Mask(rng.integers(0, 3, grid.shape).astype(np.uint8), grid) for _ in range(3))
    figures = measure_each_nodule(ct, lungs, labels, count=3)
    for label in (1, 2):
        where = [k for k in np.ndindex(grid.shape) if labels.array[k] == label]
        assert figures[label - 1]["voxels"] == len(where)
        assert figures[label - 1]["mean_hu"] == pytest.approx(
            sum(int(ct.array[k]) for k in where) / len(where), abs=1e-4
        )
        share = sum(lungs.array[k] > 0 for k in where) / len(where)
        assert figures[label - 1]["inside_lungs"] == pytest.approx(share, abs=1e-4)
    assert figures[2] == {"voxels": 0.0}
    assert "inside_lungs" not in measure_each_nodule(ct, None, labels, count=2)[0]
    a, b = lungs.array > 0, given.array > 0
    told = compare_with_reference(lungs, given)
    assert told["given_lungs_dice"] == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()), abs=1e-4)
    assert told["given_lungs_covered"] == pytest.approx((a & b).sum() / b.sum(), abs=1e-4)
    assert compare_with_reference(lungs, Mask(np.zeros(grid.shape, np.uint8), grid)) == {}
    assert compare_with_reference(lungs, lungs) == {"given_lungs_dice": 1.0, "given_lungs_covered": 1.0}


def test_copies_of_a_table_are_joined_and_others_kept_apart():
    def table(lost, *, name="a.csv", rows=10):
        count = sum(lost.values())
        return TableRecord(
            name=name,
            rows=rows,
            rows_of_scans=rows - count,
            rows_without_scan=count,
            series_without_scan=lost,
            scans_without_rows=[],
        )

    joined = merge_tables([table({"1": 4, "2": 2}), table({"2": 2, "3": 4}), table({"9": 1}, rows=11)])
    assert [(t.rows, t.rows_without_scan, t.series_without_scan) for t in joined] == [
        (10, 2, {"2": 2}),
        (11, 1, {"9": 1}),
    ]


def test_a_summary_of_nothing_and_a_broken_one(tmp_path):
    assert read_summary(tmp_path) == []
    (tmp_path / "dataset.json").write_text("[{")
    assert read_summary(tmp_path) == []
    batch.run([], parse_recipe(COARSE), tmp_path)
    assert json.loads((tmp_path / "dataset.json").read_text()) == []


UID_0314 = "1.3.6.1.4.1.14519.5.2.1.6279.6001.154677396354641150280013275227"


@pytest.mark.real
@pytest.mark.parametrize("flip", [False, True])
def test_a_real_scan_as_luna16_has_it(real_data, tmp_path, flip):
    from hilum.phantom.files import reverse_in_plane

    scan = hilum.read(real_data / "lidc-idri-0314" / "image")
    (tmp_path / "tree" / "subset4").mkdir(parents=True)
    ct = reverse_in_plane(scan.ct) if flip else scan.ct
    hilum.write(ct, tmp_path / "tree" / "subset4" / f"{UID_0314}.mhd")
    shutil.copy(real_data / "luna16" / "annotations.csv", tmp_path / "tree")
    shutil.copy(real_data / "luna16" / "annotations_excluded.csv", tmp_path / "tree")
    found = batch.survey([tmp_path / "tree"])
    recipe = parse_recipe("[resample]\nspacing_mm = 2.0\n[lungs]\ndilate_mm = 5.0\n")
    (row,) = batch.run(found.refs, recipe, tmp_path / "out", found=found)
    assert row.status in {"done", "repaired"}
    record = read_record(tmp_path / "out" / "scans" / row.id)
    (nodule,) = record.nodules
    assert nodule.diameter_mm == pytest.approx(15.49, abs=0.01)
    image = sitk.ReadImage(tmp_path / "tree" / "subset4" / f"{UID_0314}.mhd")
    index = image.TransformPhysicalPointToContinuousIndex(nodule.world)[::-1]
    assert np.abs(np.array(index) - nodule.source_voxel).max() < 0.01
    stored = sitk.ReadImage(tmp_path / "out" / "scans" / row.id / "ct.nii.gz")
    index = stored.TransformPhysicalPointToContinuousIndex(nodule.world)[::-1]
    assert np.abs(np.array(index) - nodule.voxel).max() < 0.01
    assert nodule.round_trip_mm < 1e-3
    assert nodule.mean_hu > -200  # a nodule, not the lung around it
    assert record.labels == {"fold": 4, "patient_fold": 4}
    (told,) = read_summary(tmp_path / "out")
    (table,) = [table for table in told.tables if table.name == "annotations.csv"]
    assert (table.rows, table.rows_of_scans, len(table.series_without_scan)) == (1186, 1, 600)
    excluded = read_locations(tmp_path / "out" / "scans" / row.id, record)["excluded"]
    rows = (real_data / "luna16" / "annotations_excluded.csv").read_text().splitlines()
    assert len(excluded) == sum(line.startswith(UID_0314) for line in rows) > 0
