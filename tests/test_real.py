"""The main job on real scans; skipped where they are absent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import hilum
from hilum.phantom.files import reverse_in_plane
from hilum.recipes import parse_recipe, recipe

pytestmark = pytest.mark.real

A0002 = "lung-pet-ct-dx-A0002/04-25-2007-NA-ThoraxAThoraxRoutine Adult-34834"
SERIES = {
    "lidc-idri-0314/image": ((700, 1200), (1600, 2200)),
    f"{A0002}/2.000000-ThoraxRoutine  8.0.0  B70f-62919": ((900, 1400), (1300, 1900)),
    f"{A0002}/3.000000-ThoraxRoutine  8.0.0  B40f-10983": ((900, 1400), (1300, 1900)),
    "cip-ct64/ct-64Dicom": ((2100, 2800), (1900, 2500)),
    "cip-ct64/ct-64.nrrd": ((2100, 2800), (1900, 2500)),
}
"""Volumes in ml, right and left, between which a mask that was looked at lies; 0314 has a shrunken right lung."""


@pytest.fixture(scope="module")
def scan(real_data):
    return hilum.read(real_data / "lidc-idri-0314" / "image")


@pytest.mark.parametrize("name", SERIES)
def test_the_default_recipe_finds_both_lungs_on_their_sides(real_data, name):
    ready = hilum.preprocess(hilum.read(real_data / name), recipe("default"))
    for label, (low, high) in zip((1, 2), SERIES[name], strict=True):
        assert low < ready.lungs.volume_ml(label) < high
    x = [ready.ct.geometry.index_to_world(np.argwhere(ready.lungs.array == label).mean(axis=0))[0] for label in (1, 2)]
    assert x[1] - x[0] > 80  # the left lung lies toward larger x
    assert -900 < ready.figures["lung_mean_hu"] < -700
    assert not {note.code for note in ready.notes} & {"lungs-not-found", "small-lung", "leak", "not-hu"}


def test_the_tutorials_mask_is_lost_on_this_scan_and_only_under_its_name(scan):
    iso = hilum.resample(scan.ct, grid="corner")  # the tutorial's own grid
    lost, found = hilum.segment_lungs(iso, method="tutorial3d"), hilum.segment_lungs(iso)
    both = (lost.array > 0) & (found.array > 0)
    assert both.sum() < 0.02 * (found.array > 0).sum()


def test_the_nodule_lies_at_one_place_in_the_world_from_every_format(real_data, scan, tmp_path):
    annotations = real_data / "luna16" / "annotations.csv"
    uid = scan.series_uid
    hilum.write(scan.ct, tmp_path / f"{uid}.mhd")
    (tmp_path / "flipped").mkdir()
    hilum.write(reverse_in_plane(scan.ct), tmp_path / "flipped" / f"{uid}.mhd")
    hilum.write(scan.ct, tmp_path / f"{uid}.nii.gz")
    assert "-1 0 0 0 -1 0 0 0 1" in (tmp_path / "flipped" / f"{uid}.mhd").read_text().replace("-0 ", "0 ").replace(
        ".0", ""
    )
    places = []
    for path in (
        real_data / "lidc-idri-0314" / "image", tmp_path / f"{uid}.mhd",
        tmp_path / "flipped" / f"{uid}.mhd", tmp_path / f"{uid}.nii.gz",
    ):  # fmt: skip
        read = hilum.read(path, annotations=annotations)
        assert [round(n.diameter_mm, 2) for n in read.nodules] == [15.49]
        mask = hilum.mask_nodules(read.ct.geometry, read.nodules)
        assert read.ct.array[mask.array > 0].mean() > -300
        assert abs(mask.volume_ml() * 1000 / (np.pi * 15.4917**3 / 6) - 1) < 0.05
        places.append(mask.geometry.index_to_world(np.argwhere(mask.array).mean(axis=0)))
        wrong = replace(read.nodules[0], center=tuple(-np.array(read.nodules[0].center)))
        assert not hilum.mask_nodules(read.ct.geometry, [wrong]).array.any()
    assert np.abs(np.array(places) - places[0]).max() < 0.01


def test_the_run_tells_the_nodule_inside_the_lungs(real_data):
    read = hilum.read(real_data / "lidc-idri-0314" / "image", annotations=real_data / "luna16" / "annotations.csv")
    ready = hilum.preprocess(read, parse_recipe("[resample]\nspacing_mm = 2.0"))
    assert ready.figures["nodule_mean_hu"] > -300
    assert ready.figures["nodule_inside_lungs"] > 0.9
