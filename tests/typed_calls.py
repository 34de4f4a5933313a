"""Every public call, with the type that a type checker sees; mypy --strict and pyright read it, nothing runs it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import hilum

Array = NDArray[Any]
Vector = tuple[float, float, float]


def read() -> hilum.Scan:
    """Read and write."""
    columns = hilum.TableColumns(id="patient", x="x", y="y", z="z", diameter="d", axes="ras")
    scan = assert_type(hilum.read(Path("scan"), series="1.2.3", annotations="nodules.csv", columns=columns), hilum.Scan)
    assert_type(hilum.write(scan.ct, "ct.nii.gz"), None)
    assert_type(hilum.read_mask("lungs.nii.gz"), hilum.Mask)
    one = assert_type(hilum.series("scan", pixels=False), tuple[hilum.Series, ...])[0]
    assert_type(one.number, int)
    assert_type(one.shape, tuple[int, int, int] | None)
    assert_type(one.spacing, Vector | None)
    hilum.read(3)  # type: ignore[arg-type]
    hilum.read("scan", sereis="1.2.3")  # type: ignore[call-arg]
    assert_type(columns.named, dict[str, str])
    assert_type(columns.position, tuple[str, ...])
    assert_type(columns.size, tuple[str, ...])
    return scan


def look_at(scan: hilum.Scan) -> None:
    """The nouns."""
    assert_type(scan.ct, hilum.Volume)
    assert_type(scan.lungs, hilum.Mask | None)
    assert_type(scan.nodules, tuple[hilum.Nodule, ...])
    assert_type(scan.notes, tuple[hilum.Note, ...])
    assert_type(scan.label_maps, Mapping[str, hilum.LabelMap])
    assert_type(scan.label_maps["tumor"].mask, hilum.Mask)
    assert_type(scan.label_maps["tumor"].values, Mapping[str, int])
    assert_type(scan.notes[0].terminal_text, str)
    assert_type(scan.nodules[0].center, Vector)
    assert_type(scan.nodules[0].diameter_mm, float)
    assert_type(scan.nodules[0].readings, tuple[hilum.Reading, ...])
    assert_type(scan.ct.array, Array)
    scan.ct = scan.ct  # type: ignore[misc]
    hilum.show(scan, window="lung", opacity=0.4, full=True)


def geometry(scan: hilum.Scan) -> None:
    """Where voxels lie."""
    grid = hilum.Geometry((10, 20, 30), (2.0, 0.5, 0.5), origin=(0.0, 0.0, 0.0))
    assert_type(grid.shape, tuple[int, int, int])
    assert_type(grid.spacing, Vector)
    assert_type(grid.origin, Vector)
    assert_type(grid.direction, tuple[Vector, Vector, Vector])
    assert_type(grid.affine, NDArray[np.float64])
    assert_type(grid.inverse_affine, NDArray[np.float64])
    assert_type(grid.center, Vector)
    assert_type(grid.voxel_volume, float)
    assert_type(grid.index_to_world((0, 0, 0)), NDArray[np.float64])
    assert_type(grid.world_to_index(scan.nodules[0].center), NDArray[np.float64])
    assert_type(grid.contains([(0.0, 0.0, 0.0)]), NDArray[np.bool_])
    assert_type(grid.isclose(grid, tolerance=0.01), bool)
    assert_type(grid[2:8, ::2], hilum.Geometry)
    assert_type(grid.place, str)
    assert_type(hilum.Geometry.from_affine_ras(grid.affine_ras, grid.shape[::-1]), hilum.Geometry)


def volumes(scan: hilum.Scan) -> None:
    """An array on a grid."""
    grid = scan.ct.geometry
    ct = assert_type(hilum.Volume(np.zeros(grid.shape, np.int16), grid), hilum.Volume)
    mask = assert_type(hilum.Mask(np.zeros(grid.shape, np.uint8), grid), hilum.Mask)
    assert_type(ct.shape, tuple[int, int, int])
    assert_type(ct.ndim, int)
    assert_type(ct.dtype, np.dtype[Any])
    assert_type(ct.spacing, Vector)
    assert_type(ct.origin, Vector)
    assert_type(ct.direction, tuple[Vector, Vector, Vector])
    assert_type(ct.affine_lps, NDArray[np.float64])
    assert_type(ct.affine_ras, NDArray[np.float64])
    assert_type(hilum.Volume.from_array(ct > 0, spacing=(2.0, 1.0, 1.0)), hilum.Volume)
    assert_type(hilum.Mask.from_array([[[1]]], spacing=(2.0, 1.0, 1.0)), hilum.Mask)
    assert_type(hilum.Volume.from_sitk(ct.to_sitk()), hilum.Volume)
    assert_type(hilum.Mask.from_nibabel(mask.to_nibabel()), hilum.Mask)
    assert_type(hilum.Volume.from_itk(ct.to_itk()), hilum.Volume)
    assert_type(hilum.Volume.from_monai(ct.to_monai()), hilum.Volume)
    assert_type(hilum.Mask.from_torchio(mask.to_torchio()), hilum.Mask)
    assert_type(ct.to_torch(), Any)
    assert_type(ct[2:8, ..., ::2], hilum.Volume)
    assert_type(mask[2:8], hilum.Mask)
    ct[0]  # type: ignore[index]
    assert_type(ct.crop((slice(0, 4), slice(0, 4), slice(0, 4))), hilum.Volume)
    assert_type(mask.names, Mapping[int, str])
    assert_type(mask.volume_ml("right lung"), float)
    assert_type(mask.volumes_ml(), dict[str | int, float])
    assert_type(ct.geometry, hilum.Geometry)
    assert_type(ct.crop((0, 0, 0), (4, 4, 4)), hilum.Volume)
    assert_type(mask.crop((0, 0, 0), (4, 4, 4)), hilum.Mask)
    assert_type(mask.volume_ml(1), float)


def resample(scan: hilum.Scan) -> None:
    """Other voxels, other values: what goes in comes out."""
    mask = hilum.segment_lungs(scan)
    assert_type(hilum.resample(scan, 1.0), hilum.Scan)
    assert_type(hilum.resample(scan.ct, (2.0, 1.0, 1.0), order=1, grid="corner"), hilum.Volume)
    assert_type(hilum.resample(mask, like=scan, order="nearest"), hilum.Mask)
    assert_type(hilum.reorient(scan), hilum.Scan)
    assert_type(hilum.reorient(mask), hilum.Mask)
    assert_type(hilum.resampled_geometry(scan, 1.0), hilum.Geometry)
    assert_type(hilum.normalize(scan.ct, lower=-1000, upper=400), hilum.Volume)
    assert_type(hilum.normalize(mask), hilum.Volume)
    assert_type(hilum.zero_center(hilum.normalize(scan), 0.25), hilum.Scan)
    assert_type(hilum.window(scan, "lung"), hilum.Scan)
    assert_type(hilum.window(scan.ct, center=40, width=400), hilum.Volume)
    assert_type(hilum.apply_voi_lut(scan.ct, table=[0, 255], first=0), hilum.Volume)
    hilum.resample("scan")  # type: ignore[type-var]
    hilum.resample(scan, order="cubik")  # type: ignore[arg-type]
    assert_type(hilum.WINDOW_PRESETS["lung"].width, float)


def lungs(scan: hilum.Scan) -> None:
    """Masks of lungs and tissues."""
    mask = assert_type(hilum.segment_lungs(scan, method="hilum", airways=True), hilum.Mask)
    assert_type(hilum.dilate(mask, 3.0), hilum.Mask)
    assert_type(hilum.dilate(scan, 3.0), hilum.Scan)
    hilum.dilate(scan.ct, 3.0)  # type: ignore[type-var]
    assert_type(hilum.tissue_map(scan, tissues=hilum.TISSUES), hilum.Mask)
    assert_type(hilum.TISSUES[0], hilum.Tissue)
    assert_type(hilum.TISSUES[0].lower, float)


def nodules(scan: hilum.Scan) -> None:
    """Nodules, their readers, labels of one's own."""
    grid, nodule = scan.ct.geometry, hilum.Nodule((0.0, 0.0, 0.0), diameter_mm=6.0)
    assert_type(hilum.mask_nodules(scan), hilum.Mask)
    assert_type(hilum.mask_nodules(grid, [nodule], level=0.5), hilum.Mask)
    assert_type(hilum.cover_nodules(scan.ct, [nodule]), hilum.Volume)
    assert_type(hilum.reading_mask(nodule.readings[0]), hilum.Mask)
    assert_type(hilum.consensus_mask(nodule, level=0.5), hilum.Mask)
    assert_type(hilum.agreement(nodule), NDArray[np.float64])
    file = hilum.LabelFile(Path("tumor.nii.gz"), "map", name="tumor", values=(("tumor", 1),))
    labeled = assert_type(hilum.attach_labels(scan, [file]), hilum.Scan)
    placed = assert_type(hilum.place_label_map(labeled.label_maps["tumor"], grid), hilum.Placed)
    assert_type(placed.label_map, hilum.LabelMap)
    assert_type(placed.lost, dict[str, float])
    hilum.mask_nodules(grid, nodule)  # type: ignore[call-overload]
    hilum.mask_nodules(grid)  # type: ignore[call-overload]


