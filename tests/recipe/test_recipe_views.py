"""The keys of views: defaults that change nothing, groups, what is refused in one line."""

import json

import pytest

from supcrd import recipe as recipes
from supcrd.errors import RecipeError
from supcrd.recipe import differences, load, parse, to_table, to_toml
from supcrd.recipe.settings import AugmentSettings
from supcrd.recipe.tables import validate

GROUPS = ["views.weak.flip=0.3", "views.strong.views=2", "views.strong.randaugment=2"]


def grouped(tmp_path, *overrides):
    """A built-in recipe whose [augment] is left out."""
    head, _, rest = recipes.builtin_text("digits-kd").partition("[augment]")
    path = tmp_path / "grouped.toml"
    path.write_text(f"{head}[train]{rest.partition('[train]')[2]}")
    return load(path, overrides)


def test_views_of_0_1_have_the_identity_of_0_1():
    assert AugmentSettings().identity_json() == json.dumps(
        {"views": 2, "crop_padding": 4, "flip": 0.5, "brightness": 0.2, "contrast": 0.2, "saturation": 0.2}
    ).replace(" ", "")
    for name, field in AugmentSettings.model_fields.items():
        if name not in ("views", "crop_padding", "flip", "brightness", "contrast", "saturation"):
            changed = {"crop": "resized", "cutout": 3, "randaugment": 1, "magnitude": 3}.get(name)
            changed = changed or ((0.5, 0.6) if isinstance(field.default, tuple) else 0.5)
            other = AugmentSettings.model_validate({name: changed})
            assert name in other.identity()
            assert other.identity_json() != AugmentSettings().identity_json()


def test_an_old_run_is_the_same_run():
    recipe = load("digits-kd")
    table = to_table(recipe)
    del table["views"]
    for key in set(AugmentSettings.model_fields) - set(AugmentSettings().identity()):
        del table["augment"][key]
    assert differences(validate(table, "old"), recipe) == {}
    assert load("digits-kd", ["augment.randaugment=2"]).name == "digits-kd_randaugment=2"


def test_groups_take_the_place_of_augment(tmp_path):
    recipe = grouped(tmp_path, *GROUPS)
    assert list(recipe.view_groups) == ["weak", "strong"]
    assert (recipe.view_count, recipe.views["weak"].flip) == (3, 0.3)
    assert (
        recipe.name == "grouped_views.strong.randaugment=2_views.strong.views=2_views.weak.flip=0.3_views.weak.views=1"
    )
    again = parse(to_toml(recipe), "again")
    assert again == recipe
    assert list(again.view_groups) == ["weak", "strong"]
    plain = load("digits-kd")
    assert plain.view_groups == {"augment": plain.augment}
    assert plain.view_count == plain.augment.views


def test_heads_are_fitted_on_the_first_group_unmixed(tmp_path):
    recipe = grouped(tmp_path, "views.a.cutmix=1.0", "views.a.mix=0.5", "views.b.flip=0.1")
    assert recipe.first_views == AugmentSettings(views=1)
    assert load("digits-kd").first_views == load("digits-kd").augment


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("augment.crop=resize", "augment.crop = 'resize'; did you mean resized? Valid: padded, resized, whole"),
        ("augment.magnitude=31", "augment.magnitude = 31: a whole number of 0 to 30 is right"),
        ("augment.randaugment=2.5", "augment.randaugment = 2.5: a whole number of 0 to 14 is right"),
        ("augment.erasing=1.5", "augment.erasing = 1.5: a number of 0 to 1 is right"),
        ("augment.cutmix=-1", "augment.cutmix = -1: a number of 0 to 100 is right"),
        ("augment.mixup=nan", "augment.mixup = nan: a finite number is right"),
        ("augment.crop_scale=0.5,2", "value 2 of augment.crop_scale = 2: a number above 0 and of 1 or less is right"),
        ("augment.crop_scale=[0.5]", "augment.crop_scale = [0.5] has too few values; 2 or more are right"),
        ("augment.crop_scale=0.5,0.6,0.7", "augment.crop_scale = [0.5, 0.6, 0.7] has 3 values; 2 or fewer are right"),
        ("augment.blur_sigma=2,1", "augment.blur_sigma = [2, 1]: the lower number first is right"),
        ("augment.cutout=-3", "augment.cutout = -3: a whole number of 0 to 4096 is right"),
        ("augment.mixpu=1", "unknown key augment.mixpu = 1; did you mean augment.mixup?"),
        ("train.cutmix=1", "unknown key train.cutmix = 1; did you mean augment.cutmix?"),
        ("n_views=1", "unknown key n_views = 1; did you mean augment.views?"),
        ("train.views=1", "unknown key train.views = 1; did you mean augment.views?"),
        (
            "views.strong.flip=0.1",
            "[augment] and [views.strong] exclude one another: groups have the keys of [augment]",
        ),
    ],
)
def test_what_is_refused(override, said):
    with pytest.raises(RecipeError) as error:
        load("digits-kd", [override])
    assert str(error.value) == f"recipe digits-kd: {said}"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("views.strong.magnitude=31", "views.strong.magnitude = 31: a whole number of 0 to 30 is right"),
        ("views.strong.magnitud=3", "unknown key views.strong.magnitud = 3; did you mean views.strong.magnitude?"),
        ("views.s.erasing_scale=0.3,0.2", "views.s.erasing_scale = [0.3, 0.2]: the lower number first is right"),
        ("views.strong=3", "views.strong = 3: it is a table; its keys are written as views.strong.KEY"),
    ],
)  # fmt: skip
def test_what_is_refused_of_groups(tmp_path, override, said):
    with pytest.raises(RecipeError) as error:
        grouped(tmp_path, override)
    assert str(error.value).endswith(f": {said}")


def test_a_cache_of_mixed_views_is_refused(tmp_path):
    said = (
        "teacher.cache = 3: mixup and cutmix make images that depend on the batch, and a cache has features of single "
        "images; 0 is right"
    )
    for overrides in (["augment.cutmix=1"], ["augment.mixup=0.2"]):
        with pytest.raises(RecipeError, match=said):
            load("digits-kd", [*overrides, "teacher.cache=3"])
    with pytest.raises(RecipeError, match=said):
        grouped(tmp_path, *GROUPS, "views.strong.mixup=0.2", "teacher.cache=3")
    load("digits-kd", ["augment.cutmix=1", "augment.mix=0.0", "teacher.cache=3"])
    grouped(tmp_path, *GROUPS, "views.weak.same_class_mixup=1.0", "teacher.cache=3")


@pytest.mark.parametrize("key", ["crop_scale", "crop_ratio", "blur_sigma", "erasing_scale", "erasing_ratio"])
def test_a_range_may_be_one_number_and_never_the_wrong_way_round(key: str) -> None:
    assert getattr(AugmentSettings.model_validate({key: [0.5, 0.5]}), key) == (0.5, 0.5)
    with pytest.raises(ValueError, match=rf"{key} = \[0.6, 0.5\]: the lower number first is right"):
        AugmentSettings.model_validate({key: [0.6, 0.5]})
