"""Size of a stored CT, and time to read a patch and the whole volume, for the choice of chunks and codecs.

    python bench/stores.py [SCAN [ANNOTATIONS.csv]]          cost of the formats, with hilum's settings and others
    python bench/stores.py --check [SCAN [ANNOTATIONS.csv]]  compare 12 phantom scans, and SCAN, in all formats
    python bench/stores.py --check --peers PYTHON ...        also the position of every nodule in MONAI and TorchIO

Without SCAN a phantom is measured. Patches are 64^3 at random positions, with one thread and files in the page cache.
Times are medians of processor time, so that a busy machine changes them little. MONAI and TorchIO need torch: PYTHON is
an environment that has them, from `python3 dev.py frameworks`.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import blosc2
import nibabel
import numpy as np
import SimpleITK
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

import hilum
from hilum import batch
from hilum.io.volumes.formats import STORES
from hilum.io.volumes.open_volumes import read_all
from hilum.outputs.finished import read_record
from hilum.phantom import make_phantom
from hilum.recipes import parse_recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

SIZE, PATCHES, WHOLES = 64, 40, 3

TOLERANCE = 0.01
"""Largest difference of equal positions, mm."""

CONTENDERS = Path(__file__).resolve().parent / "contenders"

B2ND = [
    ("zstd", 1, "bitshuffle", 64, 32),
    ("zstd", 1, "bitshuffle", 128, 16),
    ("zstd", 1, "bitshuffle", 128, 32),
    ("zstd", 5, "bitshuffle", 128, 32),
    ("zstd", 5, "shuffle", 128, 32),
    ("lz4", 5, "bitshuffle", 64, 32),
    ("lz4", 5, "bitshuffle", 128, 16),
    ("lz4", 5, "bitshuffle", 128, 32),
    ("lz4", 5, "shuffle", 128, 32),
    ("lz4hc", 5, "bitshuffle", 128, 32),
]
"""Codec, level, filter, edge length of chunks and blocks."""

ZARR = [
    ("zstd", 1, "bitshuffle", 32, True),
    ("zstd", 1, "bitshuffle", 64, True),
    ("zstd", 5, "bitshuffle", 48, True),
    ("zstd", 5, "shuffle", 48, True),
    ("lz4", 5, "bitshuffle", 32, True),
    ("lz4", 5, "bitshuffle", 48, True),
    ("lz4", 5, "bitshuffle", 64, True),
    ("lz4", 5, "bitshuffle", 128, True),
    ("lz4", 5, "shuffle", 48, True),
    ("lz4", 5, "bitshuffle", 64, False),
    ("lz4", 5, "bitshuffle", 0, False),
]
"""Codec, level, filter, edge length of chunks (0: slabs of 16 slices), and whether all chunks are in one file."""


def run(folder: Path, scans: list[Path], annotations: Path | None, name: str) -> Path:
    refs, _ = batch.index(scans, annotations=annotations)
    batch.run(refs, parse_recipe(f'[output]\nformat = "{name}"\n'), folder / name)
    return folder / name


def phantoms(folder: Path, seeds: range, shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> Path:
    rows = ["seriesuid,coordX,coordY,coordZ,diameter_mm"]
    folder.mkdir()
    for seed in seeds:
        scan, uid = make_phantom(seed=seed, shape=shape, spacing=spacing).scan, f"1.2.3.{seed}"
        hilum.write(scan.ct, folder / f"{uid}.mhd")
        rows += [f"{uid},{','.join(map(str, n.center))},{n.diameter_mm}" for n in scan.nodules]
    (folder / "annotations.csv").write_text("\n".join([*rows, ""]))
    return folder


def weight(path: Path) -> float:
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    return sum(one.stat().st_size for one in files) / 1e6


def cost(take: Callable[[], object], times: int) -> float:
    """Measure the median processor time, ms."""
    spent = []
    for _ in range(times):
        started = time.process_time()
        take()
        spent.append(time.process_time() - started)
    return 1e3 * float(np.median(spent))


def line(name: str, size: float, wrote: float, patch: float, whole: float) -> None:
    print(f"{name:44s} {size:7.1f} MB  write {wrote:6.0f} ms  patch {patch:7.2f} ms  whole {whole:6.0f} ms", flush=True)


def boxes(array: NDArray[Any]) -> Iterator[tuple[slice, ...]]:
    generator = np.random.default_rng(0)
    size = np.minimum(SIZE, array.shape)
    while True:
        start = generator.integers(0, np.array(array.shape) - size + 1)
        yield tuple(slice(int(a), int(a + n)) for a, n in zip(start, size, strict=True))


def measure_formats(folder: Path, out: dict[str, Path], scan: hilum.Scan) -> None:
    for name, run_folder in out.items():
        finished = hilum.open_run(run_folder)[0]
        path = finished.folder
        wrote = cost(lambda name=name: hilum.write(scan.ct, folder / f"x{STORES[name].suffix}"), 3)  # type: ignore[misc]
        whole = cost(lambda one=finished: read_all(one.open("ct")).sum(), WHOLES)  # type: ignore[misc]
        where, stored = boxes(scan.ct.array), finished.open("ct")

        def patch(stored: Any = stored, where: Any = where, name: str = name, one: hilum.RunScan = finished) -> None:
            box = next(where)
            volume = one.open("ct") if name == "nifti" else stored
            patch_read = volume.read([s.start for s in box], [s.stop - s.start for s in box])
            assert np.array_equal(patch_read, scan.ct.array[box])  # noqa: S101 - checks what is timed

        line(
            f"{name}, as hilum stores it",
            weight(path / f"ct{STORES[name].suffix}"),
            wrote,
            cost(patch, 3 if name == "nifti" else PATCHES),
            whole,
        )


def measure_choices(folder: Path, array: NDArray[Any]) -> None:
    path = folder / "choice.b2nd"
    for codec, level, bits, chunk, block in B2ND:
        pack = {"codec": blosc2.Codec[codec.upper()], "clevel": level, "filters": [blosc2.Filter[bits.upper()]],
                "filters_meta": [0], "nthreads": 1}  # fmt: skip
        edges = {
            "chunks": (1, *[min(chunk, n) for n in array.shape]),
            "blocks": (1, *[min(block, n) for n in array.shape]),
        }

        def write(pack: Any = pack, edges: Any = edges) -> None:
            path.unlink(missing_ok=True)
            blosc2.asarray(array[None], urlpath=str(path), cparams=pack, **edges)

        wrote = cost(write, 1)
        opened = blosc2.open(path, mode="r", mmap_mode="r", dparams={"nthreads": 1})
        where = boxes(array)
        patch = cost(lambda opened=opened, where=where: opened[(slice(0, 1), *next(where))], PATCHES)  # type: ignore[misc]
        whole = cost(lambda opened=opened: opened[:], WHOLES)  # type: ignore[misc]
        line(f"b2nd {codec} {level} {bits}, chunks {chunk}, blocks {block}", weight(path), wrote, patch, whole)
    path = folder / "choice.zarr"
    for codec, level, bits, chunk, one_file in ZARR:
        edges = tuple(min(chunk, n) for n in array.shape) if chunk else (16, *array.shape[1:])
        shards = tuple(-(-n // c) * c for n, c in zip(array.shape, edges, strict=True)) if one_file else None
        packing = [BloscCodec(cname=codec, clevel=level, shuffle=bits), Crc32cCodec()]

        def put(edges: Any = edges, shards: Any = shards, packing: Any = packing) -> None:
            shutil.rmtree(path, ignore_errors=True)
            made = zarr.create_array(path, shape=array.shape, dtype=array.dtype, chunks=edges, shards=shards,
                                     compressors=packing, config={"write_empty_chunks": True})  # fmt: skip
            made[...] = array

        wrote = cost(put, 1)
        opened, where = zarr.open_array(path, mode="r"), boxes(array)
        patch = cost(lambda opened=opened, where=where: opened[next(where)], PATCHES)  # type: ignore[misc]
        whole = cost(lambda opened=opened: opened[:], WHOLES)  # type: ignore[misc]
        how = f"{'one file' if one_file else 'a file each'}, by zarr"
        line(f"zarr {codec} {level} {bits}, chunks {chunk or 'slabs'}, {how}", weight(path), wrote, patch, whole)


def read_without_hilum(path: Path, part: str, name: str) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Read array and affine (LPS mm, of voxels z, y, x) with other libraries."""
    if name == "nifti":
        image, again = SimpleITK.ReadImage(path / f"{part}.nii.gz"), nibabel.load(path / f"{part}.nii.gz")
        matrix = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
        affine = np.column_stack([matrix[:, ::-1], image.GetOrigin()])
        array = SimpleITK.GetArrayFromImage(image)
        ras = (again.affine[:3] * np.array([[-1], [-1], [1]]))[:, [2, 1, 0, 3]]
        if not np.array_equal(np.asarray(again.dataobj).T, array) or np.abs(ras - affine).max() > 1e-4:
            sys.exit(f"{path}: nibabel and SimpleITK differ")
        return array, affine
    if name == "npy":
        array, place = np.load(path / f"{part}.npy"), json.loads((path / f"{part}.json").read_text())
    elif name == "b2nd":
        opened = blosc2.open(path / f"{part}.b2nd", mode="r")
        array, place = opened[0], json.loads(opened.schunk.meta["hilum"])
    else:
        group = zarr.open_group(path / f"{part}.zarr", mode="r")
        array, place = group["0"][:], group.attrs["hilum"]
    steps = np.array(place["direction"]).T * np.array(place["spacing"])
    return array, np.column_stack([steps, place["origin"]])


