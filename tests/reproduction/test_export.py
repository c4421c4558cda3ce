"""The published layout: names, weights that load in modules written by hand, JSON shapes, and what is refused."""

import json
from itertools import pairwise

import numpy as np
import pytest
import timm
import torch
from torch import nn
from torchvision.models import resnet18, resnet50

from made import make
from supcrd import recipe as recipes
from supcrd.models import Model, ModelWrapper
from supcrd.models.weights import Card, load_model, save_model
from supcrd.reproduction.layout import export_layout, published_name
from supcrd.reproduction.layout.jobs import read_jobs
from supcrd.reproduction.plan import plan
from supcrd.reproduction.published import EXPERIMENTS
from supcrd.runs.folder import RunFolder
from typed import NET, TEACHER, contents, invoke, refused, write_npz

MEAN, STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)
MORE = "resnet18_cifar100"
ROWS = [
    {"epoch": 1, "loss": 3.25, "lw_supcrd": 2.5, "probe": 0.75, "train_accuracy": 0.17196, "validation_accuracy": 0.5},
    {"epoch": 2, "loss": 2.5, "lw_supcrd": 2.0, "probe": 0.5, "train_accuracy": 0.34382, "validation_accuracy": 0.25},
]


# Names


@pytest.mark.parametrize(
    ("experiment", "file", "plot"),
    [
        ("undistilled", "undistilled", "undistilled"),
        ("baseline_supcon", "baseline_supcon", "baseline_supcon"),
        ("baseline_crd", "baseline_crd", "baseline_crd"),
        ("lw_supcrd", "alpha_1.0_beta_10.0_temp_0.07", "temp_0.07"),
        ("alpha_2.0", "alpha_2.0_beta_10.0_adaptive", "alpha_2.0"),
        ("alpha_5.0", "alpha_5.0_beta_10.0_adaptive", "alpha_5.0"),
        ("alpha_10.0", "alpha_10.0_beta_10.0_adaptive", "alpha_10.0"),
        ("beta_1.0", "alpha_1.0_beta_1.0_adaptive", "beta_1.0"),
        ("beta_5.0", "alpha_1.0_beta_5.0_adaptive", "beta_5.0"),
        ("beta_12.0", "alpha_1.0_beta_12.0_adaptive", "beta_12.0"),
        ("temp_0.05", "alpha_1.0_beta_10.0_temp_0.05", "temp_0.05"),
        *((f"hybrid_lambda_{lam}",) * 3 for lam in (0.3, 0.5, 0.7, 0.9)),
        ("no_bank_lw_supcrd", "lwsupcrd_nobank", "lwsupcrd_nobank"),
        ("bank_lw_supcrd", "lwsupcrd_bank4096", "lwsupcrd_bank4096"),
        ("no_bank_crd", "baseline_crd_nobank", "baseline_crd_nobank"),
        ("bank_crd", "baseline_crd_bank4096", "baseline_crd_bank4096"),
    ],
)
def test_the_reference_s_experiments_have_its_names(experiment, file, plot):
    """As they lie in the reference's repository."""
    planned = plan("published", ["main", "alpha", "beta", "temperature", "hybrid", "bank"], seeds=1)
    (recipe,) = planned.runs[experiment]
    name = published_name(recipe)
    assert (name.file, name.plot, name.published) == (f"student_{file}_{MORE}", plot, True)
    log = f"{file}_training_log" if "bank" in file else name.file
    assert (name.log, name.result) == (log, "undistilled_student" if plot == "undistilled" else plot)


def test_every_experiment_has_a_name_of_its_own():
    planned = plan("published", ["main", "alpha", "beta", "temperature", "hybrid", "bank", "logits"], seeds=1)
    names = {experiment: published_name(recipe) for experiment, (recipe,) in planned.runs.items()}
    assert set(names) == set(EXPERIMENTS)
    for part in ("file", "log", "result", "plot", "title"):
        assert len({getattr(name, part) for name in names.values()}) == len(EXPERIMENTS)
    unpublished = {experiment for experiment, name in names.items() if not name.published}
    assert unpublished == {"kd", "dkd", "kd_standardised", "dkd_standardised", "crd_kd", "lw_supcrd_kd"}
    assert names["kd"].file == f"student_published-kd-seed42_{MORE}"


