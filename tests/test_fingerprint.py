"""The fingerprint of a run, held against numpy over all of its voxels at once."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from small_runs import finished_scans
from training_inputs import make_run

from hilum.cli import main
from hilum.errors import FormatError, MissingInputError
from hilum.outputs.store import read_stored
from hilum.stats import fingerprint, fingerprint_json


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("fingerprint"))


def arrays(run):
    for path, record in finished_scans(run):
        parts = [read_stored(path, record, name) for name in ("ct", "lungs", "nodules")]
        yield [np.zeros(parts[0].shape, np.uint8) if part is None else part.array for part in parts]


def test_gray_values_are_those_of_all_voxels_together(run):
    found = fingerprint(run)
    rules = {
        "lungs": lambda lungs, _: lungs > 0,
        "nodules": lambda _, nodules: nodules > 0,
        "foreground": lambda lungs, nodules: (lungs > 0) | (nodules > 0),  # nnU-Net: every voxel with a label
    }
    for name, rule in rules.items():
        values = np.concatenate([ct[rule(lungs, nodules)] for ct, lungs, nodules in arrays(run)]).astype(float)
        region = found.regions[name]
        assert region.voxels == values.size
        assert region.mean == pytest.approx(values.mean(), rel=1e-12)
        assert region.std == pytest.approx(values.std(), rel=1e-12)
        assert (region.minimum, region.maximum) == (values.min(), values.max())
        for percent, told in region.percentiles.items():
            assert told == np.percentile(values, float(percent), method="inverted_cdf")
    assert found.regions["lungs"].voxels < found.regions["foreground"].voxels


def test_grids_classes_and_nodules_are_counted(run):
    found = fingerprint(run)
    classes = np.zeros(4, int)
    for _, lungs, nodules in arrays(run):
        classes += [((lungs == k) & (nodules == 0)).sum() for k in range(3)] + [(nodules > 0).sum()]
    assert list(found.classes.values()) == classes.tolist()
    assert sum(found.classes.values()) == found.overall.voxels
    assert found.shape.median == (30.0, 48.0, 40.0)
    assert found.spacing_mm.minimum == found.spacing_mm.maximum == (2.0, 1.0, 1.5)
    # Four scans: two nodules that lie inside, none, nobody looked, two at the ends.
    assert (found.annotated_scans, found.nodules) == (3, 4)
    assert found.nodules_per_scan == {"minimum": 0, "median": 2, "maximum": 2}


def test_every_format_has_the_same_fingerprint(run, tmp_path):
    assert fingerprint(make_run(tmp_path, file_format="nifti")) == fingerprint(run)


def test_the_command_prints_what_it_printed_and_more(run, capsys):
    assert main(["stats", str(run), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads(fingerprint_json(fingerprint(run)))
    assert (told["mean"], told["scans"]) == (fingerprint(run).overall.mean, 4)
    assert told["fingerprint"]["regions"]["nodules"]["voxels"] > 0
    assert main(["stats", str(run)]) == 0
    text = capsys.readouterr().out
    for word in ("4 scans", "to center by", "spacing, mm", "foreground", "voxels by class", "3 annotated scans"):
        assert word in text


def test_what_cannot_be_measured_is_refused(tmp_path):
    with pytest.raises(MissingInputError):
        fingerprint(tmp_path)
    run = make_run(tmp_path)
    np.save(run / "scans" / "ct-a" / "lungs.npy", np.zeros((3, 3, 3), np.uint8))
    with pytest.raises(FormatError):
        fingerprint(run)


def test_a_file_that_is_not_what_was_written_is_refused_by_statistics_and_pictures(run, tmp_path, capsys):
    copy = tmp_path / "RUN"
    shutil.copytree(run, copy)
    path, record = finished_scans(copy)[0]
    stored = next(path / name for name in record.files if name.startswith("ct.") and not name.endswith(".json"))
    content = bytearray(stored.read_bytes())
    content[-9] ^= 4
    stored.write_bytes(content)
    with pytest.raises(FormatError, match="does not match its checksum"):
        fingerprint(copy)
    for words in (["stats", str(copy)], ["plot", "histogram", str(path), "--out", str(tmp_path / "a.png")]):
        assert main(words) == 1
        assert "does not match its checksum" in capsys.readouterr().err
