"""Random 64^3 patches per second that a finished run gives to training, compared with MONAI and TorchIO.

    python bench/feed.py [--peers PYTHON] [--seconds 2] [--rounds 5] [--scans 1] [--before SRC]
        [--only hilum monai torchio torch shapes windows]

Phantom scans of 300 x 400 x 400 voxels at 1 mm are stored as npy and .nii.gz. A patch is the image, scaled from int16
to float32, and its mask, at a random nodule. Each contender (`bench/contenders/feed_*.py`) is a separate process:

* hilum: plain; mirrored and rotated by 90 degrees; rotated by up to 15 degrees about any axis and zoomed by 0.9 to 1.1
  (cubic and linear, with boxes); `hilum.batches` in one process and in two.
* MONAI: LoadImaged and RandCropByPosNegLabeld, not cached; CacheDataset, also with cached voxel indices.
* TorchIO: Queue with LabelSampler, 16 patches per volume.
* torch: hilum under torch's DataLoader with 0, 1 and 2 workers.
* shapes: hilum's patches of as many voxels in other shapes, of another spacing, and with their surroundings.
* windows: windows over a scan of 275 x 512 x 512 voxels, stitched again, with a model that answers what it is given.

``--before SRC`` compares cubes with the hilum in the folder SRC, after ``git worktree add FOLDER COMMIT`` FOLDER/src:
processes of both take turns.

MONAI, TorchIO and torch need torch. Give an environment that has it with `--peers`, for example

    python -m venv PEERS && PEERS/bin/pip install torch monai torchio . && python bench/feed.py --peers PEERS/bin/python

The variants of one process take turns in every round. Prints medians over the rounds, ranges, processor time, and the
memory of the process after the first and the last round. The cost of a rotated patch is the median of the ratios within
the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import hilum
from hilum import batch
from hilum.phantom import make_phantom
from hilum.recipes import parse_recipe

CONTENDERS = Path(__file__).resolve().parent / "contenders"
NEEDS = {"monai": "monai", "torchio": "torchio", "torch": "torch"}


def make(folder: Path, scans: int) -> dict[str, Path]:
    """Store the same phantom scans in both formats."""
    (folder / "scans").mkdir()
    rows = ["seriesuid,coordX,coordY,coordZ,diameter_mm"]
    for seed in range(1, scans + 1):
        phantom = make_phantom(seed=seed, shape=(150, 200, 200), spacing=(2.0, 2.0, 2.0))
        hilum.write(phantom.scan.ct, folder / "scans" / f"1.2.{seed}.mhd")
        rows += [f"1.2.{seed},{','.join(map(str, n.center))},{n.diameter_mm}" for n in phantom.scan.nodules]
    (folder / "a.csv").write_text("\n".join([*rows, ""]))
    refs, _ = batch.index([folder / "scans"], annotations=folder / "a.csv")
    for store in ("npy", "nifti"):
        batch.run(refs, parse_recipe(f'[output]\nformat = "{store}"\n'), folder / store)
    return {store: folder / store for store in ("npy", "nifti")}


def missing(python: str, name: str) -> str:
    """Say what to install for a contender; empty if nothing is missing."""
    module = NEEDS.get(name)
    if module is None:
        return ""
    test = f"import importlib.util as u; print(all(u.find_spec(m) for m in ('hilum', {module!r})))"
    found = subprocess.run([python, "-c", test], capture_output=True, text=True, check=False).stdout.strip()
    return "" if found == "True" else f"{name}: not installed; --peers needs a Python with hilum, torch and {module}"


def run(name: str, stores: dict[str, Path], args: argparse.Namespace) -> list[dict]:
    """Run one contender and read its results."""
    python = args.peers if name in NEEDS else sys.executable
    where = [stores["nifti"]] if name in {"monai", "torchio"} else [stores["npy"], stores["nifti"]]
    script = CONTENDERS / f"feed_{'hilum' if name == 'torch' else name}.py"
    command = [python, script, *where, str(args.seconds), str(args.rounds), *(["torch"] if name == "torch" else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{name} failed: {done.stderr.strip().splitlines()[-1]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def measured(mode: str, npy: Path, seconds: float, rounds: int, source: str = "") -> dict[str, dict]:
    """Run a mode of hilum's contender, of this hilum or of the one in `source`, and give its results by way."""
    script = [sys.executable, str(CONTENDERS / "feed_hilum.py"), str(npy), str(npy), str(seconds), str(rounds), mode]
    environment = {**os.environ, "PYTHONPATH": source} if source else None
    done = subprocess.run(script, capture_output=True, text=True, check=True, env=environment)
    return {one["way"]: one for one in map(json.loads, done.stdout.splitlines())}


