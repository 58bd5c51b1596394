"""The speech task: names of nets, what an update sees and counts, exact resume, the commands."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from resnet_cli.cli.main import _exit_code
from resnet_cli.identity import RunSpec, Variant
from resnet_cli.spec import Net, Protocol
from resnet_cli.storage import run_folder
from resnet_cli.tasks import task_of
from resnet_cli.tasks.speech import CLASSES, MELS, Speech, timit
from resnet_cli.tasks.speech.dataset import CropStream, SpeechData, Utterances, batches, crops
from resnet_cli.tasks.speech.formants import PHONES
from resnet_cli.tasks.speech.frames import errors, frame_loss, score
from resnet_cli.tasks.speech.net import SpeechNet, parse
from resnet_cli.tasks.speech.recording import CROP, NO_CLASS, Recording
from resnet_cli.train.loop import StoppedError, train

if TYPE_CHECKING:
    from pathlib import Path

TASK = Speech()
VARIANT = Variant(dataset="spoken", tiny=True)
PROTOCOL = Protocol(batch_size=8, milestones=(4,), iterations=6, warmup=None)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> SpeechData:
    """The smoke run's utterances."""
    return TASK.open(VARIANT, tmp_path_factory.mktemp("none"))


@pytest.fixture(scope="module")
def run() -> RunSpec:
    """A run of a small net: six updates, four an epoch."""
    return RunSpec(net=TASK.net("wrbn-10-1"), variant=VARIANT, protocol=PROTOCOL, seed=1)


@pytest.mark.parametrize(
    ("name", "blocks", "width", "shortcut", "head"),
    [
        ("wrbn-22-5", 3, 5, "B", None),
        ("plain-wrbn-34-1", 5, 1, None, None),
        ("wrbn-10-2-linear", 1, 2, "B", "linear"),
        ("plain-wrbn-16-10-linear", 2, 10, None, "linear"),
    ],
)
def test_a_name_says_what_a_net_is(name: str, blocks: int, width: int, shortcut: str | None, head: str | None) -> None:
    """Depth 6N+4 and width k, as of wide ResNets; it is read back from spec.json as it was."""
    net = TASK.net(name)
    assert isinstance(net, SpeechNet)
    again = RunSpec.model_validate_json(RunSpec.of(net, VARIANT, PROTOCOL, 0).model_dump_json()).net

    assert (name, name) == (net.name, net.full_name)
    assert (blocks, width, shortcut, head) == (net.blocks, net.width, net.shortcut, net.head)
    assert net == again


@pytest.mark.parametrize("name", ["resnet-20", "wrbn-22", "wrbn-22-5-blstm", "wrbn--22-5", "wrbn-22-100"])
def test_other_names_are_none(name: str) -> None:
    """And the message shows how they are written."""
    with pytest.raises(ValueError, match="is not a net; write wrbn-22-5, plain-wrbn-22-5, wrbn-22-5-linear"):
        parse(name)


@pytest.mark.parametrize("depth", [4, 20])
def test_depth_is_6n_and_4(depth: int) -> None:
    """Else it is told which are."""
    with pytest.raises(ValueError, match=rf"wrbn-{depth}-1: depth {depth} is not 6N\+4 \(10, 16, 22, 28, 34, ...\)"):
        TASK.net(f"wrbn-{depth}-1")


def test_its_facts() -> None:
    """Its protocol is valid; its classes are those of its sets; mels can be halved three times; nets are its own."""
    assert TASK.protocol == Protocol.model_validate(TASK.protocol.model_dump())
    assert {"timit": len(timit.CLASSES), "spoken": len(PHONES), "timit-part": len(timit.CLASSES)} == CLASSES
    assert all(mels % 8 == 0 for mels in MELS.values())
    assert task_of("spoken") is task_of("timit")
    assert not isinstance(task_of("cifar10").net("resnet-20"), SpeechNet)
    assert Net.model_validate("resnet-20").name == "resnet-20"


