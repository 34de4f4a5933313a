"""The processor to generate code for."""

import functools
import os
from typing import Any

import llvmlite.binding as llvm

SYMBOL = "hilum_entry"  # name of the entry point in every object file; another name for another convention


@functools.cache
def processor() -> tuple[str, str]:
    """Name and features of this machine's processor, or of the one that numba's environment variables ask for."""
    try:
        features = llvm.get_host_cpu_features().flatten()
    except RuntimeError:  # LLVM cannot detect them on every system
        features = ""
    name = os.environ.get("NUMBA_CPU_NAME") or llvm.get_host_cpu_name()
    return name, os.environ.get("NUMBA_CPU_FEATURES", features)


def make_machine(*, shared: bool = False) -> Any:
    """Make a code generator, for a shared library or for this process; an engine takes ownership of its own."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()  # for instructions that are given as text
    target = llvm.Target.from_default_triple()
    name, features = processor()
    if shared:
        return target.create_target_machine(name, features, opt=3, reloc="pic", codemodel="default")
    reloc = "static" if target.name.startswith("x86") else "default"  # for LLVM's just-in-time engine
    return target.create_target_machine(name, features, opt=3, reloc=reloc, codemodel="jitdefault", jit=True)
