"""What docs/training.md shows is run, on a phantom."""

from __future__ import annotations

import csv
import re
import shlex

import pages
import pytest

from hilum import batch, cli
from hilum.cli import program
from hilum.io.scan_files import read
from hilum.phantom import make_phantom
from hilum.phantom.files import write_dicom_series
from hilum.recipes import parse_recipe

TEXT = pages.read_page("training.md")
RECIPE = '[resample]\nspacing_mm = 2.5\n[output]\nformat = "npy"\n'
HEAD = ["seriesuid", "coordX", "coordY", "coordZ"]

pytestmark = pytest.mark.skipif(not TEXT, reason="the tests of an installed package come without the pages")


def write(path, last, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([[*HEAD, last], *rows])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished run in OUT, and the tables of the page."""
    root = tmp_path_factory.mktemp("page")
    phantom = make_phantom(seed=5, shape=(48, 96, 96), spacing=(6.25, 4.0, 4.0))
    series = write_dicom_series(phantom, root / "series")
    uid = read(series).series_uid
    nodules = [[uid, *n.center, n.diameter_mm] for n in phantom.scan.nodules]
    write(root / "annotations.csv", "diameter_mm", nodules)
    write(root / "annotations_excluded.csv", "diameter_mm", [[uid, 0, 0, 0, -1]])
    write(root / "detections.csv", "probability", [[*row[:4], 0.9] for row in nodules[:3]] + [[uid, 0, 0, 1, 0.5]])
    (root / "seriesuids.csv").write_text(uid + "\n")
    refs, _ = batch.index([series], annotations=root / "annotations.csv")
    assert batch.run(refs, parse_recipe(RECIPE), root / "OUT")[0].status in {"done", "repaired"}
    return root


def test_the_commands_and_examples_run_in_their_order(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    blocks = pages.blocks(TEXT)
    names: dict[str, object] = {}
    for kind, block in blocks:
        if kind == "python":
            exec(block, names)  # noqa: S102 - our own page
        for line in block.splitlines() if not kind else ():
            assert cli.main(shlex.split(line)[1:]) == 0, line
    assert [kind for kind, _ in blocks].count("python") == 6
    told = capsys.readouterr().out
    assert "SLICES: 1 nodules of 1 scans, three slices each" in told
    assert "PATCHES: 5 patches at nodules, 3 elsewhere, of 1 scans" in told
    assert "CPM 0.6000" in told
    assert (folder / "froc.png").stat().st_size > 5000
    assert told.count("True") == 2
    assert names["varied"][1]["image"].shape == (48, 48, 48)
    assert names["images"].shape[1:] == (48, 48, 48)
    assert set(names["item"]) == set(re.search(r"An item is a dict: (.*?)\.\n", TEXT, re.DOTALL)[1].split("`")[1::2])


def test_every_column_of_the_index_is_explained():
    from hilum.train.patch_records import COLUMNS

    shown = [name for row in re.findall(r"^\| (`.*?) \|", TEXT, re.MULTILINE) for name in row.split("`")[1::2]]
    told = {c for c in COLUMNS for s in shown if c == s or (s.endswith("_*") and c.startswith(s[:-1]))}
    assert told == set(COLUMNS)


def test_every_command_named_exists():
    code = "\n".join(re.findall(r"^hilum .*|`hilum [^`]+`", TEXT, re.MULTILINE))
    named = set(re.findall(r"hilum (\w+) ", code)) - {"does"}  # a sentence may begin with "hilum does"
    assert {"run", "slices", "patches", "froc", "stats"} <= named
    assert named <= set(program())


def test_torchs_loader_runs_where_torch_is_there(folder, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.chdir(folder)
    (block,) = re.findall(r"```python torch\n(.*?)```", TEXT, re.DOTALL)
    exec(block, {})  # noqa: S102 - our own page