def test_the_embedded_set_is_spoken_in_noise(data: SpeechData) -> None:
    """There is a frame for each label; features have mean 0 over an utterance; the test set is also kept clean."""
    total = int(data.train.lengths.sum())

    assert (32, 16) == (len(data.train_labels), len(data.test_labels))
    assert (total, 3, 24) == data.train.frames.shape
    assert total == len(data.train.labels)
    assert torch.allclose(data.train.frames[: data.train.lengths[0]].mean(dim=0), torch.zeros(3, 24), atol=1e-4)
    assert {len(each.labels) for each in data.heard} == set(data.test.lengths.tolist())
    assert not np.array_equal(data.heard[0].samples, data.spoken[0].samples)


def test_louder_noise_changes_more(data: SpeechData) -> None:
    """At 40 dB features are nearer to those of clean speech than at -20 dB."""
    clean = Utterances.of(data.spoken, data.mels).frames[:, 0]
    near, far = ((data.in_noise(snr).test.frames[:, 0] - clean).abs().mean() for snr in (40.0, -20.0))

    assert 1.5 * near < far


def test_an_update_sees_crops(data: SpeechData) -> None:
    """Of each utterance once an epoch, anywhere in it; the same each time they are asked for, and in shares."""
    stream = CropStream(data, seed=3, batch_size=8)
    features, lengths, labels = stream.batch(1)
    numbers, firsts = stream.inputs(1)
    shares = [CropStream(data, 3, 8, (number, 2)).batch(1)[0] for number in (0, 1)]
    starts = data.train.lengths.cumsum(0) - data.train.lengths
    begin = int(starts[numbers[0]] + firsts[0])

    assert (8, 3, 24, CROP) == features.shape
    assert torch.equal(features, torch.cat(shares))
    assert torch.equal(features[0], data.train.frames[begin : begin + CROP].permute(1, 2, 0)[:, :, :CROP])
    assert torch.equal(labels[0, : lengths[0]], data.train.labels[begin : begin + int(lengths[0])])
    seen = [stream.inputs(iteration)[0] for iteration in range(1, 5)]
    assert list(range(32)) == sorted(torch.cat(seen).tolist())
    assert [0, 1, 1] == [stream.epochs_seen(iteration) for iteration in (3, 4, 7)]


def test_crops_lie_in_their_utterance() -> None:
    """All first frames are possible, and those of a short utterance are its own first."""
    lengths = np.array([CROP + 3, CROP - 10])
    firsts = {0: set(), 1: set()}
    for epoch in range(60):
        for number, first in crops(0, epoch, lengths).tolist():
            firsts[number].add(first)

    assert {0: {0, 1, 2, 3}, 1: {0}} == firsts


