import pickle
import re
from pathlib import Path

import pytest

from supcrd import recipe as recipes
from supcrd.distil.plan import DEFAULT, plan
from supcrd.errors import RecipeError
from supcrd.models.archs.cifar_resnet import LAYERS, WIDE
from supcrd.models.archs.small_resnet import DEPTHS, OPTION_A
from supcrd.models.archs.vgg import BLOCKS
from supcrd.models.names import ARCHS
from supcrd.recipe import load
from supcrd.recipe.keys import all_keys, meant
from supcrd.recipe.meanings import groups
from supcrd.recipe.settings import METHOD_SETTINGS


@pytest.mark.parametrize("name", recipes.builtin_names())
def test_builtin_recipes_validate_and_survive_writing(name):
    loaded = load(name)
    assert loaded.name == name
    assert recipes.parse(recipes.to_toml(loaded), name) == loaded
    first, second = recipes.builtin_text(name).splitlines()[:2]
    assert first == f"# supcrd train {name}"
    assert second.startswith("# Result: ")


def test_the_published_protocol_to_the_letter():
    """Protocol of reducereX/ATML_Proj (December 2025)."""
    for name in ("cifar100-lw-supcrd", "cifar100-supcon", "cifar100-crd", "cifar100-hybrid"):
        r = load(name)
        assert (r.model.arch, r.model.projector) == ("resnet18", (128, 64))
        t = r.train
        assert (t.epochs, t.batch_size, t.optimizer, t.lr, t.schedule) == (50, 128, "adam", 1e-3, "constant")
        assert (t.weight_decay, t.grad_clip, t.warmup_epochs) == (0, None, 0)
        a = r.augment
        assert (a.views, a.crop_padding, a.flip) == (2, 4, 0.5)
        assert (a.brightness, a.contrast, a.saturation) == (0.2, 0.2, 0.2)
        assert r.data.mean == (0.5071, 0.4867, 0.4408)
        assert r.data.std == (0.2675, 0.2565, 0.2761)
        assert r.method.temperature == 0.07
        if name == "cifar100-supcon":
            assert r.teacher is None  # it reads none
        else:
            assert (r.teacher.recipe, r.teacher.joint, r.teacher.joint_lr_scale) == ("cifar100-resnet50", True, 0.1)
        assert r.data.validation == 0  # all 50,000 training images
        assert r.seed == 42
    method = load("cifar100-lw-supcrd").method
    assert (method.alpha, method.beta, method.adaptive) == (1, 10, True)
    assert load("cifar100-hybrid").method.lam == 0.3
    undistilled = load("cifar100-undistilled")
    assert (undistilled.augment.views, undistilled.method.name, undistilled.head.epochs) == (1, "cross_entropy", 0)
    teacher = recipes.teacher_recipe(load("cifar100-lw-supcrd"))
    assert (teacher.model.arch, teacher.train.epochs, teacher.train.schedule) == ("resnet50", 50, "cosine")
    assert (teacher.train.lr, teacher.train.batch_size, teacher.head.epochs) == (1e-3, 128, 10)
    assert (teacher.head.lr, teacher.head.temperature) == (1e-3, 0.07)


def test_the_strong_set_is_what_distil_trains_and_its_baseline():
    """Equal view-epochs: student and baseline differ in nothing but the method and the teacher."""
    strong, base = load("cifar100-strong"), load("cifar100-strong-cross-entropy")
    for key in ("data", "model", "augment", "train", "probe", "classifier"):
        assert getattr(strong, key) == getattr(base, key)
    assert strong.train.epochs * strong.view_count == 240
    assert plan("cifar100", "auto", "resnet8x4").configurations[DEFAULT][0].method == strong.method
    assert base.method.name == "cross_entropy"
    assert base.teacher is None
    assert recipes.teacher_recipe(strong).model.arch == "resnet32x4"


def test_overrides_set_any_key_with_toml_types():
    r = load("digits-lw-supcrd", ["train.epochs=2", "method.adaptive=false", "model.projector=[32, 64]", "train.lr=1"])
    assert (r.train.epochs, r.method.adaptive, r.model.projector, r.train.lr) == (2, False, (32, 64), 1.0)


