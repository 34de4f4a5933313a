"""Files of compiled code: whose are loaded, where they are kept, who may read them. Other users are real ones."""

from __future__ import annotations

import logging
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from hilum._kernels.compile import cache
from hilum._os.folders import is_private_group

resource = pytest.importorskip("resource", reason="on Windows these tests have nothing to test with")

ALICE, MALLORY = 54321, 54322
"""Users without an entry in the system's list."""

NOWHERE = Path("no folder, as of code that was made of a string")
NAME, CODE = "bits._count.0123.kernel", b"<i8\nmachine code"
FOLDER = Path(".cache/hilum/kernels")

needs_users = pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root can be another user")
posix_only = pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")

START = """
import grp, os, pwd, platformdirs
from pathlib import Path
from hilum._kernels.compile import cache
NAME, CODE, NOWHERE = {name!r}, {code!r}, Path("nowhere")
def become(user):
    os.setgroups([]); os.setgid(user); os.setuid(user)
become({user}) if {user} else None
"""


def _as(user: int, program: str, **environment: object) -> subprocess.CompletedProcess[str]:
    """Run a program as a user, in the environment given; hilum is imported before, by root, whose home may be shut."""
    words = [sys.executable, "-c", START.format(name=NAME, code=CODE, user=user) + program]
    source = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}  # the source that is tested
    told = source | {name: str(value) for name, value in environment.items()}
    return subprocess.run(words, capture_output=True, text=True, check=True, env=told, cwd="/")


def _reads(user: int, **environment: object) -> bool:
    return _as(user, "print(cache.read(NAME, NOWHERE) == CODE)", **environment).stdout == "True\n"


@pytest.fixture
def shared():
    """A folder that every user may reach and, as in /tmp, write into."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o1777)
        (folder / "tmp").mkdir()
        (folder / "tmp").chmod(0o1777)
        yield folder


def _keep(user: int, home: Path) -> Path:
    """Let a user keep a file in the cache of a home folder; returns it."""
    _as(user, "cache.write(NAME, NOWHERE, CODE)", HOME=home)
    return home / FOLDER / NAME


def _give(path: Path, user: int) -> None:
    os.chown(path, user, user, follow_symlinks=False)


def _open_to_all(path: Path) -> None:
    path.chmod(0o777)


def _all_planted(home: Path) -> None:
    for path in (home / ".cache", *(home / ".cache").rglob("*")):
        _give(path, MALLORY)
        path.chmod(0o755)


def _linked(home: Path) -> None:
    shutil.copy(home / FOLDER / NAME, home / "planted")
    _give(home / "planted", MALLORY)
    (home / FOLDER / NAME).unlink()
    (home / FOLDER / NAME).symlink_to(home / "planted")


def _pipe(home: Path) -> None:
    (home / FOLDER / NAME).unlink()
    os.mkfifo(home / FOLDER / NAME)
    _give(home / FOLDER / NAME, ALICE)


PLANTED = {
    "everything is another user's": _all_planted,
    "the file is another user's": lambda home: _give(home / FOLDER / NAME, MALLORY),
    "the folder is another user's": lambda home: _give(home / FOLDER, MALLORY),
    "a folder above is another user's": lambda home: _give(home / ".cache", MALLORY),
    "others may write the file": lambda home: (home / FOLDER / NAME).chmod(0o606),
    "a group may write the file": lambda home: (home / FOLDER / NAME).chmod(0o660),
    "others may write the folder": lambda home: _open_to_all(home / FOLDER),
    "a group may write the folder": lambda home: (home / FOLDER).chmod(0o770),
    "the folder is sticky": lambda home: (home / FOLDER).chmod(0o1777),
    "others may write above": lambda home: _open_to_all(home / ".cache"),
    "others may write far above": _open_to_all,
    "a link": _linked,
    "a pipe": _pipe,
}


@needs_users
@pytest.mark.parametrize("plant", PLANTED.values(), ids=PLANTED)
def test_what_another_user_could_have_written_is_not_loaded(shared, plant):
    assert _keep(ALICE, shared).is_file()
    assert _reads(ALICE, HOME=shared)
    plant(shared)
    assert not _reads(ALICE, HOME=shared, TMPDIR=shared / "tmp")


@needs_users
def test_root_loads_no_users_code_but_a_user_loads_roots(shared):
    _keep(ALICE, shared)
    assert not _reads(0, HOME=shared, TMPDIR=shared / "tmp")
    shutil.rmtree(shared / ".cache")
    file = _keep(0, shared)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (file, file.parent)] == [0o644, 0o755]
    assert _reads(0, HOME=shared)
    assert _reads(ALICE, HOME=shared)


@needs_users
def test_the_planted_code_of_a_kernel_does_not_run(shared):
    program = f"""
