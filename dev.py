#!/usr/bin/env python3
"""Set-up and everyday tasks on a fresh machine; needs Python 3.11 or newer and nothing else.

    python3 dev.py demo        the main job on a phantom scan
    python3 dev.py test        the tests, on every core (what follows goes to pytest; --quick: one minute, every room;
                               --coverage: the lines and branches that they do not cover)
    python3 dev.py lint        ruff, mypy, pyright (where node is found) and the rooms of the architecture
    python3 dev.py docs        run every example of the documentation, build it into docs/_build/html, and check it
    python3 dev.py frameworks  what torch, MONAI, TorchIO, ITK and nnU-Net say of hilum's files (6 GB)
    python3 dev.py page        build the page of `hilum view` (needs node; done by the set-up too, where node is found)
    python3 dev.py bounds      the quick tests with the lowest dependencies allowed (--newest: with the newest)
    python3 dev.py wheel       build archive and wheel, install the wheel into an environment of its own, run the demo
    python3 dev.py signatures  renew the list of kernels that a wheel holds, from what the tests (or some files) run
    python3 dev.py lock        renew the lock files in requirements/
    python3 dev.py bench       speed beside the tutorial and its peers, about 45 minutes (DICOM folders may follow)
    python3 dev.py run ...     any hilum command

Each does its own set-up: a virtual environment in .venv, the locked packages with their hashes, hilum itself.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from threading import Thread

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
LOCKS = {name: f"requirements/{name}.txt" for name in ("run", "dev", "frameworks", "peers")}
DOCS = ROOT / "docs"
WEB, PAGE = ROOT / "viewer/web", ROOT / "src/hilum/viewer/page"
OLDEST = (3, 11)
FRAMEWORKS = (ROOT / "requirements/frameworks.in").read_text().split()
SPREAD = ["-n", str(2 * (os.cpu_count() or 1)), "--dist", "loadfile", "--no-loadscope-reorder"]
"""Two processes a core: many tests wait for a process that they started. Each file runs in one process."""

COVERAGE = ["--cov", "--cov-report=term-missing:skip-covered"]
QUICK = [  # every room, in less than a minute
    "tests/test_public.py",
    "tests/test_metaimage.py",
    "tests/test_nifti.py",
    "tests/test_series.py",
    "tests/test_resample.py",
    "tests/test_thresholds.py",
    "tests/test_lungs_parts.py",
    "tests/test_nodules.py",
    "tests/test_run.py",
    "tests/test_batch.py::test_one_flipped_byte_is_found_wherever_it_is",
    "tests/test_report.py::test_the_page_holds_every_scan_by_risk",
    "tests/test_report.py::test_what_cannot_be_read_or_written_is_refused_in_one_line",
    "tests/test_viewer.py::test_what_is_asked_rightly_is_answered",
    "tests/test_viewer.py::test_a_review_is_saved_safe_for_spreadsheets",
    "tests/test_patches.py",
    "tests/test_dataset.py::test_items_have_the_volumes_voxels_at_the_rules_positions",
    "tests/test_exports.py::test_boxes_are_at_the_nodules",
    "tests/test_cli.py",
    "tests/test_errors.py",
]

ASK_FRAMEWORKS = [
    "tests/test_frameworks.py",
    "tests/test_interop_frameworks.py",
    "tests/test_exports_frameworks.py",
    "tests/test_label_frameworks.py",
    "tests/test_epochs.py",
    "tests/test_windows.py::test_a_model_gives_what_monai_gives",
    "tests/test_patch_shapes.py::test_a_loader_of_torch_stacks_them",
    "tests/test_agreement.py::test_areas_and_surface_dice_are_those_of_monai",
    "tests/test_training_page.py::test_torchs_loader_runs_where_torch_is_there",
    "tests/test_pages.py::test_a_page_runs_and_prints_what_it_shows",
    "tests/test_docstrings.py::test_examples_run",
]


def main(words: list[str]) -> int:
    """Run one task and return its exit status."""
    tasks = {"demo": demo, "test": test, "lint": lint, "docs": docs, "frameworks": frameworks, "page": page,
             "bounds": bounds, "wheel": wheel, "signatures": signatures, "lock": lock, "bench": bench,
             "run": run}  # fmt: skip
    if sys.version_info < OLDEST:
        print(f"hilum needs Python {OLDEST[0]}.{OLDEST[1]} or newer; this is {sys.version.split()[0]}", file=sys.stderr)
        return 2
    if not words or words[0] not in tasks:
        print(__doc__, file=sys.stderr)
        return 2
    return tasks[words[0]](words[1:])


def demo(words: list[str]) -> int:
    """Preprocess a phantom scan."""
    set_up("run")
    return call(PYTHON, "-m", "hilum.cli", "demo", *words, folder=Path.cwd())


def run(words: list[str]) -> int:
    """Run any hilum command."""
    set_up("run")
    return call(PYTHON, "-m", "hilum.cli", *words, folder=Path.cwd())


def test(words: list[str]) -> int:
    """Run the tests, spread over the cores where no file is named."""
    set_up("dev")
    options = {"--quick": QUICK, "--coverage": COVERAGE}
    named = [option for word in words for option in options.get(word, [word])]
    spread = [] if any(word.startswith("tests") for word in words) else SPREAD
    return call(PYTHON, "-m", "pytest", *spread, *named)


def lint(_words: list[str]) -> int:
    """Check style, types and rooms; all are run, whatever the first says."""
    set_up("dev")
    checks = [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["lint-imports", "--no-cache"]]
    systems = ("linux", "darwin", "win32")  # each has a cache, or mypy would forget what it knows of the others
    checks += [["mypy", "--platform", system, "--cache-dir", f".mypy_cache/{system}"] for system in systems]
    if shutil.which("node"):
        checks.append(["pyright", "--pythonpath", str(PYTHON)])
    else:
        say("without node pyright does not run: mypy alone reads tests/typed_calls.py")
    return max(call(BIN / check[0], *check[1:]) for check in checks)


def docs(words: list[str]) -> int:
    """Run the pages and the docstrings, build the HTML with warnings as errors, and look at what was built."""
    set_up("dev")
    for made in (DOCS / "_build", DOCS / "_generated"):
        shutil.rmtree(made, ignore_errors=True)
    pages = [] if "--pages-have-run" in words else [ROOT / "tests/test_readme.py", *ROOT.glob("tests/test_*page*.py")]
    html = DOCS / "_build" / "html"
    status = call(PYTHON, "-m", "pytest", "-q", "tests/test_docstrings.py", *sorted(pages))
    status = max(status, call(PYTHON, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-b", "html", DOCS, html))
    status = max(status, call(PYTHON, "-m", "pytest", "-q", "tests/test_built_docs.py"))
    if status == 0:
        say(f"look at {html / 'index.html'}")
    return status


def frameworks(words: list[str]) -> int:
    """Run the tests and pages that want other people's frameworks, in an environment that has them: none skips."""
    set_up("dev")
    python = make_locked_environment("frameworks", "some minutes, 6 GB")
    told = f"from importlib.metadata import version as v; print(*(f'{{n}} {{v(n)}}' for n in {FRAMEWORKS}), sep=', ')"
    must(python, "-c", told)
    return call(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *ASK_FRAMEWORKS, *words)