@pytest.mark.parametrize(
    ("recipe", "changes", "title"),
    [
        ("cifar100-resnet50", [], "Teacher_resnet50_CIFAR100"),
        ("cifar100-supcon", [], "Baseline_SupCon_resnet18_CIFAR100"),
        ("cifar100-crd", [], "Baseline_CRD_resnet18_CIFAR100"),
        ("cifar100-undistilled", [], "Undistilled_Student_resnet18_CIFAR100"),
        ("cifar100-hybrid", [], "Hybrid_lambda_0.3_resnet18_CIFAR100"),
        ("cifar100-lw-supcrd", ["method.beta=5"], "SupCRD_alpha_1.0_beta_5.0_adaptive_resnet18_CIFAR100"),
        ("cifar100-lw-supcrd", ["method.adaptive=false"], "SupCRD_alpha_1.0_beta_10.0_resnet18_CIFAR100"),
        ("cifar100-crd", ["method.bank=4096"], "baseline_crd_bank4096"),
    ],
)  # fmt: skip
def test_titles_of_the_reference_s_sheets(recipe, changes, title):
    assert published_name(recipes.load(recipe, changes)).title == title


@pytest.mark.parametrize(
    ("recipe", "changes", "teaches", "file"),
    [
        ("cifar100-resnet50", ["model.arch=timm:resnet50"], False, "teacher_resnet50_cifar100"),
        ("digits-teacher", [], False, "teacher_resnet8x4_digits"),
        ("digits-cross-entropy", [], False, "student_undistilled_resnet8_digits"),
        ("cifar100-undistilled", [], True, "teacher_resnet18_cifar100"),
        ("digits-cross-entropy", [], True, "student_undistilled_resnet8_digits"),  # it has a teacher itself
        ("digits-lw-supcrd", ["method.alpha=2", "method.temperature=0.1"], False,
         "student_alpha_2.0_beta_10.0_temp_0.1_resnet8_digits"),
        # no published name: a setting that the reference has not changed
        ("digits-crd", ["method.temperature=0.1", "name=mine"], False, "student_mine_resnet8_digits"),
        ("digits-hybrid", ["method.beta=5", "name=mine"], False, "student_mine_resnet8_digits"),
        ("digits-lw-supcrd", ["method.teacher_temperature=2", "name=mine"], False, "student_mine_resnet8_digits"),
        ("digits-cross-entropy", ["method.label_smoothing=0.1", "name=mine"], False, "student_mine_resnet8_digits"),
        ("digits-crd", ["data.source=npz:some/tiny.npz", "name=mine"], False, "student_baseline_crd_resnet8_tiny"),
    ],
)  # fmt: skip
def test_other_names(recipe, changes, teaches, file):
    assert published_name(recipes.load(recipe, changes), teaches=teaches).file == file


# Weights


class PublishedConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        layers = []
        for before, width in pairwise((3, 32, 64, 128)):
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        self.conv, self.fc = nn.Sequential(*layers), nn.Linear(2048, 128)

    def forward(self, images):
        return self.fc(self.conv(images).flatten(1))


