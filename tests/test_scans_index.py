"""The way back from a scan's id: ``scans.csv``, what its headers say of how it was made, and names that can be read."""

from __future__ import annotations

import csv
import io
import json
import shutil
import warnings

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_runs import append_row

import hilum
from hilum import batch, cli
from hilum.batch import convert_run
from hilum.datasets.naming import _NAME, name_scans
from hilum.errors import InputError, OutputError
from hilum.io.annotations.csv_tables import plain_cell
from hilum.io.names import LEFT_OUT, public_case, safe_kernel, safe_path
from hilum.outputs import checksums
from hilum.outputs.finished import read_record
from hilum.outputs.ledger import Row, read_ledger
from hilum.outputs.records import is_plain_name
from hilum.outputs.scans_index import COLUMNS, NAME, read_origins
from hilum.phantom.chest import make_phantom
from hilum.phantom.files import write_dicom_series
from hilum.recipes import parse_recipe
from hilum.verify import Fault, verify

COARSE = parse_recipe("[resample]\nspacing_mm = 6.0\n")
HIDDEN = parse_recipe('[output]\nseries_uid = "hash"\n[resample]\nspacing_mm = 6.0\n')


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(seed=4, shape=(40, 80, 80), spacing=(7.5, 4.5, 4.5))


@pytest.fixture(scope="module")
def series(phantom, tmp_path_factory):
    return write_dicom_series(phantom, tmp_path_factory.mktemp("series"), series_uid="1.2.826.0.1.7.1")


@pytest.fixture
def inputs(series, phantom, tmp_path):
    """A public case, a folder that is called after a patient, a volume file, and a file that cannot be read."""
    root = tmp_path / "SCANS"
    for name, uid in (("LIDC-IDRI-0314/1-001", "1.2.826.0.1.7.1"), ("QZXSMITH_JOHN/ct", "1.2.826.0.1.7.2")):
        shutil.copytree(series, root / name)
        if uid != "1.2.826.0.1.7.1":
            respell(root / name, SeriesInstanceUID=uid)
    hilum.write(phantom.scan.ct, root / "1.2.826.0.1.7.3.mhd")
    (root / "vol_4.mha").write_text("garbage")
    return root