def bounds(words: list[str]) -> int:
    """Run the quick tests with the lowest versions that pyproject.toml allows, or with the newest there are."""
    set_up("dev")
    name, resolution = ("newest", "highest") if "--newest" in words else ("lowest", "lowest-direct")
    python, install = make_environment(ROOT / f".venv-{name}")
    must(*install, "--resolution", resolution, "--upgrade", "--all-extras", "-r", "pyproject.toml",
         "--group", "test", "--group", "build")  # fmt: skip
    must(*install, "--no-deps", "--no-build-isolation", "-e", ".")
    return call(python, "-m", "pytest", "-p", "no:cacheprovider", *SPREAD, *QUICK)


def wheel(_words: list[str]) -> int:
    """Build the source archive and the wheel, install the wheel alone, as a user does, and run the demo there."""
    set_up("run")
    dist, environment = ROOT / "dist", ROOT / ".venv-wheel"
    for made in (dist, environment):
        shutil.rmtree(made, ignore_errors=True)
    if not any(map(shutil.which, ("cc", "clang", "gcc"))):
        must(BIN / "uv", "pip", "install", "--quiet", "ziglang")  # links the kernels, and is not in the wheel
    must(PYTHON, "-m", "hatchling", "build", "-d", dist)
    python, install = make_environment(environment)
    empty = size_mb(environment)
    must(*install, "--compile-bytecode", "--constraint", LOCKS["run"], *dist.glob("*.whl"))
    must(BIN / "uv", "pip", "check", "--quiet", "--python", python)
    say(f"installed: {size_mb(environment) - empty} MB, without any extra")
    return call(python, "-P", "-m", "hilum.cli", "demo", "--out", environment / "demo", folder=environment)


