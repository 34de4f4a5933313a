"""Structure sets and segmentations among the scans of a run: paired, chosen by name, listed."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from region_files import FRAME, SECRETS, SERIES, contour, save_to, segmentation, square, structure_set
from small_runs import everything, finished_scans
from test_dicom import GRID, UID, write

import hilum
from hilum import batch, recipes
from hilum.cli import main
from hilum.datasets import DATASETS
from hilum.datasets.survey import survey
from hilum.errors import AnnotationError, HilumError, InputError
from hilum.export.seg import write_segmentations
from hilum.io.labels.attach import attach_labels
from hilum.ops.regrid import regrid_mask
from hilum.outputs.store import read_stored
from hilum.phantom import make_phantom
from hilum.phantom.files import write_dicom_series
from hilum.scan_ref import LabelFile

OTHER = f"{UID}.2"


def regions(*names):
    return [(name, [square(GRID, 2, 2, 3, 8, 8)]) for name in names]


def taken(found, scan=0):
    """What is taken of each file, by its name."""
    return {file.path.name: dict(file.regions) for file in found.refs[scan].label_files}


def refusal(found, scan=0):
    assert not found.refs[scan].label_files
    error = found.refs[scan].known.refusal
    assert isinstance(error, AnnotationError)
    return error


@pytest.fixture
def patient(tmp_path):
    """One series, with a structure set in another folder."""
    write(tmp_path / "case" / "ct")
    save_to(structure_set(regions("Lung L", "Lung R", "GTV-1", "GTV-2")), tmp_path / "case" / "rt" / "rs.dcm")
    return tmp_path / "case"


def test_without_a_choice_nothing_is_taken_and_the_files_are_counted(patient):
    found = survey([patient])
    assert found.refs[0].label_files == ()
    assert found.notes["folder"] == [
        "region-files: 1 structure sets or segmentations are here: --roi takes their regions, hilum info lists them"
    ]
    shutil.rmtree(patient / "rt")
    assert survey([patient]).notes["folder"] == []


@pytest.mark.parametrize(
    ("rois", "expected"),
    [
        (["Lung L"], {"Lung L": "lung_l"}),
        (["Lung*"], {"Lung L": "lung_l", "Lung R": "lung_r"}),
        (["lung ?"], {"Lung L": "lung_l", "Lung R": "lung_r"}),
        (["gtv-1"], {"GTV-1": "gtv-1"}),
        (["GTV-1=tumor", "Lung L=left"], {"GTV-1": "tumor", "Lung L": "left"}),
        (["GTV-1", "GTV*"], {"GTV-1": "gtv-1", "GTV-2": "gtv-2"}),
        (["rs.dcm:GTV-1=tumor"], {"GTV-1": "tumor"}),
        (["rt/*.dcm:GTV-1"], {"GTV-1": "gtv-1"}),
        (["rtstruct:GTV-1"], {"GTV-1": "gtv-1"}),
    ],
)
def test_regions_are_chosen_by_name_pattern_and_file(patient, rois, expected):
    found = survey([patient], rois=rois)
    assert taken(found) == {"rs.dcm": expected}
    assert found.refs[0].label_files[0].kind == "rtstruct"
    assert found.notes["folder"] == []


def test_upper_and_lower_case_matter_where_something_fits(tmp_path):
    write(tmp_path / "ct")
    save_to(structure_set(regions("GTV", "gtv", "Gtv[1]")), tmp_path / "rs.dcm")
    assert taken(survey([tmp_path], rois=["gtv"])) == {"rs.dcm": {"gtv": "gtv"}}
    assert taken(survey([tmp_path], rois=["Gtv[1]=x"])) == {"rs.dcm": {"Gtv[1]": "x"}}  # the very name, no pattern
    assert refusal(survey([tmp_path], rois=["GtV"])).code == "ambiguous-region"


def test_regions_of_one_name_are_chosen_by_number(tmp_path):
    write(tmp_path / "ct")
    save_to(structure_set(regions("GTV", "Heart", "GTV")), tmp_path / "rs.dcm")
    assert taken(survey([tmp_path], rois=["GTV"])) == {
        "rs.dcm": {"GTV": "gtv"}
    }  # the reader takes the one with contours
    assert taken(survey([tmp_path], rois=["GTV#3=tumor"])) == {"rs.dcm": {"GTV#3": "tumor"}}
    assert taken(survey([tmp_path], rois=["G*"])) == {"rs.dcm": {"GTV#1": "gtv_1", "GTV#3": "gtv_3"}}


@pytest.mark.parametrize(
    ("rois", "kind", "code"),
    [
        (["Heart"], AnnotationError, "no-such-region"),
        (["Lung L", "Heart*"], AnnotationError, "no-such-region"),
        (["seg:Lung L"], AnnotationError, "no-such-region"),
        (["none.dcm:Lung L"], AnnotationError, "no-such-region"),
        (["Lung L=Left Lung"], InputError, "option"),
        (["Lung L="], InputError, "option"),
        (["=lung"], InputError, "option"),
        ([""], InputError, "option"),
    ],
)
def test_a_choice_that_fits_nothing_or_is_malformed_is_refused_at_once(patient, rois, kind, code):
    with pytest.raises(kind) as caught:
        survey([patient], rois=rois)
    assert caught.value.code == code
    if code == "no-such-region":
        assert "'Lung L', 'Lung R', 'GTV-1', 'GTV-2'" in str(caught.value)
    else:
        assert "--roi '" in str(caught.value)


def test_a_name_for_several_regions_refuses_the_scan(patient):
    error = refusal(survey([patient], rois=["GTV*=tumor"]))
    assert error.code == "ambiguous-region"
    assert "'GTV-1' and 'GTV-2' would both become the label map tumor" in str(error)
    made = structure_set(regions("Lung L", "Lung_L"))
    save_to(made, patient / "rt" / "rs.dcm")
    assert refusal(survey([patient], rois=["Lung*"])).code == "ambiguous-region"


def test_a_file_lies_anywhere_in_the_inputs(patient):
    for inputs in ([patient / "ct", patient / "rt"], [patient / "rt" / "rs.dcm", patient / "ct"]):
        found = survey(inputs, rois=["GTV-1"])
        assert len(found.refs) == 1
        assert not found.refused
        assert taken(found) == {"rs.dcm": {"GTV-1": "gtv-1"}}
    found = survey([patient / "ct", patient / "rt"])  # nobody asked for it
    assert [row.code for row in found.refused] == ["not-ct"]
    with pytest.raises(AnnotationError, match="no structure set or segmentation is here"):
        survey([patient / "ct"], rois=["GTV-1"])


def test_a_file_belongs_to_the_series_that_it_names(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b", uid=OTHER)
    save_to(structure_set(regions("GTV"), series=OTHER), tmp_path / "a" / "rs.dcm")
    found = survey([tmp_path], rois=["GTV"])
    uids = {ref.series_uid: [file.path.name for file in ref.label_files] for ref in found.refs}
    assert uids == {SERIES: [], OTHER: ["rs.dcm"]}
    assert found.notes["folder"] == ["scans-without-region: 1 of 2 scans have no region for a --roi"]
    assert "--roi 'GTV'" in found.screen_notes["folder"][0]


def test_a_file_of_a_series_that_is_not_here_is_counted(tmp_path):
    write(tmp_path / "ct")
    save_to(structure_set(regions("GTV"), series=f"{UID}.5"), tmp_path / "SMITH.dcm")
    with pytest.raises(AnnotationError, match="refers to any of the scans") as caught:
        survey([tmp_path], rois=["GTV"])
    assert caught.value.code == "no-regions"
    save_to(structure_set(regions("GTV"), number=2), tmp_path / "rs.dcm")
    found = survey([tmp_path], rois=["GTV"])
    assert taken(found) == {"rs.dcm": {"GTV": "gtv"}}
    assert found.notes["folder"] == ["regions-elsewhere: 1 structure sets or segmentations refer to no series here"]
    assert found.screen_notes["folder"][0].endswith(": SMITH.dcm")


@pytest.mark.parametrize(("frame", "fits"), [(FRAME, True), (f"{UID}.92", False)])
def test_a_file_that_names_no_series_belongs_to_its_frame_of_reference(tmp_path, frame, fits):
    write(tmp_path / "ct")
    made = structure_set(regions("GTV"), frame=frame)
    del made.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence
    save_to(made, tmp_path / "rs.dcm")
    if not fits:
        with pytest.raises(AnnotationError, match="refers to any of the scans"):
            survey([tmp_path], rois=["GTV"])
        return
    found = survey([tmp_path], rois=["GTV"])
    scan = attach_labels(hilum.read(tmp_path / "ct"), found.refs[0].label_files)
    assert scan.notes[-1].code == "region-by-frame"
    assert scan.label_maps["gtv"].mask.array.sum() == 30


def test_two_files_of_a_series(tmp_path):
    write(tmp_path / "ct")
    save_to(structure_set(regions("GTV", "Heart")), tmp_path / "first.dcm")
    save_to(structure_set(regions("GTV", "Cord"), number=2), tmp_path / "second.dcm")
    save_to(
        segmentation({"GTV": np.ones(GRID.shape, bool), "Airways": np.ones(GRID.shape, bool)}, number=3),
        tmp_path / "seg.dcm",
    )
    found = survey([tmp_path], rois=["Heart", "Cord", "Airways"])
    assert taken(found) == {
        "first.dcm": {"Heart": "heart"},
        "second.dcm": {"Cord": "cord"},
        "seg.dcm": {"Airways": "airways"},
    }
    error = refusal(survey([tmp_path], rois=["GTV"]))
    assert "'first.dcm', 'second.dcm'" in str(error)
    assert str(error).endswith("name the file: --roi 'second.dcm:GTV'")
    (tmp_path / "second.dcm").rename(tmp_path / "2.dcm")
    assert str(refusal(survey([tmp_path], rois=["[!f]*:GTV"]))).endswith("--roi 'seg:GTV'")
    (tmp_path / "a").mkdir()
    (tmp_path / "2.dcm").rename(tmp_path / "a" / "first.dcm")
    name = f"--roi '{tmp_path.name}/first.dcm:GTV'"
    assert str(refusal(survey([tmp_path], rois=["rtstruct:GTV"]))).endswith(name)
    assert taken(survey([tmp_path], rois=[name[7:-1]])) == {"first.dcm": {"GTV": "gtv"}}
    (tmp_path / "a" / "first.dcm").rename(tmp_path / "second.dcm")
    assert taken(survey([tmp_path], rois=["second.dcm:GTV"])) == {"second.dcm": {"GTV": "gtv"}}
    assert taken(survey([tmp_path], rois=["seg:GTV"])) == {"seg.dcm": {"GTV": "gtv"}}
    assert taken(survey([tmp_path], rois=["f*:GTV=a", "s*d.dcm:GTV=b"])) == {
        "first.dcm": {"GTV": "a"},
        "second.dcm": {"GTV": "b"},
    }
    shutil.copy(tmp_path / "first.dcm", tmp_path / "copy.dcm")  # a copy is no second file
    assert taken(survey([tmp_path], rois=["Heart"])) == {"copy.dcm": {"Heart": "heart"}}


def test_a_damaged_file_is_refused_by_name_and_the_rest_goes_on(patient):
    made = structure_set(regions("GTV-1"), number=2)
    del made.StructureSetROISequence[0].ROINumber
    save_to(made, patient / "rt" / "cut.dcm")
    found = survey([patient], rois=["GTV-1"])
    assert taken(found) == {"rs.dcm": {"GTV-1": "gtv-1"}}
    assert [row.status for row in found.refused] == ["refused"]
    assert found.refused_paths[found.refused[0].id] == ("case", "rt/cut.dcm")
    (patient / "rt" / "rs.dcm").unlink()
    with pytest.raises(HilumError, match=r"cut\.dcm"):
        survey([patient], rois=["GTV-1"])


def test_regions_are_taken_from_archives(patient, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    with zipfile.ZipFile(tmp_path / "in" / "case.zip", "w") as archive:
        for path in sorted(patient.rglob("*.dcm")):
            archive.write(path, path.relative_to(patient))
    for source in (tmp_path / "in", tmp_path / "in" / "case.zip"):
        assert survey([source]).notes["folder"][-1].startswith("region-files: 1 structure sets")
        found = survey([source], rois=["GTV-1=tumor"])
        assert taken(found) == {"rs.dcm": {"GTV-1": "tumor"}}
        (ref,) = found.refs
        scan = attach_labels(DATASETS[ref.dataset].load(ref), ref.label_files)
        assert scan.label_maps["tumor"].mask.array.sum() == 30
        main(["info", "--headers", str(source)])
        told = capsys.readouterr()
        assert "1: regions, rtstruct, rt/rs.dcm: Lung L, Lung R, GTV-1, GTV-2" in told.out
        assert "regions-elsewhere" not in told.err
    whole = (patient / "rt" / "rs.dcm").read_bytes().replace(b"CLOSED_PLANAR", b"CLOSED_PLANES")
    with zipfile.ZipFile(tmp_path / "in" / "case.zip", "a") as archive:
        archive.writestr("bad.dcm", whole[: whole.index(b"\x06\x30\x22\x00") + 4])
    assert taken(survey([tmp_path / "in"], rois=["GTV-1"])) == {"rs.dcm": {"GTV-1": "gtv-1"}}


def test_a_changed_archive_is_another_input(patient, tmp_path):
    (ref,) = survey([patient / "ct"]).refs
    ref = replace(ref, label_files=(LabelFile(tmp_path / "rt.zip" / "rs.dcm", "rtstruct", regions=(("GTV", "gtv"),)),))
    prints = set()
    for text in ("one", "two", "two"):
        with zipfile.ZipFile(tmp_path / "rt.zip", "w") as archive:
            archive.writestr(zipfile.ZipInfo("rs.dcm"), text)
        prints.add(batch.input_fingerprint(ref, recipes.recipe("default")))
    assert len(prints) == 2


def test_a_label_map_of_two_files_cannot_have_one_name(patient):
    rs = patient / "rt" / "rs.dcm"
    scan = hilum.read(patient / "ct")
    files = [LabelFile(rs, "rtstruct", regions=((name, "a"),)) for name in ("GTV-1", "Lung L")]
    with pytest.raises(AnnotationError, match="two label maps"):
        attach_labels(scan, files)


# --- hilum info ------------------------------------------------------------------------------------------------------


def test_info_lists_the_regions_below_their_series(tmp_path, capsys):
    write(tmp_path / "a")
    write(tmp_path / "b", uid=OTHER)
    save_to(structure_set(regions("GTV\x1b[2J", "Heart"), series=OTHER), tmp_path / "a" / "rs.dcm")
    save_to(segmentation({"Lobe": np.ones(GRID.shape, bool)}, number=2), tmp_path / "seg.dcm")
    save_to(structure_set(regions("Cord"), series=f"{UID}.5", number=3), tmp_path / "c" / "far.dcm")
    main(["info", "--headers", str(tmp_path)])
    shown = capsys.readouterr()
    rows = {line.split()[-1]: line.split()[0] for line in shown.out.splitlines() if line.split()[-1] in {SERIES, OTHER}}
    assert f"{rows[OTHER]}: regions, rtstruct, a/rs.dcm: GTV?[2J, Heart" in shown.out
    assert f"{rows[SERIES]}: regions, seg, seg.dcm: Lobe" in shown.out
    assert "note: regions-elsewhere: rtstruct, c/far.dcm: refers to no series here; Cord" in shown.err
    assert not any(secret in shown.out + shown.err for secret in SECRETS)
    main(["info", "--headers", "--json", str(tmp_path)])
    records = {record["series_uid"]: record["regions"] for record in json.loads(capsys.readouterr().out)}
    assert records == {
        SERIES: [{"kind": "seg", "file": "seg.dcm", "names": ["Lobe"]}],
        OTHER: [{"kind": "rtstruct", "file": "a/rs.dcm", "names": ["GTV?[2J", "Heart"]}],
    }


def test_info_lists_the_regions_of_files_without_a_scan(tmp_path, capsys):
    path = save_to(structure_set(regions("Cord", "Heart")), tmp_path / "rt" / "rs.dcm")
    for source in (path, path.parent):
        assert main(["info", str(source)]) == 1
        told = capsys.readouterr().err
        assert "note: regions-elsewhere: rtstruct, rs.dcm: refers to no series here; Cord, Heart\n" in told
        assert "only images of modality RTSTRUCT" in told


# --- a run -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A phantom in DICOM, with a structure set of its lungs and of a box, and its run."""
    folder = tmp_path_factory.mktemp("regions")
    phantom = make_phantom(seed=1, shape=(48, 64, 64), spacing=(6.25, 6.0, 6.0))
    write_dicom_series(phantom, folder / "SMITH_JOHN" / "ct")
    scan = hilum.read(folder / "SMITH_JOHN" / "ct")
    grid = scan.ct.geometry
    made = structure_set(
        [
            ("GTV Smith", [square(grid, k, 20, 22, 30, 36) for k in range(10, 20)]),
            ("Iso", [contour(grid.index_to_world([(15, 20, 20)]), "POINT")]),
        ],
        series=scan.series_uid,
    )
    series = made.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    del series.ContourImageSequence
    save_to(made, folder / "SMITH_JOHN" / "rs.dcm")
    text = recipes.recipe_toml(recipes.recipe("default")).replace("spacing_mm = 1.0", "spacing_mm = 3.0")
    (folder / "coarse.toml").write_text(text)
    return folder


