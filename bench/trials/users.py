"""Whose compiled code is loaded, and what a start is like without a folder of one's own: real users, by number."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import sysconfig
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trials.runs import RECIPE, content, small_scans

from hilum._kernels.compile import cache

if TYPE_CHECKING:
    import argparse

ALICE, MALLORY = 54321, 54322
"""Users without an entry in the system's list, as containers are started with."""

CACHE = Path(".cache/hilum/kernels")
SOURCE = Path(__file__).resolve().parents[2] / "src"


@dataclass(frozen=True)
class Stage:
    """What all plays take place on; every user may reach it."""

    folder: Path
    python: Path
    inputs: Path
    environment: dict[str, str]

    def start(self, user: int, out: str, *, umask: int = 0o022, program: str = "program", **more: object) -> Start:
        """Run hilum on the scans as a user, in an environment that names no home."""
        path = f"{self.folder / program}{os.pathsep}{self.environment['PYTHONPATH']}"
        environment = {**self.environment, "PYTHONPATH": path, **{name: str(value) for name, value in more.items()}}
        where = self.folder / f"{out}-place"
        where.mkdir(exist_ok=True)
        os.chown(where, user, user)
        words = [self.python, "-m", "hilum.cli", "run", self.inputs, "--out", where / out, "--recipe",
                 self.inputs.parent / "recipe.toml", "--workers", "2"]  # fmt: skip
        started = time.perf_counter()
        done = subprocess.run(words, user=user, group=user, extra_groups=[], umask=umask, env=environment, cwd=where,
                              capture_output=True, text=True, check=False)  # fmt: skip
        seconds = time.perf_counter() - started
        same = content(where / out) if done.returncode == 0 else {}
        shutil.rmtree(where / out, ignore_errors=True)
        lines = [
            line for line in done.stderr.splitlines() if " scans a minute" not in line
        ]  # progress of a slow machine
        return Start(done.returncode, seconds, lines, same, sorted(p.name for p in where.iterdir()))


@dataclass(frozen=True)
class Start:
    """What came of a start: its lines on stderr, the files it made, and what else lies where it was started."""

    status: int
    seconds: float
    lines: list[str]
    files: dict[str, str]
    beside: list[str]

    def __str__(self) -> str:
        said = f": {' | '.join(self.lines[:3])}" if self.lines else ""
        return f"status {self.status}, {self.seconds:.1f} s, {len(self.lines)} lines on stderr{said}"


def users(asked: argparse.Namespace, scratch: Path) -> bool:  # noqa: ARG001 - as the others
    """Play what users do to each other, and what containers do to them."""
    if os.name != "posix" or os.geteuid() != 0:
        print("only root can be another user: nothing was tried")
        return True
    stage = _stage(scratch)
    if stage is None:
        print("another user cannot reach this Python or its packages: nothing was tried")
        return True
    whole = stage.start(0, "whole", HOME=_home(stage, "owner", 0))
    plays = (_planted, _umask, _image, _system_cache, _no_home)
    held = [play(_without_kernels(stage, play.__name__), whole) for play in plays]
    return whole.status == 0 and bool(whole.files) and all(held)


def _stage(scratch: Path) -> Stage | None:
    scratch.chmod(0o755)
    inputs = small_scans(scratch / "in", 3)
    (inputs.parent / "recipe.toml").write_text(RECIPE)
    for name in ("program", "image"):
        _install(scratch / name)
    (scratch / "program/hilum/_kernels/__pycache__").write_text("in the way: even root cannot write into it")
    environment = {"PATH": os.defpath, "PYTHONPATH": sysconfig.get_path("purelib"), "PYTHONDONTWRITEBYTECODE": "1"}
    python = Path(sys.executable)
    if not _works(python, environment):
        python, environment = (
            _copied_python(scratch / "python"),
            {
                **environment,
                "LD_LIBRARY_PATH": str(scratch / "python/lib"),
            },
        )
    return Stage(scratch, python, inputs, environment) if _works(python, environment) else None


def _without_kernels(stage: Stage, name: str) -> Stage:
    """Give a play a folder for temporary files of its own: no play may live on what another has compiled."""
    folder = stage.folder / f"tmp{name}"
    folder.mkdir()
    folder.chmod(0o1777)
    return replace(stage, environment={**stage.environment, "TMPDIR": str(folder)})


