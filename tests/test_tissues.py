"""The table of tissues, and volumes labeled by it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import hilum
from hilum.errors import InputError
from hilum.geometry import Geometry
from hilum.ops.tissues import TISSUES, Tissue, tissue_map
from hilum.volume import Volume

TUTORIAL = {
    "fat": (-100, -50), "CSF": (15, 15), "white matter": (20, 30), "gray matter": (37, 45), "blood": (30, 45),
    "muscle": (10, 40), "liver": (40, 60), "soft tissue with contrast": (100, 300), "bone": (700, 3000),
}  # fmt: skip


def volume(values):
    array = np.asarray(values, np.int16)
    return Volume(array, Geometry(array.shape, (2.0, 1.0, 1.0), (5.0, 6.0, 7.0)))


def test_the_table_is_the_tutorials_and_names_its_sources():
    table = {t.name: (t.lower, t.upper) for t in hilum.TISSUES}
    assert TUTORIAL.items() <= table.items()
    assert table["air"][0] <= -1000 <= table["air"][1] < table["lung"][0] == table["air"][1] + 1
    assert set(table) == {*TUTORIAL, "air", "lung"}
    assert all(len(t.source) > 20 for t in hilum.TISSUES)


@given(hnp.arrays(np.int16, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6)), st.permutations(TISSUES))
def test_the_first_tissue_that_holds_a_value_wins(values, order):
    found = tissue_map(volume(values), tissues=order)
    for value, label in zip(values.ravel().tolist(), found.array.ravel().tolist(), strict=True):
        fits = [k for k, t in enumerate(order, 1) if t.lower <= value <= t.upper]
        assert label == (fits[0] if fits else 0)


def test_ends_belong_to_a_tissue_and_the_grid_is_kept():
    values = volume([[[-101, -100, -50, -49, 699, 700, 3000, 3001]]])
    found = tissue_map(values)
    fat, bone = (1 + [t.name for t in TISSUES].index(name) for name in ("fat", "bone"))
    assert found.array.ravel().tolist() == [0, fat, fat, 0, 0, bone, bone, 0]
    assert found.geometry == values.geometry


def test_the_heads_tissues_are_met_only_where_they_are_asked_for():
    head = [t for t in TISSUES if t.name in {"CSF", "white matter", "gray matter"}]
    brain = volume([[[15, 25, 40]]])
    names = [t.name for t in TISSUES]
    assert [names[k - 1] for k in tissue_map(brain).array.ravel()] == ["muscle"] * 3
    assert tissue_map(brain, tissues=head).array.ravel().tolist() == [1, 2, 3]


def test_what_cannot_be_labeled_is_refused():
    grid = Geometry((1, 1, 2), (1.0, 1.0, 1.0))
    with pytest.raises(InputError, match="int16"):
        tissue_map(Volume(np.zeros((1, 1, 2), np.float32), grid))
    with pytest.raises(InputError, match="range of nothing is empty"):
        tissue_map(volume([[[0]]]), tissues=[Tissue("nothing", 5, 4, "")])
    with pytest.raises(InputError, match="255"):
        tissue_map(volume([[[0]]]), tissues=[TISSUES[0]] * 256)