def test_changing_the_method_keeps_the_keys_that_mean_the_same():
    r = load("digits-lw-supcrd", ["method.temperature=0.1", "method.name=crd"])
    defaults = {"bank": 0, "bank_momentum": 0.5, "kd_weight": 0.0, "kd_temperature": 4.0}
    assert r.method.model_dump() == {"name": "crd", "temperature": 0.1} | defaults
    r = load("digits-lw-supcrd", ["method.beta=3.0", "method.bank=9", "method.name=hybrid"])
    assert (r.method.beta, r.method.bank, r.method.lam) == (3.0, 9, 0.3)
    r = load("digits-lw-supcrd", ["method.alpha=3.0", "method.kd_temperature=2.0", "method.name=dkd"])
    assert r.method == METHOD_SETTINGS["dkd"].model_validate(
        {"name": "dkd"}
    )  # whose alpha is the weight of another thing
    r = load("digits-kd", ["method.temperature=2.0", "method.standardise=true", "method.weight=0.5", "method.name=dkd"])
    assert (r.method.temperature, r.method.standardise) == (2.0, True)
    assert load("digits-kd", ["method.weight=0.5", "method.name=mlkd"]).method.weight == 0.9  # its own, though equal
    r = load("digits-kd", ["method.weight=0.5", "method.name=kd"])
    assert r.method.weight == 0.5


@pytest.mark.parametrize("name", METHOD_SETTINGS)
def test_a_method_by_name_is_the_published_one_whatever_the_recipe_had(name):
    """The weight of `kd`, 0.9, is none for `at` (1000), and its temperature of logits, 4, none of cosines (0.07)."""
    for other in ("digits-kd", "digits-lw-supcrd", "digits-joint"):
        method = load(other, [f"method.name={name}"]).method
        if recipes.read(other)["method"]["name"] != name:
            assert method == METHOD_SETTINGS[name].model_validate({"name": name})


def test_names_tell_runs_apart():
    assert load("digits-crd", ["train.device=cpu", "data.folder=elsewhere"]).name == "digits-crd"
    assert load("digits-crd", ["seed=1", "train.lr=0.05"]).name == "digits-crd_seed=1_lr=0.05"
    assert load("digits-crd", ["data.source=npz:a/b.npz"]).name == "digits-crd_source=b"
    assert load("digits-crd", ["name=mine", "seed=1"]).name == "mine"
    long = ["train.warmup_epochs=1.25", "train.grad_clip=3.5", "train.weight_decay=0.123", "probe.weight_decay=0.5"]
    names = {load("digits-crd", [*long, "head.weight_decay=0.7", f"probe.lr={lr}"]).name for lr in (0.5, 0.25)}
    assert len(names) == 2
    assert max(map(len, names)) < 140


