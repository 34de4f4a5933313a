"""Windows and macOS: one room knows the system, and hilum works on one that lacks what only POSIX has.

The other system is a double of the standard library (``tests/other_system``), in processes of their own.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import stat
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import psutil
import pytest
from posix_names import MODULES, NAMES, OPTIONS, PLACES, WINDOWS_MODULES, WINDOWS_NAMES
from served import ask, ended, started
from small_runs import content, faults, write_small

import hilum
from hilum._kernels.compile import cache
from hilum._os import files, folders
from hilum.errors import MissingInputError, OutputError
from hilum.io.archives import opened
from hilum.io.atomic import atomic_path
from hilum.io.dicom import plain
from hilum.io.dicom.headers import read_headers
from hilum.io.files import open_file
from hilum.outputs.ledger import read_ledger
from hilum.phantom.chest import make_phantom
from hilum.phantom.files import write_dicom_series

HERE = Path(__file__).parent
SOURCE = Path(hilum.__file__).parent
ROOM = SOURCE / "_os"
COUNT = 4

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the double is made of what Linux has")


# --- one room ---


def leaks(source: str) -> list[str]:
    """What a module names that only some systems have."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found += [one.name for one in names if one.name in MODULES | WINDOWS_MODULES]
            case ast.ImportFrom(module=str(module), names=names):
                found += [module] if module in MODULES | WINDOWS_MODULES else []
                found += [f"{module}.{one.name}" for one in names if one.name in of_one_system(module)]
            case ast.Attribute(value=ast.Name(id=module), attr=name) if name in of_one_system(module):
                found.append(f"{module}.{name}")
            case ast.Call(
                func=ast.Name(id="getattr" | "hasattr"), args=[ast.Name(id=module), ast.Constant(value=name), *_]
            ):
                found += [f"{module}.{name}"] if name in of_one_system(module) else []
            case ast.keyword(arg=str(name)) if name in OPTIONS:
                found.append(name)
            case ast.Constant(value=str(text)) if text.startswith((*PLACES, "/dev/", "/run/", "/etc/")):
                found.append(text)
    return found


def of_one_system(module: str) -> frozenset[str]:
    return NAMES.get(module, frozenset()) | WINDOWS_NAMES.get(module, set())


def test_only_one_room_names_what_only_some_systems_have():
    found = {path: leaks(path.read_text(encoding="utf-8")) for path in SOURCE.rglob("*.py") if ROOM not in path.parents}
    assert len(found) > 200
    assert {path: names for path, names in found.items() if names} == {}
    assert {
        "fcntl",
        "resource",
        "pwd",
        "msvcrt",
        "os.geteuid",
        "os.sched_getaffinity",
        "signal.SIGKILL",
        "pass_fds",
    } <= {name for path in ROOM.glob("*.py") for name in leaks(path.read_text(encoding="utf-8"))}


@pytest.mark.parametrize("text", [
    "import fcntl", "from resource import getrlimit", "import os\nos.pread(3, 4, 5)", "from os import O_CLOEXEC",
    "import os\nflags = getattr(os, 'O_NOFOLLOW', 0)", "subprocess.Popen([], pass_fds=[3])", "open('/proc/self/stat')",
    "import signal\nsignal.SIGKILL", "import msvcrt", "ctypes.windll.kernel32",
])  # fmt: skip
def test_a_leak_is_found(text):
    assert len(leaks(text)) == 1
    assert leaks("import os, signal\nos.kill(1, signal.SIGTERM)\nos.link('a', 'b')\nos.open('a', os.O_RDONLY)") == []


def test_text_is_written_the_same_on_every_system():
    """Encoding and line breaks are those of the system where they are not given."""
    found = []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            modes = [
                a.value for a in node.args if isinstance(a, ast.Constant) and a.value in {"w", "x", "a", "wt", "xt"}
            ]
            given = {keyword.arg for keyword in node.keywords}
            writes = name == "write_text" or (name in {"open", "fdopen"} and modes)
            if (writes and not {"encoding", "newline"} <= given) or (
                name == "read_text" and not node.args and not given
            ):
                found.append(f"{path.relative_to(SOURCE)}:{node.lineno}")
    assert found == []


# --- another system ---


