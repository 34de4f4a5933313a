"""Volumes of DIR-Lab have the published geometry; a volume of another size or case is refused."""

from __future__ import annotations

import re

import numpy as np
import pages
import pytest
from dataset_trees import write_dirlab

import hilum
from hilum import cli
from hilum.datasets import dirlab, recognize
from hilum.errors import FormatError, MissingInputError
from hilum.io.read_options import ReadOptions

pytestmark = pytest.mark.usefixtures("no_workers")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("dirlab")
    made = write_dirlab(root, {"case1_T00": "Case1Pack/Images/case1_T00_s.img"})
    return root, made["case1_T00"].scan.ct


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def test_a_volume_has_the_published_geometry(tree, tmp_path):
    root, truth = tree
    assert recognize(root) == recognize(root / "Case1Pack") == "dirlab"
    (tmp_path / "r.toml").write_text('[lungs]\nmethod = "none"\n[resample]\ngrid = "native"\n')
    words = ["run", root, "--out", tmp_path / "out", "--recipe", tmp_path / "r.toml"]
    assert cli.main([str(word) for word in words]) == 0
    stored = hilum.read(tmp_path / "out" / "scans" / "case1_T00" / "ct.nii.gz").ct
    assert stored.geometry.spacing == pytest.approx((2.5, 0.97, 0.97))
    assert np.diag(np.array(stored.geometry.direction)[:, ::-1]) == pytest.approx(
        [1, 1, 1]
    )  # turned to the patient's axes
    assert (stored.array == truth.array[::-1]).all()  # the head is the last slice


def test_the_offset_is_that_of_the_table(tree):
    root, truth = tree
    (ref,) = dirlab.index(root).refs
    scan = dirlab.load(ref)
    assert (scan.series_uid, ref.case) == ("case1_T00", "case1")
    assert scan.ct.geometry.direction == truth.geometry.direction
    assert scan.ct.geometry.origin == (0.0, 0.0, 0.0)
    assert (scan.ct.array == truth.array).all()
    assert [note.code for note in scan.notes] == ["stated-geometry"]
    other = dirlab.load(ref, options=ReadOptions(hu_offset=24.0))
    assert other.ct.array.max() == truth.array.max() + 24
    assert [note.code for note in other.notes] == ["stated-geometry", "stated-rescale"]


def test_a_header_of_ones_own_says_the_same(tree):
    root, _ = tree
    page = pages.read_page("dirlab.md")
    if not page:
        pytest.skip("an installed package comes without the pages")
    header = re.search(r'"""(NDims.*?)"""', page, re.DOTALL)[1].replace("DIRLAB/", "")
    (root / "volume.mhd").write_text(header)
    own = hilum.read(root / "volume.mhd", hu_offset=-1024.0).ct
    (root / "volume.mhd").unlink()
    listed = dirlab.load(dirlab.index(root).refs[0]).ct
    assert own.geometry.isclose(listed.geometry)
    assert (own.array == listed.array).all()


@pytest.mark.parametrize("change", [b"", b"\0\0", None])
def test_a_volume_of_another_size_is_refused(tree, tmp_path, change):
    data = (tree[0] / "Case1Pack/Images/case1_T00_s.img").read_bytes()
    touch(tmp_path, "Case1Pack/Images/case1_T00_s.img")
    (tmp_path / "Case1Pack/Images/case1_T00_s.img").write_bytes(data[:-2] if change is None else data + change)
    (ref,) = dirlab.index(tmp_path).refs
    if change == b"":
        dirlab.load(ref)
        return
    with pytest.raises(FormatError, match="case1 has 94 x 256 x 256 voxels in 12320768"):
        dirlab.load(ref)


def test_names_and_layouts(tmp_path):
    names = (
        "4DCT/Case2Pack/Images/case2_T50-ssm.img", "4DCT/Case8Deploy/Images/case8_T00.img",
        "4DCT/Case10Pack/Images/case10_T90.img", "COPD/copd1/copd1/copd1_iBHCT.img", "COPD/copd1/copd1/copd1_eBHCT.img",
    )  # fmt: skip
    touch(tmp_path, *names, "4DCT/Case1Pack/ExtremePhases/Case1_300_T00_xyz.txt", "other/case3_T00_s.img")
    assert {ref.scan_id for ref in dirlab.index(tmp_path).refs} == {
        "case2_T50", "case8_T00", "case10_T90", "copd1_iBH", "copd1_eBH",
    }  # fmt: skip
    touch(tmp_path, "4DCT/Case11Pack/Images/case11_T00.img", "4DCT/Case2Pack/Images/case2_T50.img")
    assert sorted(refusal.code for refusal in dirlab.index(tmp_path).refused) == ["series-twice", "unknown-case"]


def test_other_folders_are_none(tmp_path):
    touch(tmp_path, "a/IM0001.img", "b/case1_T00_s.txt", "c/deep/case1_T00_s.img")
    assert {recognize(tmp_path), recognize(tmp_path / "a"), recognize(tmp_path / "b")} == {"folder"}
    for root in (tmp_path / "b", tmp_path / "none"):
        with pytest.raises(MissingInputError, match="no image of DIR-Lab"):
            dirlab.index(root)