@pytest.mark.usefixtures("no_workers")
def test_a_run_stores_the_regions_and_a_segmentation_of_it_is_read_back(work, tmp_path):
    pytest.importorskip("highdicom")
    options = ["--recipe", str(work / "coarse.toml"), "--out"]
    command = ["run", str(work / "SMITH_JOHN"), "--roi", "GTV*=tumor", *options, str(tmp_path / "OUT")]
    assert main(command) == 0
    ((path, record),) = finished_scans(tmp_path / "OUT")
    truth = 10 * 14 * 10 * 6.0 * 6.0 * 6.25 / 1000
    assert record.label_maps["tumor"].volumes_ml == {"tumor": pytest.approx(truth, rel=0.01)}
    stored = read_stored(path, record, "labels/tumor")
    middle = stored.geometry.index_to_world(np.argwhere(stored.array)).mean(axis=0)
    grid = hilum.read(work / "SMITH_JOHN" / "ct").ct.geometry
    assert np.abs(middle - grid.index_to_world((14.5, 24.5, 28.5))).max() < 0.15  # voxels of 3 mm
    text = b"".join(everything(tmp_path / "OUT"))
    assert not any(secret.encode() in text for secret in (*SECRETS, "Smith", "GTV"))
    # Its lungs as a segmentation, beside the series, are regions like any other.
    write_segmentations(tmp_path / "OUT", tmp_path / "seg", sources=[work / "SMITH_JOHN"])
    (lungs,) = (tmp_path / "seg").rglob("lungs.dcm")
    found = survey([work / "SMITH_JOHN", lungs], rois=["*lung"])
    scan = attach_labels(hilum.read(work / "SMITH_JOHN" / "ct"), found.refs[0].label_files)
    assert list(scan.label_maps) == ["right_lung", "left_lung"]
    wanted = regrid_mask(read_stored(path, record, "lungs"), grid).array
    for value, label_map in enumerate(scan.label_maps.values(), 1):
        assert np.array_equal(regrid_mask(label_map.mask, grid).array != 0, wanted == value)


@pytest.mark.usefixtures("no_workers")
def test_a_region_that_cannot_be_had_refuses_its_scan_without_names(work, tmp_path, capsys):
    for roi, code in (("Iso", "empty-region"), ("*=all", "ambiguous-region")):
        out = tmp_path / code
        assert (
            main(
                [
                    "run",
                    str(work / "SMITH_JOHN"),
                    "--roi",
                    roi,
                    "--recipe",
                    str(work / "coarse.toml"),
                    "--out",
                    str(out),
                ]
            )
            == 1
        )
        ledger = (out / "ledger.jsonl").read_text()
        assert f'"code":"{code}"' in ledger
        assert "Smith" not in ledger
        assert "Iso" not in ledger
    assert "'Iso'" in capsys.readouterr().err
    assert main(["run", str(work / "SMITH_JOHN"), "--roi", "Heart", "--out", str(tmp_path / "no")]) == 1
    assert "fits no region; there are 'GTV Smith', 'Iso'" in capsys.readouterr().err
