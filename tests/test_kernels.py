"""Compiled kernels: what they are called with, where their code is kept, and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays

from hilum._kernels.bitmask import bits
from hilum._kernels.compile import machine_code
from hilum._kernels.compile.definitions import Intrinsic
from hilum._kernels.compile.kernel import Kernel, kernel


@kernel()
def _total(array, pair, scale, negative, out):
    weight, part = pair
    total = 0.0
    for i in range(array.shape[0]):
        for j in range(array.shape[1]):
            total += array[i, j] * weight
    for i in range(part.shape[0]):
        total += part[i]
    out[0] = -total * scale if negative else total * scale


@kernel()
def _as_told(value):
    return value


@kernel()
def _inner(value):
    return value + 1


@kernel()
def _outer(value):
    return _inner(value) * 2


@kernel()
def _divide(value, by):
    return value // by


@kernel()
def _allocates(size):
    return np.zeros(size)[0]


@kernel()
def _returns_two(value):
    return value, value


def _turned(array: np.ndarray, how: str) -> np.ndarray:
    views = {"C": array, "F": np.asfortranarray(array), "steps": np.repeat(array, 2, axis=1)[:, ::2],
             "back": array[::-1, ::-1][::-1, ::-1], "readonly": array.copy()}  # fmt: skip
    view = views[how]
    view.flags.writeable = how != "readonly"
    return view


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"])
@pytest.mark.parametrize("how", ["C", "F", "steps", "back", "readonly"])
def test_arrays_numbers_and_tuples_arrive_as_they_are(dtype, how):
    array = np.random.default_rng(0).integers(0, 100, (3, 5)).astype(dtype)
    part, out = np.arange(4.0), np.zeros(1)
    _total(_turned(array, how), (np.float32(0.5), part), 3, True, out)
    assert out[0] == -3 * (array.sum() * 0.5 + 6)


@given(arrays.arrays(np.int16, arrays.array_shapes(min_dims=3, max_dims=3, min_side=0, max_side=70)))
def test_any_shape_arrives(volume):
    assert bits.unpack(bits.threshold(volume, -100, 300)).sum() == ((volume >= -100) & (volume <= 300)).sum()


@pytest.mark.parametrize(
    "value",
    [0, -1, 2**62, -(2**63), True, False, 0.1, -np.inf, np.uint8(255), np.int8(-128), np.int16(-2000), np.uint16(65535),
     np.int32(-(2**31)), np.uint32(2**32 - 1), np.uint64(2**64 - 1), np.int64(7), np.float32(0.1), np.float64(1e300),
     np.bool_(True)],
)  # fmt: skip
def test_numbers_come_back_as_they_went(value):
    got = _as_told(value)
    assert got == value
    assert type(got) is type(value.item() if isinstance(value, np.generic) else value)


def test_kernels_call_kernels():
    assert _outer(20) == 42


def test_an_error_in_a_kernel_is_an_error():
    assert _divide(7, 2) == 3
    with pytest.raises(ArithmeticError, match=r"kernel _divide failed with status"):
        _divide(7, 0)


def test_what_needs_the_compiler_at_run_time_is_refused():
    with pytest.raises(TypeError, match=r"kernel _allocates needs NRT_.* of numba's runtime; hand its buffers in"):
        _allocates(3)
    with pytest.raises(TypeError, match=r"kernel _returns_two returns .*; return one number or nothing"):
        _returns_two(3)


def test_a_foreign_byte_order_and_a_foreign_type_are_refused():
    with pytest.raises(TypeError, match=r"a kernel takes .*, not >i2; convert before the call"):
        _total(np.zeros((2, 2), ">i2"), (0.5, np.zeros(1)), 3, True, np.zeros(1))
    with pytest.raises(TypeError, match="a kernel takes arrays, numbers and tuples of them, not str"):
        _as_told("text")


def _fresh(value: int = 1, *, constant: int = 5, contract: bool = False) -> Kernel:
    scope = {"CONSTANT": constant, "kernel": kernel, "contract": contract, "__name__": "hilum._kernels.fresh"}
    exec(f"@kernel(contract=contract)\ndef f(x):\n    return x * CONSTANT + {value}\n", scope)  # noqa: S102
    return scope["f"]


def test_the_name_of_a_file_follows_everything_the_code_depends_on():
    kinds = ("<i8",)
    names = [machine_code._file_name(made, kinds) for made in (
        _fresh(), _fresh(2), _fresh(constant=6), _fresh(contract=True))]  # fmt: skip
    names.append(machine_code._file_name(_fresh(), ("<i4",)))
    assert len(set(names)) == len(names)
    assert machine_code._file_name(_fresh(), kinds) == names[0]
    assert machine_code._file_name(_outer, kinds) != machine_code._file_name(_inner, kinds)


def test_the_name_follows_the_functions_an_instruction_is_built_with():
    def made(step: int) -> Kernel:
        scope = {"kernel": kernel, "Intrinsic": Intrinsic, "__name__": "hilum._kernels.fresh"}
        text = f"""
def helper(): return {step}
def build(context, x):
    def code(): return helper()
    return code
one = Intrinsic(build)
@kernel()
def f(x): return one(x)
"""
        exec(text, scope)  # noqa: S102
        return scope["f"]

    names = [machine_code._file_name(made(step), ("<i8",)) for step in (1, 2, 1)]
    assert names[0] != names[1]
    assert names[0] == names[2]


MAKERS = {
    "number": """
def maker(step):
    def build(context, x): return step
    return build