def respell(folder, **values):
    for path in sorted(folder.iterdir()):
        one = pydicom.dcmread(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # values that are not what they should be
            for name, value in values.items():
                setattr(one, name, value(one) if callable(value) else value)
            one.save_as(path)


def rows_of(out):
    return list(csv.DictReader(io.StringIO((out / NAME).read_text())))


def run(roots, out, recipe=COARSE, *, by="uid", **options):
    found = batch.survey(roots)
    refs = name_scans(found.refs, by)
    return list(batch.process(refs, recipe, out, refused=found.refused, found=found, **options))


def test_every_scan_of_the_ledger_finds_its_way_back(inputs, tmp_path):
    out = tmp_path / "out"
    run([inputs, tmp_path / "nowhere"], out)
    rows, book = rows_of(out), read_ledger(out)
    assert tuple(rows[0]) == COLUMNS
    assert [row["id"] for row in rows] == sorted(book)
    assert sorted(row["status"] for row in rows) == ["done", "done", "done", "refused", "refused"]
    for row in rows:
        assert row["status"] == book[row["id"]].status
        assert (tmp_path / row["input"] / row["path"]).exists() == (row["input"] == "SCANS")
        if row["status"] == "refused":
            assert row["codes"] == book[row["id"]].code != ""
            assert row["shape_z"] == row["kernel"] == row["nodules"] == ""
            continue
        record = read_record(out / "scans" / row["id"])
        assert (row["series_uid"], row["dataset"]) == (record.series_uid, "folder")
        assert [int(row[f"shape_{a}"]) for a in "zyx"] == list(record.geometry.shape)
        assert [float(row[f"spacing_{a}_mm"]) for a in "zyx"] == [6.0, 6.0, 6.0]
        assert [int(row[f"source_shape_{a}"]) for a in "zyx"] == [40, 80, 80]
        assert [float(row[f"source_spacing_{a}_mm"]) for a in "zyx"] == [7.5, 4.5, 4.5]
        for name in ("lung_right_ml", "lung_left_ml", "lung_score"):
            assert float(row[name]) == record.figures[name]
        assert row["nodules"] == "0"
    places = {row["path"]: row for row in rows}
    assert set(places) == {"LIDC-IDRI-0314/1-001", "QZXSMITH_JOHN/ct", "1.2.826.0.1.7.3.mhd", "vol_4.mha", "."}
    case = places["LIDC-IDRI-0314/1-001"]
    assert (case["case"], case["kernel"], case["slice_thickness_mm"]) == ("LIDC-IDRI-0314", "STANDARD", "7.5")
    assert places["QZXSMITH_JOHN/ct"]["case"] == places["1.2.826.0.1.7.3.mhd"]["kernel"] == ""


def test_where_it_is_asked_no_name_that_could_be_a_patients_stands_in_it(inputs, tmp_path):
    out = tmp_path / "out"
    run([inputs], out, full_paths=False)
    assert "QZXSMITH" not in (out / NAME).read_text()
    assert {row["path"] for row in rows_of(out)} == {
        *("LIDC-IDRI-0314/1-001", "(a name)/ct", "1.2.826.0.1.7.3.mhd", "vol_4.mha")
    }
    assert {row["input"] for row in rows_of(out)} == {LEFT_OUT}
    run([inputs], out)
    assert "QZXSMITH_JOHN/ct" in {row["path"] for row in rows_of(out)}
    assert not [fault for fault in verify(out) if isinstance(fault, Fault)]
    run(
        [inputs / "LIDC-IDRI-0314"], out, full_paths=False
    )  # whoever takes the names out takes out those of earlier runs
    assert "QZXSMITH" not in (out / NAME).read_text()


def test_where_the_recipe_hides_series_uids_no_path_shows_one(inputs, tmp_path):
    out = tmp_path / "out"
    run([inputs], out, HIDDEN)
    assert "1.2.826.0.1.7" not in (out / NAME).read_text()
    assert {row["path"] for row in rows_of(out)} >= {LEFT_OUT, "QZXSMITH_JOHN/ct"}
    assert all(row["series_uid"].startswith("2.25.") for row in rows_of(out) if row["status"] == "done")
    with pytest.raises(InputError, match="would show the series UID, which the recipe hides"):
        run([inputs / "1.2.826.0.1.7.3.mhd"], tmp_path / "other", HIDDEN, by="folder")
    assert not (tmp_path / "other").exists()


def test_its_bytes_depend_on_no_number_of_workers_and_on_no_interruption(inputs, tmp_path):
    outs = [tmp_path / name for name in ("here", "one", "two", "stopped")]
    for out, workers in zip(outs, (None, 1, 2, None), strict=True):
        if out.name == "stopped":
            found = batch.survey([inputs])
            begun = batch.process(found.refs, COARSE, out, refused=found.refused, found=found)
            next(begun), next(begun)
            begun.close()
            assert not (out / NAME).exists()
        run([inputs], out, workers=workers)
    first = (outs[0] / NAME).read_bytes()
    assert [(out / NAME).read_bytes() for out in outs] == [first] * 4
    before = (outs[0] / NAME).stat()
    run([inputs], outs[0])
    after = (outs[0] / NAME).stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)


def test_scans_of_earlier_runs_keep_their_rows(inputs, tmp_path):
    out = tmp_path / "out"
    run([inputs], out)
    rows = rows_of(out)
    run([inputs / "LIDC-IDRI-0314"], out)
    again = rows_of(out)
    mine = [k for k, row in enumerate(rows) if row["case"]]
    assert [row for k, row in enumerate(again) if k not in mine] == [r for k, r in enumerate(rows) if k not in mine]
    assert [(again[k]["input"], again[k]["path"]) for k in mine] == [("LIDC-IDRI-0314", "1-001")]