def environment(**more: str) -> dict[str, str]:
    paths = [str(HERE / "other_system"), str(SOURCE.parent), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | more


def there(program: str, *words: object) -> str:
    """What a program prints on the other system."""
    command = [sys.executable, "-W", "error", "-c", program, *map(str, words)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


IMPORTS = """
import contextlib, importlib, pkgutil, sys
import hilum
count = 0
for module in pkgutil.walk_packages(hilum.__path__, "hilum."):
    if module.name.endswith("__main__"):
        continue
    with contextlib.suppress(ModuleNotFoundError) if len(sys.argv) > 1 else contextlib.nullcontext():
        importlib.import_module(module.name)
        count += 1
print(count)
"""

DOUBLED = """
import runpy, sys, os, pathlib
import hilum
code = '''
import os, signal, sys
met = [sys.platform, os.name]
for name in ("fcntl", "resource", "pwd", "termios"):
    try:
        exec('import ' + name)
    except ImportError:
        met.append(name)
met += [name for name in ("pread", "fork", "geteuid", "O_NOFOLLOW") if not hasattr(os, name)]
met += [name for name in ("SIGKILL", "SIGHUP") if not hasattr(signal, name)]
from pathlib import Path
for look in (lambda: open("/proc/self/stat"), Path("/proc/self/stat").read_bytes, lambda: os.stat("/proc/self")):
    try:
        look()
    except FileNotFoundError:
        met.append("no /proc")
'''
space = {"__name__": "hilum.trial"}
exec(code, space)
print(*space["met"])
assert sys.platform == "linux" and hasattr(os, "pread") and pathlib.Path("/proc/self/stat").exists()
"""


def test_the_double_hides_the_names_from_hilum_alone():
    names = "win32 nt fcntl resource pwd termios pread fork geteuid O_NOFOLLOW SIGKILL SIGHUP"
    assert there(DOUBLED).split() == [*names.split(), *["no", "/proc"] * 3]


def test_every_module_is_imported():
    modules = sum(1 for path in SOURCE.rglob("*.py") if path.parent != SOURCE or path.stem != "__init__")
    assert int(there(IMPORTS, "some packages may be missing")) > 0.95 * modules


READ = """
import hashlib, json, sys
import hilum
from hilum._os import files
met = {}
for path in sys.argv[1:]:
    scan = hilum.read(path)
    voxels = hashlib.sha256(scan.ct.array.tobytes()).hexdigest()
    met[path] = [voxels, str(scan.ct.geometry), [str(note) for note in scan.notes]]
assert not files.READS_AT_OFFSETS
print(json.dumps(met))
"""


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    from pydicom.uid import RLELossless

    root = tmp_path_factory.mktemp("volumes")
    phantom = make_phantom(seed=5, shape=(20, 40, 48), spacing=(5.0, 3.0, 3.0))
    plain, packed = write_dicom_series(phantom, root / "series"), write_dicom_series(phantom, root / "packed")
    import pydicom

    for path in packed.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.compress(RLELossless)
        dataset.save_as(path)
    files = [root / f"scan{suffix}" for suffix in (".mhd", ".mha", ".nii", ".nii.gz", ".nrrd")]
    for path in files:
        hilum.write(phantom.scan.ct, path)
    return [plain, packed, *files]


def test_the_same_bytes_are_read(volumes):
    met = json.loads(there(READ, *volumes))
    for path in volumes:
        scan = hilum.read(path)
        voxels = hashlib.sha256(scan.ct.array.tobytes()).hexdigest()
        assert met[str(path)] == [voxels, str(scan.ct.geometry), [str(note) for note in scan.notes]]
    assert len({value[0] for value in met.values()}) == 1


def command(inputs: Path, out: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "hilum.cli", "run", str(inputs), "--out", str(out), "--recipe", *words]


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    """A run on the other system that was killed while its last scan was made, and finished by the same command."""
    root = tmp_path_factory.mktemp("runs")
    (root / "in").mkdir()
    write_small(root / "in", COUNT)
    (root / "recipe.toml").write_text("[resample]\nspacing_mm = 8.0\n")
    words = command(root / "in", root / "out", str(root / "recipe.toml"), "--workers", "2")
    faulty = environment(FAULTS=f"1.2.{COUNT - 1}.mhd=hang")
    with subprocess.Popen(words, env=faulty, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as run:
        until = time.monotonic() + 300
        while run.poll() is None and len(read_ledger(root / "out")) < COUNT - 1 and time.monotonic() < until:
            time.sleep(0.02)
        workers = psutil.Process(run.pid).children()
        refused = subprocess.run(words, env=environment(), capture_output=True, text=True, check=False)
        run.kill()
    gone, _ = psutil.wait_procs(workers, timeout=60)
    again = subprocess.run(words, env=environment(), capture_output=True, text=True, check=False)
    here = command(root / "in", root / "clean", str(root / "recipe.toml"))
    subprocess.run(here, capture_output=True, check=True)
    return root, len(workers), len(gone), refused, again


def test_a_second_run_is_refused_while_the_first_one_runs(resumed):
    root, *_, refused, _ = resumed
    assert refused.returncode == 1
    assert "another run writes here: process" in refused.stderr  # which one is read while it is locked
    assert str(root / "out") in refused.stderr


def test_workers_end_with_their_run(resumed):
    _, workers, gone, *_ = resumed
    assert workers == gone == 2


def test_a_killed_run_is_resumed_and_gives_the_same_bytes(resumed):
    root, *_, again = resumed
    assert again.returncode == 0, again.stderr
    rows = read_ledger(root / "out").values()
    assert {row.status for row in rows} <= {"done", "repaired"}
    assert len(rows) == COUNT
    assert content(root / "out") == content(root / "clean")
    assert not [name for name in os.listdir(root / "out" / "scans") if name.startswith(".")]
    assert faults(root / "out") == []
    verified = [sys.executable, "-m", "hilum.cli", "verify", str(root / "out")]
    assert subprocess.run(verified, env=environment(), capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not (SOURCE / "viewer/page/index.html").is_file(), reason="the page of the viewer is not built")
def test_the_viewer_answers(resumed):
    with started(resumed[0] / "out", **environment()) as (process, host, folder):
        status, _, body = ask(host, f"/{folder}/")
        assert status == 200
        assert b"hilum" in body
        assert ask(host, f"/{folder}/api/session")[0] == 200
        ended(process)


# --- parts of the room ---


def test_a_rename_waits_until_others_have_closed_the_file(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("new")
    (tmp_path / "b").write_text("old")
    refusals = [PermissionError(13, "in use")] * 2

    def replace(source, target):
        if refusals:
            raise refusals.pop()
        Path(source).rename(target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(PermissionError):  # other systems rename what is open: permission is missing
        files.rename(tmp_path / "a", tmp_path / "b", replace=True)
    monkeypatch.setattr(files, "_IS_WINDOWS", True)
    files.rename(tmp_path / "a", tmp_path / "b", replace=True)
    assert (tmp_path / "b").read_text() == "new"
    (tmp_path / "a").write_text("newer")
    refusals += [PermissionError(13, "in use")] * 10_000
    monkeypatch.setattr(files, "_PATIENCE_S", 0.1)
    with pytest.raises(OutputError, match="close the programs that have it open"), atomic_path(tmp_path / "b") as path:
        path.write_text("newest")
    assert (tmp_path / "b").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


@pytest.mark.parametrize(("letters", "says"), [(300, True), (100, False)])
def test_a_path_that_is_too_long_for_windows_is_told(tmp_path, monkeypatch, letters, says):
    path = tmp_path / "/".join(["x" * 100] * (letters // 100)) / "a.mhd"
    for windows in (False, True):
        monkeypatch.setattr(files, "_IS_WINDOWS", windows)
        with pytest.raises(MissingInputError) as caught:
            open_file(path)
        assert ("turn on long paths in Windows" in str(caught.value)) is (says and windows)


def test_a_link_is_refused_where_the_system_has_no_flag_for_it(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("1")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    monkeypatch.setattr(files, "_NO_LINKS", 0)
    os.close(files.open_handle(tmp_path / "link"))
    os.close(files.open_handle(tmp_path / "a", follow=False))
    for write in (False, True):
        with pytest.raises(OSError, match="symbolic links"):
            files.open_handle(tmp_path / "link", write=write, follow=False)


@pytest.mark.parametrize("damage", ["none", "short", "folder"])
def test_frames_are_the_same_without_reads_at_offsets(tmp_path, monkeypatch, damage):
    series = write_dicom_series(make_phantom(seed=3, shape=(20, 40, 48), spacing=(5.0, 3.0, 3.0)), tmp_path / "series")
    headers = [header for path in sorted(series.iterdir()) for header in read_headers(series, path.name)]
    spoiled = series / headers[7].path
    if damage == "short":
        os.truncate(spoiled, spoiled.stat().st_size - 100)
    elif damage == "folder":
        spoiled.unlink()
        spoiled.mkdir()
    read = []
    for at_offsets in (True, False):
        monkeypatch.setattr(plain, "READS_AT_OFFSETS", at_offsets)
        voxels, scratch = np.zeros((20, 40, 48), np.int16), np.empty((40, 48), np.int16)
        stats = plain.read_plain(series, list(enumerate(headers)), scratch, voxels)
        read.append((stats, voxels[sorted(stats)]))
    assert read[0][0] == read[1][0]
    assert len(read[0][0]) == (20 if damage == "none" else 19)
    np.testing.assert_array_equal(read[0][1], read[1][1])


@pytest.mark.parametrize(("system", "place"), [("Unix", ".cache/hilum"), ("MacOS", "Library/Caches/hilum")])
def test_caches_are_where_each_system_keeps_them(monkeypatch, tmp_path, system, place):
    """The class of platformdirs for macOS runs here, too; the one for Windows asks Windows."""
    from platformdirs import macos, unix

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("platformdirs.PlatformDirs", {"Unix": unix.Unix, "MacOS": macos.MacOS}[system])
    assert folders.user_cache() == tmp_path / place


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_what_is_kept_for_one_user_is_closed_to_others(tmp_path, monkeypatch, umask):
    """The code of kernels: see ``tests/test_kept.py``."""
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    volume = make_phantom(seed=1, shape=(20, 40, 48), spacing=(5.0, 3.0, 3.0)).scan.ct
    hilum.write(volume, tmp_path / "scan.nii")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "scan.nii", "scan.nii")
    before = os.umask(umask)
    try:
        with opened(tmp_path / "a.zip") as unpacked:
            assert stat.S_IMODE(unpacked.path.stat().st_mode) == 0o700
        private = cache.private_folder("matplotlib")
        assert private is not None
        assert stat.S_IMODE(private.stat().st_mode) in {0o700, 0o755}  # root's can be read by all, as its programs
    finally:
        os.umask(before)
