"""Archives of scans: read in place, whole or refused, and nothing of them is left on the disk."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

import hilum
from hilum import batch, cli
from hilum.batch import identity
from hilum.datasets import DATASETS, folder
from hilum.errors import FormatError, HilumError, InputError, MissingInputError, UnsupportedError
from hilum.geometry import Geometry
from hilum.io import archives, unpacking
from hilum.io.read_options import ReadOptions
from hilum.outputs.ledger import read_ledger
from hilum.phantom.chest import make_phantom
from hilum.phantom.files import write_dicom_series

GRID = Geometry((24, 64, 64), (12.0, 6.0, 6.0))
RECIPE = '[resample]\nspacing_mm = 8.0\n[lungs]\nmethod = "none"\n'


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(seed=2, shape=GRID.shape, spacing=GRID.spacing)


@pytest.fixture(scope="module")
def series(phantom, tmp_path_factory):
    root = tmp_path_factory.mktemp("series") / "s"
    write_dicom_series(phantom, root)
    return root


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """A temporary folder of its own, empty when the test ends."""
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    yield place
    assert os.listdir(place) == []


def pack(path, members):
    """An archive of (name, bytes) pairs."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members:
                archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    else:
        with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as archive:
            for name, data in members:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return path


def files_of(root, prefix=""):
    return [
        (f"{prefix}{p.relative_to(root).as_posix()}", p.read_bytes()) for p in sorted(root.rglob("*")) if p.is_file()
    ]


def call(capsys, *words):
    status = cli.main([str(word) for word in words])
    told = capsys.readouterr()
    return status, told.out, told.err


def refused(path, error, match, **options):
    with pytest.raises(error, match=match) as caught:
        hilum.read(path, **options)
    assert len(str(caught.value)) <= 300
    assert str(tempfile.gettempdir()) not in str(caught.value)
    return caught.value


SUFFIXES = [".zip", ".tar", ".tar.gz", ".tgz", ".TGZ"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_series_in_an_archive_is_the_same_scan(series, tmp_path, suffix):
    plain = hilum.read(series)
    packed = hilum.read(pack(tmp_path / f"study{suffix}", files_of(series, "a/b/")))
    assert np.array_equal(packed.ct.array, plain.ct.array)
    assert packed.ct.geometry == plain.ct.geometry
    assert (packed.series_uid, packed.notes, packed.slice_uids) == (plain.series_uid, plain.notes, plain.slice_uids)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha", ".mhd"])
@pytest.mark.parametrize("packing", [".zip", ".tgz"])
def test_a_volume_in_an_archive_is_the_same_scan(phantom, tmp_path, suffix, packing):
    (tmp_path / "v").mkdir()
    hilum.write(phantom.scan.ct, tmp_path / "v" / f"ct{suffix}")
    packed = hilum.read(pack(tmp_path / f"v{packing}", [*files_of(tmp_path / "v", "in/"), ("in/readme.txt", b"x")]))
    assert np.array_equal(packed.ct.array, hilum.read(tmp_path / "v" / f"ct{suffix}").ct.array)


def test_several_volumes_are_named_and_not_chosen_from(phantom, tmp_path):
    hilum.write(phantom.scan.ct, tmp_path / "a.nii.gz")
    data = (tmp_path / "a.nii.gz").read_bytes()
    path = pack(tmp_path / "v.zip", [("a.nii.gz", data), ("b.nii.gz", data)])
    refused(path, InputError, r"v\.zip: .*2 volume files: a\.nii\.gz, b\.nii\.gz")


def test_a_refusal_names_the_archive_and_the_member(series, tmp_path):
    members = [(name, data[:3000] if k == 12 else data) for k, (name, data) in enumerate(files_of(series, "s/"))]
    error = refused(pack(tmp_path / "cut.zip", members), InputError, r"cut\.zip", max_gap_mm=0)
    assert error.where.is_relative_to(tmp_path / "cut.zip")
    (tmp_path / "x.nii").write_bytes(b"no")
    error = refused(pack(tmp_path / "bad.tar", [("p/x.nii", b"no")]), FormatError, r"bad\.tar/p/x\.nii")
    assert error.where == tmp_path / "bad.tar" / "p" / "x.nii"


@pytest.mark.parametrize(
    "name", ["../x.dcm", "/etc/x.dcm", "a/../../x.dcm", "..\\x.dcm", "C:\\x.dcm", "\\x.dcm", "a/..\\..\\x"]
)
@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_names_that_lead_out_are_refused(series, tmp_path, name, suffix):
    path = pack(tmp_path / f"evil{suffix}", [*files_of(series), (name, b"evil")])
    assert refused(path, FormatError, "leads out of the archive").code == "path"
    assert not list(tmp_path.rglob("x.dcm"))


def test_a_null_byte_is_refused(series, tmp_path):
    path = pack(tmp_path / "null.zip", [*files_of(series), ("okQname", b"x")])
    path.write_bytes(path.read_bytes().replace(b"okQname", b"ok\0name"))
    refused(path, FormatError, "leads out of the archive")


def test_backslashes_of_windows_are_folders(series, tmp_path):
    path = pack(tmp_path / "win.zip", [(f"a\\b\\{name}", data) for name, data in files_of(series)])
    assert np.array_equal(hilum.read(path).ct.array, hilum.read(series).ct.array)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("suffix", [".zip", ".tar"])
@pytest.mark.parametrize("again", ["s/1.dcm", "s//1.dcm", "s\\1.dcm", "s/1.dcm/x", "s"])
def test_two_members_of_one_name_are_refused(tmp_path, suffix, again):
    path = pack(tmp_path / f"twice{suffix}", [("s/1.dcm", b"a"), (again, b"b")])
    assert refused(path, FormatError, "two members have this name").code == "duplicate-members"


def test_links_and_devices_are_left_out_and_told(series, tmp_path):
    secret = tmp_path / "secret.dcm"
    secret.write_bytes(files_of(series)[0][1])
    path = pack(tmp_path / "links.tar", files_of(series))
    with tarfile.open(path, "a") as archive:
        for name, kind, target in (
            ("l.dcm", tarfile.SYMTYPE, str(secret)), ("h.dcm", tarfile.LNKTYPE, "../../secret.dcm"),
            ("d.dcm", tarfile.CHRTYPE, ""), ("p.dcm", tarfile.FIFOTYPE, ""), ("b.dcm", tarfile.BLKTYPE, ""),
        ):  # fmt: skip
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
    scan = hilum.read(path)
    assert scan.ct.shape == GRID.shape
    (note,) = (note for note in scan.notes if note.code == "archive-members")
    assert "5 links or devices" in note.text
    path = tmp_path / "link.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files_of(series):
            archive.writestr(name, data)
        info = zipfile.ZipInfo("l.dcm")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, str(secret))
    assert "1 links or devices" in str(hilum.read(path).notes)


