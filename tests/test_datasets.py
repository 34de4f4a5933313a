"""The kinds of input are told apart by their shape, and none is taken for another."""

from __future__ import annotations

import pytest

from hilum.datasets import DATASETS, recognize

CASE = "0a" * 16


@pytest.mark.parametrize(
    ("files", "root", "kind"),
    [
        (["subset3/1.2.3.mhd"], ".", "luna16"),
        (["subset3/1.2.3.mhd"], "subset3", "luna16"),
        (["SUBSET9/1.2.3.mhd", "other/a.dcm"], ".", "luna16"),
        (["subset3/1.2.3.dcm"], ".", "folder"),
        (["subsets/1.2.3.mhd", "1.2.3.mhd"], ".", "folder"),
        (["deep/er/subset3/1.2.3.mhd"], ".", "folder"),
        ([f"{CASE}/1.dcm"], ".", "dsb2017"),
        ([f"stage1/{CASE}/1.dcm", "stage1_labels.csv"], ".", "dsb2017"),
        ([f"stage1/{CASE}/1.dcm"], f"stage1/{CASE}", "dsb2017"),
        ([f"{CASE[:-1]}/1.dcm", f"{CASE}0/1.dcm", "stage1_labels.csv"], ".", "folder"),
        (["LIDC-IDRI-1/a/b/1.dcm", "LIDC/1.dcm"], ".", "folder"),
        (["a/1.dcm"], "a/1.dcm", "folder"),
        ([], "gone", "folder"),
    ],
)
def test_a_kind_is_told_by_its_shape(tmp_path, files, root, kind):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert recognize(tmp_path / root) == kind


def test_the_kind_that_takes_everything_comes_last():
    assert list(DATASETS)[-1] == "folder"