class PublishedResNet50(nn.Module):
    def __init__(self):
        super().__init__()
        net = cifar(resnet50())
        for name, part in net.named_children():
            setattr(self, name, part)
        self.projection = nn.Linear(2048, 512)

    def forward(self, images):
        x = self.relu(self.bn1(self.conv1(images)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.projection(x.mean(dim=(2, 3)))


def cifar(net):
    """torchvision's network with the stem of REFERENCE, 2."""
    net.conv1 = nn.Conv2d(3, 64, 3, stride=1, padding=1, bias=False)
    net.maxpool, net.fc = nn.Identity(), nn.Identity()
    return net


class Published(nn.Module):
    """The published wrapper's modules, written from its description and torchvision alone."""

    def __init__(self, num_classes, arch):
        super().__init__()
        width = 128 if arch == "convnet" else 512
        builds = {"convnet": PublishedConvNet, "resnet18": lambda: cifar(resnet18()), "resnet50": PublishedResNet50}
        self.encoder = builds[arch]()
        self.projector = nn.Sequential(nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, 64))
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, images):
        features = self.encoder(images)
        return features, self.projector(features), self.classifier(features)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Images of 32 px to measure on; none to train on, so that no neighbours are looked for."""
    path = tmp_path_factory.mktemp("data") / "tiny.npz"
    return write_npz(path, size=32, test=20, train_images=None, train_labels=None)


def normalised(path):
    with np.load(path) as held:
        pixels = torch.from_numpy(held["test_images"]).permute(0, 3, 1, 2) / 255
        labels = torch.from_numpy(held["test_labels"])
    return (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None], labels


def finished(out, data, name, arch, *changes, recipe="cifar100-lw-supcrd", rows=ROWS, model=None, **evaluation):
    """A finished run with random weights; its accuracy is that of a plain forward pass."""
    torch.manual_seed(len(name))
    model = model or Model(3, arch, image_size=32)
    for key, tensor in model.state_dict().items():  # statistics that are not those of a fresh network
        if key.endswith(("running_mean", "running_var")):
            tensor.uniform_(0.5, 1.5)
    pixels, labels = normalised(data)
    with torch.no_grad():
        output = model.eval()(pixels)
    accuracy = (output.logits.argmax(dim=1) == labels).double().mean().item()
    settings = [f"data.source=npz:{data}", f"model.arch={arch}", *changes]
    folder = make(out, name, 0, accuracy, *settings, recipe=recipe, rows=rows, n=len(labels), **evaluation)
    save_model(folder, model, Card(arch=arch, num_classes=3, mean=MEAN, std=STD))
    RunFolder(folder).write_outputs(
        labels=labels.numpy(), logits=output.logits.numpy(), projections=output.projections.numpy()
    )
    return folder


def exported(folders, out, **more):
    return export_layout(folders, out, plots=False, **more)


def evaluated(path, data, *more):
    numbers = [f"--{name}={','.join(map(repr, values))}" for name, values in (("mean", MEAN), ("std", STD))]
    told = invoke("evaluate", path, "--data", f"npz:{data}", *numbers, *more, "--json")
    assert told.exit_code == 0, told.stderr
    return json.loads(told.stdout)


@pytest.mark.parametrize("arch", ["convnet", "resnet18", "resnet50"])
def test_weights_load_in_the_published_wrapper_and_give_the_run_s_numbers(arch, data, tmp_path):
    folder = finished(tmp_path, data, "run", arch)
    told = exported([folder], tmp_path / "out")
    path = tmp_path / "out" / "pth_models" / f"student_alpha_1.0_beta_10.0_temp_0.07_{arch}_tiny.pth"
    assert list(told.weights) == [path]
    state = torch.load(path, weights_only=True)
    own, labels = load_model(folder)[0], normalised(data)[1]
    pixels = normalised(data)[0]
    for wrapper in (Published(3, arch), ModelWrapper(num_classes=3, arch=arch)):
        wrapper.load_state_dict(state)  # strictly: no key missing, none too many
        with torch.no_grad():
            for ours, theirs in zip(own(pixels), wrapper.eval()(pixels), strict=True):
                torch.testing.assert_close(ours, theirs)
    with torch.no_grad():
        right = (wrapper(pixels)[2].argmax(dim=1) == labels).double().mean().item()
    assert (
        evaluated(path, data)["accuracy"] == right == json.loads((folder / "evaluation.json").read_text())["accuracy"]
    )
    assert not any("pth_models" in note or ".pth" in note for note in told.notes)


def test_a_timm_network_is_written_as_the_published_timm_teacher(data, tmp_path):
    teacher = finished(tmp_path, data, "taught", "timm:resnet18", recipe="cifar100-resnet50")
    told = exported([teacher], tmp_path / "out")
    first, second = told.weights
    assert [path.stem for path in (first, second)] == ["teacher_resnet18_tiny", "teacher_resnet18_tiny_with_projection"]
    states = [torch.load(path, weights_only=True) for path in (first, second)]
    net = timm.create_model("resnet18", num_classes=3)
    net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    net.load_state_dict(states[0])
    pixels, _ = normalised(data)
    own = load_model(teacher)[0]
    with torch.no_grad():
        torch.testing.assert_close(net.eval()(pixels), own(pixels).logits)
        head = nn.Sequential(nn.Linear(512, 128), nn.ReLU(), nn.Linear(128, 64))
        head.load_state_dict({key.removeprefix("projection."): states[1][key] for key in states[1].keys() - states[0]})
        torch.testing.assert_close(head(own(pixels).features), own(pixels).projections)
    accuracy = json.loads((teacher / "evaluation.json").read_text())["accuracy"]
    assert evaluated(first, data)["accuracy"] == evaluated(second, data)["accuracy"] == accuracy
    assert evaluated(second, data)["projection_trained"]
    assert any("timm:resnet18 for 3 x 32 x 32 images is written under timm's own names" in note for note in told.notes)


@pytest.mark.parametrize(
    ("arch", "asked"), [("resnet8", False), ("timm:mobilenetv3_small_050", False), ("timm:efficientnet_lite0", True)]
)
def test_networks_outside_the_published_layout_are_written_and_said_so(arch, asked, data, tmp_path):
    folder = finished(tmp_path, data, "run", arch)
    told = exported([folder], tmp_path / "out")
    (path,) = told.weights
    (note,) = told.notes
    assert f"{path.name}: {arch} for 3 x 32 x 32 images" in note
    assert (f"needs --arch {arch}" in note) == asked
    accuracy = json.loads((folder / "evaluation.json").read_text())["accuracy"]
    assert evaluated(path, data, *(["--arch", arch] if asked else []))["accuracy"] == accuracy


@pytest.mark.parametrize(
    ("arch", "stem", "said"),
    [
        ("timm:mobilenetv3_small_050", "low", True),
        ("timm:mobilenetv3_small_050", "native", False),
        ("timm:resnet10t", "low", True),
        ("timm:resnet18", "low", False),
        ("timm:regnetx_002", None, False),
    ],
)
def test_the_name_says_where_timm_would_run_weights_with_another_stem(arch, stem, said, data, tmp_path):
    model = Model(3, arch, stem=stem).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # a fresh one's zeros would let nothing through
            nn.init.ones_(module.weight)
            nn.init.ones_(module.bias)
    told = exported([finished(tmp_path, data, "run", arch, model=model)], tmp_path / "out")
    (path,) = told.weights
    assert ("_low-stem" in path.name) == said
    assert any("plain timm loads it, but" in note for note in told.notes) == said
    state = torch.load(path, weights_only=True)
    plain = {key: tensor for key, tensor in state.items() if not key.startswith("projection.")}
    head = {"mobilenetv3_small_050": "classifier", "regnetx_002": "head.fc"}.get(arch.removeprefix("timm:"), "fc")
    theirs = timm.create_model(arch.removeprefix("timm:"), num_classes=3).eval()
    images = torch.randn(2, 3, 32, 32)
    kept = {key.replace("fc.", f"{head}.") if key.startswith("fc.") else key: plain[key] for key in plain}
    if arch == "timm:resnet18":
        with pytest.raises(RuntimeError, match=r"size mismatch for conv1\.weight"):
            theirs.load_state_dict(kept)
    else:
        assert str(theirs.load_state_dict(kept)) == "<All keys matched successfully>"
        with torch.no_grad():
            right = torch.allclose(theirs(images), model(images).logits, rtol=1e-4, atol=1e-6)
        assert right != said
    loaded, card = load_model(path, image_size=32)
    assert card.stem == model.stem
    assert torch.equal(loaded(images).logits, model(images).logits)


# A whole layout, of runs that were trained


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Images of 32 px to train on as well."""
    return write_npz(tmp_path_factory.mktemp("whole") / "tiny.npz", size=32)


