"""The library of kernels that a wheel holds: the same results at every level, and no compiler on the way."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import hilum
from hilum._kernels.compile import compiler, definitions, library
from hilum._kernels.compile.kernel import kernel
from hilum._kernels.compile.levels import levels_of
from hilum._kernels.compile.signatures import listed

llvm = pytest.importorskip("llvmlite.binding")

ROOT = Path(hilum.__file__).parents[2]

NO_COMPILER = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"numba", "llvmlite"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())
"""

WORK = """
import hashlib, json, sys, tempfile
from pathlib import Path
import numpy as np
import hilum
from hilum.phantom.chest import make_phantom
from hilum.phantom.files import write_dicom_series
made = make_phantom(seed=3, shape=(64, 140, 140), spacing=(4.0, 2.5, 2.5))
with tempfile.TemporaryDirectory() as folder:
    write_dicom_series(made, Path(folder, "scan"))
    scan = hilum.read(Path(folder, "scan"))
    hilum.write(scan.ct, Path(folder, "ct.nii.gz"))
    again = hilum.read(Path(folder, "ct.nii.gz"))
lungs = hilum.segment_lungs(scan.ct)
labels = np.digitize(scan.ct.array, [-900, -500, 0, 300]).astype(np.uint8)
labels = hilum.Mask(labels, scan.ct.geometry)
turned = hilum.Geometry((40, 40, 40), (5.0, 5.0, 5.0), scan.ct.geometry.center,
                        ((0.0, 0.0, 1.0), (-0.6, 0.8, 0.0), (0.8, 0.6, 0.0)))
results = {
    "read": scan.ct, "read nifti": again.ct, "lungs": lungs,
    "tutorial": hilum.segment_lungs(scan.ct, method="tutorial3d"),
    "nodules": hilum.mask_nodules(make_phantom(seed=3, shape=(64, 140, 140), spacing=(4.0, 2.5, 2.5)).scan),
    "labels": hilum.resample(labels, spacing=3.0), "grown": hilum.dilate(lungs, radius_mm=6.0),
    "window": hilum.window(scan.ct, "lung"),
    "spline": hilum.resample(scan.ct, spacing=2.0, order=3), "linear": hilum.resample(scan.ct, spacing=2.0, order=1),
    "coarser": hilum.resample(scan.ct, spacing=7.0, order=3), "turned": hilum.resample(scan.ct, like=turned, order=3),
}
sums = {name: hashlib.sha256(volume.array.tobytes()).hexdigest() for name, volume in results.items()}
np.savez(sys.argv[1], **{name: results[name].array for name in ("spline", "linear", "coarser", "turned")})
print(json.dumps({"sums": sums, "compiler": bool({"numba", "llvmlite"} & set(sys.modules))}))
"""

INTERPOLATED = {"spline", "linear", "coarser", "turned"}
"""Results with fused multiply-adds, which the baseline of x86-64 does not have."""


def _has_linker() -> bool:
    return bool(os.environ.get("CC") or shutil.which("cc") or shutil.which("clang") or find_spec("ziglang"))


def run(code: str, *words: object, source: Path, level: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(source), "HILUM_KERNEL_LEVEL": level, **more}
    command = [sys.executable, "-P", "-c", code, *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def source(tmp_path_factory):
    """A copy of the program with a library; the one beside the source, or one that is kept in build/."""
    if not _has_linker():
        pytest.skip("no linker: neither a C compiler nor the package ziglang")
    built = library.FILE
    if not library.is_current():
        built = ROOT / "build" / f"{library.source_stamp()[:16]}-{built.name}"
    if not built.is_file():
        command = [sys.executable, "-m", "hilum._kernels.compile", built]
        subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, check=True)
    copy = tmp_path_factory.mktemp("library") / "source"
    leave = shutil.ignore_patterns("__pycache__", "kernels.*")
    shutil.copytree(Path(hilum.__file__).parent, copy / "hilum", ignore=leave)
    shutil.copyfile(built, copy / "hilum" / library.FILE.relative_to(Path(hilum.__file__).parent))
    return copy


@pytest.fixture(scope="session")
def results(source, tmp_path_factory):
    """Checksums and interpolated volumes by level, of this machine's levels and of today's compiler."""
    folder, found = tmp_path_factory.mktemp("results"), {}
    for level in (*usable(), library.COMPILE):
        code = WORK if level == library.COMPILE else NO_COMPILER + WORK
        place = Path(hilum.__file__).parents[1] if level == library.COMPILE else source
        done = run(code, folder / f"{level}.npz", source=place, level=level)
        assert done.returncode == 0, done.stderr
        found[level] = json.loads(done.stdout)["sums"], dict(np.load(folder / f"{level}.npz"))
    return found


def usable() -> list[str]:
    """The levels of this processor, as LLVM finds them: the oracle of the library's own question."""
    host = llvm.get_host_cpu_features()
    levels = levels_of(llvm.get_process_triple())
    return [one.name for one in levels if all(host.get(name[1:]) for name in one.features.split(",") if name)]


def test_the_processor_has_the_level_that_the_library_takes(source):
    code = "from hilum._kernels.compile.library import open_library; print(open_library().level)"
    assert run(code, source=source).stdout.strip() == usable()[-1]


def test_levels_give_the_same_bytes_as_the_compiler(results):
    theirs, _ = results[library.COMPILE]
    for level, (sums, _) in results.items():
        named = INTERPOLATED if level == "baseline" and len(levels_of(llvm.get_process_triple())) > 1 else set()
        assert {name for name in sums if sums[name] != theirs[name]} <= named, level