def test_a_damaged_row_of_an_earlier_run_is_not_believed(inputs, tmp_path):
    out = tmp_path / "out"
    run([inputs], out)
    (out / NAME).write_bytes((out / NAME).read_bytes().replace(b"QZXSMITH_JOHN", b"QZXSMITH_JANE"))
    run([inputs / "LIDC-IDRI-0314", inputs / "vol_4.mha"], out)
    assert b"JANE" not in (out / NAME).read_bytes()
    run([inputs], out)
    assert {row["path"] for row in rows_of(out)} >= {"QZXSMITH_JOHN/ct"}


def test_verify_holds_it_against_its_checksum_and_asks_no_older_output_for_it(inputs, tmp_path):
    out = tmp_path / "out"
    run([inputs / "LIDC-IDRI-0314"], out)
    assert NAME in checksums.read_checksums(out)
    *faults, verdict = verify(out)
    assert not faults
    kept = (out / NAME).read_bytes()
    (out / NAME).write_bytes(kept.replace(b"STANDARD", b"LUNG"))
    assert [fault.code for fault in verify(out) if isinstance(fault, Fault)] == ["checksum"]
    (out / NAME).unlink()
    assert [fault.code for fault in verify(out) if isinstance(fault, Fault)] == ["missing"]
    checksums.write_checksums(out, ("recipe.toml", "dataset.json"))  # as older versions left it
    *faults, older = verify(out)
    assert not faults
    assert older.files == verdict.files - 1
    list(convert_run(out, tmp_path / "npy", file_format="npy"))
    assert [row["status"] for row in rows_of(tmp_path / "npy")] == ["done"]
    run([inputs / "LIDC-IDRI-0314"], out)
    assert (out / NAME).read_bytes() == kept


def test_another_store_has_it_too(inputs, tmp_path):
    out, new = tmp_path / "out", tmp_path / "npy"
    run([inputs], out)
    list(convert_run(out, new, file_format="npy"))
    assert (new / NAME).read_bytes() == (out / NAME).read_bytes()
    assert not [fault for fault in verify(new) if isinstance(fault, Fault)]
    (out / NAME).write_bytes(b"id\n")
    with pytest.raises(InputError, match=r"scans\.csv: does not match SHA256SUMS"):
        list(convert_run(out, tmp_path / "again", file_format="npy"))


@pytest.mark.parametrize(
    "text", [b"", b"\xff\xfe", b"id,path\n../../x,/etc\n", b'id,path\n"', b"a,b\n1,2\n", b"id\n" + b"," * 200000]
)
def test_a_file_that_no_run_wrote_tells_nothing_and_harms_nothing(series, tmp_path, text):
    out = tmp_path / "out"
    out.mkdir()
    (out / NAME).write_bytes(text)
    assert read_origins(out) == {}
    run([series], out)
    assert [row["status"] for row in rows_of(out)] == ["done"]
    (out / NAME).unlink()
    (tmp_path / "mine").write_bytes(b"mine")
    (out / NAME).symlink_to(tmp_path / "mine")
    run([series], out)
    assert (tmp_path / "mine").read_bytes() == b"mine"
    assert not (out / NAME).is_symlink()


def test_no_cell_is_a_formula(series, tmp_path):
    shutil.copytree(series, tmp_path / "S" / '=HYPERLINK("x")')
    out = tmp_path / "out"
    run([tmp_path / "S"], out)
    (row,) = rows_of(out)
    assert row["path"] == """'=HYPERLINK("x")"""
    assert plain_cell(row["path"]) == '=HYPERLINK("x")'
    run([], out)  # read back and written again it is the same
    assert rows_of(out) == [row]


def test_several_inputs_are_told_apart(series, tmp_path):
    for k, name in enumerate(("a/ct", "b/ct")):
        shutil.copytree(series, tmp_path / name)
        respell(tmp_path / name, SeriesInstanceUID=f"1.2.826.0.1.8.{k}")
    found = batch.survey([tmp_path / "a" / "ct", tmp_path / "b" / "ct"])
    assert [(ref.source, ref.place) for ref in found.refs] == [("a/ct", "."), ("b/ct", ".")]
    found = batch.survey([tmp_path / "a", tmp_path / "b", tmp_path / "none"])
    assert [(ref.source, ref.place) for ref in found.refs] == [("a", "ct"), ("b", "ct")]
    assert list(found.refused_paths.values()) == [("none", ".")]


