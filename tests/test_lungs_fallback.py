"""Other settings for a lung mask: never on a plausible mask, taken where they are better, and always told."""

from __future__ import annotations

import json

import numpy as np
import pytest

import hilum
from hilum import batch
from hilum.ops.lungs.fallback import find_lungs
from hilum.ops.lungs.segment import segment_lungs
from hilum.ops.quality.measure import ALARM_BELOW, ALARMS, quality_notes
from hilum.outputs.ledger import read_ledger
from hilum.phantom.chest import PhantomOptions, make_phantom
from hilum.recipes import parse_recipe
from hilum.volume import Mask, Volume

SPACING = (4.0, 2.5, 2.5)


@pytest.fixture(scope="module")
def chest():
    return make_phantom(seed=8, spacing=SPACING)


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / max(1, np.count_nonzero(a) + np.count_nonzero(b))


def both_sides(got, truth):
    return min(dice(got.array == side, truth.array == side) for side in (1, 2))


class Counted:
    """A method that gives a fixed mask for the scan itself, and hilum's own for any other volume; counts its calls."""

    def __init__(self, ct, array, *, else_same=False):
        self.ct, self.array, self.else_same, self.calls = ct, array, else_same, 0

    def __call__(self, volume):
        self.calls += 1
        if volume is self.ct or self.else_same:
            return Mask(np.ascontiguousarray(self.array), self.ct.geometry)
        return segment_lungs(volume)


def test_a_plausible_mask_costs_nothing_more(chest, monkeypatch):
    monkeypatch.setattr("hilum.ops.lungs.fallback._smoothed", lambda *_: pytest.fail("a fallback was tried"))
    segment = Counted(chest.scan.ct, chest.lungs.array)
    found = find_lungs(chest.scan.ct, segment)
    assert segment.calls == 1
    assert found.notes == ()
    assert found.figures["lung_score"] >= ALARM_BELOW
    assert np.array_equal(found.mask.array, chest.lungs.array)


@pytest.mark.parametrize(("own", "calls", "name"), [(False, 1, "the method 'hilum'"), (True, 2, "a smoothed scan")])
def test_a_lost_lung_is_found_again_and_told(chest, own, calls, name):
    lost = np.where(chest.lungs.array == 2, 0, chest.lungs.array)
    segment = Counted(chest.scan.ct, lost)
    found = find_lungs(chest.scan.ct, segment, own=own)
    assert [note.code for note in found.notes] == ["lungs-fallback"]
    assert name in found.notes[0].text
    assert "missed-lung" in found.notes[0].text  # the alarm of the first mask
    assert segment.calls == calls
    assert both_sides(found.mask, chest.lungs) > 0.95
    kept = find_lungs(chest.scan.ct, segment, fallback=False)
    assert kept.notes == ()
    assert np.array_equal(kept.mask.array, lost)
    assert kept.figures["lung_score"] < ALARM_BELOW


def test_a_mask_that_is_no_better_does_not_replace_the_first(chest):
    lost = np.where(chest.lungs.array == 2, 0, chest.lungs.array)
    found = find_lungs(chest.scan.ct, Counted(chest.scan.ct, lost, else_same=True))
    assert [note.code for note in found.notes] == ["lungs-doubtful"]
    assert np.array_equal(found.mask.array, lost)
    assert {note.code for note in quality_notes(found.figures)} >= {"missed-lung", "one-lung"}


def test_noise_that_a_method_cannot_bear_is_smoothed(chest):
    noisy = make_phantom(seed=8, spacing=SPACING, options=PhantomOptions(noise_hu=300.0)).scan.ct

    def naive(volume):
        """Only dark voxels of the truth, as a threshold takes them."""
        return Mask(chest.lungs.array * (volume.array < -450), chest.scan.ct.geometry)

    assert both_sides(naive(noisy), chest.lungs) < 0.94
    found = find_lungs(noisy, naive)
    assert [note.code for note in found.notes] == ["lungs-fallback"]
    assert both_sides(found.mask, chest.lungs) > 0.95