def test_the_teacher_learns_on_the_students_data():
    student = load("digits-crd", ["data.split_seed=5", "data.validation=0.2", "teacher.override.train.epochs=3"])
    teacher = recipes.teacher_recipe(student)
    assert teacher.data == student.data
    assert teacher.train.epochs == 3
    assert recipes.teacher_recipe(load("digits-crd", ["seed=4"])).seed == 0  # one teacher for all seeds


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train.epoch=5", "unknown key train.epoch = 5; did you mean train.epochs?"),
        ("epochs=5", "unknown key epochs = 5; did you mean train.epochs?"),
        ("method.betta=5", "unknown key method.betta = 5; did you mean method.beta?"),
        ("method.name=lwsupcrd", "unknown method.name = 'lwsupcrd'; did you mean lw_supcrd?"),
        ("train.epochs=1.5", "train.epochs = 1.5"),
        ("train.epochs=true", "train.epochs = true"),
        ("train.epochs='5'", "train.epochs = '5'"),
        ("train.lr=-1", "train.lr = -1: a number above 0 and of 1000 or less is right"),
        ("train.lr=nan", "train.lr = nan"),
        ("train.lr=high", "train.lr = 'high'"),
        ("train.optimizer=adamx", "train.optimizer = 'adamx'; did you mean adam? Valid: adam, adamw, sgd"),
        ("model.arch=resnet19", "model.arch: arch 'resnet19' is unknown; the nearest is 'resnet18'"),
        ("model.pretrained=true", "only timm:NAME has pretrained weights"),
        ("data.validation=1", "data.validation = 1: a number of 0 or more and below 1 is right"),
        ("teachers.a={recipe='digits-teacher', cache=2000}", "a.cache = 2000: a whole number of 0 to 1000 is right"),
        ("train.batch_size=1", "train.batch_size = 1: method lw_supcrd compares images of a batch; it needs 2 or more"),
        (
            "plugins=plug.py",
            """plugins = 'plug.py': a list is right, such as ["plug.py"]; on the command line in quotes""",
        ),
        ("train.milestones=x", "train.milestones = 'x': numbers are right, such as [0.5, 0.25] in a file"),
        ("data.mean=[0.5]", "data.mean and data.std must be given together; data.std is missing"),
        ("data.validation=1.0", "data.validation = 1.0"),
        ("teacher.run=runs/x", "got teacher.recipe and teacher.run"),
        ("teacher.arch=vgg19", "teacher.arch is for teacher.checkpoint, but the teacher is by teacher.recipe"),
        (
            "teacher.image_size=64",
            "teacher.image_size is for teacher.checkpoint and teacher.timm, but the teacher is by",
        ),
        ("teacher.override.train.epoch=5", "unknown key train.epoch = 5; did you mean train.epochs?"),
        ("teacher.override.model.arch=resnet9", "the nearest is 'resnet8'"),
        ("teacher.recipe=nosuch", "unknown recipe 'nosuch'"),
        ("name=../evil", "name = '../evil'"),
        ("junk", "override 'junk' is not KEY=VALUE"),
        ("=3", "override '=3' is not KEY=VALUE"),
        ("method=3", "method = 3: it is a table; its keys are written as method.name"),
        ("train=3", "train = 3: it is a table; its keys are written as train.epochs"),
        ("train.lr.peak=1", "train.lr = {'peak': 1}: a number above 0 and of 1000 or less is right"),
        ("train.lr=.01", "train.lr = '.01' is text; as a number it is written 0.01"),
        ("train.epochs=1e3", "train.epochs = 1000.0: a whole number of 1 to 1000000 is right"),
        ("data.stream=True", "data.stream = 'True': true or false is right"),
        ("data.folder=3", "data.folder = 3: text is right"),
        ("train.schedule=linear", "train.schedule = 'linear'; valid: constant, cosine, one_cycle, step"),
        ("method.name=factor", "unknown method.name = 'factor'; valid: cross_entropy, kd, "),
        ("method.name=imported", "unknown method.name = 'imported'; valid: cross_entropy, kd, "),
        ("data.mean=1,2,3,4", "data.mean = [1, 2, 3, 4] has 4 values; 3 or fewer are right"),
        ("data.mean=0.5,a", "data.mean = '0.5,a': numbers are right, such as [0.5, 0.25] in a file, or 0.5,0.25 on"),
        ("data.std=0.5,0", "value 2 of data.std = 0: a number of 0.0001 to 1000 is right"),
        ("data.classes=['a']", "data.classes = ['a']: two names or more are right, or a text file of them"),
        ("name=", "name = '': it must not be empty"),
        (
            "method.label_smoothing=0.1",
            "method lw_supcrd has no key label_smoothing = 0.1 (cross_entropy and joint have it; lw_sup",
        ),
        ("lam=0.3", "unknown key lam = 0.3; method.lam is a key of hybrid"),
        ("method.lr=0.1", "unknown key method.lr = 0.1; did you mean train.lr?"),
        ("T=4", "unknown key T = 4; did you mean method.temperature?"),
        ("method.tau=4", "unknown key method.tau = 4; did you mean method.temperature?"),
        ("learning_rate=1", "unknown key learning_rate = 1; did you mean train.lr?"),
        ("train.bs=1", "unknown key train.bs = 1; did you mean train.batch_size?"),
        ("train.wd=1", "unknown key train.wd = 1; did you mean train.weight_decay?"),
        ("data.name=digits", "unknown key data.name = 'digits'; did you mean data.source?"),
        ("trian.epohcs=4", "unknown key trian.epohcs = 4; did you mean train.epochs?"),
        ("teacher.epochs=4", "unknown key teacher.epochs = 4; did you mean teacher.override.train.epochs?"),
        ("teacher.train.lr=4", "unknown key teacher.train.lr = 4; did you mean teacher.override.train.lr?"),
        ("teachers.big.epochs=4", "unknown key teachers.big.epochs = 4"),
        ("teachers.big={recipe='digits-teacher', ovveride=4}", "= 4; did you mean teachers.big.override?"),
        ("teachers.big={recipe='digits-teacher', epochs=4}", "did you mean teachers.big.override.train.epochs?"),
        ("teachers.big={checkpoint='weights.pth', arch='resnet9'}", "teachers.big.arch: arch 'resnet9' is unknown"),
        ("teachers.big={recipe='nosuch'}", "unknown recipe 'nosuch'"),
        ("teachers.big=3", "teachers.big = 3: it is a table; its keys are written as teachers.big.KEY"),
        ("teacher.data.limit=4", "unknown key teacher.data.limit = 4; did you mean data.limit?"),
    ],
)
def test_mistakes_are_named(override, said):
    with pytest.raises(RecipeError) as error:
        load("digits-lw-supcrd", [override])
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) <= 300


