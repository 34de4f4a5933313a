"""Free memory as control groups tell it, on fake trees of both versions, and what is taken for a limit."""

from __future__ import annotations

import os

import psutil
import pytest

from hilum import cli
from hilum._os import memory
from hilum._os.memory import free_in_groups, free_memory, resident_bytes
from hilum.batch import limits
from hilum.batch.limits import MIN_SCAN_BYTES, count_processes, limits_of
from hilum.errors import InputError

MB = 1 << 20
NONE = 9223372036854771712
"""What version 1 says where there is no limit."""


def tree(root, *, groups, mounts):
    """A root with /proc/self of a process in some groups, and what is mounted where."""
    own = root / "proc" / "self"
    own.mkdir(parents=True)
    (own / "cgroup").write_text("".join(f"{line}\n" for line in groups))
    (own / "mountinfo").write_text(
        "22 27 0:21 / /proc rw,relatime - proc proc rw\n" + "".join(f"{line}\n" for line in mounts)
    )
    return root


def second(folder, *, limit="max", used=0, **stat):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text("".join(f"{name} {value}\n" for name, value in stat.items()))


def first(folder, *, limit=NONE, used=0, **stat):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (folder / "memory.usage_in_bytes").write_text(f"{used}\n")
    (folder / "memory.stat").write_text("".join(f"{name} {value}\n" for name, value in stat.items()))


V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
V1 = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory"


def test_a_container_whose_cache_is_full_has_memory(tmp_path):
    root = tree(tmp_path, groups=["0::/"], mounts=[V2])
    full = {"anon": 100 * MB, "inactive_file": 500 * MB, "active_file": 300 * MB, "slab_reclaimable": 100 * MB}
    second(root / "sys/fs/cgroup", limit=1000 * MB, used=1000 * MB, **full, slab_unreclaimable=MB, shmem=5 * MB)
    assert free_in_groups(root) == 900 * MB


def test_the_same_in_version_1_where_the_whole_tree_below_counts(tmp_path):
    root = tree(tmp_path, groups=["9:name=systemd:/", "4:cpu,memory:/"], mounts=[V1])
    full = {"inactive_file": MB, "total_inactive_file": 500 * MB, "total_active_file": 300 * MB, "total_cache": MB}
    first(root / "sys/fs/cgroup/memory", limit=1000 * MB, used=1000 * MB, **full)
    assert free_in_groups(root) == 800 * MB


@pytest.mark.parametrize(("groups", "mount", "make"), [(["0::/a/b"], V2, second), (["4:memory:/a/b"], V1, first)])
def test_the_tightest_of_nested_groups_decides(tmp_path, groups, mount, make):
    root = tree(tmp_path, groups=groups, mounts=[mount])
    top = root / mount.split()[4].lstrip("/")
    make(top, limit=22_000 * MB, used=MB)
    make(top / "a", limit=300 * MB, used=50 * MB)
    make(top / "a/b", limit=400 * MB, used=0)
    make(top / "a/other", limit=1, used=0)
    assert free_in_groups(root) == 250 * MB
    make(top / "a/b", limit=200 * MB, used=10 * MB)
    assert free_in_groups(root) == 190 * MB


def test_a_container_sees_its_own_group_at_the_root_of_the_mount(tmp_path):
    mount = V1.replace("0:32 / ", "0:32 /docker/0123 ")
    root = tree(tmp_path, groups=["4:memory:/docker/0123/job"], mounts=[mount])
    first(root / "sys/fs/cgroup/memory", limit=500 * MB, used=100 * MB)
    first(root / "sys/fs/cgroup/memory/job", limit=NONE, used=100 * MB)
    assert free_in_groups(root) == 400 * MB


def test_a_mount_of_another_branch_speaks_for_its_root(tmp_path):
    root = tree(tmp_path, groups=["0::/../outside"], mounts=[V2])
    second(root / "sys/fs/cgroup", limit=500 * MB, used=100 * MB)
    assert free_in_groups(root) == 400 * MB


def test_limits_around_that_cannot_be_seen_count_in_version_1(tmp_path):
    root = tree(tmp_path, groups=["4:memory:/"], mounts=[V1])
    first(root / "sys/fs/cgroup/memory", used=100 * MB, hierarchical_memory_limit=256 * MB)
    assert free_in_groups(root) == 156 * MB


def test_the_mark_above_which_processes_are_slowed_down_is_a_limit(tmp_path):
    root = tree(tmp_path, groups=["0::/"], mounts=[V2])
    second(root / "sys/fs/cgroup", limit=1000 * MB, used=100 * MB)
    (root / "sys/fs/cgroup/memory.high").write_text(f"{400 * MB}\n")
    assert free_in_groups(root) == 300 * MB


def test_a_machine_with_both_versions_is_read_where_the_memory_is(tmp_path):
    unified = V2.replace("/sys/fs/cgroup ", "/sys/fs/cgroup/unified ")
    root = tree(tmp_path, groups=["4:memory:/a", "0::/b"], mounts=[V1, unified])
    first(root / "sys/fs/cgroup/memory/a", limit=300 * MB, used=100 * MB)
    (root / "sys/fs/cgroup/unified/b").mkdir(parents=True)
    assert free_in_groups(root) == 200 * MB