@pytest.mark.parametrize(
    ("told", "kernel", "depth"),
    [
        ({"ConvolutionKernel": "B70f", "SliceThickness": "2.5"}, "B70f", 2.5),
        ({"ConvolutionKernel": ["I70f", "3"]}, "I70f 3", 7.5),
        ({"ConvolutionKernel": "QZXSMITH^JOHN", "SliceThickness": "0"}, None, None),
        ({"ConvolutionKernel": "\x1b[2J", "SliceThickness": "1e400"}, None, None),
        ({"ConvolutionKernel": None, "SliceThickness": None}, None, None),
        ({"ConvolutionKernel": lambda one: "LUNG" if one.InstanceNumber % 2 else "SOFT"}, None, 7.5),
    ],
)
def test_kernel_and_thickness_are_kept_where_all_slices_say_the_same(series, tmp_path, told, kernel, depth):
    shutil.copytree(series, tmp_path / "in")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if told.get("SliceThickness") == "1e400":
            told = {**told, "SliceThickness": pydicom.valuerep.DSfloat("1e400", validation_mode=0)}
        respell(tmp_path / "in", **told)
    expected = {"kernel": kernel, "slice_thickness_mm": depth}
    expected = {name: value for name, value in expected.items() if value is not None}
    assert hilum.read(tmp_path / "in").acquisition == expected
    run([tmp_path / "in"], tmp_path / "out")
    (row,) = rows_of(tmp_path / "out")
    record = json.loads((tmp_path / "out" / "scans" / row["id"] / "scan.json").read_text())
    assert record["acquisition"] == expected
    assert (row["kernel"], row["slice_thickness_mm"]) == (kernel or "", str(depth or ""))


@pytest.mark.parametrize("kernel", ["B70f", "B30s", "Br40d", "Bl57f", "FC51", "FC02", "LUNG", "STANDARD", "STD+", "YA",
                                    "D", "BONEPLUS", "B_SHARP_C", "32"])  # fmt: skip
def test_what_scanners_call_their_kernels_passes(kernel):
    assert safe_kernel(kernel) == kernel


@pytest.mark.parametrize(
    "kernel", ["SMITH", "Smith John", "JS", "19330517", "LUNG SMITH", "B70f\\x\\y\\z\\q", "B70f;", ""]
)
def test_any_other_text_of_a_kernel_does_not(kernel):
    assert safe_kernel(kernel) == ""


def test_folders_and_cases_name_scans(inputs, tmp_path):
    (inputs / "vol_4.mha").unlink()
    found = batch.survey([inputs])
    assert sorted(ref.scan_id for ref in name_scans(found.refs, "folder")) == ["1-001", "1.2.826.0.1.7.3", "ct"]
    alone = inputs / "LIDC-IDRI-0314"
    rows = run([alone], tmp_path / "out", by="case")
    assert [row.id for row in rows] == ["LIDC-IDRI-0314"]
    assert read_record(tmp_path / "out" / "scans" / "LIDC-IDRI-0314").scan_id == "LIDC-IDRI-0314"
    with pytest.raises(InputError, match="no public case id is known of this scan"):
        name_scans(found.refs, "case")