def recipes(scan: hilum.Scan) -> None:
    """The whole way by a recipe."""
    chosen = assert_type(hilum.recipe("luna16"), hilum.Recipe)
    assert_type(chosen.resample.spacing_mm, float | tuple[float, float, float])
    assert_type(hilum.preprocess(scan, chosen), hilum.Scan)
    assert_type(hilum.preprocess(scan, "luna16"), hilum.Scan)
    assert_type(chosen.replace(resample__spacing_mm=2.0), hilum.Recipe)
    assert_type(hilum.Recipe(resample={"spacing_mm": 2.0}), hilum.Recipe)
    assert_type(hilum.RECIPES["luna16"], hilum.Recipe)
    assert_type(hilum.__version__, str)
    assert_type(hilum.ScanRef("folder", "a", Path("scan")).label_files, tuple[hilum.LabelFile, ...])


def pictures(scan: hilum.Scan, score: hilum.Froc) -> None:
    """matplotlib tells no types: what comes back is a Figure for a reader, Any for a checker."""
    hilum.plot.montage(scan, plane="coronal", every=5).savefig("montage.png")
    hilum.plot.overview(scan, slices=3)
    hilum.plot.nodules(scan, most=4)
    hilum.plot.histogram(scan, mask=scan.lungs, tissues=["air", "lung"], width_mm=85)
    hilum.plot.surface(scan, kind="skeleton")
    hilum.plot.steps(scan, method="hilum")
    hilum.plot.window(scan, index=3)
    hilum.plot.compare(scan, "default", hilum.recipe("luna16"))
    hilum.plot.froc(score)
    hilum.plot.montage(3)  # type: ignore[arg-type]


