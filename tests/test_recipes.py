from __future__ import annotations

import pickle
from types import MappingProxyType

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_runs import finished_scans

import hilum
from hilum import batch, cli
from hilum.errors import InputTypeError, RecipeError
from hilum.io.read_options import ReadOptions
from hilum.phantom.chest import make_phantom
from hilum.phantom.files import write_dicom_series
from hilum.recipe_sections import Lungs, Output, Read, Resample
from hilum.recipes import RECIPES, parse_recipe, recipe, recipe_fingerprint, recipe_toml, with_options
from hilum.volume import Volume

pytestmark = pytest.mark.usefixtures("no_workers")


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
        ("[read]\nhu_offset = 1e7", "hu_offset"),
        ("[read]\nrescale = [1.0]", "read.rescale is"),
        ("[read]\nrescale = [0.0, -1024.0]", "read.rescale is"),
        ("[read]\nrescale = [1.0, 2e6]", "read.rescale is"),
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
        "[read]\nmax_gap_mm = 4.0", '[read]\ntilt = "refuse"', "[read]\nrescale = [1, -1024]", "[read]\nhu_offset = 1",
        "[nodules]\nmask = false", "[nodules]\nmin_readers = 2",
        '[intensity]\noutput = "unit"', '[output]\nformat = "npy"',
    ]  # fmt: skip
    marks = {base, *(recipe_fingerprint(parse_recipe(text)) for text in changed)}
    assert len(marks) == len(changed) + 1


def test_options_of_the_command_line_win():
    changed = with_options(recipe("default"), file_format="npy")
    assert changed == msgspec.structs.replace(RECIPES["default"], output=Output(format="npy"))
    assert with_options(recipe("luna16")) == recipe("luna16")
    stated = with_options(recipe("default"), max_gap_mm=6.0, tilt="refuse", rescale=(1.0, -24.0), hu_offset=-1000.0)
    assert stated.read == Read(max_gap_mm=6.0, tilt="refuse", rescale=(1.0, -24.0), hu_offset=-1000.0)
    assert with_options(stated, max_gap_mm=None, tilt=None) == stated
    assert ReadOptions.of_recipe(stated.read).rescaled(2.0, 0.0) == (1.0, -1024.0)
    assert ReadOptions.of_recipe(Read()) == ReadOptions(max_gap_mm=5.0)
    with pytest.raises(RecipeError, match="options of the command line"):
        with_options(recipe("default"), max_gap_mm=-1.0)


def test_a_run_reads_as_the_command_line_says(tmp_path, capsys):
    phantom = make_phantom(seed=1, shape=(24, 48, 48), spacing=(12.0, 8.0, 8.0))
    write_dicom_series(phantom, tmp_path / "in")
    hilum.write(Volume(phantom.scan.ct.array + 1024, phantom.scan.ct.geometry), tmp_path / "in.nii.gz")
    (tmp_path / "r.toml").write_text('[lungs]\nmethod = "none"\n[resample]\ngrid = "native"\n')

    def run(source, out, *options):
        words = ["run", tmp_path / source, "--out", tmp_path / out, "--recipe", tmp_path / "r.toml", *options]
        return cli.main([str(word) for word in words])

    def stored(out):
        ((folder, record),) = finished_scans(tmp_path / out)
        return hilum.read(folder / "ct.nii.gz").ct.array, [note["code"] for note in record.notes]

    assert run("in", "plain") == run("in.nii.gz", "offset", "--hu-offset", "-1024") == 0
    assert (stored("plain")[0] == phantom.scan.ct.array).all()
    assert (stored("offset")[0] == phantom.scan.ct.array).all()
    assert stored("plain")[1].count("stated-rescale") == 0
    assert "stated-rescale" in stored("offset")[1]
    assert "hu_offset = -1024.0" in (tmp_path / "offset" / "recipe.toml").read_text()
    assert run("in.nii.gz", "rescale", "--rescale", "1,-1024", "--no-tilt") == 0
    assert 'tilt = "refuse"' in (tmp_path / "rescale" / "recipe.toml").read_text()
    assert run("in.nii.gz", "offset") == 1  # another recipe
    sorted((tmp_path / "in").iterdir())[9].unlink()
    assert run("in", "gap") == 1
    assert "--max-gap-mm 24" in capsys.readouterr().err
    assert run("in", "gap", "--max-gap-mm", "24") == 0


