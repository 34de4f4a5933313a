from __future__ import annotations

import errno
import os
import stat

import numpy as np
import pytest

import hilum
from hilum.errors import FormatError, OutputError
from hilum.io.atomic import atomic_folder, atomic_path


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_the_file_appears_only_when_it_is_complete(tmp_path):
    with atomic_path(tmp_path / "ct.nii.gz") as temporary:
        temporary.write_bytes(b"half")
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".")
        assert temporary.name.endswith(".nii.gz")
        assert not (tmp_path / "ct.nii.gz").exists()
        temporary.write_bytes(b"whole")
    assert names(tmp_path) == ["ct.nii.gz"]
    assert (tmp_path / "ct.nii.gz").read_bytes() == b"whole"


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), FormatError("x")])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    (tmp_path / "a.txt").write_text("old")

    def interrupted():
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.write_text("new")
            raise error

    with pytest.raises(type(error)):
        interrupted()
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    with pytest.raises(OutputError, match="No space left") as caught, atomic_path(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert "a.txt" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == []


def test_a_missing_folder_is_one_line(tmp_path):
    with pytest.raises(OutputError, match="No such file or directory"), atomic_path(tmp_path / "no" / "a.txt"):
        pytest.fail("the block must not start")


def test_a_folder_in_the_way_is_one_line(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(OutputError), atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
    assert names(tmp_path) == ["a.txt"]


def test_permissions_are_those_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_text("x")
    with atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("x")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "a.txt")]
    assert modes[0] == modes[1]


def test_bytes_are_forced_to_the_disk_before_the_name(tmp_path, monkeypatch):
    calls = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr("os.fsync", lambda handle: (calls.append("sync"), sync(handle))[1])
    monkeypatch.setattr("os.replace", lambda a, b: (calls.append("rename"), replace(a, b))[1])
    with atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("x")
    assert calls == ["sync", "rename", "sync"]
    with atomic_path(tmp_path / "a.txt", synced=False) as temporary:
        temporary.write_text("y")
    assert calls[3:] == ["rename"]


def test_a_volume_in_a_folder_is_forced_to_the_disk_before_the_folder_has_its_name(tmp_path, monkeypatch):
    calls = []
    sync, rename = os.fsync, os.rename
    monkeypatch.setattr("os.fsync", lambda handle: (calls.append(os.fstat(handle).st_ino), sync(handle))[1])
    monkeypatch.setattr("os.rename", lambda a, b: (calls.append("rename"), rename(a, b))[1])
    volume = hilum.Volume(np.zeros((2, 3, 4), np.int16), hilum.Geometry((2, 3, 4), (1.0, 1.0, 1.0)))
    with atomic_folder(tmp_path / "folder") as folder:
        hilum.write(volume, folder / "ct.nii")
        assert calls == []
    written = (tmp_path / "folder" / "ct.nii").stat().st_ino
    assert calls.index(written) < calls.index("rename")
    hilum.write(volume, tmp_path / "alone.nii")
    assert (tmp_path / "alone.nii").stat().st_ino not in calls


def test_numpy_tells_of_a_full_disk_in_its_own_words(tmp_path):
    with pytest.raises(OutputError) as caught, atomic_path(tmp_path / "a.npy"):
        raise OSError("1000 requested and 12 written")
    assert caught.value.code == "disk-full"
    with pytest.raises(OutputError) as caught, atomic_path(tmp_path / "a.npy"):
        raise OSError("something else")
    assert caught.value.code == "output"
