"""`resnet eval`: weights of ours and of others, ensembles, and every way to say no."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from paper_tasks import CIFAR10, IMAGENET
from PIL import Image

from resnet_cli.cli.eval_answer import papers
from resnet_cli.cli.given import ask
from resnet_cli.cli.main import _exit_code
from resnet_cli.data import synthetic
from resnet_cli.evaluate.evaluate import evaluate
from resnet_cli.evaluate.scores import average, top_errors
from resnet_cli.identity import RunSpec, Variant
from resnet_cli.storage import run_folder
from resnet_cli.tasks import open_dataset
from resnet_cli.tasks.imagenet.folder import source_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from resnet_cli.evaluate.evaluate import Evaluation
    from resnet_cli.storage.store import Store


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture
def own_run(store: Store) -> Callable[..., tuple[RunSpec, Path]]:
    """Writes a finished smoke run's folder with weights that were never trained."""

    def make(net: str, variant: Variant, seed: int = 0) -> tuple[RunSpec, Path]:
        run = RunSpec.of(variant.task.net(net), variant, variant.task.protocol, seed)
        folder = store.create_folder(run)
        state = run.task.build(run.net, variant, seed, 10).state_dict()
        (folder / run_folder.WEIGHTS).write_bytes(safetensors.torch.save(state))
        return run, folder

    return make


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A folder with two classes of noise, four photographs of each to train on and two to test."""
    random = np.random.default_rng(5)
    for split, count in (("train", 4), ("val", 2)):
        for name in ("cats", "dogs"):
            folder = tmp_path / "pets" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                noise = random.integers(256, size=(70, 90, 3), dtype=np.uint8)
                Image.fromarray(noise).save(folder / f"{number}.jpg")
    return tmp_path / "pets"


SMOKE = Variant(dataset="synthetic", tiny=True)
SMOKE_PHOTOS = Variant(dataset="synthetic-photos", tiny=True)


def answer(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, object]:
    """What `resnet eval` answers in json."""
    code = _exit_code(["eval", *map(str, arguments), "--device", "cpu", "--format", "json"])
    out, err = capsys.readouterr()

    assert 0 == code, err
    content: dict[str, object] = json.loads(out)
    return content


def expected(run: RunSpec, folder: Path, views: str = "1-crop") -> Evaluation:
    """What a run's weights do on its own test set."""
    net = run.task.build(run.net, run.variant, 1, 10)
    net.load_state_dict(safetensors.torch.load_file(folder / run_folder.WEIGHTS))
    data = open_dataset(run.variant, Path("data"), protocol=run.protocol)
    return evaluate(net, data, "fp32", views)  # type: ignore[arg-type]


def test_a_run_of_ours(own_run: Callable[..., tuple[RunSpec, Path]], capsys: pytest.CaptureFixture[str]) -> None:
    """A run's folder is tested on the run's own data, marked as what they are; progress keeps off standard output."""
    run, folder = own_run("resnet-20", SMOKE)
    evaluation = expected(run, folder)
    code = _exit_code(["eval", "resnet-20", "--weights", str(folder), "--device", "cpu"])
    out, err = capsys.readouterr()
    lines = {line[:13].rstrip(): line[13:] for line in out.splitlines()}

    assert (0, "") == (code, err)
    assert {
        "net": "resnet-20, 269,722 parameters",
        "weights": f"{folder}, matched by name",
        "convention": "paper (the paper's: option A's zero channels last, the training mean subtracted)",
        "data": "embedded synthetic set, not CIFAR-10",
        "test": "1-crop, fp32",
        "paper": "top-1 8.75 (Table 6); NOT COMPARABLE: other data, or trained differently",
    } == {label: text for label, text in lines.items() if "error" not in label}
    assert lines["top-1 error"].startswith(f"{evaluation.top1_error:.2f}%  (n = 64 images; 95%: ")
    assert lines["top-5 error"].startswith(f"{evaluation.top5_error:.2f}%  (n = 64 images; 95%: ")


