"""`resnet run` on photographs: Table 1, a folder of classes, an ensemble, and every way to say no."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from resnet_cli.cli.main import _exit_code
from resnet_cli.storage import run_folder
from resnet_cli.storage.store import Store

if TYPE_CHECKING:
    from pathlib import Path

OWN_FILE = """
title = "Two nets, alone and together"
question = "Does it run?"
section = "none"
dataset = "imagenet"
test = "dense"
[protocol]
batch_size = 8
iterations = 2
[protocol.photos]
crop = 32
shorter_side = [36, 68]
[[runs]]
nets = ["plain-18", "resnet-18"]
seeds = 2
[[rows]]
label = "plain"
net = "plain-18"
error = 30.0
top5 = 10.0
[[rows]]
label = "together"
ensemble = ["resnet-18", "resnet-18", "plain-18"]
top5 = 9.0
[[claims]]
kind = "ensemble"
text = "Three err less than the best of them"
nets = ["resnet-18", "resnet-18", "plain-18"]
"""


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def own_file(tmp_path: Path) -> str:
    """A user's own experiment on photographs, with an ensemble."""
    path = tmp_path / "mine.toml"
    path.write_text(OWN_FILE)
    return str(path)


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    """Six classes of two photographs to train on, and one to test on."""
    random = np.random.default_rng(0)
    for part, count in (("train", 2), ("val", 1)):
        for label in "abcdef":
            folder = tmp_path / "flowers" / part / label
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 256, (50, 60 + number, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.jpg")
    return tmp_path / "flowers"


def run(*arguments: str) -> int:
    """`resnet run` on the CPU."""
    return _exit_code(["run", *arguments, "--device", "cpu"])


def test_table1_trains_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Table 1 is described, with or without --tiny: sizes to the digit, the paper's FLOPs; nothing is trained."""
    assert 0 == run("table1")
    out = capsys.readouterr().out
    for words in ("11,515,688", "3,857,973,248", "19,632,062,464", "3.8e9", "112x112"):
        assert words in out
    assert 0 == run("table1", "--tiny")
    assert out == capsys.readouterr().out
    assert not (tmp_path / "results" / "runs").exists()
    assert ["table1.csv", "table1.md"] == sorted(path.name for path in (tmp_path / "results" / "tables").iterdir())


def test_a_folder_of_classes(own_file: str, flowers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Any folder of classes is trained on and tested densely; all outputs say that it is not ImageNet.

    The ensemble is made of the saved scores. A second call trains and tests nothing; other commands find the runs.
    """
    assert 0 == run(own_file, "--dataset-root", str(flowers), "--workers", "2")
    out, err = capsys.readouterr()
    store = Store(tmp_path / "results")
    results = [store.test_result(spec, "dense") for spec in store.runs()]

    assert 4 == len(results)
    assert all(result and result.images == 6 for result in results)
    assert "paper's" not in out.splitlines()[1]
    assert ", not ImageNet; fp32" in out.splitlines()[1]
    assert "together" in out
    assert "of 3" not in err
    assert f"--dataset-root {flowers}" in err

    assert 0 == run(own_file, "--dataset-root", str(flowers))
    assert out == capsys.readouterr().out

    assert 0 == _exit_code(["table", own_file, "--dataset-root", str(flowers), "--format", "json"])
    rows = {row["label"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert rows["together"]["test_error_top5"] is not None
    assert 2 == rows["plain"]["n"]


def test_a_photograph_cut_short_is_named(
    own_file: str, flowers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that ends too soon is named in one line, with exit code 2; its run counts as failed."""
    broken = flowers / "train" / "c" / "1.jpg"
    content = broken.read_bytes()
    broken.write_bytes(content[: len(content) // 2])
    assert 2 == run(own_file, "--dataset-root", str(flowers), "--only", "plain-18", "--seeds", "1")
    assert f"plain-18 seed 0: bad input: {broken}: " in capsys.readouterr().err
    (spec,) = Store(tmp_path / "results").runs()
    assert "failed" == run_folder.read_status(Store(tmp_path / "results").folder(spec)).state


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["table2"], "ImageNet is missing; needed are imagenet/train/<wnid>/*.JPEG"),
        (["table2"], "without it, use --tiny (the embedded set) or --dataset-root DIR"),
        (["table2", "--dataset-root", "nowhere"], "nowhere: no such folder"),
        (["table2", "--dataset-root", "flowers", "--dataset", "synthetic-photos"], "leave one out"),
        (["table2", "--tiny", "--dataset-root", "flowers"], "--tiny: has a schedule and data of its own"),
        (["table2", "--dataset", "cifar10"], "table2 is about other nets; it takes imagenet or synthetic-photos"),
        (["table6", "--dataset-root", "flowers"], "table6 is on CIFAR-10"),
        (["table6", "--deviation", "channel-mean"], "a deviation from ImageNet's protocol"),
        (["table2", "--deviation", "more-data"], "--deviation more-data: choose from channel-mean, "),
        (["table2", "--split", "45k-5k"], "a split of CIFAR-10's training set"),
        (["table2", "--accumulate", "3"], "--accumulate 3: does not divide the batch of 256"),
        (["table2", "--only", "resnet-20"], "it has plain-18, resnet-18, plain-34, resnet-34"),
        (["table2", "--tiny", "--decode", "cuda"], "--decode cuda: needs a CUDA device"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    flowers: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    """What cannot be is refused before anything is trained."""
    assert flowers.is_dir()
    assert 2 == run(*arguments)
    (line,) = capsys.readouterr().err.splitlines()

    assert words in line


def test_a_missing_validation_set_is_named(flowers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without val/, or with other classes in it, the folder is named."""
    (flowers / "val" / "f").rename(flowers / "val" / "g")
    assert 2 == run("table2", "--dataset-root", str(flowers))
    assert "f" in capsys.readouterr().err
    (flowers / "val").rename(flowers / "validation")
    assert 2 == run("table2", "--dataset-root", str(flowers))
    assert f"{flowers / 'val'}: no such folder" in capsys.readouterr().err
