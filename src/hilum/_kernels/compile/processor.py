"""The processor of this machine, as LLVM describes it, to generate code for."""

import functools
from typing import Any

import llvmlite.binding as llvm

SYMBOL = "hilum_kernel"  # name of the entry point in every object file


@functools.cache
def processor() -> tuple[str, str]:
    """Name and features of this machine's processor."""
    try:
        features = llvm.get_host_cpu_features().flatten()
    except RuntimeError:  # LLVM cannot detect them on every system
        features = ""
    return llvm.get_host_cpu_name(), features


def make_machine() -> Any:
    """Make a code generator; an engine takes ownership of the one that it gets."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    name, features = processor()
    reloc = "static" if target.name.startswith("x86") else "default"  # for LLVM's just-in-time engine
    return target.create_target_machine(name, features, opt=3, reloc=reloc, codemodel="jitdefault", jit=True)