@pytest.mark.parametrize(
    "overrides",
    [
        [f"{'x' * 5000}=3"],
        [f"train.{'x' * 500}={'y' * 500}", f"train.epochs={'y' * 500}"],
        [f"model.arch={'y' * 500}"],
        [f"method.name={'y' * 500}"],
        [f"method.{'x' * 500}={'y' * 500}"],
        [f"train.optimizer={'y' * 500}"],
        [f"model.projector={'1,' * 500}"],
        ["x" * 500],
        ["train.lr=0", *(f"key{number}=1" for number in range(50))],
    ],
)
def test_a_mistake_is_one_line_however_much_was_typed(overrides):
    with pytest.raises(RecipeError) as error:
        load("digits-lw-supcrd", overrides)
    assert len(str(error.value)) <= 300


def test_a_key_of_another_method_says_which_have_it():
    with pytest.raises(RecipeError) as error:
        load("digits-kd", ["method.kd_weight=0"])
    assert str(error.value) == (
        "recipe digits-kd: method kd has no key kd_weight = 0 "
        "(crd, lw_supcrd, hybrid, joint and 15 more have it; kd's are temperature, weight, standardise)"
    )
    theirs = "method.beta is a key of dkd, lw_supcrd, hybrid, joint and dist"
    with pytest.raises(RecipeError, match=f"unknown key beta = 3; {theirs}$"):
        load("digits-kd", ["beta=3"])  # no key of kd is proposed, nor one that would be refused next


def misspellings(word):
    """The word with a letter left out, doubled, replaced, or swapped with the next one."""
    for i in range(len(word)):
        yield word[:i] + word[i + 1 :]
        yield word[: i + 1] + word[i:]
        yield f"{word[:i]}q{word[i + 1 :]}"
        yield word[:i] + word[i : i + 2][::-1] + word[i + 2 :]


@pytest.mark.parametrize(
    "method",
    [pytest.param(m, marks=() if m in ("joint", "review") else pytest.mark.long) for m in METHOD_SETTINGS],
)
def test_a_misspelt_key_is_told_the_right_one(method):
    """Every key of every table with each typo of its last word, and of its table's name."""
    keys = all_keys(method)
    table = {"method": {"name": method}, "teacher": {"recipe": "digits-teacher"}}
    assert {"name", "train.lr", "data.std", "teacher.head.epochs", "method.name"} <= set(keys)
    for key in keys:
        first, dot, rest = key.partition(".")
        above, _, last = key.rpartition(".")
        typed = {f"{above}{'.' if above else ''}{word}" for word in misspellings(last) if word}
        typed |= {f"{word}.{rest}" for word in misspellings(first) if dot}
        for wrong in typed - set(keys):
            assert meant(wrong, table) == key, wrong