def test_an_archive_in_an_archive_is_not_opened(series, tmp_path):
    inner = pack(tmp_path / "inner.zip", files_of(series))
    path = pack(tmp_path / "outer.tgz", [("inner.zip", inner.read_bytes())])
    assert refused(path, UnsupportedError, "nothing but 1 archives; unpack it").code == "nested-archive"
    path = pack(tmp_path / "both.zip", [*files_of(series), ("inner.zip", inner.read_bytes())])
    assert "1 archives in it" in str(hilum.read(path).notes)


def test_hidden_members_are_left_out_as_in_a_folder(series, tmp_path):
    members = [*files_of(series), ("__MACOSX/._1.dcm", b"mac"), (".DS_Store", b"mac")]
    assert hilum.read(pack(tmp_path / "mac.zip", members)).notes == hilum.read(series).notes


def test_empty_archives_are_refused(tmp_path):
    refused(pack(tmp_path / "e.zip", []), MissingInputError, "has no files")
    refused(pack(tmp_path / "e.tar", []), MissingInputError, "has no files")
    refused(pack(tmp_path / "d.zip", [("folder/", b"")]), MissingInputError, "has no files")
    refused(pack(tmp_path / "t.zip", [("readme.txt", b"x")]), InputError, "no DICOM images here")


def test_encrypted_members_are_refused(tmp_path):
    path = pack(tmp_path / "secret.zip", [("s/1.dcm", b"abc")])
    data = bytearray(path.read_bytes())
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(mark) + at] |= 1
    path.write_bytes(bytes(data))
    error = refused(path, UnsupportedError, r"secret\.zip/s/1\.dcm: is encrypted; unpack it with its password")
    assert error.code == "encrypted"


def test_an_unknown_packing_is_refused(tmp_path):
    path = pack(tmp_path / "odd.zip", [("s/1.dcm", b"abc")])
    data = bytearray(path.read_bytes())
    for mark, at in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
        data[data.index(mark) + at] = 97
    path.write_bytes(bytes(data))
    refused(path, UnsupportedError, "packed in a way that is not read")