def _install(folder: Path) -> None:
    shutil.copytree(SOURCE / "hilum", folder / "hilum", ignore=shutil.ignore_patterns("__pycache__"))
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _works(python: Path, environment: dict[str, str]) -> bool:
    try:
        done = subprocess.run([python, "-c", "import ssl, numba"], user=ALICE, group=ALICE, extra_groups=[], cwd="/",
                              env=environment, capture_output=True, check=False)  # fmt: skip
    except PermissionError:
        return False
    return done.returncode == 0


def _copied_python(folder: Path) -> Path:
    """Copy the interpreter to where all may reach it: root's own may lie in root's home folder."""
    unwanted = shutil.ignore_patterns("test", "site-packages", "__pycache__", "*.a")
    shutil.copytree(sys.base_prefix, folder, symlinks=True, ignore=unwanted)
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044 | (path.stat().st_mode & 0o100) // 8))
    return folder / "bin" / Path(sys.executable).resolve().name


def _home(stage: Stage, name: str, user: int, mode: int = 0o755) -> Path:
    home = stage.folder / name
    home.mkdir()
    os.chown(home, user, user)
    home.chmod(mode)
    return home


def _planted(stage: Stage, whole: Start) -> bool:
    """One user of a shared home leaves code there, whole by its checksum, that no process would survive."""
    home = _home(stage, "shared", 0, 0o1777)
    first = stage.start(MALLORY, "mallory", HOME=home)
    files = sorted((home / CACHE).glob("*.kernel"))
    for path in (home / ".cache", *(home / ".cache").rglob("*")):
        path.chmod(0o755)
    for path in files:
        planted = b"\nno machine code"
        path.write_bytes(cache.checksum(path.name, planted) + planted)
        os.chown(path, MALLORY, MALLORY)
    started = stage.start(ALICE, "planted", HOME=home)
    held = first.status == 0 and len(files) > 10 and started.files == whole.files and len(started.lines) == 1
    print(f"{len(files)} files of code planted in a shared home: {started}; "
          f"{'none ran' if started.files == whole.files else 'THEY WERE LOADED'}", flush=True)  # fmt: skip
    return held


def _umask(stage: Stage, whole: Start) -> bool:
    home = _home(stage, "open", ALICE)
    started = stage.start(ALICE, "umask", HOME=home, umask=0)
    found = [path for path in home.rglob("*") if "hilum" in path.parts or path.name == ".cache"]
    modes = sorted({f"{'folders' if path.is_dir() else 'files'} {stat.S_IMODE(path.stat().st_mode):04o}"
                    for path in found})  # fmt: skip
    print(f"umask 000: {started}; {', '.join(modes)}", flush=True)
    return started.files == whole.files and modes == ["files 0600", "folders 0700"] and not started.lines


def _image(stage: Stage, whole: Start) -> bool:
    """An image that root has made, with its kernels beside the source, is run as a user."""
    home = _home(stage, "root", 0, 0o700)
    stage.start(0, "built", program="image", HOME=home)
    owner = stage.start(0, "owner-again", program="image", HOME=home)
    started = stage.start(ALICE, "image", program="image", HOME="/")
    print(f"an image that root has made, second start of root: {owner}", flush=True)
    print(f"    first start of a user there: {started}", flush=True)
    return owner.files == started.files == whole.files and not started.lines and not owner.lines


def _system_cache(stage: Stage, whole: Start) -> bool:
    cache = _home(stage, "system", 0)
    stage.start(0, "filled", XDG_CACHE_HOME=cache, umask=0o077)
    started = stage.start(ALICE, "system-cache", XDG_CACHE_HOME=cache)
    print(f"a cache folder that root has filled, first start of a user: {started}", flush=True)
    return started.files == whole.files and not started.lines


def _no_home(stage: Stage, whole: Start) -> bool:
    """A container's user: no home, no entry; and a cache folder that XDG's rules forbid."""
    first = stage.start(ALICE, "no-home", XDG_CACHE_HOME="relative")
    held = first.files == whole.files and len(first.lines) == 1 and not first.beside
    print(f"no HOME, no entry, XDG_CACHE_HOME=relative, first start: {first}", flush=True)
    print(f"    where it stood lies {', '.join(first.beside) or 'nothing but its output'}", flush=True)
    for home in (None, "", "/", "/nonexistent", "relative", "/dev/null"):
        started = stage.start(ALICE, "no-home-again", **({} if home is None else {"HOME": home}))
        print(f"    second start, {'no HOME' if home is None else f'HOME={home}'}: {started}", flush=True)
        held &= started.files == whole.files and not started.lines and not started.beside
    return held
