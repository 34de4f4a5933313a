"""What readers make of two odd series: one slice of 60 is missing; the padding outside the scanned field is -2000.

    python bench/odd_series.py [--peers PYTHON]

Each series is a phantom with slices of 5 mm. Prints, for each reader, the slice spacing, the largest distance between a
slice and its true position along z, the lowest value in HU, and how the reader warned. SimpleITK, TorchIO and MONAI are
asked if they are installed; `--peers` names the Python of an environment that has them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ASKED = """
import json, sys, warnings
import numpy as np
warnings.simplefilter("ignore")
reader, folder = sys.argv[1:]
if reader == "SimpleITK":
    import SimpleITK
    series = SimpleITK.ImageSeriesReader()
    series.SetFileNames(series.GetGDCMSeriesFileNames(folder))
    image = series.Execute()
    start, step, values = image.GetOrigin()[2], image.GetSpacing()[2], SimpleITK.GetArrayFromImage(image)
elif reader == "TorchIO":
    import torchio
    image = torchio.ScalarImage(folder)
    start, step, values = image.affine[2, 3], image.affine[2, 2], np.asarray(image.data[0]).T
else:
    from monai.transforms import LoadImage
    image = LoadImage(reader=reader.removeprefix("MONAI "))(folder)
    affine = np.asarray(image.affine)
    start, step, values = affine[2, 3], affine[2, 2], np.asarray(image).T
heights = [float(start + step * k) for k in range(len(values))]
print("ANSWER" + json.dumps([abs(float(step)), sorted(heights), float(values.min())]))
"""
READERS = ("SimpleITK", "TorchIO", "MONAI ITKReader", "MONAI PydicomReader")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", default=sys.executable)
    peers = parser.parse_args().peers
    with tempfile.TemporaryDirectory() as folder:
        for name, heights in write(Path(folder)).items():
            print(name)
            for reader in READERS:
                print(f"  {reader:20} {ask(peers, reader, Path(folder, name), heights)}")
            words = [sys.executable, "-m", "hilum.cli", "info", str(Path(folder, name))]
            said = subprocess.run(words, capture_output=True, text=True, check=False).stdout
            print(f"  {'hilum':20} {said.splitlines()[-1]}")
    return 0


def write(folder: Path) -> dict[str, list[float]]:
    """Write the two series and return the heights of their slices, in mm."""
    from hilum.phantom import make_phantom
    from hilum.phantom.files import write_dicom_series

    phantom = make_phantom(seed=1, shape=(60, 96, 96), spacing=(5.0, 4.0, 4.0))
    heights = [float(phantom.scan.ct.geometry.index_to_world((k, 0, 0))[2]) for k in range(60)]
    write_dicom_series(phantom, folder / "one slice missing")
    sorted((folder / "one slice missing").iterdir())[30].unlink()
    write_dicom_series(phantom, folder / "padding", dialect="padding-63536")
    return {"one slice missing": heights[:30] + heights[31:], "padding": heights}


def ask(python: str, reader: str, series: Path, heights: list[float]) -> str:
    """Let another reader load a series and say what it made of it."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    words = [python, "-c", ASKED, reader, str(series)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    answers = [line.removeprefix("ANSWER") for line in done.stdout.splitlines() if line.startswith("ANSWER")]
    if not answers:
        return f"not asked: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'no answer'}"
    step, found, lowest = json.loads(answers[0])
    off = max(abs(a - b) for a, b in zip(found, heights, strict=True))
    warned = "a warning on stderr" if "missing slices" in done.stderr else "no warning"
    return f"{step:.3f} mm, slices up to {off:.2f} mm off, lowest value {lowest:.0f} HU, {warned}"


if __name__ == "__main__":
    sys.exit(main())