def test_bombs_are_refused_before_they_fill_the_disk(tmp_path, monkeypatch):
    zeros = [("a.dcm", bytes(2**22)), ("b.dcm", bytes(2**22))]
    paths = [pack(tmp_path / f"bomb{suffix}", zeros) for suffix in (".zip", ".tgz")]
    for path in paths:
        with pytest.raises(InputError, match=r"readable slice|no DICOM"):
            hilum.read(path)
    monkeypatch.setattr(unpacking, "_PLAUSIBLE_BYTES", 2**23 - 1)
    monkeypatch.setattr(unpacking, "PLAUSIBLE_RATIO", 1)
    for path in paths:
        assert refused(path, FormatError, "too many bytes").code == "too-large"
    lying = bytearray(paths[0].read_bytes())  # the directory says 1 byte each
    at = -1
    while (at := lying.find(b"PK\1\2", at + 1)) >= 0:
        lying[at + 24 : at + 28] = (1).to_bytes(4, "little")
    (tmp_path / "lie.zip").write_bytes(bytes(lying))
    refused(tmp_path / "lie.zip", FormatError, "too many bytes|damaged")


def test_too_many_members_are_refused(tmp_path, monkeypatch):
    members = [(f"{k}.dcm", b"") for k in range(11)]
    monkeypatch.setattr(unpacking, "MOST_MEMBERS", 10)
    for suffix in (".zip", ".tar"):
        assert (
            refused(pack(tmp_path / f"many{suffix}", members), FormatError, "more than 10 members").code == "too-large"
        )
        refused(pack(tmp_path / f"ten{suffix}", members[:10]), InputError, "none of 10 files|readable")
    monkeypatch.setattr(unpacking, "_DIRECTORY_BYTES", 100)
    refused(tmp_path / "ten.zip", FormatError, "members")


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz", ".tar"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_a_cut_archive_is_refused(series, tmp_path, suffix, share):
    path = pack(tmp_path / f"cut{suffix}", files_of(series))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data.rstrip(b"\0")) * share)])
    refused(path, FormatError, "the archive is damaged")


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_a_changed_byte_is_noticed(series, tmp_path, suffix):
    path = pack(tmp_path / f"flip{suffix}", files_of(series))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x55
    path.write_bytes(bytes(data))
    refused(path, FormatError, "the archive is damaged")


def test_garbage_and_wrong_names(series, tmp_path):
    for suffix in (".zip", ".tar", ".tgz"):
        (tmp_path / f"junk{suffix}").write_bytes(os.urandom(5000))
        refused(tmp_path / f"junk{suffix}", FormatError, "the archive is damaged")
    pack(tmp_path / "a.tgz", files_of(series)).rename(tmp_path / "b.tar")
    assert hilum.read(tmp_path / "b.tar").ct.shape == GRID.shape
    pack(tmp_path / "a.zip", files_of(series)).rename(tmp_path / "noname")
    refused(tmp_path / "noname", UnsupportedError, "name it .zip")


