"""Files made to do harm: they are refused in a line, or ignored with a note, and cost neither memory nor time."""

from __future__ import annotations

import gzip
import os
import re
import struct
import subprocess
import sys
import unicodedata
import zlib
from pathlib import Path

import numpy as np
import pytest
from fuzz_inputs import bases, truth

import hilum
from hilum.datasets.folder import index
from hilum.errors import HilumError
from hilum.io.inspect import inspect

resource = pytest.importorskip("resource", reason="on Windows these tests have nothing to test with")

FILES = {base.name: base.files for base in bases()}
MEMORY = 2 * 2**30
READ = """
import sys
import hilum
for path in sys.argv[1:]:
    try:
        scan = hilum.read(path, max_gap_mm=0.0)
        print("read", *scan.ct.shape, *(note.code for note in scan.notes))
    except hilum.HilumError as error:
        print(error)
# Not ru_maxrss: that of a fresh program begins with the size of the process that started it.
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["VmHWM"].split()[0]) // 1024)
"""


def put(folder, name):
    folder.mkdir(parents=True, exist_ok=True)
    for file, data in FILES[name].items():
        (folder / file).write_bytes(data)
    return folder


def limited(*paths):
    """Read in a process of 2 GiB: a line for each path, and the memory that all took in MB."""

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    program = [sys.executable, "-c", READ, *paths]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=120, preexec_fn=limit)
    assert done.stderr == ""
    *lines, memory = done.stdout.splitlines()
    assert len(lines) == len(paths)
    return *lines, int(memory)


def fit(text):
    return len(text) <= 300 and not any(unicodedata.category(c)[0] == "C" for c in text)


# ---------------------------------------------------------------- bombs


def meta_of(data, old=b"1.2.840.10008.1.2.1\0", new=b"1.2.840.10008.1.2.1.99\0\0"):
    """File meta information of an explicit file, with the syntax of a deflated one."""
    end = 144 + struct.unpack("<I", data[140:144])[0]
    head = data[:end].replace(b"UI" + struct.pack("<H", len(old)) + old, b"UI" + struct.pack("<H", len(new)) + new)
    return head[:140] + struct.pack("<I", len(head) - 144) + head[144:], end