def test_without_lungs_nothing_else_is_tried(chest):
    hu = np.where((chest.lungs.array | chest.airways.array | chest.bowel.array) > 0, 40, chest.scan.ct.array)
    ct = Volume(hu.astype(np.int16), chest.scan.ct.geometry)
    segment = Counted(ct, np.zeros_like(chest.lungs.array))
    found = find_lungs(ct, segment)
    assert segment.calls == 1
    assert found.notes == ()
    assert [note.code for note in quality_notes(found.figures)] == ["lungs-not-found"]


def test_notes_and_score_stand_in_the_record_and_the_ledger(chest, tmp_path):
    hu = np.where(chest.lungs.array == 1, 40, chest.scan.ct.array).astype(np.int16)
    hilum.write(Volume(hu, chest.scan.ct.geometry), tmp_path / "one.nii.gz")
    hilum.write(chest.scan.ct, tmp_path / "two.nii.gz")
    refs, _ = batch.index([tmp_path / "one.nii.gz", tmp_path / "two.nii.gz"])
    batch.run(refs, parse_recipe("[resample]\nspacing_mm = 4.0\norder = 1"), tmp_path / "out")
    rows = read_ledger(tmp_path / "out")
    sick, well = (json.loads((tmp_path / "out" / "scans" / ref.scan_id / "scan.json").read_text()) for ref in refs)
    assert {"one-lung"} <= {note["code"] for note in sick["notes"]}
    assert sick["figures"]["lung_score"] < ALARM_BELOW
    assert any(note.startswith("one-lung: ") for note in rows[refs[0].scan_id].notes)
    assert well["notes"] == []
    assert well["figures"]["lung_score"] > 0.75
    assert rows[refs[1].scan_id].status == "done"


def test_the_command_line_warns_and_writes_the_mask(chest, tmp_path, capsys):
    from hilum.cli import main

    block = chest.scan.ct.crop((30, 0, 0), (45, *chest.scan.ct.shape[1:]))
    hilum.write(block, tmp_path / "block.nii")
    assert main(["lungs", str(tmp_path / "block.nii"), str(tmp_path / "lungs.nii")]) == 0
    told = capsys.readouterr().err
    assert "cropped: " in told
    assert len(told.splitlines()) == 1
    assert set(np.unique(hilum.read(tmp_path / "lungs.nii").ct.array)) == {0, 1, 2}
    hilum.write(chest.scan.ct, tmp_path / "whole.nii")
    assert main(["lungs", str(tmp_path / "whole.nii"), str(tmp_path / "lungs.nii"), "--dilate-mm", "12"]) == 0
    assert capsys.readouterr().err == ""


def test_growth_is_no_alarm_and_does_not_change_the_figures(chest):
    plain, grown = (
        hilum.preprocess(chest.scan, parse_recipe(f"[resample]\nspacing_mm = 4.0\n[lungs]\ndilate_mm = {mm}"))
        for mm in (0, 12)
    )
    assert grown.notes == plain.notes == ()
    assert grown.lungs.volume_ml() > 1.3 * plain.lungs.volume_ml()
    assert grown.figures["lung_ml"] == plain.figures["lung_ml"] == pytest.approx(plain.lungs.volume_ml(), abs=1e-3)


def test_a_recipe_can_keep_the_first_mask(chest):
    text = "[resample]\nspacing_mm = 4.0\n[lungs]\nmethod = 'tutorial3d'\nfallback = {}"
    box = hilum.Scan("1", Volume(np.where(chest.lungs.array > 0, 40, chest.scan.ct.array).astype(np.int16),
                                 chest.scan.ct.geometry))  # fmt: skip
    notes = [{n.code for n in hilum.preprocess(box, parse_recipe(text.format(f))).notes} for f in ("true", "false")]
    assert notes[0] & {"lungs-fallback", "lungs-doubtful"}
    assert not notes[1] & {"lungs-fallback", "lungs-doubtful"}
    assert notes[1] & ALARMS
