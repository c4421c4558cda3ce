import pytest

from supcrd import recipe as recipes
from supcrd.errors import RecipeError
from supcrd.recipe import load


@pytest.mark.parametrize("name", recipes.builtin_names())
def test_builtin_recipes_validate_and_survive_writing(name):
    loaded = load(name)
    assert loaded.name == name
    assert recipes.parse(recipes.to_toml(loaded), name) == loaded
    first, second = recipes.builtin_text(name).splitlines()[:2]
    assert first == f"# supcrd train {name}"
    assert second.startswith("# Result: ")


def test_the_published_protocol_to_the_letter():
    """Protocol of reducereX/ATML_Proj (December 2024)."""
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


def test_overrides_set_any_key_with_toml_types():
    r = load("digits-lw-supcrd", ["train.epochs=2", "method.adaptive=false", "model.projector=[32, 64]", "train.lr=1"])
    assert (r.train.epochs, r.method.adaptive, r.model.projector, r.train.lr) == (2, False, (32, 64), 1.0)


def test_changing_the_method_keeps_the_keys_that_both_have():
    r = load("digits-lw-supcrd", ["method.temperature=0.1", "method.name=crd"])
    defaults = {"bank": 0, "bank_momentum": 0.5, "kd_weight": 0.0, "kd_temperature": 4.0}
    assert r.method.model_dump() == {"name": "crd", "temperature": 0.1} | defaults
    r = load("digits-lw-supcrd", ["method.beta=3.0", "method.bank=9", "method.name=hybrid"])
    assert (r.method.beta, r.method.bank, r.method.lam) == (3.0, 9, 0.3)


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
        ("train.lr=-1", "train.lr = -1: input should be greater than 0"),
        ("train.lr=nan", "train.lr = nan"),
        ("train.lr=high", "train.lr = 'high'"),
        ("train.optimizer=adamx", "train.optimizer = 'adamx'; did you mean adam? Valid: adam, adamw, sgd"),
        ("model.arch=resnet19", "model.arch: arch 'resnet19' is unknown; the nearest is 'resnet18'"),
        ("model.pretrained=true", "only timm:NAME has pretrained weights"),
        ("train.batch_size=1", "train.batch_size = 1: method lw_supcrd compares images of a batch; it needs 2 or more"),
        ("data.mean=[0.5]", "data.mean and data.std must be given together"),
        ("data.validation=1.0", "data.validation = 1.0"),
        ("teacher.run=runs/x", "got teacher.recipe and teacher.run"),
        ("teacher.override.train.epoch=5", "unknown key train.epoch = 5; did you mean train.epochs?"),
        ("teacher.override.model.arch=resnet9", "the nearest is 'resnet8'"),
        ("teacher.recipe=nosuch", "unknown recipe 'nosuch'"),
        ("name=../evil", "name = '../evil'"),
        ("junk", "override 'junk' is not KEY=VALUE"),
        ("=3", "override '=3' is not KEY=VALUE"),
        ("method=3", "method = 3"),
        ("train=3", "train = 3"),
    ],
)
def test_mistakes_are_named(override, said):
    with pytest.raises(RecipeError) as error:
        load("digits-lw-supcrd", [override])
    assert said in str(error.value)
    assert "\n" not in str(error.value)


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