def check(out: dict[str, Path]) -> None:
    worst, voxels, volumes, nodules = dict.fromkeys(out, 0.0), 0, 0, 0
    for finished in hilum.open_run(out["npy"]):
        folder, scan = finished.folder, finished.scan()
        for name, run_folder in out.items():
            for part, volume in (("ct", scan.ct), ("lungs", scan.lungs), ("nodules", scan.nodule_mask)):
                if volume is None:
                    continue
                array, affine = read_without_hilum(run_folder / "scans" / folder.name, part, name)
                if not np.array_equal(array, volume.array) or array.dtype != volume.array.dtype:
                    sys.exit(f"{run_folder}: {folder.name}: {part} differs")
                corners = np.array(np.meshgrid(*[(0, n - 1) for n in array.shape])).reshape(3, -1)
                here = affine[:, :3] @ corners + affine[:, 3:]
                distance = np.abs(here.T - volume.geometry.index_to_world(corners.T)).max()
                worst[name] = max(worst[name], float(distance))
                volumes, voxels = volumes + 1, voxels + array.size
            told = read_record(run_folder / "scans" / folder.name)
            nodules += 0 if told is None else len(told.nodules)
    print(f"{volumes} volumes, {voxels / 1e6:.0f} million voxels equal; {nodules} nodules told")
    print("farthest corner from its place, mm: " + ", ".join(f"{name} {mm:.2g}" for name, mm in worst.items()))
    if max(worst.values()) > TOLERANCE:
        sys.exit("geometries differ")