@pytest.fixture(scope="module")
def trained(whole, tmp_path_factory):
    """A teacher, an undistilled student and two that it taught."""
    out = tmp_path_factory.mktemp("runs")
    for name, more in {"lw-supcrd": ["method.beta=5"], "hybrid": [], "cross-entropy": []}.items():
        changes = [f"data.source=npz:{whole}", "data.validation=0.2", *NET, *TEACHER, f"name={name}", *more]
        changes = [change.replace("probe.epochs=1", "probe.epochs=0") for change in changes]
        assert invoke("train", f"digits-{name}", *changes, "--out", out).exit_code == 0
    return out


def test_the_whole_layout(trained, whole, tmp_path):
    told = invoke("reproduce", "layout", trained, "--out", tmp_path / "out", "--no-plots")
    assert told.exit_code == 0, told.stderr
    students = ["alpha_1.0_beta_5.0_adaptive", "hybrid_lambda_0.3", "undistilled"]
    names = [*(f"student_{name}_convnet_tiny" for name in students), "teacher_convnet_tiny"]
    there = {str(path) for path in contents(tmp_path / "out")}
    assert there == {
        *(f"pth_models/{name}.pth" for name in names),
        "pth_models/teacher_convnet_tiny_with_projection.pth",
        *(f"json_results/training_logs/{name}.json" for name in names),
        "json_results/comprehensive_results_convnet_tiny.json",
    }
    assert (tmp_path / "out" / "plots").is_dir()
    runs = dict(zip(names, ["lw-supcrd", "hybrid", "cross-entropy", "teacher"], strict=True))
    accuracy = {name: json.loads((trained / runs[name] / "evaluation.json").read_text())["accuracy"] for name in names}
    for line in told.stdout.splitlines():  # what the command prints is what `evaluate` needs
        path, *options = line.split()
        if path.endswith(".pth"):
            name = path.rpartition("/")[2].removesuffix(".pth").removesuffix("_with_projection")
            values = json.loads(invoke("evaluate", path, "--data", f"npz:{whole}", *options, "--json").stdout)
            assert values["accuracy"] == accuracy[name]
            Published(3, "convnet").load_state_dict(torch.load(path, weights_only=True))
    for name in names:
        log = json.loads((tmp_path / "out" / "json_results" / "training_logs" / f"{name}.json").read_text())
        rows = [json.loads(line) for line in (trained / runs[name] / "metrics.jsonl").open()]
        loss = "contrastive_loss" if name in names[:2] else "train_loss"
        assert list(log) == ["epochs", loss, "train_acc", "validation_acc"]
        assert {len(values) for values in log.values()} == {2}
        assert log["epochs"] == [1, 2]
        assert log["train_acc"] == pytest.approx([100 * row["train_accuracy"] for row in rows])
        assert log["validation_acc"] == pytest.approx([100 * row["validation_accuracy"] for row in rows])
        # without the online classifier's term, which the reference does not count in
        assert log[loss] == pytest.approx([row["loss"] - row.get("probe", 0) for row in rows])
    results = json.loads((tmp_path / "out" / "json_results" / "comprehensive_results_convnet_tiny.json").read_text())
    percent = {key: pytest.approx(100 * value, abs=1e-6) for key, value in accuracy.items()}
    best = max(accuracy[name] for name in names[:3])
    assert results == {
        "architecture": {"teacher": "convnet", "student": "convnet"},
        "config": {"batch_size": 16, "lr": 0.002, "epochs_teacher": 2, "epochs_student": 2, "temperature": 0.07},
        "results": {
            "teacher": percent[names[3]],
            "beta_5.0": percent[names[0]],
            "hybrid_lambda_0.3": percent[names[1]],
            "undistilled_student": percent[names[2]],
        },
        "best_student_method": results["best_student_method"],
        "best_student_accuracy": pytest.approx(100 * best, abs=1e-6),
        "teacher_accuracy": percent[names[3]],
    }
    assert results["results"][results["best_student_method"]] == results["best_student_accuracy"]
    before = contents(tmp_path / "out")
    assert invoke("reproduce", "layout", trained, "--out", tmp_path / "out", "--no-plots", "--json").exit_code == 0
    assert contents(tmp_path / "out") == before


