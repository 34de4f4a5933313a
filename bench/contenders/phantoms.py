"""Write phantom scans of 512 x 512 as DICOM for the contenders.

python bench/contenders/phantoms.py FOLDER SLICES SEED...
"""

from __future__ import annotations

import sys
from pathlib import Path

from hilum.phantom import make_phantom
from hilum.phantom.files import write_dicom_series

SPACING_MM = (1.25, 0.7, 0.7)


def main() -> None:
    folder, slices = Path(sys.argv[1]), int(sys.argv[2])
    for seed in map(int, sys.argv[3:]):
        phantom = make_phantom(seed=seed, spacing=SPACING_MM, shape=(slices, 512, 512))
        write_dicom_series(phantom, folder / f"{slices}-{seed}")


if __name__ == "__main__":
    main()