UNRELATED = [
    "dropout", "resume", "verbose", "entity", "notes",
    "tags", "steps", "kappa", "rho", "nesterov", "eps", "swa", "ddp", "world_size",
    "port", "host", "password", "token", "lora", "prune", "onnx", "banana",
    "zebra", "save_every",
]  # fmt: skip


@pytest.mark.parametrize("word", UNRELATED)
def test_a_word_that_is_like_no_key_gets_no_hint(word):
    for table in ("", "train.", "data.", "model.", "augment.", "head.", "teacher.", "teacher.head.", "banana."):
        with pytest.raises(RecipeError) as error:
            load("digits-crd", [f"{table}{word}=1"])
        assert str(error.value) == f"recipe digits-crd: unknown key {table}{word} = 1"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("digits-lw-supcr", "'; did you mean digits-lw-supcrd? `supcrd recipes` lists them"),
        ("Digits-KD", "'; did you mean digits-kd? `"),
        ("crd", "'; did you mean cifar100-crd or digits-crd? `"),
        ("digits", "'; `supcrd recipes` lists them"),
        ("mnist", "'; `supcrd recipes` lists them"),
    ],
)
def test_an_unknown_recipe(name, said):
    with pytest.raises(RecipeError) as error:
        load(name)
    assert str(error.value).startswith(f"unknown recipe '{name}{said}")


def test_a_path_that_is_not_quite_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(recipes.builtin_text("digits-crd"))
    with pytest.raises(RecipeError, match=r"unknown recipe 'mine'; did you mean the file mine.toml\? `supcrd"):
        load("mine")
    (tmp_path / "runs" / "x").mkdir(parents=True)
    (tmp_path / "mine.toml").rename(tmp_path / "runs" / "x" / "recipe.toml")
    with pytest.raises(RecipeError, match=r"recipe runs/x cannot be read: .*; did you mean runs/x/recipe.toml\?"):
        load("runs/x")


def test_several_numbers_separated_by_commas():
    """As `evaluate --mean` takes them."""
    r = load("digits-crd", ["data.mean=0.485, .456,4e-1", "data.std=[1, 1, 1]", "model.projector=128,64"])
    assert (r.data.mean, r.data.std, r.model.projector) == ((0.485, 0.456, 0.4), (1.0, 1.0, 1.0), (128, 64))
    assert r == load("digits-crd", ["data.mean=[0.485, 0.456, 0.4]", "data.std=1,1,1"])  # its name too
    r = load("digits-crd", ["data.mean=0.5", "data.std=0.25", "teacher.override.model.projector=32,64"])
    assert (r.data.mean, r.data.std) == ((0.5,), (0.25,))
    assert recipes.teacher_recipe(r).model.projector == (32, 64)
    assert load("digits-crd", ["data.folder=/1,2"]).data.folder == "/1,2"  # any text is a path


def test_names_of_architectures_are_known_without_networks():
    resnets = ("convnet", *LAYERS, WIDE, *DEPTHS, *OPTION_A)
    assert ARCHS[: len(resnets)] == resnets
    assert ARCHS[len(resnets) :][6:11] == tuple(BLOCKS)  # behind the wide ResNets, which say themselves what they are


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(RecipeError, match=r"nosuch\.toml cannot be read: No such file"):
        load(tmp_path / "nosuch.toml")
    (tmp_path / "bad.toml").write_text("[data\n")
    with pytest.raises(RecipeError, match="is not TOML"):
        load(tmp_path / "bad.toml")
    (tmp_path / "latin.toml").write_bytes(b"# \xe9")
    with pytest.raises(RecipeError, match="not UTF-8"):
        load(tmp_path / "latin.toml")
    (tmp_path / "short.toml").write_text('[data]\nsource = "digits"\n')
    with pytest.raises(RecipeError, match="key model is missing; key method is missing; key train is missing"):
        load(tmp_path / "short.toml")
    with pytest.raises(RecipeError, match="unknown recipe 'digits-lw-supcr'; did you mean digits-lw-supcrd"):
        load("digits-lw-supcr")