BAD = [
    ({"resample": {"spacing_mm": -1.0}}, "[resample]\nspacing_mm = -1.0"),
    ({"resample": {"spacing_mm": "fine"}}, '[resample]\nspacing_mm = "fine"'),
    ({"resample": {"order": 2}}, "[resample]\norder = 2"),
    ({"resample": {"spacing": 1.0}}, "[resample]\nspacing = 1.0"),
    ({"lungs": {"method": "best"}}, '[lungs]\nmethod = "best"'),
    ({"lungs": {"method": "tutorial2d", "airways": True}}, '[lungs]\nmethod = "tutorial2d"\nairways = true'),
    ({"read": {"rescale": [0.0, 1.0]}}, "[read]\nrescale = [0.0, 1.0]"),
    ({"intensity": {"lower": 500.0}}, "[intensity]\nlower = 500.0"),
    ({"nodules": {"min_readers": 1.5}}, "[nodules]\nmin_readers = 1.5"),
    ({"output": 3}, "output = 3"),
    ({"name": "no name"}, 'name = "no name"'),
]


@pytest.mark.parametrize(("values", "text"), BAD)
def test_a_recipe_in_python_is_refused_as_its_toml_is(values, text):
    with pytest.raises(RecipeError) as by_toml:
        parse_recipe(text)
    for make in (lambda: hilum.Recipe(**values), lambda: recipe().replace(**values)):
        with pytest.raises(RecipeError) as refusal:
            make()
        assert by_toml.value.what in (refusal.value.what, str(refusal.value))
    for section, keys in values.items():
        if isinstance(keys, dict):
            with pytest.raises(RecipeError):
                recipe().replace(**{f"{section}__{key}": value for key, value in keys.items()})


def test_an_unknown_section_is_refused():
    for make in (lambda: recipe().replace(resmaple={}), lambda: recipe().replace(resmaple__order=1)):
        with pytest.raises(RecipeError, match="unknown field `resmaple`"):
            make()
    with pytest.raises(RecipeError, match="name"):
        recipe().replace(name__first="a")
    with pytest.raises(RecipeError, match="an object is no value of a recipe"):
        recipe().replace(resample__spacing_mm=object())


def test_a_section_of_a_value_is_checked_too():
    with pytest.raises(RecipeError, match=r"Invalid enum value 2 - at `\$\.resample\.order`"):
        hilum.Recipe(resample=Resample(order=2))  # msgspec does not check what Python calls


def test_a_changed_recipe_keeps_everything_else():
    chosen = recipe("luna16")
    coarse = chosen.replace(resample__spacing_mm=2.0)
    assert coarse == chosen.replace(resample={"spacing_mm": 2.0})
    assert coarse == parse_recipe('name = "luna16"\n[resample]\nspacing_mm = 2.0\n[lungs]\ndilate_mm = 5.0')
    assert (coarse.lungs.dilate_mm, chosen.resample.spacing_mm) == (5.0, 1.0)
    assert chosen.replace(lungs={"fill": False}).lungs == Lungs(dilate_mm=5.0, fill=False)
    assert chosen.replace(lungs=Lungs(fill=False)).lungs.dilate_mm == 0.0
    assert chosen.replace() == chosen
    assert recipe_fingerprint(coarse) != recipe_fingerprint(chosen)
    assert coarse.replace(name="coarse").name == "coarse"


def test_a_recipe_takes_what_python_has_for_numbers():
    made = hilum.Recipe(resample={"spacing_mm": np.array([2.0, 1.0, 1.0])}, nodules={"min_readers": np.int64(2)})
    assert made.resample.spacing_mm == (2.0, 1.0, 1.0)
    assert made == hilum.Recipe(resample=MappingProxyType({"spacing_mm": (2, 1, 1)}), nodules={"min_readers": 2})
    assert hilum.Recipe(resample={"spacing_mm": np.float32(2)}) == hilum.Recipe(resample=Resample(spacing_mm=2))
    assert recipe_fingerprint(hilum.Recipe()) == recipe_fingerprint(recipe())
    assert pickle.loads(pickle.dumps(made)) == made  # noqa: S301 - pickled a moment ago


def test_a_recipe_is_its_own_name():
    assert recipe(recipe("luna16")) is RECIPES["luna16"]
    with pytest.raises(InputTypeError, match=r"an int is no recipe; give default, tutorial2017, luna16, a \.toml file"):
        recipe(3)


def test_a_run_takes_a_recipe_by_its_name_or_path(tmp_path):
    with pytest.raises(RecipeError, match="nosuch: no recipe of this name"):
        batch.run([], "nosuch", tmp_path / "OUT")
    with pytest.raises(InputTypeError, match="an int is no recipe"):
        batch.run([], 3, tmp_path / "OUT")
    assert batch.run([], "luna16", tmp_path / "OUT") == []
    assert parse_recipe((tmp_path / "OUT" / "recipe.toml").read_text()) == RECIPES["luna16"]