def test_foreign_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Others' names, zeros and pixels: how they matched and what was assumed is said, and the net answers so."""
    net = CIFAR10.make(CIFAR10.net("resnet-8"), 3, zeros="both")
    state = {f"module.{name.replace('fc.', 'linear.')}": tensor for name, tensor in net.state_dict().items()}
    torch.save({"state_dict": state, "best_prec1": 91.0}, tmp_path / "resnet8.th")
    monkeypatch.setattr(synthetic, "load", partial(synthetic.load, train=64, test=64))
    data = open_dataset(Variant(dataset="synthetic"), tmp_path)
    mean_std = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    wanted = evaluate(net, replace(data, constants=mean_std), "fp32")
    got = answer(capsys, "resnet-8", "--weights", "resnet8.th", "--dataset", "synthetic", "--convention", "akamaster")

    assert "by order: 'linear' is 'fc'" == got["matched"]
    assert "mean 0.485 0.456 0.406, std 0.229 0.224 0.225" in str(got["convention"])
    assert "embedded synthetic set, not CIFAR-10" == got["data"]
    assert (wanted.top1_error, wanted.top5_error) == (got["top1_error"], got["top5_error"])
    assert wanted.images == got["images"]
    assert got["paper"] is None


def test_given_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Mean and deviation that have no name are taken in place of a convention's; the rest of it stays."""
    net = CIFAR10.make(CIFAR10.net("resnet-8"), 3, zeros="both")
    torch.save({"model": net.state_dict(), "model_ema": net.state_dict()}, tmp_path / "r8.pt")
    monkeypatch.setattr(synthetic, "load", partial(synthetic.load, train=64, test=64))
    data = open_dataset(Variant(dataset="synthetic"), tmp_path)
    wanted = evaluate(net, replace(data, constants=((0.4, 0.5, 0.6), (0.1, 0.2, 0.3))), "fp32")
    pixels = ("--convention", "akamaster", "--mean", "0.4,0.5,0.6", "--std", "0.1,0.2,0.3")
    got = answer(capsys, "resnet-8", "--weights", "r8.pt", "--dataset", "synthetic", "--key", "model_ema", *pixels)

    assert "option A's zero channels half on each side, mean 0.4 0.5 0.6, std 0.1 0.2 0.3)" in str(got["convention"])
    assert "by name; model_ema of it" == got["matched"]
    assert (wanted.top1_error, wanted.top5_error) == (got["top1_error"], got["top5_error"])
    assert str(got["hint"]).startswith("the error is close to chance")


@pytest.fixture
def numbered(tmp_path: Path) -> Path:
    """A folder of twelve classes named by numbers, a photograph each of a colour of its own."""
    for split in ("train", "val"):
        for number in range(12):
            folder = tmp_path / "numbered" / split / str(number)
            folder.mkdir(parents=True)
            Image.new("RGB", (64, 64), (20 * number, 250 - 20 * number, number**2)).save(folder / "flat.png")
    return tmp_path / "numbered"