from hilum._kernels.compile import compiler, machine_code
from hilum._kernels.compile.kernel import kernel
scope = dict(kernel=kernel, __name__="fresh")
exec("@kernel()\\ndef f(x): return x + 1\\n@kernel()\\ndef planted(x): return x * 1000\\n", scope)
module, result = compiler.compile_kernel(scope["planted"], ("<i8",), machine_code.SYMBOL)
code = bytes(machine_code.make_machine().emit_object(module))
name, content = machine_code._file_name(scope["f"], ("<i8",)), result.encode() + b"\\n" + code
child = os.fork()
if child == 0:
    become({MALLORY})
    cache.write(name, NOWHERE, content)
    for path in Path(os.environ["HOME"], ".cache").rglob("*"):
        path.chmod(0o755)
    Path(os.environ["HOME"], ".cache").chmod(0o755)
    os._exit(0)
os.waitpid(child, 0)
become({ALICE})
print(len(list(Path(os.environ["HOME"]).rglob(name))), scope["f"](20))
"""
    done = _as(0, program, HOME=shared, TMPDIR=shared / "tmp")
    assert done.stdout == "1 21\n"
    folder = shared / "tmp" / f"hilum-{ALICE}" / "kernels"
    assert done.stderr == (
        f"compiled kernels are cached in {folder} ({shared / FOLDER}: belongs to user {MALLORY}); "
        "set XDG_CACHE_HOME to a folder of your own\n"
    )


@needs_users
def test_a_user_without_home_and_entry_keeps_code_in_a_private_folder_and_hears_of_it_once(shared):
    write = "cache.write(NAME, NOWHERE, CODE); cache.write(NAME + '2', NOWHERE, CODE)"
    first, second = (_as(ALICE, write, TMPDIR=shared) for _ in range(2))
    assert first.stderr.count("\n") == 1
    assert "(no home folder is known); set XDG_CACHE_HOME" in first.stderr
    assert not second.stderr
    assert _reads(ALICE, TMPDIR=shared)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in sorted((shared / f"hilum-{ALICE}").rglob("*"))]
    assert modes == [0o700, 0o600, 0o600]


@posix_only
def test_who_did_not_make_the_private_folder_leaves_the_line_to_who_did(home, monkeypatch, caplog):
    monkeypatch.setenv("TMPDIR", str(home.parent))
    home.write_text("in the way")
    place = cache.CacheFolder(home.parent / f"hilum-{os.geteuid()}" / "kernels")
    made = Path.mkdir

    def beaten(folder: Path, mode: int = 0o777) -> None:
        made(folder, mode)
        raise FileExistsError

    monkeypatch.setattr(Path, "mkdir", beaten)
    cache._warn.cache_clear()
    cache.write(NAME, NOWHERE, CODE)
    assert (place.path / NAME).is_file()
    assert not caplog.messages


@needs_users
def test_a_private_folder_that_somebody_else_made_first_is_not_taken(shared):
    (shared / f"hilum-{ALICE}").mkdir()
    _give(shared / f"hilum-{ALICE}", MALLORY)
    _open_to_all(shared / f"hilum-{ALICE}")
    told = _as(ALICE, "cache.write(NAME, NOWHERE, CODE)", TMPDIR=shared).stderr
    assert told.count("compiled kernels cannot be cached") == 1
    assert not list(shared.rglob(NAME))


@needs_users
def test_beside_the_source_who_may_write_the_source_may_write_code(shared):
    source, read = shared / "source", "print(cache.read(NAME, Path(os.environ['SOURCE'])) == CODE)"
    folder = source / "__pycache__"
    source.mkdir(0o755)
    _give(source, MALLORY)

    def read_by_alice() -> bool:
        return _as(ALICE, read, SOURCE=source, TMPDIR=shared / "tmp").stdout == "True\n"

    _as(MALLORY, "cache.write(NAME, Path(os.environ['SOURCE']), CODE)", SOURCE=source)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / NAME)] == [0o755, 0o644]
    assert read_by_alice()  # who runs his source anyway
    folder.chmod(0o775)
    assert not read_by_alice()
    source.chmod(0o775)
    assert read_by_alice()
    folder.chmod(0o777)
    assert not read_by_alice()
    folder.chmod(0o755)
    _give(folder / NAME, MALLORY + 1)
    assert not read_by_alice()


@needs_users
@pytest.mark.parametrize("umask", [0o000, 0o077, 0o177])
def test_the_umask_has_no_say_in_who_may_write(shared, umask):
    homes = {ALICE: shared / "alice", 0: shared / "root"}
    for user, home in homes.items():
        home.mkdir(0o755)
        _give(home, user)
        _as(user, f"os.umask({umask}); cache.write(NAME, NOWHERE, CODE)", HOME=home)
    modes = {
        user: [stat.S_IMODE(path.stat().st_mode) for path in sorted(home.rglob("*"))] for user, home in homes.items()
    }
    assert modes == {ALICE: [0o700] * 3 + [0o600], 0: [0o755] * 3 + [0o644]}


@needs_users
def test_nobody_writes_into_a_folder_that_is_not_his(shared):
    _give(shared, MALLORY)
    _open_to_all(shared)
    for user in (0, ALICE):
        told = _as(user, "cache.write(NAME, NOWHERE, CODE)", HOME=shared, TMPDIR=shared).stderr
        assert "compiled kernels cannot be cached" in told
    assert [path.name for path in shared.rglob("*")] == ["tmp"]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """This user's home folder, in an environment that names no other."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "open"))  # to all, and so it is not taken
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.mark.parametrize("named", ["", "relative", "./relative", "~/relative"])
def test_a_relative_cache_folder_is_ignored(home, tmp_path, monkeypatch, named):
    monkeypatch.setenv("XDG_CACHE_HOME", named)
    cache.write(NAME, NOWHERE, CODE)
    assert (home / FOLDER / NAME).is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "open"]