one = Intrinsic(maker({step}))""",
    "function": """
def maker(step):
    def helper(): return step
    def build(context, x): return helper()
    return build
one = Intrinsic(maker({step}))""",
    "default": """
def build(context, x, step={step}): return step
one = Intrinsic(build)""",
    "named default": """
def build(context, x, *, step={step}): return step
one = Intrinsic(build)""",
}


@pytest.mark.parametrize("text", MAKERS.values(), ids=MAKERS)
def test_the_name_follows_what_the_maker_of_an_instruction_was_given(text):
    def made(step: int) -> Kernel:
        scope = {"kernel": kernel, "Intrinsic": Intrinsic, "__name__": "hilum._kernels.fresh"}
        exec(text.format(step=step) + "\n@kernel()\ndef f(x): return one(x)\n", scope)  # noqa: S102
        return scope["f"]

    names = [machine_code._file_name(made(step), ("<i8",)) for step in (1, 2, 1)]
    assert names[0] != names[1]
    assert names[0] == names[2]


PROGRAM = """
import logging, sys
logging.basicConfig(format="%(message)s", level="INFO")
import numpy as np
from hilum._kernels.bitmask import bits
assert bits.unpack(bits.threshold(np.arange(64, dtype=np.int16).reshape(1, 1, 64), 3, 7)).sum() == 5
print("numba" in sys.modules)
"""


def _start(source: Path, cache: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "HILUM_KERNEL_LEVEL": "compile",  # whether or not there is a library of kernels
        "PYTHONPATH": str(source),
        "XDG_CACHE_HOME": str(cache),
        "PYTHONDONTWRITEBYTECODE": "1",
        **more,
    }
    command = [sys.executable, "-c", PROGRAM]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True)


@pytest.fixture
def copied(tmp_path):
    """A copy of the program without compiled code, so small that it compiles quickly."""
    import shutil

    import hilum

    source = tmp_path / "source"
    shutil.copytree(
        Path(hilum.__file__).parent, source / "hilum", ignore=shutil.ignore_patterns("__pycache__", "kernels.*")
    )
    return source


def test_code_is_compiled_once_and_then_loaded_without_the_compiler(copied, tmp_path):
    first, second = (_start(copied, tmp_path / "cache") for _ in range(2))
    assert (first.stdout.strip(), second.stdout.strip()) == ("True", "False")
    assert "compiling kernels for this machine" in first.stderr
    assert not second.stderr
    assert not (tmp_path / "cache").exists()
    files = sorted((copied / "hilum/_kernels/bitmask/__pycache__").glob("*.kernel"))
    assert [file.name.split(".")[:2] for file in files] == [["bits", "_threshold"], ["bits", "_write_label"]]


def test_a_damaged_file_is_compiled_anew(copied, tmp_path):
    _start(copied, tmp_path / "cache")
    for harm in ("cut", "flip", "empty"):
        for file in (copied / "hilum/_kernels/bitmask/__pycache__").glob("*.kernel"):
            held = bytearray(file.read_bytes())
            held[len(held) // 2] ^= 1
            file.write_bytes({"cut": held[:100], "flip": bytes(held), "empty": b""}[harm])
        assert _start(copied, tmp_path / "cache").stdout.strip() == "True", harm
    assert _start(copied, tmp_path / "cache").stdout.strip() == "False"


def test_code_goes_to_the_users_folder_where_the_program_cannot_be_written(copied, tmp_path):
    (copied / "hilum/_kernels/bitmask/__pycache__").write_text("in the way: even root cannot write into it")
    first, second = (_start(copied, tmp_path / "cache") for _ in range(2))
    assert (first.stdout.strip(), second.stdout.strip()) == ("True", "False")
    assert len(list((tmp_path / "cache/hilum/kernels").glob("*.kernel"))) == 2


def test_where_nothing_can_be_written_it_works_and_says_so_once(copied, tmp_path):
    (copied / "hilum/_kernels/bitmask/__pycache__").write_text("in the way")
    (tmp_path / "cache").write_text("in the way")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    told = _start(copied, tmp_path / "cache", TMPDIR=str(tmp_path / "open"))
    assert told.stdout.strip() == "True"
    assert told.stderr.count("compiled kernels cannot be cached") == 1
    assert f"{tmp_path / 'cache/hilum'}: Not a directory" in told.stderr
    assert "XDG_CACHE_HOME" in told.stderr


def test_numbas_debugging_switch_for_a_persons_own_code_does_not_stop_the_compiler(copied, tmp_path):
    assert _start(copied, tmp_path / "cache", NUMBA_DISABLE_JIT="1").stdout.strip() == "True"


def test_code_that_numbas_variables_make_another_is_kept_under_another_name(copied, tmp_path):
    for settings in ({}, {"NUMBA_OPT": "0"}, {"NUMBA_CACHE_DIR": "/nowhere", "NUMBA_NUM_THREADS": "1"}):
        _start(copied, tmp_path / "cache", **settings)
    assert len(list((copied / "hilum/_kernels/bitmask/__pycache__").glob("*._threshold.*.kernel"))) == 2


def test_an_array_of_one_row_takes_the_code_of_any_other(monkeypatch):
    asked = []
    monkeypatch.setattr(machine_code, "load", lambda _, kinds: asked.append(kinds) or 1 / 0)
    for rows in (0, 1, 2):
        with pytest.raises(ZeroDivisionError):
            kernel()(lambda *_: None)(np.zeros((rows, 3)), (1.0, np.zeros((rows, 3))))
    assert asked[0] == asked[1] == asked[2]