def test_figures_have_the_published_names(trained, tmp_path):
    told = export_layout([trained / "hybrid"], tmp_path / "out")
    drawn = sorted(path.name for path in told.files if path.parent.name == "plots")
    assert drawn == sorted(path.name for path in (tmp_path / "out" / "plots").iterdir())
    assert drawn == [
        "hybrid_lambda_0.3_alignment.png",
        "hybrid_lambda_0.3_hypersphere.html",
        "teacher_alignment.png",
        "teacher_hypersphere.html",
        "tsne_Hybrid_lambda_0.3_convnet_TINY.png",
        "tsne_Teacher_convnet_TINY.png",
    ]


# By hand


def test_values_of_a_log_and_what_differs_between_runs(data, tmp_path):
    for number, beta in enumerate((1, 5)):
        changes = [f"method.beta={beta}", f"train.lr={number + 1}e-3", "train.epochs=2"]
        finished(tmp_path / "runs", data, f"run{beta}", "convnet", *changes)
    told = exported([tmp_path / "runs"], tmp_path / "out")
    assert told.notes == ()
    log = tmp_path / "out" / "json_results" / "training_logs" / "student_alpha_1.0_beta_5.0_adaptive_convnet_tiny.json"
    assert json.loads(log.read_text()) == {
        "epochs": [1, 2],
        "contrastive_loss": [2.5, 2.0],
        "train_acc": [17.196, 34.382],
        "validation_acc": [50.0, 25.0],
    }
    results = json.loads((tmp_path / "out" / "json_results" / "comprehensive_results_convnet_tiny.json").read_text())
    assert results["config"] == {
        "batch_size": 128,
        "lr": None,
        "epochs_teacher": None,
        "epochs_student": 2,
        "temperature": 0.07,
    }
    assert list(results["results"]) == ["beta_1.0", "beta_5.0"]
    assert (results["architecture"], results["teacher_accuracy"]) == ({"teacher": None, "student": "convnet"}, None)


