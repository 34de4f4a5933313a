"""Windows and macOS: one room knows the system, and hilum works on one that lacks what only POSIX has.

The other system is a double of the standard library (``tests/other_system``), in processes of their own.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from posix_names import MODULES, NAMES, OPTIONS, PLACES, WINDOWS_MODULES, WINDOWS_NAMES
from served import ask, ended, started
from small_runs import content, faults, write_small

import hilum
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
    "import signal\nsignal.SIGKILL", "import msvcrt", "ctypes.CDLL(None)",
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
