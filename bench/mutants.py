"""Change each guarded constant, one at a time, in a copy of the source: the tests of its bound must fail.

    python bench/mutants.py            all of them
    python bench/mutants.py ALARM      those whose name contains a word

Prints killed or survived for each. Exits 1 if one survived or a constant is missing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = "tests/test_thresholds.py"
FACTORS = (0.8, 1.25)
GUARDED = (
    ("io/dicom/grid.py", "UNIFORM_TOLERANCE"),
    ("io/dicom/repeats.py", "ALMOST_ALL"),
    ("io/dicom/stack.py", "LATERAL_TOLERANCE"),
    ("ops/quality/plausibility.py", "SHARE"),
    ("ops/quality/measure.py", "ALARM_BELOW"),
    ("ops/tissues.py", "LUNG_AIR_MAX_HU"),
    ("ops/lungs/cells.py", "WALL_HU"),
    ("ops/lungs/hilum_method.py", "CLOSE_MM"),
    ("ops/lungs/hilum_method.py", "FRAGMENT_SHARE"),
    ("ops/lungs/sides.py", "LUNG_ML"),
)


def main(words: list[str]) -> int:
    """Try the chosen constants."""
    wanted = [one for one in GUARDED if not words or any(word in one[1] for word in words)]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(shutil.copytree(ROOT / "src", Path(folder) / "src"))  # with its compiled kernels
        if not passes(source):
            print("the tests fail on the source as it is")
            return 1
        good = [survey(source, *one) for one in wanted]
    print(f"{sum(good)} of {len(good)} killed")
    return 0 if all(good) else 1


def survey(source: Path, module: str, name: str) -> bool:
    """Change one constant by each factor, and check that the tests fail every time."""
    path = source / "hilum" / module
    text = path.read_text()
    found = re.search(rf"^{name} = (-?[0-9.e-]+)(?:  #.*)?$", text, re.MULTILINE)
    if found is None:
        print(f"missing   {module} {name}")
        return False
    survived = False
    for factor in FACTORS:
        value = float(found[1]) * factor
        changed = repr(value) if set(found[1]) & set(".e") else str(round(value))
        path.write_text(text[: found.start(1)] + changed + text[found.end(1) :])
        alive = passes(source)
        survived |= alive
        print(f"{'survived' if alive else 'killed'}  {module} {name} {found[1]} -> {changed}", flush=True)
    path.write_text(text)
    return not survived


def passes(source: Path) -> bool:
    """Check that the tests pass on a source."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", TESTS]
    env = os.environ | {"PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