def test_a_full_disk_is_told(series, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    path = pack(tmp_path / "s.zip", files_of(series))
    monkeypatch.setattr(unpacking._Target, "write", full)
    assert refused(path, InputError, "no room .*set TMPDIR").code == "no-room"


def test_an_interrupt_leaves_nothing(series, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    path = pack(tmp_path / "s.zip", files_of(series))
    monkeypatch.setattr("hilum.io.scan_files._read_place", interrupted)
    with pytest.raises(KeyboardInterrupt):
        hilum.read(path)


def test_the_folder_is_private_and_goes_after_a_signal_or_a_kill(series, tmp_path, temporary):
    path = pack(tmp_path / "s.zip", files_of(series))
    program = (
        "import sys, time; from pathlib import Path; from hilum.cli.status import raise_on_signals\n"
        "from hilum.io.archives import opened\n"
        "with raise_on_signals(), opened(Path(sys.argv[1])) as place: print(place.path, flush=True); time.sleep(600)"
    )
    for stop, left in (("terminate", 0), ("kill", 1)):
        child = subprocess.Popen(
            [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        place = Path(child.stdout.readline().decode().strip())
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
        getattr(child, stop)()
        child.wait()
        child.stdout.close()
        assert len(list(temporary.iterdir())) == left
    assert hilum.read(path).ct.shape == GRID.shape  # a process that began before
    archives.sweep()


# Slices that are packed one by one.


def gzip_slices(series, target):
    target.mkdir()
    for path in series.iterdir():
        (target / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    return target


def test_packed_slices_are_the_same_scan(series, tmp_path):
    plain, packed = hilum.read(series), hilum.read(gzip_slices(series, tmp_path / "gz"))
    assert np.array_equal(packed.ct.array, plain.ct.array)
    assert packed.ct.geometry == plain.ct.geometry
    assert packed.slice_uids == plain.slice_uids
    again = hilum.read(pack(tmp_path / "gz.zip", files_of(tmp_path / "gz")))
    assert np.array_equal(again.ct.array, plain.ct.array)


def test_plain_and_packed_slices_are_one_series(series, tmp_path):
    gzip_slices(series, tmp_path / "mixed")
    for path in sorted(series.iterdir())[:7]:
        shutil.copy(path, tmp_path / "mixed")
        (tmp_path / "mixed" / f"{path.name}.gz").unlink()
    assert np.array_equal(hilum.read(tmp_path / "mixed").ct.array, hilum.read(series).ct.array)


def test_a_damaged_packed_slice_is_a_damaged_slice(series, tmp_path, monkeypatch):
    gzip_slices(series, tmp_path / "gz")
    victim = sorted((tmp_path / "gz").iterdir())[12]
    data = victim.read_bytes()
    for bad in (data[: len(data) // 2], data[:30], data[:-9] + bytes(9)):
        victim.write_bytes(bad)
        refused(tmp_path / "gz", InputError, "missing slices", max_gap_mm=0)
    victim.write_bytes(data)
    monkeypatch.setattr(archives, "_SLICE_BYTES", 1000)
    monkeypatch.setattr(archives, "PLAUSIBLE_RATIO", 0.01)
    refused(tmp_path / "gz", InputError, "damaged|readable")


def test_other_packed_files_are_no_slices(series, tmp_path):
    shutil.copytree(series, tmp_path / "s")
    (tmp_path / "s" / "table.csv.gz").write_bytes(gzip.compress(b"a,b\n" * 100))
    (tmp_path / "s" / "not.gz").write_bytes(b"plain")
    scan = hilum.read(tmp_path / "s")
    assert scan.ct.shape == GRID.shape
    assert [note.code for note in scan.notes if note.code.startswith("ignored")] == ["ignored-files"]


# Commands and runs.


@pytest.fixture
def inputs(phantom, series, tmp_path):
    """A folder with a series in a .zip, two volumes in a .tgz, a damaged .tar, and packed slices."""
    root = tmp_path / "in"
    (tmp_path / "v").mkdir()
    for name in ("a", "b"):
        hilum.write(phantom.scan.ct, tmp_path / "v" / f"{name}.nii.gz")
    root.mkdir()
    uid = hilum.read(series).series_uid.encode()
    other = [
        (name, data.replace(uid, uid[:-1] + (b"1" if uid[-1:] != b"1" else b"2"))) for name, data in files_of(series)
    ]
    pack(root / "series.zip", other)
    pack(root / "volumes.tgz", files_of(tmp_path / "v", "sub/"))
    (root / "junk.tar").write_bytes(b"junk" * 300)
    gzip_slices(series, root / "slices")
    return root


def test_every_scan_of_every_archive_is_listed_and_loaded(inputs):
    listing = folder.index(inputs)
    assert sorted((ref.path.name, ref.files[:1]) for ref in listing.refs if ref.path.is_file()) == [
        ("series.zip", ()), ("volumes.tgz", ("sub/a.nii.gz",)), ("volumes.tgz", ("sub/b.nii.gz",)),
    ]  # fmt: skip
    assert len({ref.scan_id for ref in listing.refs}) == 4
    assert [error.where.name for error in listing.refused] == ["junk.tar"]
    for ref in listing.refs:
        assert DATASETS["folder"].load(ref, options=ReadOptions(max_gap_mm=0)).ct.shape == GRID.shape


def test_a_run_reads_archives_keeps_them_and_notices_a_change(capsys, inputs, series, tmp_path):
    (tmp_path / "c.toml").write_text(RECIPE)
    words = ("run", inputs, "--out", tmp_path / "out", "--recipe", tmp_path / "c.toml")
    left = "import sys; from pathlib import Path; from hilum.io.unfinished import unfinished_folder as name"
    killed = f"{left}; name(Path(sys.argv[1]) / 'archive').mkdir()"
    subprocess.run([sys.executable, "-c", killed, tempfile.gettempdir()], check=True)
    assert len(os.listdir(tempfile.gettempdir())) == 1
    status, _, err = call(capsys, *words)
    assert os.listdir(tempfile.gettempdir()) == []
    assert status == 1
    assert "junk.tar: the archive is damaged" in err
    rows = read_ledger(tmp_path / "out")
    assert sorted(row.status for row in rows.values()) == ["done", "done", "done", "done", "refused"]
    before = {key: row.fingerprint for key, row in rows.items()}
    call(capsys, *words)
    assert {key: row.fingerprint for key, row in read_ledger(tmp_path / "out").items()} == before
    refs = {ref.scan_id: ref for ref in batch.index([inputs])[0]}
    (packed,) = (ref for ref in refs.values() if ref.path.name == "series.zip")
    assert identity.snapshot(packed).files == [("series.zip", inputs / "series.zip")]
    pack(inputs / "series.zip", [*files_of(series), ("more.txt", b"x")])
    os.utime(inputs / "series.zip", (time.time() + 9,) * 2)
    call(capsys, *words)
    after = {key: row.fingerprint for key, row in read_ledger(tmp_path / "out").items()}
    assert after != before


def test_info_lists_archives_as_run_reads_them(capsys, inputs):
    status, out, _ = call(capsys, "info", inputs, "--json")
    assert status == 0
    assert str(tempfile.gettempdir()) not in out
    assert out.count('"usable": true') == 4
    assert f"{inputs}/volumes.tgz/sub/a.nii.gz" in out
    assert f"{inputs}/junk.tar" in out
    assert '"folder": "volumes.tgz/sub/a.nii.gz"' in out
    status, out, _ = call(capsys, "info", inputs / "volumes.tgz")
    assert status == 0
    assert "a.nii.gz" in out
    assert "b.nii.gz" in out
    assert str(tempfile.gettempdir()) not in out
    assert call(capsys, "info", inputs / "junk.tar")[0] == 1


def test_info_lists_a_folder_of_volumes_as_run_reads_it(capsys, phantom, tmp_path):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for name in ("a.nii.gz", "sub/b.mha", "sub/c.nrrd"):
        hilum.write(phantom.scan.ct, tmp_path / "in" / name)
    (tmp_path / "in" / "d.nii").write_bytes(b"junk")
    status, out, _ = call(capsys, "info", tmp_path / "in", "--json")
    assert status == 0
    assert out.count('"usable": true') == 3
    assert len(batch.index([tmp_path / "in"])[0]) == out.count('"usable"') == 4


def test_commands_take_an_archive(capsys, series, tmp_path):
    path = pack(tmp_path / "s.zip", files_of(series))
    assert call(capsys, "convert", path, tmp_path / "o.nii.gz")[0] == 0
    assert hilum.read(tmp_path / "o.nii.gz").ct.shape == GRID.shape
    uid = hilum.read(series).series_uid
    (tmp_path / "t.csv").write_text(f"seriesuid,coordX,coordY,coordZ,diameter_mm\n{uid},0,0,0,30\n")
    assert call(capsys, "nodules", path, tmp_path / "t.csv", tmp_path / "m.nii.gz")[0] == 0
    assert hilum.read(tmp_path / "m.nii.gz").ct.shape == GRID.shape
    answers = [call(capsys, "lungs", source, tmp_path / "l.nii.gz") for source in (series, path)]
    assert [answer[0] for answer in answers] == [answers[0][0]] * 2
    assert answers[0][1] == answers[1][1]


def test_a_table_names_the_scan_of_an_archive(phantom, tmp_path):
    hilum.write(phantom.scan.ct, tmp_path / "ct.nii.gz")
    path = pack(tmp_path / "case7.zip", [("x/ct.nii.gz", (tmp_path / "ct.nii.gz").read_bytes())])
    (tmp_path / "annotations.csv").write_text("seriesuid,coordX,coordY,coordZ,diameter_mm\ncase7,0,0,0,9\n")
    assert len(hilum.read(path, annotations=tmp_path / "annotations.csv").nodules) == 1


def test_an_error_of_another_place_stays_as_it_is(tmp_path):
    opened = archives.Opened(tmp_path / "t", tmp_path / "a.zip")
    for where in (None, tmp_path / "other", "a series"):
        error = HilumError("bad", where=where)
        assert opened.place(error) is error
    assert opened.place(HilumError("bad", where=str(tmp_path / "t" / "x"))).where == tmp_path / "a.zip" / "x"


def test_a_tar_cut_between_two_members_is_noticed(series, tmp_path):
    path = pack(tmp_path / "cut.tar", files_of(series))
    with tarfile.open(path) as archive:
        at = archive.getmembers()[15].offset
    path.write_bytes(path.read_bytes()[:at])
    refused(path, FormatError, "the archive is damaged: it ends early")