def runs() -> None:
    """A finished run."""
    run = assert_type(hilum.open_run(Path("OUT")), hilum.Run)
    assert_type(hilum.open_run(run), hilum.Run)
    hilum.plot.overview(run[0], slices=4)
    hilum.show(run[0])
    assert_type(len(run), int)
    assert_type("1.2.3" in run, bool)
    assert_type([scan.scan_id for scan in run], list[str])
    assert_type(run[0], hilum.RunScan)
    assert_type(run.ids, tuple[str, ...])
    assert_type(run.status["refused"], int)
    assert_type([row.reason for row in (*run.refused, *run.failed)], list[str])
    assert_type(run.unlisted, tuple[hilum.RunScan, ...])
    assert_type(run.recipe, hilum.Recipe)
    assert_type(run.folds(by="patient_fold"), dict[str, tuple[str, ...]])
    table = assert_type(run.table(every=True), hilum.RunTable)
    assert_type(table["lung_right_ml"], list[str | int | float | None])
    assert_type(hilum.RunTable({"id": ["a"]})["id"], list[str | int | float | None])
    table.to_pandas().describe()
    table.to_polars().describe()
    run[1.5]  # type: ignore[index]
    one_of(run["1.2.3"])


def one_of(scan: hilum.RunScan) -> None:
    """A scan of a finished run."""
    assert_type(scan.ct, hilum.Volume)
    assert_type(scan.lungs, hilum.Mask | None)
    assert_type(scan.nodule_mask, hilum.Mask | None)
    assert_type(scan.label_maps, Mapping[str, hilum.LabelMap])
    assert_type(scan.nodules, tuple[hilum.Nodule, ...])
    assert_type(scan.notes, tuple[hilum.Note, ...])
    assert_type(scan.labels, Mapping[str, int | float | str])
    assert_type(scan.figures, Mapping[str, float])
    assert_type((scan.fold, scan.made_fold, scan.patient_fold, scan.uid), tuple[str, str, str, str])
    assert_type(scan.locations, Mapping[str, NDArray[np.float64]])
    assert_type(scan.annotated, bool)
    assert_type(scan.geometry, hilum.Geometry)
    assert_type(scan.record.nodules[0].diameter_mm, float)
    assert_type(scan.valid_record is None, bool)
    assert_type(scan.scan(label_maps=False), hilum.Scan)
    assert_type(scan.format_of("ct"), str)
    assert_type(scan.read("lungs"), hilum.Volume | None)
    assert_type(scan.corrected("lungs"), hilum.Mask | None)
    assert scan.open("ct") is not None
    assert_type(scan.check_files(digest=True), None)


