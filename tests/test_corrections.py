"""Corrected masks: what the viewer's server saves beside a run, what `hilum verify` says, what another run takes up."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import http.client
import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import httpx
import nibabel
import numpy as np
import pytest
from served import ask, post, started
from small_runs import faults, tree

import hilum
from hilum import cli
from hilum.errors import FormatError, InputError
from hilum.outputs.corrections import COLUMNS, FOLDER, NAME, read_corrections
from hilum.phantom.chest import make_phantom
from hilum.phantom.files import write_dicom_series, write_luna16
from hilum.viewer import app, corrections
from hilum.viewer.corrections import MAX_WHO, decode_labels, encode_labels, who_saves
from hilum.viewer.sources import open_source

RECIPE = "[resample]\nspacing_mm = {}\n[nodules]\nmask = true\n[output]\nformat = '{}'\n"
KIND = {"Content_Type": "application/octet-stream"}


def run(inputs, out, *words, mm=4.0, form="nifti"):
    recipe = out.parent / f"{out.name}.toml"
    recipe.write_text(RECIPE.format(mm, form))
    return cli.main(
        ["run", str(inputs), "--out", str(out), "--recipe", str(recipe), "--workers", "1", *map(str, words)]
    )


@pytest.fixture(scope="module")
def luna(tmp_path_factory):
    phantoms = [make_phantom(seed=seed, shape=(40, 64, 64), spacing=(7.5, 6.0, 6.0)) for seed in (3, 4)]
    return write_luna16(phantoms, tmp_path_factory.mktemp("luna") / "in", flipped=())


@pytest.fixture(scope="module", params=["nifti", "npy", "zarr"])
def any_made(request, luna, tmp_path_factory):
    out = tmp_path_factory.mktemp("any") / "out"
    assert run(luna, out, form=request.param) == 0
    return out


@pytest.fixture(scope="module")
def made(luna, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "out"
    labels = tmp_path_factory.mktemp("labels")
    for ct in luna.rglob("*.mhd"):
        scan = hilum.read(ct)
        array = np.zeros(scan.ct.shape, np.uint8)
        array[15:20, 20:30, 20:30] = 2
        hilum.write(hilum.Mask(array, scan.ct.geometry), labels / f"{ct.stem}.nii.gz")
    assert run(luna, out, "--labels", f"tumor={labels}") == 0
    return out


@pytest.fixture
def out(made, tmp_path):
    return shutil.copytree(made, tmp_path / "out")


def edited(scan, part="lungs"):
    """A mask with a corner of the first label that nobody would segment, and a piece taken off."""
    array = scan.read(part).array.copy()
    array[5:9, 2:6, 3:8] = array.max()
    array[30:33] = 0
    return array


class Inside:
    """The application without a login: it answers as a server does."""

    def __init__(self, path, who="Ada"):
        self.app = app.make_app(replace(open_source(path), who=who))

    def __call__(self, path, method="GET", content=None, headers=None):
        async def get():
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
                return await client.request(method, path, content=content, headers=headers)

        answer = asyncio.run(get())
        return answer.status_code, answer.content

    def post(self, path, data, content_type="application/octet-stream"):
        return self(path, "POST", data, {"content-type": content_type})


class Outside:
    """A server in a process of its own, with a login."""

    def __init__(self, host, folder):
        self.served = host, f"/{folder}/"

    def __call__(self, path):
        status, _, answer = ask(self.served[0], self.served[1].rstrip("/") + path)
        return status, answer

    def post(self, path, data, **headers):
        status, _, answer = post(self.served, data, path.lstrip("/"), **(KIND | headers))
        return status, answer


def facts(server, number=0):
    return json.loads(server(f"/api/scans/{number}")[1])


def send(server, array, *, number=0, mask="lungs", seen=None, body=None, **headers):
    """Status and answer of saving a mask; `seen` is what the page saw of the scan."""
    told = facts(server, number) if seen is None else seen
    one = next((one for one in told["editing"]["masks"] if one["name"] == mask), {"sha256": "0" * 64})
    path = f"/api/scans/{number}/corrections/{mask}?original={one['sha256']}&scan={told['scan_sha256']}"
    return server.post(path, encode_labels(array) if body is None else body, **headers)


def saved(out, *, mask="lungs", part="lungs", who="Ada", array=None):
    """Save a correction of the first scan; return what was saved."""
    array = edited(hilum.open_run(out)[0], part) if array is None else array
    status, answer = send(Inside(out, who), array, mask=mask)
    assert status == 200, answer
    return array


# ---- packed labels


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 4, 5), (2, 300, 300), (64, 512, 600)])
def test_packed_labels_come_back(shape):
    rng = np.random.default_rng(0)
    array = rng.integers(0, 3, shape, np.uint8) if shape[0] < 64 else np.ones(shape, np.uint8)  # runs beyond 24 bits
    assert (decode_labels(encode_labels(array), shape, {1: "a", 2: "b"}) == array).all()


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"", "cut short"),
        (b"123", "cut short"),
        (np.array([59], "<u4").tobytes(), "has 59 voxels"),
        (np.array([61], "<u4").tobytes(), "has 61 voxels"),
        (np.array([60, 0], "<u4").tobytes(), "has 60 voxels"),
        (
            np.full(1 << 16, 0x00FFFFFF, "<u4").tobytes(),
            "voxels, and the scan 3 x 4 x 5",
        ),  # 1.1e12 voxels, not unpacked
        (np.array([3 << 24 | 60], "<u4").tobytes(), "labels [3]"),
    ],
)
def test_what_is_no_mask_of_this_scan_is_refused(body, what):
    with pytest.raises(FormatError) as caught:
        decode_labels(body, (3, 4, 5), {1: "a", 2: "b"})
    assert what in str(caught.value)


def test_who_saves():
    assert who_saves("  Ada Lovelace ") == "Ada Lovelace"
    assert who_saves(None)
    assert who_saves("a\nb") == r"a\u{a}b"
    for wrong in ("  ", "x" * (MAX_WHO + 1)):
        with pytest.raises(InputError, match="and a name has 1 to 100"):
            who_saves(wrong)


# ---- saving


def test_a_correction_is_saved_beside_the_run_and_nothing_else_changes(any_made, tmp_path):
    out = shutil.copytree(any_made, tmp_path / "out")
    before = tree(out)
    scan = hilum.open_run(out)[0]
    array = saved(out, who="Ada, =1+1")
    after = tree(out)
    assert {name: after.get(name) for name in before} == before
    file = f"{FOLDER}/{scan.scan_id}/lungs-1.nii.gz"
    assert after.keys() - before.keys() == {file, NAME, ".corrections.lock"}
    image = nibabel.load(out / file)
    assert (array == np.asarray(image.dataobj).T).all()
    lps = image.affine[:, [2, 1, 0, 3]] * [[-1], [-1], [1], [1]]
    assert np.allclose(lps, scan.geometry.affine, atol=1e-4)
    with (out / NAME).open(newline="", encoding="utf-8") as table:
        (row,) = csv.DictReader(table)
    assert tuple(row) == COLUMNS
    assert [row[name] for name in COLUMNS[:4]] == [scan.scan_id, "lungs", file, "Ada, =1+1"]
    assert row["when"].endswith("+00:00")
    assert row["sha256"] == hashlib.sha256((out / file).read_bytes()).hexdigest()
    assert row["scan_sha256"] == hashlib.sha256((scan.folder / "scan.json").read_bytes()).hexdigest()
    files = scan.record.files
    lungs = sorted(name for name in files if name.startswith("lungs."))
    listed = "".join(f"{files[name].sha256}  {name}\n" for name in lungs)
    expected = files[lungs[0]].sha256 if len(lungs) == 1 else hashlib.sha256(listed.encode()).hexdigest()
    assert row["original_sha256"] == expected
    assert (hilum.open_run(out)[0].corrected("lungs").array == array).all()
    assert faults(out) == []


def test_every_mask_is_corrected_and_earlier_corrections_stay(out):
    scan = hilum.open_run(out)[0]
    assert scan.corrected("lungs") is None
    first = saved(out)
    second = np.where(first == 1, 2, first)
    saved(out, array=second, who="Grace")
    nodules = saved(out, mask="nodules", part="nodules")
    tumor = saved(out, mask="label-0", part="labels/tumor")
    assert [(one.mask, one.file.rpartition("-")[2], one.who) for one in read_corrections(out)] == [
        ("lungs", "1.nii.gz", "Ada"), ("lungs", "2.nii.gz", "Grace"), ("nodules", "1.nii.gz", "Ada"),
        ("labels/tumor", "1.nii.gz", "Ada"),
    ]  # fmt: skip
    assert (hilum.read_mask(out / FOLDER / scan.scan_id / "lungs-1.nii.gz").array == first).all()
    for part, array in {"lungs": second, "nodules": nodules, "labels/tumor": tumor}.items():
        assert (scan.corrected(part).array == array).all()
        assert scan.corrected(part).geometry == scan.geometry
    assert faults(out) == []


def test_a_file_that_no_line_names_is_not_replaced(out):
    """Such as one whose viewer was killed before it wrote the table."""
    scan = hilum.open_run(out)[0]
    orphan = out / FOLDER / scan.scan_id / "lungs-1.nii.gz"
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"half")
    saved(out)
    assert orphan.read_bytes() == b"half"
    assert [one.file.rpartition("-")[2] for one in read_corrections(out)] == ["2.nii.gz"]
    assert [(fault.code, fault.where) for fault in faults(out)] == [("extra", str(orphan))]


def test_the_page_is_told_what_can_be_corrected(out):
    saved(out)
    server = Inside(out, "Grace")
    told = facts(server)
    _, image = server("/api/scans/0/corrections/lungs")
    status, missing = server("/api/scans/0/corrections/nodules")
    editing = told["editing"]
    assert (editing["refused"], editing["who"], len(editing["key"])) == ("", "Grace", 32)
    assert [(one["name"], one["title"], one["saved"] and one["saved"]["who"]) for one in editing["masks"]] == [
        ("lungs", "lungs", "Ada"), ("nodules", "nodules", None), ("label-0", "tumor", None),
    ]  # fmt: skip
    assert editing["masks"][0]["labels"] == [{"value": 1, "name": "right lung"}, {"value": 2, "name": "left lung"}]
    assert [one["value"] for one in editing["masks"][2]["labels"]] == [2]
    corrected = hilum.open_run(out)[0].corrected("lungs").array
    assert (corrected == np.asarray(nibabel.Nifti1Image.from_bytes(image).dataobj).T).all()
    assert (status, b"no correction" in missing) == (404, True)


@pytest.fixture(scope="module")
def server(made):
    with started(made, "--who", "Ada") as (_, host, folder):
        yield Outside(host, folder)


def test_forged_and_malformed_requests_are_refused_and_write_nothing(server, made):
    before, seen = tree(made), facts(server)
    array = edited(hilum.open_run(made)[0])

    def status(**how):
        return send(server, array, seen=seen, **how)[0]

    assert status(Host="evil.example") == 403
    assert status(Host="localhost:1", Origin="http://localhost:1") == 403
    assert status(Origin="http://evil.example") == 403
    assert status(Origin=None) == 403
    assert status(Sec_Fetch_Site="cross-site") == 403
    assert status(Cookie=None) == 403
    assert status(Cookie="hilum=guess") == 403
    assert status(Content_Type="text/plain") == 415
    assert status(body=b"\0" * 7) == 422
    assert status(mask="ct") == 404
    assert status(mask="label-9") == 404
    assert status(number=0, mask="..") in {403, 404, 405}
    assert send(server, array[1:], seen=seen)[0] == 422
    assert send(server, np.where(array, 9, 0).astype(np.uint8), seen=seen)[0] == 422
    wrong = seen | {"scan_sha256": "1" * 64}
    assert "replaced this scan" in send(server, array, seen=wrong)[1].decode()
    assert server.post("/api/scans/0/corrections/lungs?original=../x&scan=y", encode_labels(array))[0] == 400
    assert tree(made) == before


def test_a_body_that_is_too_long_is_cut_off(made, monkeypatch):
    sent = []

    async def endless():
        for _ in range(10_000):
            sent.append(1)
            yield b"\0" * 1000

    monkeypatch.setattr(corrections, "MAX_BODY", 10_000)
    status, answer = Inside(made).post("/api/scans/0/corrections/lungs", endless())
    assert (status, b"it is not saved" in answer) == (413, True)
    assert len(sent) < 20
    assert not (made / NAME).exists()


def test_a_read_only_run_and_a_scan_alone_say_what_to_do(out, luna, monkeypatch):
    monkeypatch.setattr(corrections.os, "access", lambda *_: False)
    assert corrections.why_not(out).startswith("This run is read-only: ")
    assert "hilum run" in corrections.why_not(None)
    with started(min(luna.rglob("*.mhd"))) as (_, host, folder):
        server = Outside(host, folder)
        told = facts(server)
        assert told["editing"]["masks"] == []
        assert "hilum run" in told["editing"]["refused"]
        status, answer = send(server, np.zeros((40, 64, 64), np.uint8), seen={**told, "scan_sha256": "0" * 64})
    assert (status, b"hilum run" in answer) == (409, True)


def test_a_mask_that_changed_since_it_was_read_is_not_corrected(out):
    scan = hilum.open_run(out)[0]
    server, array = Inside(out), edited(scan)
    seen = facts(server)
    (scan.folder / "lungs.nii.gz").write_bytes(b"another")
    status, answer = send(server, array, seen=seen)
    assert status == 422
    assert b"lungs.nii.gz" in answer
    assert not (out / NAME).exists()


def test_a_damaged_table_is_refused_and_left_alone(out):
    (out / NAME).write_text("scan_id,mask\nx,y\n")
    server = Inside(out)
    seen = facts(server)
    assert "its columns are not" in seen["editing"]["refused"]
    assert send(server, edited(hilum.open_run(out)[0]), seen=seen)[0] == 422
    assert (out / NAME).read_text() == "scan_id,mask\nx,y\n"
    assert [fault.code for fault in faults(out)] == ["damaged"]


@pytest.mark.parametrize(
    "line",
    [
        "ct,lungs,corrections/ct/lungs-1.nii.gz,a,b,{0},{0}",
        "ct,lungs,corrections/ct/lungs-01.nii.gz,a,b,{0},{0},{0}",
        "ct,lungs,corrections/ct/../../x-1.nii.gz,a,b,{0},{0},{0}",
        "../ct,lungs,corrections/../ct/lungs-1.nii.gz,a,b,{0},{0},{0}",
        "ct,ct,corrections/ct/ct-1.nii.gz,a,b,{0},{0},{0}",
        "ct,labels/../x,corrections/ct/labels/../x-1.nii.gz,a,b,{0},{0},{0}",
        "ct,lungs,corrections/ct/lungs-1.nii.gz,a,b,{0},{0},no",
    ],
)
def test_a_line_that_leads_out_or_is_no_correction_is_refused(tmp_path, line):
    (tmp_path / NAME).write_text(",".join(COLUMNS) + "\n" + line.format("0" * 64) + "\n")
    with pytest.raises(FormatError, match="line 2"):
        read_corrections(tmp_path)


def test_nothing_is_written_through_a_link(out, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (out / FOLDER).symlink_to(tmp_path / "elsewhere")
    status, answer = send(Inside(out), edited(hilum.open_run(out)[0]))
    assert (status, b"is a link" in answer) == (422, True)
    assert not list((tmp_path / "elsewhere").rglob("*.nii.gz"))
    assert not (out / NAME).exists()


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.05, 0.1, 0.2])
def test_a_viewer_that_is_killed_while_it_saves_leaves_no_part(out, seconds):
    first = saved(out)
    second = np.where(first == 1, 2, 0).astype(np.uint8)
    with started(out) as (process, host, folder):
        server = Outside(host, folder)
        seen = facts(server)
        with ThreadPoolExecutor(1) as pool, suppress(OSError, http.client.HTTPException):
            answer = pool.submit(send, server, second, seen=seen)
            time.sleep(seconds)
            process.kill()
            answer.result()
    lines = read_corrections(out)
    corrected = hilum.open_run(out)[0].corrected()
    assert (corrected.array == (first if len(lines) == 1 else second)).all()
    assert {fault.code for fault in faults(out)} <= {"extra"}  # a file without its line
    third = np.zeros_like(first)
    with started(out) as (_, host, folder):  # another process: it sweeps what the dead one left
        server = Outside(host, folder)
        assert send(server, third, seen=facts(server))[0] == 200
    assert (hilum.open_run(out)[0].corrected().array == third).all()
    assert not list((out / FOLDER).rglob(".*"))


# ---- verify, prune, and another run


def test_verify_finds_changed_and_missing_corrections(out):
    saved(out)
    (path,) = (out / FOLDER).rglob("*.nii.gz")
    good = path.read_bytes()
    path.write_bytes(good[:-1] + b"!")
    assert [(fault.code, fault.where) for fault in faults(out)] == [("checksum", str(path))]
    with pytest.raises(FormatError, match="has changed since"):
        hilum.open_run(out)[0].corrected()
    path.unlink()
    assert [fault.code for fault in faults(out)] == ["missing"]
    path.write_bytes(good)
    assert cli.main(["verify", str(out)]) == 0


def test_a_rerun_keeps_corrections_and_verify_tells_that_the_original_is_another(out, luna, capsys):
    array = saved(out)
    saved(out, mask="nodules", part="nodules")
    before = {name: data for name, data in tree(out).items() if "correction" in name}
    assert run(luna, out, "--overwrite", "--prune", mm=5.0) == 0
    assert {name: data for name, data in tree(out).items() if "correction" in name} == before
    capsys.readouterr()
    assert cli.main(["verify", str(out)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all("is a correction of a mask that the run does not have any more" in line for line in lines)
    with pytest.raises(FormatError, match="a mask that the run has replaced since"):
        hilum.open_run(out)[0].corrected()
    assert array.any()


def test_a_run_takes_corrections_up_on_the_same_grid(out, luna, tmp_path, capsys):
    lungs = saved(out)
    nodules = saved(out, mask="nodules", part="nodules")
    tumor = saved(out, mask="label-0", part="labels/tumor")
    assert run(luna, tmp_path / "two", "--corrections", out) == 0
    first, second = hilum.open_run(tmp_path / "two")
    for scan, part, array in ((first, "lungs", lungs), (first, "nodules", nodules), (first, "labels/tumor", tumor)):
        assert (scan.read(part).array == array).all()
    codes = {note.code: note.text for note in first.notes if note.code.endswith("-corrected")}
    assert codes.keys() == {"lungs-corrected", "nodules-corrected", "labels-corrected"}
    when = read_corrections(out)[0].when
    assert codes["lungs-corrected"] == f"lungs: corrected by Ada, {when}, instead of a mask of this run"
    assert not any(note.code.endswith("-corrected") for note in second.notes)
    assert (second.lungs.array == hilum.open_run(out)[1].lungs.array).all()
    # Figures and alarms are those of the corrected mask.
    voxel_ml = first.geometry.voxel_volume / 1000
    assert first.figures["lung_left_ml"] == pytest.approx((lungs == 2).sum() * voxel_ml, abs=1e-3)
    for one in first.record.nodules:
        assert one.voxels == (nodules == one.label).sum()
    assert faults(tmp_path / "two") == []
    capsys.readouterr()
    # The same command keeps both scans; without the corrections it would remove them, and says so.
    assert run(luna, tmp_path / "two", "--corrections", out) == 0
    assert "2 unchanged" in capsys.readouterr().out
    assert run(luna, tmp_path / "two") == 1
    told = capsys.readouterr().err
    assert "would remove" in told
    assert "correction of lungs of 1 scan" in told
    assert "--corrections" in told
    # A newer correction makes the scan again.
    newer = saved(out, array=np.where(lungs == 1, 0, lungs).astype(np.uint8))
    assert run(luna, tmp_path / "two", "--corrections", out) == 0
    assert (hilum.open_run(tmp_path / "two")[0].lungs.array == newer).all()


def nearest(array, old, new):
    """The label of the nearest voxel of each voxel of a grid, by the world, and where no two are equally near."""
    index = np.stack(np.meshgrid(*map(np.arange, new.shape), indexing="ij"), -1).reshape(-1, 3)
    at = old.world_to_index(new.index_to_world(index))
    back = np.floor(at + 0.5).astype(int)
    inside = ((back >= 0) & (back < old.shape)).all(-1)
    out = np.zeros(len(index), np.uint8)
    out[inside] = array[tuple(back[inside].T)]
    sure = (np.abs(at - np.floor(at) - 0.5) > 1e-4).all(-1)
    return out.reshape(new.shape), sure.reshape(new.shape)


def test_a_run_on_another_grid_places_corrections_by_the_world(out, luna, tmp_path):
    lungs = saved(out)
    nodules = saved(out, mask="nodules", part="nodules")
    assert run(luna, tmp_path / "two", "--corrections", out, mm=3.1) == 0
    old, new = hilum.open_run(out)[0], hilum.open_run(tmp_path / "two")[0]
    for part, array in (("lungs", lungs), ("nodules", nodules)):
        labels, sure = nearest(array, old.geometry, new.geometry)
        assert sure.mean() > 0.9
        assert (new.read(part).array == labels)[sure].all()


def test_a_run_without_lungs_takes_corrected_ones(out, luna, tmp_path):
    lungs = saved(out)
    (tmp_path / "r.toml").write_text("[resample]\nspacing_mm = 4.0\n[lungs]\nmethod = 'none'\n")
    words = ["--out", str(tmp_path / "two"), "--recipe", str(tmp_path / "r.toml"), "--workers", "1"]
    assert cli.main(["run", str(luna), *words, "--corrections", str(out)]) == 0
    assert (hilum.open_run(tmp_path / "two")[0].lungs.array == lungs).all()


def test_corrections_that_fit_nothing_are_told(out, luna, tmp_path, capsys):
    saved(out)
    alone = tmp_path / "alone"
    alone.mkdir()
    last = max(luna.rglob("*.mhd"))
    for path in (last, last.with_suffix(".raw")):
        shutil.copy(path, alone)
    names = {scan.uid: number for number, scan in enumerate(hilum.open_run(out))}
    number = names[hilum.read(last).series_uid]
    assert run(alone, tmp_path / "two", "--corrections", out) == 0
    told = capsys.readouterr().err
    assert ("a correction is not used" in told) == (number != 0)
    assert run(luna, tmp_path / "three", "--corrections", tmp_path / "two") == 1
    assert "has no corrections" in capsys.readouterr().err
    assert run(luna, out, "--corrections", out) == 1
    assert "choose another --out" in capsys.readouterr().err


def test_a_series_that_changed_is_refused(tmp_path, capsys):
    phantom = make_phantom(seed=2, shape=(40, 64, 64), spacing=(7.5, 6.0, 6.0))
    series = write_dicom_series(phantom, tmp_path / "series")
    out = tmp_path / "out"
    assert run(series, out) == 0
    lungs = saved(out)
    renamed = shutil.copytree(series, tmp_path / "moved")
    for number, path in enumerate(sorted(renamed.iterdir())):
        path.rename(renamed / f"z{number}.dcm")
    assert run(renamed, tmp_path / "two", "--corrections", out) == 0  # names do not count
    assert (hilum.open_run(tmp_path / "two")[0].lungs.array == lungs).all()
    first = min(series.iterdir())
    data = bytearray(first.read_bytes())
    data[-100] ^= 1
    first.write_bytes(bytes(data))
    assert run(series, tmp_path / "three", "--corrections", out) == 1
    assert "is not the series whose mask was corrected" in capsys.readouterr().err
    assert len(hilum.open_run(tmp_path / "three")) == 0


def test_a_changed_correction_and_other_nodules_are_refused(out, luna, tmp_path, capsys):
    saved(out, mask="nodules", part="nodules")
    table = tmp_path / "annotations.csv"
    lines = next(luna.rglob("annotations.csv")).read_text().splitlines()
    table.write_text("\n".join([lines[0], *lines[2:]]) + "\n")
    assert run(luna, tmp_path / "two", "--corrections", out, "--annotations", table) == 1
    assert "give --annotations as in that run" in capsys.readouterr().err
    (path,) = (out / FOLDER).rglob("*.nii.gz")
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert run(luna, tmp_path / "three", "--corrections", out) == 1
    assert "has changed since the correction was saved" in capsys.readouterr().err