def signatures(words: list[str]) -> int:
    """Run the tests, and write the kernels and argument types that they use into the list."""
    set_up("dev")
    with tempfile.TemporaryDirectory() as folder:
        used = Path(folder, "signatures.txt")
        os.environ["HILUM_KERNEL_SIGNATURES"] = str(used)
        status = call(PYTHON, "-m", "pytest", *([] if words else SPREAD), *words)
        return max(status, call(PYTHON, "-m", "hilum._kernels.compile", "--add" if words else "--list", used))


def make_locked_environment(name: str, cost: str) -> Path:
    """Make an environment of the locked packages of one name and those of the tests, and hilum; its Python."""
    place, locks = ROOT / f".venv-{name}", [LOCKS["dev"], LOCKS[name]]
    python, install = make_environment(place)
    stamp, state = place / ".stamp", hashlib.sha256(b"".join((ROOT / lock).read_bytes() for lock in locks)).hexdigest()
    if not stamp.is_file() or stamp.read_text() != state:
        say(f"installing {' and '.join(locks)} into {place.name}: {cost}")
        must(*install, "--require-hashes", "-r", locks[0], "-r", locks[1])
        must(*install, "--no-deps", "--no-build-isolation", "-e", ".")
        stamp.write_text(state)
    return python


def make_environment(place: Path) -> tuple[Path, list[str | Path]]:
    """Make an environment beside .venv; its Python, and the words that install something into it."""
    python = place / PYTHON.relative_to(VENV)
    if not python.exists():
        must(sys.executable, "-m", "venv", place)
    return python, [BIN / "uv", "pip", "install", "--quiet", "--python", python]


def page(_words: list[str]) -> int:
    """Build the page of the viewer, and check its types."""
    npm = shutil.which("npm")
    if npm is None:
        say("the page of `hilum view` needs node and npm to be built; without it the other commands work")
        return 1
    say("building the page of `hilum view`")
    for words in (["ci"], ["run", "check"], ["run", "build"]):
        status = call(npm, *words, "--silent", folder=WEB)
        if status:
            say(f"the page was not built: 'npm {' '.join(words)}' in {WEB} ended with {status}")
            return status
    (WEB / "node_modules" / ".built").write_text(page_state())
    return 0


def page_state() -> str:
    """What the page is made from."""
    parts = [path for path in sorted(WEB.rglob("*")) if "node_modules" not in path.parts and path.is_file()]
    return hashlib.sha256(b"".join(str(path).encode() + path.read_bytes() for path in parts)).hexdigest()


def page_is_built() -> bool:
    """Tell whether the page stands as its sources are."""
    built = WEB / "node_modules" / ".built"
    return (PAGE / "index.html").is_file() and built.is_file() and built.read_text() == page_state()


def bench(words: list[str]) -> int:
    """Print start-up times, then speed beside today's fast tools, the tutorial and peers, on phantoms and folders."""
    set_up("dev")
    peers = make_locked_environment("peers", "a minute, 1 GB")
    folders = [word for word in words if Path(word).is_dir()]
    status = max(call(peers, "bench/startup.py"), call(peers, ROOT / "bench/peers.py", *folders[:1], folder=Path.cwd()))
    return max(status, call(PYTHON, ROOT / "bench/speed.py", *words, folder=Path.cwd()))