def train() -> None:
    """To a training loop, and back to a score."""
    augment = hilum.Augment(flip="zyx", rotate_degrees=10)
    data = hilum.PatchDataset("OUT", size=32, window=(-1000, 400), augment=augment)
    assert_type(augment.reach, float)
    assert_type(augment.check(data.scans), None)
    grid = hilum.Geometry((10, 10, 10), (1.0, 1.0, 1.0))
    assert_type(augment.draw(grid, grid.center, 4, np.random.default_rng(0)).center, Vector)
    shaped = hilum.PatchDataset("OUT", size=(16, 32, 32), size_mm=(40, 32, 32), context_mm=96, samples_per_volume=4)
    assert_type(len(shaped), int)
    assert_type(data[0], dict[str, Any])
    assert_type(data.set_epoch(1), None)
    assert_type(len(data.sampler()), int)
    assert_type(hilum.PatchFolder("PATCHES")[0], dict[str, Any])
    for batch in hilum.batches(data, 4, seed=1):
        assert_type(batch, dict[str, Any])
    windows = assert_type(hilum.windows(hilum.Volume(np.zeros((9, 9, 9), np.int16), grid), (4, 8, 8)), hilum.Windows)
    assert_type(windows[0], hilum.Volume)
    assert_type(next(windows.batches(2)), NDArray[Any])
    assert_type(windows.corners, tuple[tuple[int, int, int], ...])
    prediction = assert_type(windows.stitch(one.array for one in windows), hilum.Prediction)
    assert_type(prediction.volume(channel=0), hilum.Volume)
    assert_type(prediction.mask(threshold=0.5), hilum.Mask)
    assert_type(prediction.detections(least_mm=3.0), list[hilum.Detection])
    assert_type(hilum.write_detections("marks.csv", {"1.2.3": [hilum.Detection(grid.center, 6.0, 0.9)]}), None)
    masks = assert_type(hilum.score("predictions", "labelsTs", tolerance_mm=1.0, grid="world"), hilum.Score)
    assert_type(masks.cases, tuple[hilum.CaseScore, ...])
    assert_type(masks.cases[0].volume_difference_ml, float)
    assert_type(masks.labels, tuple[hilum.LabelScore, ...])
    assert_type(masks.labels[0].means, Mapping[str, tuple[float, float, float]])
    score = assert_type(hilum.froc({"a": np.zeros((1, 4))}, {"a": np.zeros((1, 4))}, ["a"]), hilum.Froc)
    assert_type(score.cpm, float)
    assert_type(score.curve, NDArray[np.float64])


def errors() -> None:
    """One base, and a line that says what, where and what to do."""
    try:
        hilum.read("nowhere")
    except hilum.InputTypeError as error:
        assert_type(error.do, str)
    except (hilum.MissingInputError, hilum.FormatError, hilum.UnsupportedError, hilum.SeriesError) as error:
        base: hilum.InputError = error
        assert_type(base.code, str)
    except hilum.UnknownScanError as error:
        key: KeyError = error
        assert_type(key.args, tuple[Any, ...])
    except (hilum.GeometryError, hilum.AnnotationError, hilum.RecipeError, hilum.OutputError) as error:
        other: hilum.HilumError = error
        assert_type(other.what, str)
        assert_type(other.do, str)