def test_without_a_validation_split_nothing_takes_its_place(data, tmp_path):
    rows = [{key: value for key, value in row.items() if key != "validation_accuracy"} for row in ROWS]
    finished(tmp_path, data, "run", "convnet", rows=rows)
    exported([tmp_path / "run"], tmp_path / "out")
    (log,) = (tmp_path / "out" / "json_results" / "training_logs").iterdir()
    assert list(json.loads(log.read_text())) == ["epochs", "contrastive_loss", "train_acc"]


def test_one_experiment_of_two_networks_goes_by_its_whole_name_in_plots(data, tmp_path):
    for arch in ("convnet", "resnet8"):
        finished(tmp_path, data, arch, arch)
    jobs, _ = read_jobs([tmp_path])
    assert [job.name.plot for job in jobs] == [job.name.file for job in jobs]
    assert len({job.name.title for job in jobs}) == 2


def test_a_run_that_bears_the_name_of_an_experiment_takes_nothing_from_it(data, tmp_path):
    rows = [{"epoch": 1, "loss": 1.0, "train_accuracy": 0.5}]
    for name, method in (("teacher", "kd"), ("temp_0.07", "kd"), ("mine", "lw_supcrd")):
        finished(tmp_path, data, name, "convnet", f"method.name={method}", rows=ROWS if name == "mine" else rows)
    told = exported([tmp_path], tmp_path / "out")
    assert len(told.weights) == 3
    assert not any("_with_projection" in path.name for path in told.weights)
    results = json.loads((tmp_path / "out" / "json_results" / "comprehensive_results_convnet_tiny.json").read_text())
    assert len(results["results"]) == 3
    assert "teacher" not in results["results"]


