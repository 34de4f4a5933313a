"""A run with label maps of scans that are oblique, flipped and thick, for tests of what carries them."""

from __future__ import annotations

import numpy as np

import hilum
from hilum.cli import main
from hilum.phantom import make_phantom
from hilum.phantom.files import write_dicom_series

TILTED = (
    (0.0, np.sin(0.3), np.cos(0.3)),
    (np.sin(0.2), np.cos(0.2) * np.cos(0.3), -np.cos(0.2) * np.sin(0.3)),
    (np.cos(0.2), -np.sin(0.2) * np.cos(0.3), np.sin(0.2) * np.sin(0.3)),
)
SCANS = {
    "oblique": {"shape": (72, 72, 84), "spacing": (3.5, 3.6, 3.6), "direction": TILTED},
    "flipped": {
        "shape": (72, 72, 84),
        "spacing": (3.5, 3.6, 3.6),
        "direction": ((0.0, 0.0, -1.0), (0.0, -1.0, 0.0), (1.0, 0.0, 0.0)),
    },
    "thick": {"shape": (34, 72, 84), "spacing": (7.5, 3.6, 3.6)},
}
LABELS = {  # center (x, y, z), LPS mm, from the middle of the scan, and radii, mm: 8, 14, 4.2 and 1.1 ml
    "lobes": {1: ((-60.0, 10.0, 30.0), (13.0, 11.0, 13.5)), 2: ((60.0, -5.0, -20.0), (15.0, 15.0, 15.0))},
    "tumor": {1: ((40.0, 20.0, 11.0), (10.0, 10.0, 10.0))},
    "small-one": {1: ((-35.3, -14.8, -31.6), (6.5, 6.3, 6.5))},
}


def draw(grid, middle, ellipsoids):
    """Ellipsoids on a grid, by the centers of its voxels."""
    world = grid.index_to_world(np.argwhere(np.ones(grid.shape, bool)))
    array = np.zeros(grid.shape, np.uint8)
    for value, (center, radii) in ellipsoids.items():
        inside = (((world - middle - center) / radii) ** 2).sum(axis=1) <= 1
        array.reshape(-1)[inside] = value
    return array


def truth(mask):
    """Volume, ml, and centroid (x, y, z), LPS mm, of each label of a mask."""
    found = {}
    for value in np.unique(mask.array[mask.array > 0]).tolist():
        index = np.argwhere(mask.array == value)
        middle = mask.geometry.index_to_world(index.mean(axis=0))
        found[value] = (len(index) * mask.geometry.voxel_volume / 1000, middle)
    return found


def label_grid(name, number, scan_grid, middle):
    """A label map's own grid: that of the scan, or finer and in other axes, around the labels."""
    if name == "tumor":
        return scan_grid
    spacing, direction = (1.7, 1.1, 1.3), (scan_grid.direction, TILTED, scan_grid.direction)[number]
    shape = (90, 150, 150)
    grid = hilum.Geometry(shape, spacing, (0.0, 0.0, 0.0), direction)
    return hilum.Geometry(shape, spacing, tuple((np.array(middle) - grid.center).tolist()), direction)


def make_labeled_run(folder, *, spacing_mm=1.0):
    """Write series and label maps, and run them: the folder of the series, the run, the truths by scan and map."""
    truths = {}
    for number, (case, options) in enumerate(SCANS.items()):
        phantom = make_phantom(seed=number, **options)
        write_dicom_series(phantom, folder / "dicom" / case)
        scan_grid = phantom.scan.ct.geometry
        middle = np.array(scan_grid.center)
        for name, ellipsoids in LABELS.items():
            grid = label_grid(name, number, scan_grid, middle)
            mask = hilum.Mask(draw(grid, middle, ellipsoids), grid)
            (folder / name).mkdir(exist_ok=True)
            hilum.write(mask, folder / name / f"{case}.nii.gz")
            truths.setdefault(phantom.scan.series_uid, {})[name] = truth(mask)
    shown = hilum.recipes.recipe_toml(hilum.recipe("luna16")).replace("spacing_mm = 1.0", f"spacing_mm = {spacing_mm}")
    (folder / "recipe.toml").write_text(shown)
    words = [word for name in LABELS for word in ("--labels", f"{name}={folder / name}")]
    words += ["--recipe", str(folder / "recipe.toml"), "--out", str(folder / "RUN")]
    assert main(["run", str(folder / "dicom"), *words]) == 0
    return folder / "dicom", folder / "RUN", truths


def hold_to(found, wanted, *, ml=0.01, mm=0.1, voxel_ml=0.0):
    """Compare volumes to 1 % and centroids to a tenth of a millimetre."""
    assert found.keys() == wanted.keys()
    for value, (volume, middle) in wanted.items():
        assert abs(found[value][0] - volume) <= ml * volume + voxel_ml / 2, (value, found[value], wanted[value])
        assert np.linalg.norm(np.subtract(found[value][1], middle)) <= mm, (value, found[value], wanted[value])