def lock(_words: list[str]) -> int:
    """Resolve the dependencies anew; records no host."""
    set_up("dev")
    common = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-header", "--no-annotate",
              "--no-emit-index-url", "--upgrade", "-o"]  # fmt: skip
    compile_: list[str | Path] = [BIN / "uv", "pip", "compile"]
    run_lock = ["--extra", "compile", "--extra", "plots", "--extra", "viewer", "--group", "build"]
    dev_lock = ["--all-extras", "--group", "dev", "-c", LOCKS["run"]]
    return max(
        call(*compile_, "requirements/bootstrap.in", *common, "requirements/bootstrap.txt"),
        call(*compile_, "pyproject.toml", *run_lock, *common, LOCKS["run"]),
        call(*compile_, "pyproject.toml", *dev_lock, *common, LOCKS["dev"]),
        call(*compile_, "requirements/frameworks.in", "-c", LOCKS["dev"], *common, LOCKS["frameworks"]),
        call(*compile_, "requirements/peers.in", "-c", LOCKS["dev"], *common, LOCKS["peers"]),
    )


def set_up(which: str) -> None:
    """Make the environment as a lock says, and the viewer's page where node is found; instant where nothing changed."""
    builder = Thread(target=page, args=([],))  # the other commands work without it; `hilum view` says what is missing
    if shutil.which("npm") and not page_is_built():
        builder.start()
    set_up_environment(which)
    if builder.ident is not None:
        builder.join()


def set_up_environment(which: str) -> None:
    """Make the environment as a lock says."""
    stamp = VENV / f".stamp-{which}"
    inputs = [ROOT / LOCKS[which], ROOT / "requirements/bootstrap.txt", ROOT / "pyproject.toml"]
    state = hashlib.sha256(b"".join(path.read_bytes() for path in inputs) + str(ROOT).encode()).hexdigest()
    if stamp.is_file() and stamp.read_text() == state and PYTHON.exists():
        return
    if not PYTHON.exists():
        say("making .venv")
        must(sys.executable, "-m", "venv", VENV)
    if not (BIN / "uv").exists():
        must(PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes",
             "-r", "requirements/bootstrap.txt")  # fmt: skip
    say(f"installing {LOCKS[which]}")
    must(BIN / "uv", "pip", "install", "--quiet", "--require-hashes", "-r", LOCKS[which])
    must(BIN / "uv", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "-e", ".")
    say(f"installed: {size_mb(VENV)} MB in .venv")
    say("compiling the kernels (once; they are kept beside the source)")
    must(PYTHON, "tests/compile_kernels.py")
    must(PYTHON, "-m", "hilum.cli", "--help", quiet=True)  # its bytecode too, and that of the slowest to compile
    must(PYTHON, "-c", "import matplotlib.backends.backend_agg, matplotlib.figure, contourpy, skimage.measure")
    stamp.write_text(state)


def size_mb(folder: Path) -> int:
    """Size of a folder's files in MB."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()) // 10**6


def call(*words: str | Path, folder: Path = ROOT, quiet: bool = False) -> int:
    """Run a command, in the project's root where no folder is given, and return its exit status."""
    # Bytecode is kept even where the caller asked for none: without it every start compiles all source anew.
    dropped = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE"}
    clean = {name: value for name, value in os.environ.items() if name not in dropped}
    clean["VIRTUAL_ENV"] = str(VENV)
    out = subprocess.DEVNULL if quiet else None
    return subprocess.run([str(word) for word in words], cwd=folder, env=clean, stdout=out, check=False).returncode


def must(*words: str | Path, quiet: bool = False) -> None:
    """Run a command of the set-up, and stop with its name where it fails."""
    status = call(*words, quiet=quiet)
    if status:
        shown = " ".join(str(word) for word in words)
        sys.exit(f"set-up stopped: '{shown}' ended with {status}; mend that and run this again")


def say(text: str) -> None:
    """Tell what the set-up does; it can take a minute."""
    print(f"dev.py: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