def test_weights_from_outside_are_exported_with_their_students(data, tmp_path):
    folder = tmp_path / "teacher-outside"
    folder.mkdir()
    save_model(folder, Model(3, "convnet"), Card(arch="convnet", num_classes=3, mean=MEAN, std=STD))
    run = finished(tmp_path, data, "run", "resnet8", teacher="teacher-outside")
    told = exported([run], tmp_path / "out")
    assert {path.name for path in told.weights} >= {"teacher_convnet_tiny.pth"}
    assert any("weights from outside" in note for note in told.notes)
    results = json.loads((tmp_path / "out" / "json_results" / "comprehensive_results_resnet8_tiny.json").read_text())
    assert (results["architecture"]["teacher"], results["teacher_accuracy"]) == ("convnet", None)


def test_a_teacher_that_is_gone_and_a_run_without_a_published_name_are_said(data, tmp_path):
    run = finished(tmp_path, data, "mine", "convnet", "method.name=kd", teacher="gone", split="validation",
                   rows=[{"epoch": 1, "loss": 1.0, "train_accuracy": 0.5}])  # fmt: skip
    told = exported([run], tmp_path / "out")
    assert [path.name for path in told.weights] == ["student_mine_convnet_tiny.pth"]
    said = "\n".join(told.notes)
    assert "gone is not there: it is not exported" in said
    assert "mine has no published name (kd): it goes by its own" in said
    assert "its accuracy is of validation" in said


# What is refused, before anything is written


def test_two_seeds_of_one_experiment_have_one_name(data, tmp_path):
    runs = [finished(tmp_path, data, name, "convnet", "seed=1" if name == "b" else "seed=2") for name in ("a", "b")]
    line = refused("reproduce", "layout", *runs, "--out", tmp_path / "out")
    assert f"{runs[0]} and {runs[1]} have one published name, student_alpha_1.0_beta_10.0_temp_0.07" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda run: (run / "evaluation.json").unlink(), "is not finished"),
        (lambda run: (run / "recipe.toml").unlink(), "is no run folder"),
        (lambda run: (run / "metrics.jsonl").write_text(""), "metrics.jsonl has no epoch"),
        (lambda run: (run / "metrics.jsonl").write_text('{"epoch": 1, "loss": NaN, "lw_supcrd": NaN}'), "nan in place"),
        (lambda run: (run / "metrics.jsonl").write_text('{"epoch": 1, "train_accuracy": 0.5}'), "without its loss"),
        (lambda run: (run / "outputs.npz").unlink(), "outputs.npz cannot be read"),
        (lambda run: (run / "model.safetensors").unlink(), "has no model.safetensors"),
        (lambda run: (run / "model.safetensors").write_bytes(b"x"), "damaged, truncated"),
    ],
)
def test_one_bad_run_and_nothing_is_written(spoil, said, data, tmp_path):
    good = finished(tmp_path, data, "good", "convnet", "method.beta=5")
    bad = finished(tmp_path, data, "bad", "convnet")
    spoil(bad)
    assert said in refused("reproduce", "layout", good, bad, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_images_under_one_name(data, tmp_path):
    runs = [finished(tmp_path, data, f"beta{beta}", "convnet", f"method.beta={beta}", data_fingerprint=f"f{beta}")
            for beta in (1, 5)]  # fmt: skip
    assert "cannot be compared" in refused("reproduce", "layout", *runs, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written(data, tmp_path):
    run = finished(tmp_path, data, "run", "convnet")
    (tmp_path / "file").write_text("")
    assert "file" in refused("reproduce", "layout", run, "--out", tmp_path / "file")