def nodules_of(run_folder: Path, table: Path) -> Iterator[dict[str, Any]]:
    """Yield the nodules of a run: position in the table, voxel (x, y, z), and middle of the mask in the world."""
    with table.open(newline="") as file:
        rows = [(row["seriesuid"], *(float(row[f"coord{axis}"]) for axis in "XYZ")) for row in csv.DictReader(file)]
    for finished in hilum.open_run(run_folder):
        folder, record, scan = finished.folder, finished.record, finished.scan()
        known = [row[1:] for row in rows if row[0] == record.series_uid]
        if len(known) != len(record.nodules) or scan.nodule_mask is None:
            sys.exit(f"{folder}: {len(record.nodules)} nodules, and {len(known)} in {table}")
        for nodule, world in zip(record.nodules, known, strict=True):
            marked = np.argwhere(scan.nodule_mask.array == nodule.label)
            middle = scan.nodule_mask.geometry.index_to_world(marked.mean(axis=0)).tolist() if len(marked) else None
            told = {"scan": folder.name, "label": nodule.label, "world": world, "middle": middle}
            yield {**told, "voxel": nodule.voxel[::-1]}


def check_positions(out: dict[str, Path], table: Path, python: str) -> None:
    """Compare the nodules' positions in MONAI and TorchIO (.nii.gz) with those in the table and the .npy."""
    told = json.dumps(list(nodules_of(out["npy"], table)))
    words = [python, str(CONTENDERS / "nodule_positions.py"), str(out["nifti"])]
    done = subprocess.run(words, input=told, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{python} failed: {done.stderr.strip().splitlines()[-1]}")
    for one in map(json.loads, done.stdout.splitlines()):
        text = "{reader}: {nodules} centers, the farthest {center:.2g} mm from the table's place; "
        text += "{masks} masks, the farthest middle {middle:.2g} mm; 0.1 voxel away: at least {moved:.2g} mm"
        print(text.format(**one))
        if max(one["center"], one["middle"]) > TOLERANCE:
            sys.exit("a nodule is at another position")
        if one["moved"] <= TOLERANCE:
            sys.exit("a shift of 0.1 voxel was not noticed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scan", type=Path, nargs="?")
    parser.add_argument("annotations", type=Path, nargs="?")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--peers", default="", help="Python of an environment with torch, MONAI and TorchIO")
    args = parser.parse_args()
    scan, table = args.scan, args.annotations
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if args.check:
            made = phantoms(folder / "in", range(12), (60, 120, 120), (5.0, 3.0, 3.0))
            inputs = {"phantoms": (made, made / "annotations.csv"), **({"scan": (scan, table)} if scan else {})}
            for part, (where, notes) in inputs.items():
                out = {form: run(folder / part, [where], notes, form) for form in STORES}
                check(out)
                if args.peers and notes:
                    check_positions(out, notes, args.peers)
            return
        if scan is None:
            scan = phantoms(folder / "in", range(1), (150, 200, 200), (2.0, 2.0, 2.0))
        out = {form: run(folder, [scan], table, form) for form in STORES}
        whole = hilum.open_run(out["npy"])[0].scan()
        print(f"{' x '.join(map(str, whole.ct.shape))} voxels of int16, {whole.ct.array.nbytes / 1e6:.1f} MB")
        measure_formats(folder, out, whole)
        measure_choices(folder, whole.ct.array)


if __name__ == "__main__":
    main()
