"""Build the library of compiled kernels: ``python -m hilum._kernels.compile [FILE]``.

Every kernel of `signatures.txt` is compiled for every level of processors, each level in a process of its own, and
linked into one shared library. Without FILE it goes beside the source, and is used from then on. Needs the packages of
the extra ``compile``, and a linker: the C compiler that CC names, the system's, or the package ziglang.
"""

from __future__ import annotations

import ast
import importlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
from numba.core.errors import NumbaError

from hilum._kernels.compile import compiler, library
from hilum._kernels.compile.levels import level_function, levels_of
from hilum._kernels.compile.processor import make_machine
from hilum._kernels.compile.signatures import LIST, listed

_EXPORT = "dllexport " if os.name == "nt" else ""

_LINK = {
    "linux": ["-shared", "-nostdlib", "-s"],  # Python's own process has the C functions: one file for every C library
    "darwin": ["-dynamiclib"],
}


def main(words: list[str]) -> int:
    """Build the library, compile one level of it, or make the list of what a file says is used, or add that."""
    if words[:1] == ["--level"]:
        compile_level(words[1], Path(words[2]))
    elif words[:1] in (["--list"], ["--add"]):
        used = Path(words[1]).read_text(encoding="utf-8").splitlines()
        write_list(used if words[0] == "--list" else [*listed(), *used])
    else:
        build(Path(words[0]) if words else library.FILE)
    return 0


def build(target: Path) -> None:
    """Compile every level, and link them into `target`; elsewhere than beside the source, a built library is copied."""
    if target != library.FILE and library.is_current():
        shutil.copyfile(library.FILE, target)
        return
    linker, command = _linker(), [sys.executable, "-m", "hilum._kernels.compile", "--level"]
    with tempfile.TemporaryDirectory() as made:
        running, objects = [], list[Path]()
        for level in levels_of(llvm.get_process_triple()):
            objects.append(Path(made, f"{level.name}.o"))
            asked = {"NUMBA_CPU_NAME": level.processor, "NUMBA_CPU_FEATURES": level.features}
            running.append(_start([*command, level.name, str(objects[-1])], asked))
        statuses = [process.wait() for process in running]
        if any(statuses):
            raise SystemExit("the library of kernels was not built: a level could not be compiled")
        linked = Path(made, target.name)
        link = [*linker, *_LINK.get(sys.platform, ["-shared"]), "-o", str(linked), *map(str, objects)]
        subprocess.run(link, check=True)  # noqa: S603 - the linker of the system
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(linked, target.with_name(f"{target.name}.new"))
        target.with_name(f"{target.name}.new").replace(target)  # a process that uses the old one keeps it
    sys.stdout.write(f"{target}: {target.stat().st_size // 1024} KiB\n")


def _start(command: list[str], asked: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, env={**os.environ, **asked})  # noqa: S603 - this program itself


def _linker() -> list[str]:
    if named := os.environ.get("CC"):
        return shlex.split(named)
    if found := shutil.which("cc") or shutil.which("clang") or shutil.which("gcc"):
        return [found]
    if find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc"]
    raise SystemExit("no linker for the library of kernels; install a C compiler, or 'pip install ziglang'")


def compile_level(name: str, target: Path) -> None:
    """Compile all kernels into one object file, for the processor that numba's environment variables name.

    The object of the lowest level has the index, too, and the function that asks the processor.
    """
    triple, whole, index = llvm.get_process_triple(), None, []
    for number, line in enumerate(listed()):
        try:
            module, result = _compile(line, library.symbol(name, number))
        except (TypeError, NumbaError):  # nothing can call it: the kernel takes other types now
            sys.stderr.write(f"left out, for it cannot be compiled: {line}\n")
            continue
        if os.name == "nt" and any(function.name == "pread" for function in module.functions):
            continue  # Windows has no such function, and hilum calls no such kernel there
        index.append(f"{number}\t{result}\t{line}")
        whole = module if whole is None else _join(whole, module)
    levels = [level.name for level in levels_of(triple)]
    if whole is not None and name == levels[0]:
        text = "\n".join((library.source_stamp(), " ".join(levels), *index)).encode() + b"\0"
        held = "".join(f"\\{byte:02x}" for byte in text)
        constant = f'@hilum_index = {_EXPORT}constant [{len(text)} x i8] c"{held}"'
        whole.link_in(llvm.parse_assembly(f"{constant}\n{level_function(triple, _EXPORT)}"))
    target.write_bytes(make_machine(shared=True).emit_object(whole))


def write_list(lines: list[str]) -> None:
    """Write the lines of kernels that hilum has, sorted."""
    known = {line for line in lines if line.startswith("hilum._kernels.") and _find(line) is not None}
    LIST.write_text("".join(f"{line}\n" for line in sorted(known)), encoding="utf-8", newline="\n")


def _find(line: str) -> Any:
    module, _, kernel = line.partition(" ")[0].rpartition(".")
    return getattr(importlib.import_module(module), kernel, None) if find_spec(module) else None


def _compile(line: str, symbol: str) -> tuple[Any, str]:
    kinds = ast.literal_eval(line.partition(" ")[2])
    compiled, result = compiler.compile_kernel(_find(line), kinds, symbol)
    if _EXPORT:
        compiled.get_function(symbol).storage_class = "dllexport"
    return compiled, result


def _join(whole: Any, module: Any) -> Any:
    whole.link_in(module)
    return whole


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