def test_a_mount_with_a_blank_in_its_name_is_found(tmp_path):
    root = tree(tmp_path, groups=["0::/"], mounts=[V2.replace("/sys/fs/cgroup ", r"/my\040groups ")])
    second(root / "my groups", limit=300 * MB, used=100 * MB)
    assert free_in_groups(root) == 200 * MB


def test_what_is_used_up_leaves_nothing_and_never_less(tmp_path):
    root = tree(tmp_path, groups=["0::/"], mounts=[V2])
    second(root / "sys/fs/cgroup", limit=100 * MB, used=120 * MB, inactive_file=5 * MB)
    assert free_in_groups(root) == 0
    second(root / "sys/fs/cgroup", limit=100 * MB, used=20 * MB, inactive_file=50 * MB)  # not read at one moment
    assert free_in_groups(root) == 100 * MB


@pytest.mark.parametrize("make", [first, second])
def test_no_limit_is_none(tmp_path, make):
    mount, groups = (V1, ["4:memory:/a"]) if make is first else (V2, ["0::/a"])
    root = tree(tmp_path, groups=groups, mounts=[mount])
    make(root / mount.split()[4].lstrip("/") / "a", used=100 * MB)
    assert free_in_groups(root) is None


@pytest.mark.parametrize("garbage", ["", "\0\xff", "-5", "1e9", "9" * 5000, "lots\n", "12 34", "²"])
def test_what_makes_no_sense_is_passed_over(tmp_path, garbage):
    root = tree(tmp_path, groups=["0::/a", garbage, "0", "::", "0::no"], mounts=[V2, garbage, "- cgroup2", "1 2 3 - x"])
    second(root / "sys/fs/cgroup", limit=300 * MB, used=100 * MB)
    second(root / "sys/fs/cgroup/a", limit=garbage, used=garbage, inactive_file=garbage)
    assert free_in_groups(root) == 200 * MB
    second(root / "sys/fs/cgroup/a", limit=50 * MB, used=garbage, inactive_file=garbage)
    assert free_in_groups(root) == 50 * MB


def test_what_is_not_there_or_cannot_be_read_is_passed_over(tmp_path):
    assert free_in_groups(tmp_path / "empty") is None
    root = tree(tmp_path, groups=["0::/a/b"], mounts=[V2])
    assert free_in_groups(root) is None
    second(root / "sys/fs/cgroup/a", limit=300 * MB, used=100 * MB)
    for name in ("memory.max", "memory.current", "memory.stat"):  # a folder cannot be read, by root either
        (root / "sys/fs/cgroup/a/b" / name).mkdir(parents=True)
    assert free_in_groups(root) == 200 * MB
    (root / "sys/fs/cgroup/a/memory.stat").unlink()
    (root / "sys/fs/cgroup/a/memory.current").unlink()
    assert free_in_groups(root) == 300 * MB


def test_groups_and_machine_both_count(monkeypatch):
    available = psutil.virtual_memory().available
    monkeypatch.setattr(memory, "free_in_groups", lambda: None)
    assert 0.2 * available < free_memory() < 5 * available
    monkeypatch.setattr(memory, "free_in_groups", lambda: 5 * MB)
    assert free_memory() == 5 * MB
    monkeypatch.setattr(memory, "free_in_groups", lambda: 0)
    assert free_memory() == 1  # 0 says that nothing is known


def test_the_memory_of_a_process_is_what_the_system_says():
    assert 10 * MB < resident_bytes(os.getpid()) < free_memory()
    assert resident_bytes(2**22 + 1) == 0


def test_no_more_workers_are_started_than_have_memory(monkeypatch):
    monkeypatch.setattr(limits, "free_memory", lambda: 4 * MIN_SCAN_BYTES)
    assert count_processes(64) == 3
    assert count_processes(64, memory=MIN_SCAN_BYTES) == 64  # as it was asked for
    assert count_processes(2) == 2
    assert count_processes(0) == 1
    monkeypatch.setattr(limits, "free_memory", lambda: 0)  # unknown
    assert count_processes(5) == 5


@pytest.mark.parametrize("value", ["1e300", "nan", "inf", "-inf", "-1", "1e10", "-1e-300"])
@pytest.mark.parametrize("option", ["--memory", "--timeout"])
def test_an_option_beyond_all_sense_is_one_line(tmp_path, capsys, option, value):
    assert cli.main(["run", str(tmp_path), "--out", str(tmp_path / "out"), f"{option}={value}"]) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"{option}: is {float(value):g}, expected 0 to 1e+09")
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", [1e-300, 1e-9, 0.1])
def test_a_memory_that_holds_no_scan_is_refused(value):
    with pytest.raises(InputError, match=r"--memory: is .* expected 0, or 0\.27 and more"):
        limits_of(minutes=0, gigabytes=value, retries=1)
    assert limits_of(minutes=0, gigabytes=0.27, retries=1).memory == 270_000_000