@posix_only
@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("named", ["", "relative"])
def test_a_relative_home_is_ignored(tmp_path, monkeypatch, named):
    import pwd

    monkeypatch.setenv("HOME", named)
    monkeypatch.setattr(pwd, "getpwuid", lambda _: SimpleNamespace(pw_dir=str(tmp_path / "entry")))
    cache.write(NAME, NOWHERE, CODE)
    assert (tmp_path / "entry" / FOLDER / NAME).is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["entry", "open"]


@pytest.mark.usefixtures("home")
def test_code_of_no_folder_is_not_looked_for_where_the_user_stands(tmp_path):
    cache.write(NAME, tmp_path, CODE)
    assert (tmp_path / "__pycache__" / NAME).is_file()
    assert cache.read(NAME, Path()) is None


def test_a_file_under_the_name_of_another_is_damaged(home):
    cache.write(NAME, NOWHERE, CODE)
    (home / FOLDER / NAME).rename(home / FOLDER / "other")
    assert cache.read("other", NOWHERE) is None


@posix_only
def test_a_folder_that_links_to_itself_is_no_folder(home, caplog):
    home.mkdir()
    (home / ".cache").symlink_to(home / ".cache")
    cache._warn.cache_clear()
    cache.write(NAME, NOWHERE, CODE)
    assert cache.read(NAME, NOWHERE) is None
    assert "Too many levels of symbolic links" in caplog.text


@posix_only
def test_a_home_that_is_a_link_is_followed_and_looked_at(home, tmp_path):
    (tmp_path / "disk").mkdir(0o700)
    home.symlink_to(tmp_path / "disk")
    cache.write(NAME, NOWHERE, CODE)
    assert cache.read(NAME, NOWHERE) == CODE
    (tmp_path / "disk").chmod(0o777)
    assert cache.read(NAME, NOWHERE) is None


@posix_only
def test_a_full_disk_leaves_nothing_half_written(home, caplog):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limit[1]))
    try:
        cache._warn.cache_clear()
        cache.write(NAME, NOWHERE, CODE * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert not list((home / FOLDER).iterdir())
    assert "File too large" in caplog.text


@posix_only
@pytest.mark.usefixtures("home")
def test_the_line_that_says_so_is_one_and_short(monkeypatch, caplog):
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/" + "x\n" * 200)
    cache._warn.cache_clear()
    with caplog.at_level(logging.WARNING, logger="hilum"):
        cache.write(NAME, NOWHERE, CODE)
        cache.write(NAME, NOWHERE, CODE)
    assert len(caplog.messages) == 1
    assert len(caplog.messages[0]) <= 300
    assert "\n" not in caplog.messages[0]


def test_who_reads_while_others_write_finds_the_file_whole(home):
    cache.write(NAME, NOWHERE, CODE * 5000)
    with ThreadPoolExecutor(8) as pool:
        writing = [pool.submit(cache.write, NAME, NOWHERE, CODE * 5000) for _ in range(40)]
        found = {cache.read(NAME, NOWHERE) == CODE * 5000 for _ in range(40)}
        assert not any(done.result() for done in writing)
    assert found == {True}
    assert [path.name for path in (home / FOLDER).iterdir()] == [NAME]


@posix_only
def test_a_group_of_one_is_nobody_else(monkeypatch):
    import grp
    import pwd

    groups = {7: ("alice", []), 8: ("lab", []), 9: ("alice", ["mallory"]), 0: ("alice", [])}
    monkeypatch.setattr(grp, "getgrgid", lambda gid: SimpleNamespace(gr_name=groups[gid][0], gr_mem=groups[gid][1]))
    for gid, alone in ((7, True), (8, False), (9, False), (0, False)):
        monkeypatch.setattr(pwd, "getpwuid", lambda _, gid=gid: SimpleNamespace(pw_name="alice", pw_gid=gid))
        assert is_private_group(SimpleNamespace(st_uid=7, st_gid=gid)) is alone


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="matplotlib has other folders elsewhere")
def test_matplotlib_complains_of_no_home_folder(tmp_path):
    pytest.importorskip("matplotlib")
    environment = {key: value for key, value in os.environ.items() if key[:4] not in {"XDG_", "MPLC"}}
    environment |= {"HOME": "/dev/null", "TMPDIR": str(tmp_path)}
    program = "import os, hilum.pictures.overview, matplotlib.font_manager; print(os.environ['MPLCONFIGDIR'])"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert Path(done.stdout.strip()) == tmp_path / f"hilum-{os.geteuid()}" / "matplotlib"