def test_what_lies_behind_an_utterance_counts_nothing() -> None:
    """A crop of an utterance that is too short ends in zeros without a class."""
    spoken = [
        Recording(str(n), np.full(length, 100 * n, np.int16), np.full(1 + (length - 400) // 160, n))
        for n, length in ((1, 4_000), (2, 8_000))
    ]
    features, labels, lengths = Utterances.of(spoken, 24).cut(torch.tensor([0, 1]), torch.tensor([3, 0]), 30)

    assert [20, 30] == lengths.tolist()
    assert [1] * 20 + [NO_CLASS] * 10 == labels[0].tolist()
    assert torch.equal(torch.zeros(3, 24, 10), features[0, :, :, 20:])


def test_the_loss_is_over_frames_that_have_a_class() -> None:
    """Three of four frames count, one of them is wrong; the count over two utterances is a percentage of frames."""
    labels = torch.tensor([[0, 1], [NO_CLASS, 1]])
    logits = torch.tensor([[[9.0, 0.0], [0.0, 9.0]], [[9.0, 0.0], [9.0, 0.0]]])
    loss, count = frame_loss(lambda *_: logits, torch.zeros(2), torch.tensor([2, 2]), labels)

    assert 100 / 3 == pytest.approx(TASK.trained.of(float(count), 2))
    assert float(loss) == pytest.approx(9 / 3, abs=1e-3)


def test_errors_with_silence_and_without() -> None:
    """One of four frames is wrong, one of the two that are speech."""
    assert (25, 50) == errors(torch.tensor([0, 0, 0, 2]), torch.tensor([0, 0, 1, 2]))


def test_a_test_is_of_all_frames_in_order(data: SpeechData, run: RunSpec) -> None:
    """The error is that of the kept logits; the majority class's is silence's; batches hold each utterance once."""
    net = TASK.build(run.net, VARIANT, 0, 31)
    scores = score(net, data.test, "fp32", None)
    logits, labels = scores.kept["logits"], scores.kept["labels"]
    one = replace(data, test=Utterances.of(data.heard[2:3], data.mels)).test
    alone = score(net, one, "fp32", None).kept["logits"]
    before = int(data.test.lengths[:2].sum())

    np.testing.assert_array_equal(data.test.labels.numpy(), labels)
    np.testing.assert_allclose(logits[before : before + len(alone)], alone, atol=2e-2)
    assert scores.metrics["test_frame_error"] == pytest.approx(100 * (logits.argmax(axis=1) != labels).mean(), abs=0.1)
    assert scores.metrics["majority_error"] == pytest.approx(100 * (labels != 0).mean())
    assert list(range(16)) == sorted(number for numbers, _, _ in batches(data.test) for number in numbers.tolist())


def test_a_run_resumes_exactly(data: SpeechData, run: RunSpec, tmp_path: Path) -> None:
    """Stopped after the third update and begun again, logs, weights and logits are the same to the bit."""
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    train(run, tmp_path / "whole", data, report=lambda _: None, should_stop=lambda: False)
    asked = iter([False, False, True])
    with pytest.raises(StoppedError):
        train(run, tmp_path / "stopped", data, report=lambda _: None, should_stop=lambda: next(asked))
    train(run, tmp_path / "stopped", data, report=lambda _: None, should_stop=lambda: False)

    for name in (run_folder.TRAIN_CSV, run_folder.EVAL_CSV, run_folder.WEIGHTS, run_folder.PREDICTIONS):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "stopped" / name).read_bytes(), name
    lines = (tmp_path / "whole/train.csv").read_text().splitlines()
    shares = [float(line.split(",")[3]) for line in lines[1:]]
    assert "iteration,lr,loss,train_frame_error" == lines[0]
    assert all(0 < share <= 100 for share in shares)
    assert any(share % (100 / 8) for share in shares)  # of frames, not of utterances
    assert any(one != other for one, other in pairwise(shares))


@pytest.mark.long  # four trainings, with a test at six ratios each: 17 s
def test_a_smoke_run_of_the_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`run wrbn --tiny`, its table, figure, page and picture."""
    monkeypatch.chdir(tmp_path)

    def said(*words: str) -> str:
        code = _exit_code([*words])
        out, err = capsys.readouterr()

        assert 0 == code, err
        return out

    assert "SMOKE RUN" in said("run", "wrbn", "--tiny", "--device", "cpu")
    rows = json.loads(said("table", "wrbn", "--tiny", "--format", "json"))["rows"]
    run = next((tmp_path / "results/runs").glob("wrbn-34-1-*"))

    assert [1, 1, 1, 1] == [row["n"] for row in rows if row["net"]]
    assert all(0 < row["error_at_0_db"] <= 100 for row in rows if row["net"])
    assert said("plot", "wrbn", "--tiny").strip().endswith("wrbn-tiny.png")
    assert said("plot", "phones", run.name).strip().endswith(f"phones-{run.name}.png")
    np.savez(run / "predictions.npz", labels=np.zeros(3))
    assert 2 == _exit_code(["plot", "phones", run.name])