def test_classes_named_by_numbers(numbered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Weights of others have numbered classes in the order of the numbers, which is said; text's can be asked for."""
    net = IMAGENET.make(IMAGENET.net("resnet-18-B"), 0, 12, stride_3x3=True).eval()
    features = []
    net.fc.register_forward_hook(lambda _net, inputs, _output: features.append(inputs[0]))
    dataset = open_dataset(
        Variant(dataset="folder", source=source_of(numbered)), numbered.parent, dataset_root=numbered, workers=0
    )
    evaluate(net, replace(dataset, constants=((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))), "fp32")
    inputs = torch.cat(features).double()
    ordered = torch.tensor([int(dataset.classes[label]) for label in dataset.test_labels])
    with torch.no_grad():  # what answers each colour by its number, sure of it
        net.fc.bias.zero_()
        net.fc.weight.copy_((torch.linalg.pinv(inputs) @ (10 * torch.eye(12, dtype=torch.float64)[ordered])).T)
    torch.save(net.state_dict(), "r18.pt")
    safetensors.torch.save_file(net.state_dict(), "exported.safetensors", {"run_id": "resnet-18-B-x"})
    command = ("resnet-18", "--convention", "torchvision", "--dataset-root", numbered, "--workers", 0, "--weights")
    got = answer(capsys, *command, "r18.pt")

    assert 0 == got["top1_error"]
    assert got["classes"] == ("folders named by numbers, sorted by number; --class-order text sorts them as text")
    assert "hint" not in got
    text = answer(capsys, *command, "r18.pt", "--class-order", "text")
    assert 80 < float(str(text["top1_error"]))
    assert "--class-order number fits better: 0.00% on 12 of the images" in str(text["hint"])
    ours = answer(capsys, *command, "exported.safetensors")
    assert (text["top1_error"], text["classes"]) == (ours["top1_error"], ours["classes"])


def test_the_interval_is_wilsons(
    own_run: Callable[..., tuple[RunSpec, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    """The 95% interval solves (p - share)^2 = z^2 p (1 - p) / n, at both ends."""
    _, folder = own_run("resnet-8", SMOKE)
    got = answer(capsys, "resnet-8", "--weights", folder)
    share, n = got["top1_error"] / 100, got["images"]  # type: ignore[operator]
    low, high = (end / 100 for end in got["top1_interval"])  # type: ignore[attr-defined]

    assert low < share < high
    for end in (low, high):
        assert pytest.approx(1.959964**2 * end * (1 - end) / n) == (end - share) ** 2


@pytest.mark.parametrize(
    ("arguments", "views"),
    [
        ([], "1-crop"),
        (["--crops", "10"], "10-crop"),
        (["--scales", "32,37,55,69,91"], "dense at 32, 37, 55, 69, 91"),
    ],
)
def test_views_of_photographs(
    own_run: Callable[..., tuple[RunSpec, Path]],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    views: str,
) -> None:
    """The centre crop, ten crops, or the fully convolutional test at these sides; a smoke run's are in proportion."""
    run, folder = own_run("resnet-18", SMOKE_PHOTOS)
    wanted = expected(run, folder, views.partition(" ")[0])
    got = answer(capsys, "resnet-18", "--weights", folder, *arguments)

    assert views == got["views"]
    assert (wanted.top1_error, wanted.top5_error, 16) == (got["top1_error"], got["top5_error"], got["images"])
    assert "embedded synthetic set, not ImageNet" == got["data"]


def test_sides_of_ones_own(
    own_run: Callable[..., tuple[RunSpec, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The fully convolutional test takes the sides that it is given: other sides, other scores."""
    _, folder = own_run("resnet-18", SMOKE_PHOTOS)
    scores = []
    for sides in ("32", "48,64"):
        answer(capsys, "resnet-18", "--weights", folder, "--scales", sides, "--output", tmp_path / "s.npz")
        scores.append(run_folder.read_scores(tmp_path / "s.npz")[0])

    assert np.abs(scores[0] - scores[1]).max() > 0.01


def test_a_run_says_where_its_stride_is(
    own_run: Callable[..., tuple[RunSpec, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that deviates from the paper in its net is tested as the net that it trained."""
    run, folder = own_run("resnet-50", SMOKE_PHOTOS.model_copy(update={"deviations": ("stride-3x3",)}))
    wanted = expected(run, folder).logits.log_softmax(dim=1).numpy()
    got = answer(capsys, "resnet-50", "--weights", folder, "--output", tmp_path / "s.npz")

    assert "stride on the 3x3 of a bottleneck" in str(got["convention"])
    assert np.allclose(wanted, run_folder.read_scores(tmp_path / "s.npz")[0], rtol=1e-2, atol=1e-2)


def test_torchvisions_weights_on_a_folder(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--weights torchvision` means ImageNet, option B, stride on the 3x3, its mean and std; any folder will do."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    theirs = torchvision.models.resnet18(weights=None, num_classes=2)
    torch.save(theirs.state_dict(), cache / "resnet18.pth")
    name = f"resnet18-{hashlib.sha256((cache / 'resnet18.pth').read_bytes()).hexdigest()[:8]}.pth"
    (cache / "resnet18.pth").rename(cache / name)
    weights = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.value
    monkeypatch.setattr(weights, "url", f"https://example.org/models/{name}")
    got = answer(
        capsys, "resnet-18", "--weights", "torchvision", "--dataset-root", photographs, "--output", tmp_path / "s.npz"
    )
    scores, labels = run_folder.read_scores(tmp_path / "s.npz")
    paths = sorted((photographs / "val").rglob("*.jpg"))
    to_input = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.transforms(resize_size=256, crop_size=224)
    inputs = torch.stack([to_input(torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)) for path in paths])
    with torch.no_grad():
        logits = theirs.eval()(inputs).log_softmax(dim=1)

    assert ("resnet-18-B", "by name", 4) == (got["net"], got["matched"], got["images"])
    assert str(got["data"]).startswith("pets")
    assert str(got["data"]).endswith(", not ImageNet")
    assert [0, 0, 1, 1] == labels.tolist()
    assert np.abs(logits.numpy() - scores).max() < 0.01


def test_classes_of_a_folder(photographs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Weights for ImageNet's thousand classes do not fit a folder of two: one line with both numbers."""
    torch.save(IMAGENET.make(IMAGENET.net("resnet-18"), 0).state_dict(), "w.pt")
    code = _exit_code(["eval", "resnet-18", "--weights", "w.pt", "--dataset-root", str(photographs), "--device", "cpu"])

    assert 2 == code
    assert "error: w.pt: has 1,000 classes (fc.weight), the data 2\n" == capsys.readouterr().err


def test_an_ensemble(
    own_run: Callable[..., tuple[RunSpec, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Saved scores are averaged as probabilities; each member's error stands beside the ensemble's."""
    members = []
    for seed in (0, 1):
        _, folder = own_run("resnet-8", SMOKE, seed)
        answer(capsys, "resnet-8", "--weights", folder, "--output", tmp_path / f"{seed}.npz")
        members.append(run_folder.read_scores(tmp_path / f"{seed}.npz"))
    got = answer(capsys, "--ensemble", "0.npz", "--ensemble", "1.npz", "--output", tmp_path / "both.npz")
    labels = members[0][1]
    together = average([scores for scores, _ in members])
    written, same = run_folder.read_scores(tmp_path / "both.npz")

    assert top_errors(together, labels) == (got["top1_error"], got["top5_error"])
    assert [(f"{seed}.npz", top_errors(members[seed][0], labels)[0]) for seed in (0, 1)] == [
        (member["path"], member["top1_error"])
        for member in got["members"]  # type: ignore[attr-defined]
    ]
    assert np.abs(written - together).max() < 0.01
    assert (same == labels).all()


def test_an_ensemble_of_runs_in_words(
    own_run: Callable[..., tuple[RunSpec, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a run's folder the dense test's scores are taken, else the 10-crop test's."""
    folders = [own_run("resnet-18", SMOKE_PHOTOS, seed)[1] for seed in (0, 1)]
    right, wrong = np.eye(10)[:8], np.roll(np.eye(10)[:8], 1, axis=1)  # of equal scores, lower classes go first
    files = [(folders[0], "dense", right), (folders[0], "10-crop", wrong), (folders[1], "10-crop", 0.5 * wrong)]
    for folder, views, scores in files:
        with (folder / run_folder.scores_file(views)).open("wb") as stream:
            np.savez(stream, scores=scores.astype(np.float16), labels=np.arange(8))
    code = _exit_code(["eval", "--ensemble", str(folders[0]), "--ensemble", str(folders[1])])
    lines = " ".join(capsys.readouterr().out.split())

    assert 0 == code
    dense, crops = folders[0] / "scores-dense.npz", folders[1] / "scores-10-crop.npz"
    assert f"member {dense}: top-1 0.00, top-5 0.00 member {crops}: top-1 100.00, top-5 50.00" in lines
    assert "ensemble of 2, probabilities averaged top-1 error 0.00% (n = 8 images; 95%: 0.00 to 32.44)" in lines


@pytest.mark.parametrize(
    ("net", "dataset", "crops", "scales", "numbers"),
    [
        ("resnet-56", "cifar10", None, None, ("Table 6", 6.97, None, True)),
        ("resnet-50", "imagenet", "10", None, ("Table 3", 22.85, 6.71, True)),
        ("resnet-34-B", "imagenet", None, "224,256,384,480,640", ("Table 4", 21.84, 5.71, True)),
        ("resnet-18", "imagenet", "10", None, ("Table 2", 27.88, None, True)),
        ("resnet-34-B", "synthetic-photos", "10", None, ("Table 3", 24.52, 7.46, False)),
        ("resnet-50", "imagenet", "1", None, None),
        ("resnet-50", "imagenet", None, "224,256", None),
        ("resnet-56-B", "cifar10", None, None, None),
    ],
)
def test_the_papers_number(
    net: str, dataset: str, crops: str | None, scales: str | None, numbers: tuple[object, ...] | None
) -> None:
    """The paper's number for this net and this test, comparable on the paper's data only; none where it gives none."""
    paper = papers(ask(net, "w.pt", dataset, None, None, crops, scales, None))  # type: ignore[arg-type]

    assert numbers == (paper and tuple(paper.values()))


def test_a_short_run_is_not_thepapers(own_run: Callable[..., tuple[RunSpec, Path]]) -> None:
    """A twentieth of the schedule, tested on all of CIFAR-10, stands marked beside the paper's number."""
    for variant, comparable in [(Variant(), True), (Variant(schedule=0.05), False)]:
        _, folder = own_run("resnet-20", variant)
        paper = papers(ask("resnet-20", str(folder), None, None, None, None, None, None))

        assert paper is not None
        assert comparable == paper["comparable"]


@pytest.mark.parametrize(
    ("net", "extra", "dataset"),
    [
        ("resnet-18", {}, "imagenet"),
        ("resnet-20", {}, "cifar10"),
        ("resnet-50", {"dataset": "cifar10"}, "cifar10"),
        ("resnet-50", {"dataset": "imagenet"}, "imagenet"),
        ("resnet-50", {"convention": "akamaster"}, "cifar10"),
        ("resnet-50", {"weights": "torchvision"}, "imagenet"),
    ],
)
def test_what_the_depth_leaves_open(net: str, extra: dict[str, str], dataset: str) -> None:
    """Where one family has the depth, or only one the weights, nothing need be said; else --dataset settles it."""
    given = {"weights": "w.pt", "dataset": None, "convention": None, **extra}
    request = ask(net, given["weights"], given["dataset"], None, given["convention"], None, None, None)  # type: ignore[arg-type]

    assert dataset == request.variant.dataset


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "give a net and its --weights, or two --ensemble files; 'resnet eval --help' shows how"),
        ("resnet-20", "give a net and its --weights"),
        ("--weights w.pt", "give a net and its --weights"),
        ("resnet-20 --weights none.pt", "none.pt: No such file or directory"),
        ("resnet-50 --weights w.pt", "resnet-50: CIFAR-10 has a net of this depth and ImageNet too; add --dataset"),
        ("plain-152 --weights w.pt", "plain-152: CIFAR-10 has a net of this depth and ImageNet too; add --dataset"),
        ("resnet-19 --weights w.pt", "resnet-19: depth 19 is not 6n+2 (8, 14, 20, 26, 32, 38, 44, ...); resnet-19: "),
        ("vgg-16 --weights w.pt", "'vgg-16' is not a net; write plain-20, resnet-20, resnet-20-B ..."),
        ("resnet-20 --weights w.pt --dataset imagenet", "resnet-20: ImageNet's nets have 18, 34, 50, 101, 152 layers"),
        ("resnet-20 --weights torchvision", "resnet-20: ImageNet's nets have 18, 34, 50, 101, 152 layers"),
        ("resnet-18-A --weights torchvision", "resnet-18-A: torchvision has weights of resnet-18-B, "),
        ("resnet-20 --weights w.pt --convention torchvision", "resnet-20: ImageNet's nets have 18, 34"),
        (
            "resnet-20 --weights w.pt --dataset cifar10 --convention torchvision",
            "--convention torchvision: only for weights for ImageNet; add --dataset imagenet",
        ),
        ("resnet-20 --weights w.pt --mean 0.5,0.5,0.5", "--mean: needs --std"),
        ("resnet-20 --weights w.pt --std 0.5,0.5,0.5", "--std: needs --mean"),
        ("resnet-20 --weights w.pt --mean 0.5 --std 1,1,1", "--mean '0.5': write three numbers with commas"),
        ("resnet-20 --weights w.pt --mean 0,0,x --std 1,1,1", "--mean '0,0,x': write three numbers with commas"),
        ("resnet-20 --weights w.pt --mean 0,0,0 --std 1,nan,1", "--std '1,nan,1': write three numbers with commas"),
        ("resnet-20 --weights w.pt --mean 0,0,0 --std 1,0,1", "--std 1,0,1: must be above 0"),
        ("resnet-20 --weights w.pt --mean 125,123,114 --std 63,62,67", "--mean, --std: for pixels on the scale 0 to 1"),
        ("resnet-20 --weights r20.pt --key model_ema", "r20.pt: --key model_ema: there is one state dict only"),
        (
            "resnet-20 --weights w.pt --crops 10",
            "--crops 10: only for ImageNet's nets; CIFAR-10's are tested on the single",
        ),
        (
            "resnet-20 --weights w.pt --scales 224",
            "--scales: only for ImageNet's nets; CIFAR-10's are tested on the single",
        ),
        (
            "resnet-18 --weights w.pt --crops 10 --scales 224",
            "--scales: a different test from --crops; leave one of them out",
        ),
        ("resnet-18 --weights w.pt --scales 224,x", "--scales '224,x': write whole numbers with commas"),
        ("resnet-18 --weights w.pt --scales 200,256", "--scales 200: no side may be below the crop, 224"),
        ("resnet-18 --weights w.pt --scales 224,99999", "--scales 99999: no side may be above 10,000"),
        ("resnet-18 --weights w.pt --scales=", "--scales '': write whole numbers with commas"),
        (
            "resnet-18 --weights w.pt --dataset cifar10 --dataset-root .",
            "--dataset-root: a folder of classes replaces ImageNet; leave out --dataset cifar10",
        ),
        ("resnet-20 --weights r20.pt", "data/cifar-10-batches-py/"),
        ("resnet-20 --weights w.pt --device cpu --precision tf32", "--precision tf32: a CUDA device has it"),
        ("resnet-20 --weights runless", "runless: a folder without weights.safetensors; give a file, or a finished"),
        ("resnet-20 --weights oddrun", "oddrun/spec.json: not the spec of a run; give the weights file itself"),
        ("--ensemble a.npz --weights w.pt", "--ensemble: tests saved scores; leave out NET and --weights"),
        ("resnet-20 --ensemble a.npz", "--ensemble: tests saved scores; leave out NET and --weights"),
        ("--ensemble a.npz", "--ensemble a.npz: an ensemble needs two or more members"),
        ("--ensemble a.npz --ensemble none.npz", "none.npz: No such file or directory"),
        ("--ensemble a.npz --ensemble r20.pt", "r20.pt: not a file of scores"),
        (
            "--ensemble a.npz --ensemble fewer.npz",
            "fewer.npz: scores of 3 images of 5 classes, a.npz of 4 images of 5 classes; test both on the same images",
        ),
        (
            "--ensemble a.npz --ensemble others.npz",
            "others.npz: its images are not those of a.npz, or in another order: the labels differ",
        ),
        (
            "--ensemble a.npz --ensemble runless",
            "runless: has neither scores-dense.npz nor scores-10-crop.npz; to make one: resnet eval NET --weights",
        ),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: str, message: str
) -> None:
    """What cannot be tested is one line on standard error, and exit code 2."""
    torch.save(CIFAR10.make(CIFAR10.net("resnet-20"), 0).state_dict(), tmp_path / "r20.pt")
    (tmp_path / "runless").mkdir()
    (tmp_path / "oddrun").mkdir()
    (tmp_path / "oddrun" / run_folder.SPEC).write_text("{}")
    for name, labels in {"a": [0, 1, 2, 3], "fewer": [0, 1, 2], "others": [0, 1, 3, 2]}.items():
        np.savez(tmp_path / f"{name}.npz", scores=np.zeros((len(labels), 5), np.float16), labels=np.array(labels))

    assert 2 == _exit_code(["eval", *arguments.split()])
    output, errors = capsys.readouterr()
    assert "" == output
    assert errors.startswith(f"error: {message}")
    assert 1 == errors.count("\n")


def test_a_run_of_another_net(own_run: Callable[..., tuple[RunSpec, Path]], capsys: pytest.CaptureFixture[str]) -> None:
    """A run's folder knows its net: another name is an error, not a match by luck."""
    _, folder = own_run("plain-8", SMOKE)

    assert 2 == _exit_code(["eval", "resnet-8", "--weights", str(folder)])
    assert f"error: {folder}: a run of plain-8, not of resnet-8-A\n" == capsys.readouterr().err


def test_a_run_on_a_folder(own_run: Callable[..., tuple[RunSpec, Path]], capsys: pytest.CaptureFixture[str]) -> None:
    """Where a run's folder of classes lies is not in the run: the user must say."""
    _, folder = own_run("resnet-18", Variant(dataset="folder", source="pets-01234567"))

    assert 2 == _exit_code(["eval", "resnet-18", "--weights", str(folder)])
    assert "error: --dataset-root: give the folder of the run's data, pets-01234567\n" == capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_told_before_the_test(
    own_run: Callable[..., tuple[RunSpec, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is tested for scores that could not be kept."""
    _, folder = own_run("resnet-8", Variant(dataset="synthetic", tiny=True))
    (tmp_path / "file").touch()
    arguments = ["eval", "resnet-8", "--weights", str(folder), "--device", "cpu", "--output", "file/scores.npz"]

    assert 2 == _exit_code(arguments)
    out, err = capsys.readouterr()
    assert ("", "error: file/scores.npz: cannot be written: ") == (out, err[: err.index("written: ") + 9])


def test_the_papers_number_beside_another_precision(own_run: Callable[..., tuple[RunSpec, Path]]) -> None:
    """A run by the paper's protocol may stand beside the paper's number whatever its arithmetic."""
    _, folder = own_run("resnet-20", Variant(precision="bf16"))
    request = ask("resnet-20", str(folder), None, None, None, None, None, None)
    found = papers(request)

    assert found
    assert found["comparable"]


def test_averaged_statistics(own_run: Callable[..., tuple[RunSpec, Path]], capsys: pytest.CaptureFixture[str]) -> None:
    """With `--bn-statistics averaged` the weights' own statistics do not count, and the answer says so."""
    run, folder = own_run("resnet-8", SMOKE)
    net = run.task.build(run.net, run.variant, 0, 10)
    data = open_dataset(run.variant, Path("data"))
    wanted = evaluate(run.task.averaged(net, data, "fp32"), data, "fp32")  # type: ignore[arg-type]
    weights = safetensors.torch.load_file(folder / run_folder.WEIGHTS)
    for name in weights:
        if name.endswith("running_mean"):
            weights[name] += 5
    (folder / run_folder.WEIGHTS).write_bytes(safetensors.torch.save(weights))
    given = ["resnet-8", "--weights", folder]
    averaged = answer(capsys, *given, "--bn-statistics", "averaged")
    running = answer(capsys, *given)

    assert ("averaged", wanted.top1_error) == (averaged["bn_statistics"], averaged["top1_error"])
    assert "running" == running["bn_statistics"]
    assert running["top1_error"] != averaged["top1_error"]
    assert 0 == _exit_code(["eval", *map(str, given), "--bn-statistics", "averaged", "--device", "cpu"])
    assert "1-crop, fp32; BN statistics averaged" in capsys.readouterr().out


def test_averaged_statistics_of_photographs(
    own_run: Callable[..., tuple[RunSpec, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Nets on photographs, which no run tests so, can be: over training crops."""
    run, folder = own_run("resnet-18", SMOKE_PHOTOS)
    net = run.task.build(run.net, run.variant, 0, 10)
    data = open_dataset(run.variant, Path("data"), protocol=run.protocol)
    wanted = evaluate(run.task.averaged(net, data, "fp32"), data, "fp32")  # type: ignore[arg-type]
    found = answer(capsys, "resnet-18", "--weights", folder, "--bn-statistics", "averaged")

    assert wanted.top1_error == found["top1_error"]
