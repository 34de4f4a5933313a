"""A demonstration without any download: preprocess a phantom chest."""

import csv
import shutil
from pathlib import Path

import hilum
from hilum import batch
from hilum.errors import OutputError
from hilum.phantom.chest import make_phantom
from hilum.phantom.files import write_dicom_series
from hilum.runs.run import open_run


def demo(out: Path) -> str:
    """Write a phantom scan as DICOM with annotations, preprocess it, and draw a picture.

    Parameters
    ----------
    out : Path
        The folder to fill: DICOM series and annotations.csv in ``input``, the run in ``output``, and the picture
        ``overview.png``.

    Returns
    -------
    str
        A few lines about the result.

    Raises
    ------
    OutputError
        If the folder cannot be written, or the run failed.
    """
    if out.exists() and any(out.iterdir()) and not (out / "input" / "annotations.csv").is_file():
        raise OutputError("is not empty and not from an earlier demo", where=out, do="choose another --out")
    shutil.rmtree(out, ignore_errors=True)
    phantom = make_phantom(seed=2017, shape=(140, 256, 256), spacing=(2.5, 1.4, 1.4))  # about a second on a laptop
    series = write_dicom_series(phantom, out / "input" / "series")
    annotations, series_uid = out / "input" / "annotations.csv", hilum.read(series).series_uid
    with annotations.open("w", encoding="ascii", newline="") as file:
        table = csv.writer(file)
        table.writerow(["seriesuid", "coordX", "coordY", "coordZ", "diameter_mm"])
        table.writerows([series_uid, *nodule.center, nodule.diameter_mm] for nodule in phantom.scan.nodules)
    refs, _ = batch.index([series], annotations=annotations)
    rows = batch.run(refs, hilum.recipe("luna16"), out / "output")
    if any(row.reason for row in rows):
        raise OutputError(rows[0].reason, where=out)
    scan = open_run(out / "output")[0]
    record, grid, source = scan.record, scan.record.geometry, scan.record.source_geometry
    lines = [
        f"{scan.folder}: {', '.join(record.files)}, scan.json",
        f"  read      {source.shape} voxels of {source.spacing} mm (z, y, x)",
        f"  written   {grid.shape} voxels of {grid.spacing} mm, HU",
        *[f"  {name:24s}{value:g}" for name, value in record.figures.items()],
    ]
    try:
        from hilum.pictures.overview import overview
    except ImportError:
        lines.append("no picture: matplotlib is not installed (pip install 'hilum[plots]')")
    else:
        overview(scan.scan()).savefig(out / "overview.png", dpi=80)
        lines.append(f"look at {out / 'overview.png'}")
    return "\n".join(lines)
