"""The pages about data sets run on phantoms in their layouts."""

from __future__ import annotations

from pathlib import Path

import pages
import pytest
from dataset_trees import with_ball, write_decathlon, write_dirlab, write_lndb, write_luna25, write_nlst, write_nsclc

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


def lndb():
    write_lndb(Path("LNDb"), {1: with_ball(small(1)), 2: with_ball(small(2)), 3: (small(3).ct, None)}, readers={1: 2})


def luna25():
    uids = [f"1.3.6.1.4.1.14519.5.2.1.7009.9004.{k}" for k in (1, 2)]
    write_luna25(Path("LUNA25"), {uids[0]: (small(1), [0, 1]), uids[1]: (small(2), [0])})


def nlst():
    scans = [small(k) for k in range(1, 5)]
    write_nlst(
        Path("NLST"),
        {(100002, 1999): scans[:2], (100002, 2000): [scans[2]], (100012, 1999): [scans[3]]},
        cancers=[100002],
    )


def nsclc():
    write_nsclc(Path("NSCLC-Radiomics"), {"LUNG1-001": small(1), "LUNG1-002": small(2)})


PREPARED = {
    "nlst.md": nlst,
    "nsclc.md": nsclc,
    "nnunet-data.md": decathlon,
    "dirlab.md": dirlab,
    "lndb.md": lndb,
    "luna25.md": luna25,
}


@pytest.mark.parametrize(("name", "prepare"), PREPARED.items())
def test_a_page_on_a_data_set_prints_what_it_shows(name, prepare, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prepare()
    text = pages.read_page(name)
    _, ran = pages.run_page(text)
    kinds = [fence for fence, _ in pages.blocks(text)]
    assert ran == {kind: kinds.count(kind) for kind in pages.KINDS}
    assert ran["sh"]