def test_the_baseline_differs_by_the_rounding_of_the_last_step(results):
    _, ours = results["baseline"]
    _, theirs = results[library.COMPILE]
    for name, volume in theirs.items():
        difference = np.abs(ours[name].astype(int) - volume)
        assert difference.max() <= 1, name
        assert np.count_nonzero(difference) <= 1e-4 * volume.size, name


def test_a_run_needs_no_compiler(source, tmp_path):
    out = {}
    for level, code in (("", NO_COMPILER), (library.COMPILE, "")):
        program = f"{code}\nimport sys\nfrom hilum.cli import main\nsys.exit(main(sys.argv[1:]))"
        place = Path(hilum.__file__).parents[1] if level else source
        folder = tmp_path / (level or "library")
        done = run(program, "demo", "--out", folder, source=place, level=level)
        assert done.returncode == 0, done.stderr
        (ct,) = folder.rglob("ct.*")
        out[level] = {path.name: path.read_bytes() for path in ct.parent.iterdir() if path.suffix != ".json"}
    assert out[""] == out[library.COMPILE]
    assert len(out[""]) >= 2


PLAIN = """
import numpy as np
from hilum._kernels.bitmask import bits
from hilum._kernels.bitmask.mask import BitMask
words = BitMask.empty((2, 3, 70)).words
bits._bounding_box(words, np.zeros(6, np.int32))
"""


def test_what_the_library_lacks_names_the_extra(source):
    done = run(NO_COMPILER + PLAIN, source=source, HILUM_KERNEL_SIGNATURES="")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("hilum.errors.UnsupportedError: ")
    assert "bits._bounding_box" in last
    assert last.endswith("pip install 'hilum[compile]'")


def test_what_the_library_lacks_is_compiled_with_the_extra(source):
    program = f"import logging; logging.basicConfig(level='INFO')\n{PLAIN}\nimport sys; print('numba' in sys.modules)"
    shutil.rmtree(source / "hilum/_kernels/bitmask/__pycache__", ignore_errors=True)
    told = [run(program, source=source, HILUM_KERNEL_SIGNATURES="") for _ in range(2)]
    assert [done.stdout.strip() for done in told] == ["True", "False"]
    assert "compiling kernels for this machine" in told[0].stderr
    assert "compiling" not in told[1].stderr


def test_a_level_that_cannot_be_had_is_refused(source):
    code = "from hilum._kernels.compile.library import open_library; open_library()"
    done = run(code, source=source, level="v9")
    assert "HILUM_KERNEL_LEVEL is 'v9'; this machine can use baseline" in done.stderr.splitlines()[-1]
    done = run(code, source=Path(hilum.__file__).parents[1], level="v9")
    assert "HILUM_KERNEL_LEVEL is 'v9'" in done.stderr.splitlines()[-1]


def test_a_library_of_another_source_is_not_used(source, tmp_path):
    shutil.copytree(source, tmp_path / "changed")
    changed = tmp_path / "changed/hilum/_kernels/raster.py"
    changed.write_text(changed.read_text() + "\n# changed\n")
    code = "from hilum._kernels.compile.library import open_library; print(open_library())"
    assert run(code, source=tmp_path / "changed").stdout.strip() == "None"
    assert run(code, source=source).stdout.strip() != "None"


def test_a_file_that_is_no_library_is_not_used(source, tmp_path):
    shutil.copytree(source, tmp_path / "damaged")
    (tmp_path / "damaged/hilum" / library.FILE.relative_to(Path(hilum.__file__).parent)).write_bytes(b"damaged")
    code = "from hilum._kernels.compile.library import open_library; print(open_library())"
    done = run(code, source=tmp_path / "damaged")
    assert done.stdout.strip() == "None"
    assert "the library of kernels cannot be loaded" in done.stderr


def test_everything_that_is_listed_is_in_the_library(source):
    code = "from hilum._kernels.compile.library import open_library; print(*open_library().kernels, sep='\\n')"
    assert run(code, source=source).stdout.splitlines() == listed()


def test_the_list_is_sorted_and_names_every_kernel_once():
    lines = listed()
    assert lines == sorted(set(lines))
    assert all(line.startswith("hilum._kernels.") for line in lines)


def test_a_test_that_runs_what_is_not_listed_fails(tmp_path):
    body = "\n    ".join(PLAIN.strip().splitlines())
    (tmp_path / "test_unlisted.py").write_text(f"def test_listed():\n    pass\ndef test_unlisted():\n    {body}\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT / "tests")))}
    environment.pop("HILUM_KERNEL_SIGNATURES", None)
    command = [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", "-q", tmp_path]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "2 passed, 1 error" in done.stdout
    assert "kernels for types that signatures.txt lacks" in done.stdout


def test_a_numba_that_passes_arguments_otherwise_runs_the_kernel_itself(monkeypatch, caplog):
    @kernel()
    def total(pair, scale):
        return (pair[0][0] + pair[1]) * scale

    monkeypatch.setattr(compiler, "_CONVENTION", ("i64",))
    with caplog.at_level("WARNING", logger="hilum"):
        assert total((np.arange(3.0) + 2, 4), 10) == 60
    assert "numba" in caplog.text


def test_a_kernel_that_numba_cannot_compile_stays_an_error():
    @kernel()
    def wrong(value):
        return value.nothing

    with pytest.raises(Exception, match="nothing") as caught:
        wrong(1)
    assert not isinstance(caught.value, definitions.UnknownConventionError)
