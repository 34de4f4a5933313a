"""Another system, for hilum's modules in processes that have this folder on PYTHONPATH: Python imports this file first.

They find the standard library of Windows: what only POSIX has is missing, and what only Windows has is made of what is
here. Other packages keep theirs: that they run on Windows is for their own tests. Nothing of hilum is replaced.

FAULTS is that of ``tests/faulty``.
"""

from __future__ import annotations

import builtins
import contextlib
import ctypes
import fcntl
import multiprocessing.connection
import os
import runpy
import signal
import struct
import subprocess
import sys
import types
from pathlib import Path

TESTS = Path(__file__).parent.parent
sys.path.insert(0, str(TESTS))
from posix_names import MODULES, NAMES, PLACES  # noqa: E402

sys.path.remove(str(TESTS))


def _is_hilum(name):
    return name.partition(".")[0] == "hilum"


class _Module(types.ModuleType):
    """A module of the standard library without some names, and with others."""

    def __init__(self, module, without=(), **changed):
        super().__init__(module.__name__)
        vars(self).update(changed, __real=module, __without=frozenset(without))

    def __getattr__(self, name):
        if name in vars(self)["__without"]:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}", name=name, obj=self)
        return getattr(vars(self)["__real"], name)

    def __setattr__(self, name, value):
        setattr(vars(self)["__real"], name, value)


def _refuse(path):
    if isinstance(path, str | os.PathLike) and os.fspath(path).startswith(PLACES) and os.fspath(path) != os.devnull:
        raise FileNotFoundError(2, "No such file or directory", os.fspath(path))


def _guarded(function, missing=None):
    def call(path=".", *more, **options):
        try:
            _refuse(path)
        except FileNotFoundError:
            if missing is None:
                raise
            return missing
        return function(path, *more, **options)

    return call


def _lock(handle, _mode, count):
    """Lock bytes from the position on, as Windows does: until the handle is closed."""
    at = os.lseek(handle, 0, os.SEEK_CUR)
    try:
        fcntl.fcntl(handle, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, at, count, 0))
    except BlockingIOError as problem:
        raise PermissionError(13, "Permission denied") from problem


def _closed(function):
    """Rename as Windows does: nothing that this process has open, and nothing over it."""

    def rename(source, target, **options):
        for path in (os.path.realpath(source), os.path.realpath(target)):
            if taken := [one for one in _opened() if f"{one}/".startswith(f"{path}/")]:
                raise PermissionError(13, f"{taken[0]} is open", os.fspath(source))
        return function(source, target, **options)

    return rename


def _opened():
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            yield str(Path(f"/proc/self/fd/{number}").readlink())
    for line in Path("/proc/self/maps").read_text().splitlines():
        yield line[73:]


def _load(path, **options):
    if path is None:
        raise TypeError("expected the path of a library: only POSIX has None for the program itself")
    return ctypes.CDLL(path, **options)


class _StartupInfo:
    def __init__(self, *, lpAttributeList):  # noqa: N803 - its name in Windows
        self.handles = lpAttributeList["handle_list"]


class _Popen(subprocess.Popen):
    def __init__(self, command, *, startupinfo, env, **options):
        assert env["__PYVENV_LAUNCHER__"] == sys.executable
        assert command[0] == sys._base_executable
        super().__init__([sys.executable, *command[1:]], env=env, pass_fds=startupinfo.handles, **options)


_files = ("stat", "lstat", "open", "listdir", "scandir", "readlink", "access")
_path = _Module(
    os.path, **{name: _guarded(vars(os.path)[name], missing=False) for name in ("exists", "isfile", "isdir")}
)
_os = _Module(
    os, NAMES["os"], name="nt", path=_path, O_BINARY=0, set_handle_inheritable=lambda *_: None,
    **{name: _guarded(vars(os)[name]) for name in _files}, rename=_closed(os.rename), replace=_closed(os.replace),
)  # fmt: skip
_channels = _Module(multiprocessing.connection, PipeConnection=multiprocessing.connection.Connection)
SYSTEM = {
    "os": _os,
    "os.path": _path,
    "sys": _Module(sys, platform="win32"),
    "signal": _Module(signal, NAMES["signal"], SIGBREAK=signal.SIGUSR1),
    "ctypes": _Module(ctypes, CDLL=_load),
    "subprocess": _Module(subprocess, STARTUPINFO=_StartupInfo, Popen=_Popen),
    "multiprocessing.connection": _channels,
    "msvcrt": types.SimpleNamespace(locking=_lock, LK_NBLCK=2),
}
_import = builtins.__import__


def _import_there(name, globals=None, locals=None, fromlist=(), level=0):  # noqa: A002 - the names of the built-in
    if globals and level == 0 and _is_hilum(globals.get("__name__") or ""):
        if name.partition(".")[0] in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        found = name if fromlist else name.partition(".")[0]
        if found in SYSTEM:
            return SYSTEM[found]
    return _import(name, globals, locals, fromlist, level)


def _watch(event, arguments):
    """Hide places from hilum that its `Path` and `open` would find."""
    if event == "open" and isinstance(arguments[0], str) and arguments[0].startswith(PLACES):
        frame = sys._getframe(1)
        while frame and frame.f_globals.get("__name__") in {"pathlib", "pathlib._local", "pathlib._abc", "io"}:
            frame = frame.f_back
        if frame and _is_hilum(frame.f_globals.get("__name__") or ""):
            _refuse(arguments[0])


builtins.__import__ = _import_there
sys.addaudithook(_watch)
if os.environ.get("FAULTS"):
    runpy.run_path(str(TESTS / "faulty" / "sitecustomize.py"))
