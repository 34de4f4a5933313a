"""Where the real scans are, and how a test asks for them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

# The machine that runs this may be busy: a slow example is no failure.
settings.register_profile("hilum", deadline=None, derandomize=True)
settings.load_profile("hilum")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real scans; a test that needs one skips where it is absent."""
    if not DATA.is_dir():
        pytest.skip("the real scans of ../shared/data are not on this machine")
    return DATA