def test_names_that_collide_are_refused_and_both_are_named(series, tmp_path):
    for name in ("a/ct", "b/CT"):
        shutil.copytree(series, tmp_path / name)
    respell(tmp_path / "b" / "CT", SeriesInstanceUID="1.2.826.0.1.8.2")
    with pytest.raises(InputError) as refusal:
        name_scans(batch.survey([tmp_path]).refs, "folder")
    assert "b/CT: its output folder would be 'CT', the same as that of " in str(refusal.value)
    assert str(tmp_path / "a" / "ct")[-40:] in str(refusal.value)
    assert len(str(refusal.value)) <= 300
    for path in sorted((tmp_path / "b" / "CT").iterdir()):
        path.rename(tmp_path / "a" / "ct" / f"b{path.name}")
    shutil.rmtree(tmp_path / "b")
    with pytest.raises(InputError, match=r"that of series 1\.2\.826\.0\.1\.7\.1 in the same folder"):
        name_scans(batch.survey([tmp_path]).refs, "folder")


@pytest.mark.parametrize("name", ["Jané", "a b", "-rf", "x.", "=1", "nul", "COM1.x", "a" * 101])
def test_a_folder_whose_name_not_every_system_takes_is_refused_before_any_work(series, tmp_path, capsys, name):
    shutil.copytree(series, tmp_path / "S" / name)
    asked = ["run", str(tmp_path / "S"), "--out", str(tmp_path / "out"), "--name-by", "folder", "--workers", "1"]
    assert cli.main(asked) == 1
    told = capsys.readouterr().err
    assert "its name cannot be that of an output folder" in told
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("first", "second"), [("uid", "folder"), ("folder", "uid"), ("folder", "case"), ("case", "uid")]
)
def test_a_run_under_other_names_is_refused_and_told_which(inputs, tmp_path, first, second):
    out, alone = tmp_path / "out", inputs / "LIDC-IDRI-0314"
    run([alone], out, by=first)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(OutputError, match=f"contains these scans under other names, .*give --name-by {first}"):
        run([alone], out, by=second)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert [row.status for row in run([alone], out, by=first)] == ["done"]


def test_the_command_takes_both_choices(inputs, tmp_path, capsys):
    (inputs / "vol_4.mha").unlink()
    (tmp_path / "coarse.toml").write_text("[resample]\nspacing_mm = 6.0\n")
    asked = ["run", str(inputs), "--out", str(tmp_path / "out"), "--recipe", str(tmp_path / "coarse.toml")]
    assert cli.main([*asked, "--name-by", "folder", "--workers", "2"]) == 0
    assert {row["id"]: row["path"] for row in rows_of(tmp_path / "out")} == {
        "1-001": "LIDC-IDRI-0314/1-001", "1.2.826.0.1.7.3": "1.2.826.0.1.7.3.mhd", "ct": "QZXSMITH_JOHN/ct",
    }  # fmt: skip
    assert cli.main(asked) == 1
    assert "give --name-by folder, or another --out" in capsys.readouterr().err


def test_a_row_of_the_ledger_alone_has_one_too(series, tmp_path):
    out = tmp_path / "out"
    run([series], out)
    append_row(out, Row(id="ct-lost", status="failed", code="timeout"))
    run([series], out)
    (row,) = [row for row in rows_of(out) if row["id"] == "ct-lost"]
    assert (row["status"], row["codes"], row["path"]) == ("failed", "timeout", "")


@given(st.text(max_size=110))
def test_a_name_of_a_scan_is_one_plain_folder(name):
    if _NAME.fullmatch(name):
        assert is_plain_name(name)
        assert name.isascii()
        assert name[0].isalnum()
        assert name[-1] != "."
        assert len(name) <= 100
    else:
        assert not (name.isascii() and name.isalnum() and 4 < len(name) <= 100)


PARTS = st.one_of(st.text(max_size=12), st.sampled_from(["LIDC-IDRI-0001", "subset3", "1.2.826.0.1.5", "SMITH", ".."]))


@given(st.lists(PARTS, max_size=5), st.booleans(), st.booleans())
def test_a_path_that_leaves_is_one_line_and_leaves_the_same_again(parts, full, hide):
    path = safe_path("/".join(parts), full=full, hide=hide)
    assert path.isprintable()
    assert safe_path(path, full=full, hide=hide) == path
    assert "SMITH" not in safe_path(path)
    assert "1.2.826.0.1.5" not in safe_path(path, full=full, hide=True)
    assert public_case(path) in path