def test_a_method_that_reads_a_teacher_needs_one(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text('[data]\nsource="digits"\n[model]\narch="convnet"\n[method]\nname="kd"\n[train]\nepochs=1\n')
    with pytest.raises(RecipeError, match=r"method.name = 'kd' reads a teacher; set one of teacher.recipe"):
        load(path)


WITHOUT_SOURCE = '[data]\nlimit=100\n[model]\narch="convnet"\n[method]\nname="kd"\n[train]\nepochs=1\n'


def test_a_recipe_is_completed_by_overrides(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text(WITHOUT_SOURCE)
    with pytest.raises(
        RecipeError, match=r"r.toml: key data.source is missing: digits, cifar10, .* source of your own$"
    ):
        load(path, ["method.name=cross_entropy"])
    r = load(path, ["data.source=npz:a/b.npz", "method.name=cross_entropy", "seed=0"])
    assert (r.data.source, r.data.limit, r.method.name) == (f"npz:{Path('a/b.npz').absolute()}", 100, "cross_entropy")
    assert r.name == "r_source=b_label_smoothing=0_name=cross-entropy"  # what differs from the file, as ever
    r = load(path, ["data.source=digits", "teacher.run=runs/a"])
    assert (r.method.name, r.teacher.run) == ("kd", str(Path("runs/a").absolute()))
    path.write_text(WITHOUT_SOURCE.replace("epochs=1", "epochs='many'"))
    done = ["data.source=digits", "method.name=supcon", "name=mine"]
    assert load(path, [*done, "train.epochs=3"]).train.epochs == 3
    with pytest.raises(RecipeError, match=r"train.epochs = 'many': a whole number of 1 to 1000000 is right$"):
        load(path, done)


def test_a_teachers_recipe_is_completed_by_the_student(tmp_path):
    """With the student's data, which it takes anyway, and with teacher.override."""
    path = tmp_path / "teacher.toml"
    path.write_text('[model]\narch="convnet"\n[method]\nname="cross_entropy"\n[train]\nlr=0.1\n')
    student = ["data.limit=100", f"teacher.recipe={path}"]
    said = r"teacher.recipe .*teacher.toml: key train.epochs is missing: passes over the training images; minutes"
    with pytest.raises(RecipeError, match=said):
        load("digits-crd", student)
    r = load("digits-crd", [*student, "teacher.override.train.epochs=3"])
    teacher = recipes.teacher_recipe(r)
    assert teacher.data == r.data
    assert teacher.train.epochs == 3
    assert teacher.name == "teacher_limit=100_source=digits_epochs=3"
    path.write_text('[data]\nsorce="digits"\n' + path.read_text())  # replaced, but no less a mistake
    with pytest.raises(RecipeError, match=r"unknown key data.sorce = 'digits'; did you mean data.source\?"):
        load("digits-crd", [*student, "teacher.override.train.epochs=3"])


@pytest.mark.parametrize(
    ("recipe", "overrides", "name"),
    [  # as supcrd 0.1 named them, whose folders are to be found again
        (
            "digits-crd",
            ["method.name=hybrid"],
            "_adaptive=true_alpha=1_beta=10_lam=0.3_name=hybrid_teacher_temperature=1",
        ),
        ("digits-kd", ["method.name=cross_entropy"], "_label_smoothing=0_name=cross-entropy"),
        ("digits-kd", ["train.lr=1", "train.schedule=cosine", "model.projector=[64, 64]"], "_projector=-64-64-_lr=1"),
        ("digits-kd", ["data.mean=[0.5]", "data.std=[0.25]"], "_mean=-0.5-_std=-0.25-"),
        ("digits-kd", ["teacher.override.train.epochs=3"], "_teacher.override.train.epochs=3"),
        (
            "cifar100-supcon",  # which has no teacher: what is new in that table must not count
            ["teacher.run=runs/x"],
            "_teacher.cache=0_teacher.head.batch_size=128_teacher.head.epochs=10_teacher.head.lr=0_b6f4af398f",
        ),
    ],
)
def test_names_of_run_folders_stay(recipe, overrides, name):
    assert load(recipe, overrides).name == f"{recipe}{name}"


def test_which_runs_need_their_teacher():
    needs = {name: recipes.needs_teacher(load(f"digits-{name}")) for name in ("kd", "crd", "cross-entropy", "supcon")}
    assert needs == {"kd": True, "crd": True, "cross-entropy": False, "supcon": False}
    assert not recipes.needs_teacher(load("digits-teacher"))
    assert recipes.needs_teacher(load("digits-supcon", ["teacher.compare=true"]))
    assert recipes.needs_teacher(load("cifar100-supcon", ["teacher.run=runs/x"]))  # costs nothing to speak of
    assert not recipes.needs_teacher(load("cifar100-supcon", ["teacher.checkpoint=x.pth"]))


def test_a_stem_is_a_key_of_the_recipe():
    changed = recipes.load("digits-crd", ["model.arch=timm:mobilenetv3_small_050", "model.stem=native"])
    assert changed.model.stem == "native"
    assert changed.name.endswith("stem=native")
    assert recipes.load("digits-crd").model.stem is None
    for change, message in (
        (["model.stem=native"], "model.stem = 'native': 'resnet8' has one stem, for small images"),
        (["model.stem=wide"], "model.stem = 'wide'"),
    ):
        with pytest.raises(RecipeError, match=message):
            recipes.load("digits-crd", change)


def test_every_key_has_a_meaning_and_a_range():
    listed = {key.name: key for group in groups() for key in group.keys}
    tables = {"method", "data", "model", "augment", "train", "head", "probe", "teacher"}
    assert {key for key in all_keys() if not key.startswith("teacher.head.")} - {"teacher.head"} <= set(listed) | tables
    for group in groups():
        assert group.about, group.title
        for key in group.keys:
            assert len(key.meaning) >= 8, key
            assert key.meaning not in ("likewise", "as above"), key
            assert key.range not in ("", "any value"), key
    assert listed["train.weight_decay"].default == "0.0"
    assert listed["train.epochs"].range == "a whole number of 1 to 1000000"
    assert listed["name"].default == "the file's name"
    assert {key.default for group in groups("method.temperature") for key in group.keys} == {
        "0.07", "4.0", "0.1", "2.0", "[2.0, 3.0, 4.0, 5.0, 6.0]",
    }  # fmt: skip
    assert groups("nosuch") == []


@pytest.mark.parametrize("name", recipes.builtin_names())
def test_the_published_protocol_saves_the_classifier_that_was_trained(name):
    wanted = "best" if name.startswith(("digits-", "cifar100-strong", "reproduce-strong")) else "trained"
    loaded = load(name)
    assert loaded.classifier == wanted
    teacher = recipes.teacher_recipe(loaded)
    assert teacher is None or teacher.classifier == wanted


def test_a_whole_recipe_of_before_means_what_it_did():
    """Its teacher's recipe, which is in it, too; and it names no run."""
    text = recipes.to_toml(load("digits-lw-supcrd"))
    old = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("classifier ="))
    assert text.count("classifier =") - old.count("classifier =") == 2
    then = recipes.parse(old, "old")
    assert (then.classifier, then.teacher.resolved["classifier"]) == ("trained", "trained")
    assert recipes.differences(then, load("digits-lw-supcrd")) == {"classifier": ("trained", "best")}
    assert load("digits-lw-supcrd").name == "digits-lw-supcrd"


def test_the_allowed_values_of_a_key_stand_in_its_meaning():
    """Of those that are text: networks, devices, sources; of the others the range says it."""
    from supcrd.models.names import ARCHS
    from supcrd.recipe.settings import SOURCES

    known = {key.name: key for group in groups() for key in group.keys}
    assert set(re.findall(r"[a-z]+[\w.-]*\d[\w-]*|convnet", known["model.arch"].meaning.partition("timm:")[0])) == set(
        ARCHS
    )
    assert known["train.device"].range == "auto, cpu, cuda, cuda:N or mps"
    assert all(source in known["data.source"].meaning for source in SOURCES)
    vague = [name for name, key in known.items() if key.range in ("", "any value")]
    assert vague == []


@pytest.mark.parametrize("name", METHOD_SETTINGS)
def test_recipes_of_every_method_go_to_other_processes(name):
    """`supcrd report` draws in processes of its own."""
    recipe = recipes.load("digits-cross-entropy", [f"method.name={name}"])
    assert pickle.loads(pickle.dumps(recipe)) == recipe