def bomb(tail_mb, *, element):
    """A deflated slice of some kilobytes that unpacks to `tail_mb`, as pixels or as a private element before them."""
    data = FILES["dicom plain"]["0003.dcm"]
    meta, start = meta_of(data)
    pixels = data.index(b"\xe0\x7f\x10\x00OW")
    size = tail_mb * 2**20
    if element == "pixels":
        parts = [data[start:pixels], struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OW", 0, size)]
    else:
        parts = [data[start:pixels], struct.pack("<HH2sHI", 0x5601, 0x10, b"OB", 0, size)]
    packer = zlib.compressobj(1, wbits=-15)
    out = b"".join(packer.compress(part) for part in parts)
    out += b"".join(packer.compress(bytes(2**20)) for _ in range(tail_mb))
    return meta + out + packer.compress(data[pixels:]) + packer.flush()


@pytest.mark.parametrize("element", ["pixels", "private"])
def test_a_deflated_bomb_takes_no_memory(tmp_path, element):
    put(tmp_path, "dicom plain")
    quiet = limited(tmp_path)[1]
    (tmp_path / "0003.dcm").write_bytes(bomb(600, element=element))
    assert (tmp_path / "0003.dcm").stat().st_size < 5e6
    line, memory = limited(tmp_path)
    assert fit(line)
    assert not line.startswith("read 6")
    assert memory < quiet + 300


def test_deflated_slices_of_any_honest_size_are_read(tmp_path):
    assert limited(put(tmp_path, "dicom deflated"))[0].startswith("read 6 16 16")


@pytest.mark.parametrize("name", ["nii.gz", "nrrd gzip"])
def test_a_gzip_of_several_members_is_one_file_and_a_bomb_behind_it_is_not_unpacked(tmp_path, name):
    ((file, data),) = FILES[name].items()
    start = data.index(b"\x1f\x8b")
    inner = gzip.decompress(data[start:])
    cut = len(inner) // 2
    path = tmp_path / file
    path.write_bytes(data[:start] + gzip.compress(inner[:cut]) + gzip.compress(b"") + gzip.compress(inner[cut:]))
    scan = hilum.read(path)
    np.testing.assert_array_equal(scan.ct.array, truth())
    assert not scan.notes
    path.write_bytes(data + gzip.compress(bytes(2**28)))
    line, memory = limited(path)
    assert fit(line)
    assert not line.startswith("read")
    assert memory < 400


@pytest.mark.parametrize("name", ["dicom plain", "dicom implicit", "dicom rle", "dicom enhanced"])
def test_enormous_numbers_of_frames_take_no_memory(tmp_path, name):
    numbers = (b"2147483646  ", b"999999999999", b"-1", b"1e9 ")
    folders = [tmp_path / str(k) for k in range(len(numbers))]
    for folder, frames in zip(folders, numbers, strict=True):
        count_frames(put(folder, name), frames, implicit="implicit" in name, enhanced=name == "dicom enhanced")
    *lines, memory = limited(*folders)
    assert all(map(fit, lines))
    assert memory < 400


def count_frames(folder, frames, *, implicit, enhanced):
    """Let the header of every file name a number of frames."""
    for path in folder.iterdir():
        data = path.read_bytes()
        if enhanced:
            data = re.sub(rb"(\x28\x00\x08\x00IS)\x02\x00..", b"", data, flags=re.DOTALL)
        rows = data.index(b"\x28\x00\x10\x00")
        header = (
            struct.pack("<HHI", 0x28, 8, len(frames))
            if implicit
            else struct.pack("<HH2sH", 0x28, 8, b"IS", len(frames))
        )
        path.write_bytes(data[:rows] + header + frames + data[rows:])


def test_a_hundred_thousand_empty_items_are_one_file_among_others(tmp_path):
    put(tmp_path, "dicom plain")
    data = (tmp_path / "0003.dcm").read_bytes()
    at = data.index(b"\x28\x00\x02\x00")
    items = struct.pack("<HHI", 0xFFFE, 0xE000, 0) * 100_000
    (tmp_path / "0003.dcm").write_bytes(
        data[:at] + struct.pack("<HH2sHI", 0x0021, 0x1001, b"SQ", 0, len(items)) + items + data[at:]
    )
    np.testing.assert_array_equal(hilum.read(tmp_path).ct.array, truth())


# ---------------------------------------------------------------- names, links, devices, folders


def test_control_characters_in_names_are_never_shown(tmp_path):
    folder = put(tmp_path / "a\x1b[2J\nb\u202ec\x7f", "dicom plain")
    (folder / "0003.dcm").rename(folder / "x\x1b]0;owned\x07\n\u2028.dcm")
    (folder / os.fsdecode(b"junk\xff\x00"[:5])).write_text("junk" * 100)
    scan = hilum.read(folder)
    assert [note.code for note in scan.notes] == ["ignored-files"]
    assert all(fit(note.text) for note in scan.notes)
    (folder / "0004.dcm").unlink()
    with pytest.raises(HilumError) as caught:
        hilum.read(folder, max_gap_mm=0.0)
    assert fit(str(caught.value))
    with pytest.raises(HilumError) as caught:
        hilum.read(folder / "no\x1b[2Jsuch\n")
    assert fit(str(caught.value))


@pytest.mark.parametrize("path", ["a\0b", "a\0b.nii", "x" * 5000, "x" * 5000 + ".mha", "/dev/zero", "/dev/zero/a.nii"])
@pytest.mark.parametrize("function", [hilum.read, inspect, index])
def test_paths_that_are_none_are_refused_in_a_line(path, function):
    with pytest.raises(HilumError) as caught:
        function(Path(path))
    assert fit(str(caught.value))


def test_control_characters_in_uids_are_never_shown(tmp_path):
    put(tmp_path, "dicom plain")
    for path in tmp_path.iterdir():
        data = path.read_bytes()
        at = data.index(b"\x20\x00\x0e\x00UI")
        (size,) = struct.unpack("<H", data[at + 6 : at + 8])
        uid = b"1.2\0\x1b[2J\r\n\x9b"
        path.write_bytes(data[: at + 8] + uid + bytes(size - len(uid)) + data[at + 8 + size :])
    scan = hilum.read(tmp_path)
    assert fit(scan.series_uid)
    np.testing.assert_array_equal(scan.ct.array, truth())


@pytest.mark.parametrize("name", ["zero.nii", "zero.mha", "zero.nrrd", "zero.dcm", "zero"])
def test_a_link_to_an_endless_device_is_refused(tmp_path, name):
    (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(HilumError) as caught:
        hilum.read(tmp_path / name)
    assert fit(str(caught.value))


def test_a_link_to_an_endless_device_among_slices_is_left_alone(tmp_path):
    put(tmp_path, "dicom plain")
    (tmp_path / "zero.dcm").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "0000.dcm")
    scan = hilum.read(tmp_path)
    np.testing.assert_array_equal(scan.ct.array, truth())


@pytest.mark.parametrize("name", ["mhd+raw", "nhdr"])
def test_a_header_may_not_name_a_device(tmp_path, name):
    put(tmp_path, name)
    (tmp_path / "a.raw").unlink()
    (tmp_path / "a.raw").symlink_to("/dev/zero")
    with pytest.raises(HilumError, match="leads out of") as caught:
        hilum.read(tmp_path / ("a.mhd" if "mhd" in name else "a.nhdr"))
    assert fit(str(caught.value))


def test_a_folder_of_many_junk_files_is_read_in_one_pass(tmp_path, monkeypatch):
    put(tmp_path, "dicom plain")
    for k in range(5000):
        (tmp_path / f"junk{k}").write_bytes(b"no DICOM at all" * 20)
    opened = []
    plain = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *a, **k: opened.append(self.name) or plain(self, *a, **k))
    scan = hilum.read(tmp_path)
    assert [note.code for note in scan.notes] == ["ignored-files"]
    assert "5000 files" in scan.notes[0].text
    assert all(fit(note.text) for note in scan.notes)
    assert len(opened) <= 5000 + 2 * 6  # no file of junk twice


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
def test_a_locked_folder_or_file_is_said_and_read_around(tmp_path):
    put(tmp_path, "dicom plain")
    put(tmp_path / "locked", "mhd+raw").chmod(0)
    (tmp_path / "other").write_bytes(b"x")
    (tmp_path / "other").chmod(0)
    try:
        scan = hilum.read(tmp_path)
        assert [note.code for note in scan.notes] == ["unreadable-folders", "unreadable-files"]
        with pytest.raises(HilumError) as caught:
            hilum.read(tmp_path / "locked")
        assert fit(str(caught.value))
        with pytest.raises(HilumError) as caught:
            hilum.read(tmp_path / "locked" / "a.mhd")
        assert fit(str(caught.value))
    finally:
        (tmp_path / "locked").chmod(0o755)


def test_a_folder_that_the_system_does_not_open_is_said(tmp_path, monkeypatch):
    """The same for root, to whom no permission is refused."""
    put(tmp_path, "dicom plain")
    (tmp_path / "locked").mkdir()
    plain = os.scandir

    def scandir(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return plain(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert [note.code for note in hilum.read(tmp_path).notes] == ["unreadable-folders"]
    with pytest.raises(HilumError) as caught:
        hilum.read(tmp_path / "locked")
    assert fit(str(caught.value))


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_voxel_size_that_is_none_is_refused_without_a_warning(tmp_path, value):
    data = bytearray(FILES["nii"]["a.nii"])
    data[80:84] = data[88:92] = struct.pack("<f", value)
    data[254:256] = bytes(2)  # the qform alone
    (tmp_path / "a.nii").write_bytes(data)
    with pytest.raises(HilumError) as caught:
        hilum.read(tmp_path / "a.nii")
    assert fit(str(caught.value))
