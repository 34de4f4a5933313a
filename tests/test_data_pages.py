"""The pages about data sets run on phantoms in their layouts."""

from __future__ import annotations

from pathlib import Path

import pages
import pytest
from dataset_trees import write_decathlon, write_dirlab

from hilum.phantom.chest import make_phantom
from hilum.volume import Mask

pytestmark = [
    pytest.mark.usefixtures("no_workers"),
    pytest.mark.skipif(not pages.read_page("index.md"), reason="an installed package comes without the pages"),
]


def small(seed):
    return make_phantom(seed=seed, shape=(48, 96, 96), spacing=(6.25, 4.0, 4.0)).scan


def decathlon():
    scans = {number: small(number) for number in (1, 2, 3)}
    masks = {k: Mask(scan.lungs.array == 1, scan.lungs.geometry) for k, scan in scans.items() if k != 2}
    write_decathlon(Path("Task06_Lung"), {f"lung_{k:03d}": (scan.ct, masks.get(k)) for k, scan in scans.items()})


def dirlab():
    write_dirlab(Path("DIRLAB"), {"case1_T00": "Case1Pack/Images/case1_T00_s.img"})


@pytest.mark.parametrize(("name", "prepare"), [("nnunet-data.md", decathlon), ("dirlab.md", dirlab)])
def test_a_page_on_a_data_set_prints_what_it_shows(name, prepare, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prepare()
    text = pages.read_page(name)
    _, ran = pages.run_page(text)
    kinds = [fence for fence, _ in pages.blocks(text)]
    assert ran == {kind: kinds.count(kind) for kind in pages.KINDS}
    assert ran["sh"]