def compare_cubes(before: str, npy: Path, args: argparse.Namespace) -> None:
    """Print how long cubes take, compared with another version."""
    pairs: dict[str, list[tuple[float, float]]] = {}
    now = str(Path(hilum.__file__).parents[1])
    for _ in range(args.rounds):
        old, new = (measured("cubes", npy, args.seconds, 1, source) for source in (before, now))
        for way, one in new.items():
            pairs.setdefault(way, []).append((old[way]["costs"][0], one["costs"][0]))
    print("\n| cubes of 64 | processor ms before | now | now / before, of one round | of the fastest rounds |")
    print("| --- | --- | --- | --- | --- |")
    for way, both in pairs.items():
        old, new = zip(*both, strict=True)
        ratio = median(b / a for a, b in both)
        print(f"| {way} | {median(old):.3g} | {median(new):.3g} | {ratio:.3f} | {min(new) / min(old):.3f} |")


def compare_shapes(npy: Path, args: argparse.Namespace) -> None:
    """Print what a voxel costs in patches of other shapes, compared with cubes of as many voxels."""
    results = measured("shapes", npy, args.seconds, args.rounds)
    print("\n| patch | processor ms | cost per voxel / that of the cube |")
    print("| --- | --- | --- |")
    for way, one in results.items():
        cube = results["64 x 64 x 64" + (", rotated and zoomed" if "rotated" in way else "")]
        ratio = median(a / b for a, b in zip(one["costs"], cube["costs"], strict=True))
        print(f"| {way} | {median(one['costs']):.3g} | {ratio:.2f} |")


def table(results: list[dict]) -> None:
    first = next((one for one in results if one["way"] == "hilum"), None)
    print("| way | patches/s | range | processor ms | hilum is x as fast | MiB first, last round |")
    print("| --- | --- | --- | --- | --- | --- |")
    for one in results:
        rates, costs, memory = one["rates"], one["costs"], one["memory"]
        span = f"{min(rates):.3g} to {max(rates):.3g}"
        ratio = f"{median(first['rates']) / median(rates):.3g}" if first else ""
        processor = f"{median(costs):.3g}" if costs else ""
        mib = f"{memory[0]:.0f}, {memory[-1]:.0f}" if memory else ""
        print(f"| {one['way']} | {median(rates):.4g} | {span} | {processor} | {ratio} | {mib} |")
    by_way = {one["way"]: one for one in results}
    pairs = (("hilum, batches, {} processes", "hilum.batches"), ("hilum, torch's DataLoader, {} workers", "DataLoader"))
    for pattern, called in pairs:
        one, two = (by_way.get(pattern.format(n)) for n in (1, 2))
        if one and two:
            print(f"\n{called}: two workers are {median(two['rates']) / median(one['rates']):.2f} x one")
    for way, how in (
        ("hilum, rotated and zoomed", "by the cubic spline"),
        ("hilum, rotated and zoomed linearly", "linearly"),
    ):
        rotated = by_way.get(way)
        if first and rotated:
            cost = median(a / b for a, b in zip(rotated["costs"], first["costs"], strict=True))  # of the same round
            print(f"\na rotated and zoomed patch, {how}, costs {cost:.2f} x plain")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default=sys.executable, help="Python of an environment with torch, MONAI, TorchIO")
    parser.add_argument("--seconds", type=float, default=2.0, help="per round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scans", type=int, default=1)
    parser.add_argument("--before", default="", help="folder of the sources of another hilum")
    everything = ["hilum", *NEEDS, "shapes", "windows"]
    parser.add_argument("--only", nargs="*", choices=everything, default=everything)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        stores = make(Path(name), args.scans)
        results: list[dict] = []
        for contender in [name for name in args.only if name not in {"shapes", "windows"}]:
            wanted = missing(args.peers, contender)
            if wanted:
                print(wanted)
            else:
                results += run(contender, stores, args)
        if results:
            table(results)
        if args.before:
            compare_cubes(args.before, stores["npy"], args)
        if "shapes" in args.only:
            compare_shapes(stores["npy"], args)
    if "windows" in args.only:
        print()
        subprocess.run([sys.executable, CONTENDERS / "feed_windows.py", str(args.rounds)], check=True)


if __name__ == "__main__":
    main()
