from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.errors import RecipeError
from hilum.recipes import RECIPES, Output, parse_recipe, recipe, recipe_fingerprint, recipe_toml, with_options


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_toml_with_all_its_defaults(name):
    text = recipe_toml(recipe(name))
    assert parse_recipe(text) == RECIPES[name]
    assert "spacing_mm = 1.0" in text
    assert f'name = "{name}"' in text


@given(spacing=st.tuples(*[st.floats(0.1, 100)] * 3), order=st.sampled_from([0, 1, 3]), dilate=st.floats(0, 50))
def test_any_valid_recipe_survives_toml(spacing, order, dilate):
    text = f"[resample]\nspacing_mm = {list(spacing)}\norder = {order}\n[lungs]\ndilate_mm = {dilate!r}"
    chosen = parse_recipe(text)
    assert chosen.resample.spacing_mm == spacing
    assert parse_recipe(recipe_toml(chosen)) == chosen


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[resample]\nspacing_mm = -1.0", "spacing_mm is -1.0"),
        ("[resample]\nspacing_mm = nan", "spacing_mm is nan"),
        ("[resample]\nspacing_mm = [1.0, 0.0, 1.0]", "spacing_mm"),
        ("[resample]\nspacing_mm = [1.0, 1.0]", "length 3"),
        ("[resample]\norder = 2", "order"),
        ('[resample]\ngrid = "middle"', "grid"),
        ("[resampel]\norder = 1", "resampel"),
        ("[lungs]\ndilate = 5", "dilate"),
        ("[lungs]\ndilate_mm = -5.0", "dilate_mm"),
        ('[lungs]\nmethod = "tutorial3d"\nairways = true', "lungs.airways"),
        ('[lungs]\nmethod = "tutorial2d"\npathology = "exclude"', "lungs.pathology"),
        ('[lungs]\nbackground = "sides"', "lungs.background"),
        ("[read]\nmax_gap_mm = -1.0", "max_gap_mm"),
        ("[read]\nmax_gap_mm = nan", "max_gap_mm"),
        ("[read]\nmax_gap = 1.0", "max_gap"),
        ("[intensity]\nlower = 400.0", "not below"),
        ("[nodules]\nmin_readers = 0", "min_readers"),
        ("[nodules]\nmin_readers = 17", "min_readers"),
        ('name = "../x"', "name"),
        ("not toml", "="),
    ],
)
def test_a_bad_recipe_is_refused_in_one_line_that_names_the_option(text, told):
    with pytest.raises(RecipeError) as refusal:
        parse_recipe(text, where="mine.toml")
    assert told in str(refusal.value)
    assert str(refusal.value).startswith("mine.toml: ")
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) <= 300


def test_a_recipe_is_found_by_name_or_file(tmp_path):
    (tmp_path / "mine.toml").write_text('name = "mine"\n[lungs]\nmethod = "none"\n')
    assert recipe(tmp_path / "mine.toml").lungs.method == "none"
    with pytest.raises(RecipeError, match="default, tutorial2017, luna16"):
        recipe("nosuch")
    with pytest.raises(RecipeError, match="cannot be read"):
        recipe(tmp_path / "gone.toml")
    (tmp_path / "latin.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(RecipeError, match="cannot be read"):
        recipe(tmp_path / "latin.toml")


def test_the_fingerprint_follows_what_decides_the_result_and_nothing_else():
    base = recipe_fingerprint(recipe("default"))
    assert base == recipe_fingerprint(parse_recipe(""))
    assert base == recipe_fingerprint(parse_recipe("[nodules]\nmin_readers = 1"))
    assert base == recipe_fingerprint(parse_recipe('name = "other"\n[compute]\nworkers = 3'))
    changed = [
        "[resample]\nspacing_mm = 2.0", "[resample]\norder = 1", "[lungs]\ndilate_mm = 1.0", '[orient]\naxes = "keep"',
        "[read]\nmax_gap_mm = 4.0",
        "[nodules]\nmask = false", "[nodules]\nmin_readers = 2",
        '[intensity]\noutput = "unit"', '[output]\nformat = "npy"',
    ]  # fmt: skip
    marks = {base, *(recipe_fingerprint(parse_recipe(text)) for text in changed)}
    assert len(marks) == len(changed) + 1


def test_options_of_the_command_line_win():
    changed = with_options(recipe("default"), file_format="npy")
    assert changed == msgspec.structs.replace(RECIPES["default"], output=Output(format="npy"))
    assert with_options(recipe("luna16")) == recipe("luna16")
