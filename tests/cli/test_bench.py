"""`resnet bench`: its figures, and how it says what it cannot measure."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch

from resnet_cli.cli.bench import estimates
from resnet_cli.cli.main import _exit_code
from resnet_cli.data import synthetic
from resnet_cli.runs import advice, timing
from resnet_cli.runs.estimate import AVERAGED_TEST
from resnet_cli.runs.timing import Result, Timing
from resnet_cli.train import environment, graph_step, proof

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _small_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resnet_cli.tasks.open_dataset", lambda *_: synthetic.load(train=256, test=50))


def result(net: str, milliseconds: float, test_seconds: float = 0.0) -> Result:
    """A result with this time."""
    update = Timing(milliseconds, milliseconds, milliseconds)
    return Result(net, update, 1.0, 1.0, None, None, 1.0, None, 1, test_seconds)


@pytest.mark.long
def test_json_holds_a_ratio_for_each_net(capsys: pytest.CaptureFixture[str]) -> None:
    """The ratio is that of the medians beside it; environment, scale and estimates are there."""
    options = ["--rounds", "2", "--updates", "1", "--no-compile", "--precision", "fp32", "--device", "cpu"]
    code = _exit_code(["bench", "resnet-8", "--against", "eager", "--format", "json", *options])
    content = json.loads(capsys.readouterr().out)
    measured = content["nets"]["resnet-8"]

    assert 0 == code
    assert ("plain", "fp32", 128) == (content["step"], content["precision"], content["batch_size"])
    assert measured["eager"]["median"] / measured["update"]["median"] == pytest.approx(measured["ratio"], abs=1e-3)
    assert measured["update"]["lowest"] <= measured["update"]["median"] <= measured["update"]["highest"]
    assert measured["peak_bytes"] > 100e6
    assert content["seconds"]["table6"] > content["seconds"]["fig1"] > 0


def test_the_table_names_its_figures(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal: a row a net, what the columns mean, the time of each table."""
    monkeypatch.setattr(timing, "measure", lambda net, plan, report: result(net.name, 100.0))  # noqa: ARG005
    code = _exit_code(["bench", "resnet-20", "plain-20", "--no-compile", "--device", "cpu"])
    out = capsys.readouterr().out

    assert 0 == code
    assert ["resnet-20", "plain-20"] == [line.split()[0] for line in out.splitlines() if "100 (" in line]
    assert "ms: the plain step in bf16" in out
    assert "table6" in out


def test_the_measured_step_is_proven(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside its time stands whether it agrees with the plain step; a wrong one is fast for nothing."""
    monkeypatch.setattr(graph_step, "obstacle", lambda _: None)
    monkeypatch.setattr(timing, "measure", lambda net, plan, report: result(net.name, 100.0))  # noqa: ARG005
    monkeypatch.setattr(proof, "prove_net", lambda net, *_: proof.Proof(f"{net.name} differs", {}, {}, 1.0))
    texts = []
    for output in ("rich", "json"):
        assert 0 == _exit_code(["bench", "resnet-20", "--device", "cpu", "--format", output])
        texts.append(capsys.readouterr().out)

    assert "resnet-20: resnet-20 differs." in texts[0]
    assert "resnet-20 differs" == json.loads(texts[1])["proofs"]["resnet-20"]["problem"]


def test_times_are_noted_where_precision_is_a_choice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With tensor cores, a step's time in each precision, but not a wrong step's; else nothing is written."""
    monkeypatch.setattr(graph_step, "obstacle", lambda _: None)
    monkeypatch.setattr(environment, "device_name", lambda _: "NVIDIA H200")
    monkeypatch.setattr(timing, "measure", lambda net, plan, report: result(net.name, 100.0))  # noqa: ARG005
    problems = {"resnet-20": None, "resnet-56": "it differs"}
    monkeypatch.setattr(proof, "prove_net", lambda net, *_: proof.Proof(problems[net.name], {}, {}, 1.0))
    command = ["bench", "--device", "cpu", "--precision", "fp32", "--results-dir", str(tmp_path / "results")]

    assert 0 == _exit_code(command)
    assert not (tmp_path / "results").exists()

    monkeypatch.setattr(advice, "has_tensor_cores", lambda _: True)
    assert 0 == _exit_code(command)
    (noted,) = (json.loads(path.read_text()) for path in (tmp_path / "results/speeds").iterdir())
    expected = {"net": "resnet-20", "precision": "fp32", "step": "compiled", "device_name": "NVIDIA H200"}
    assert {**expected, "torch": torch.__version__, "milliseconds": 100.0} == noted

    (tmp_path / "file").touch()
    capsys.readouterr()
    assert 0 == _exit_code([*command[:-1], str(tmp_path / "file" / "results")])
    said = capsys.readouterr()
    assert "speeds: cannot be written: Not a directory; the times are not saved" in said.err
    assert "table6" in said.out


def test_time_goes_by_the_nearest_net_in_size() -> None:
    """A net that was measured takes its own time; another one that of the nearest, in proportion to its arithmetic."""
    of_one = estimates([result("resnet-56", 300.0)], synthetic.load(train=256, test=50))
    of_two = estimates([result("resnet-56", 300.0), result("plain-20", 100.0)], synthetic.load(train=256, test=50))

    assert 64_000 * (0.1 + 0.3) == pytest.approx(of_two["fig1"], rel=1e-3)
    assert of_one["fig1"] < of_two["fig1"]


def test_tests_and_the_first_update_take_their_time() -> None:
    """A net is tested after each second epoch, after each sixth with averages too, and so at the end.

    A second is spent before its first update.
    """
    sizes = synthetic.load(train=250, test=50)  # in the proportion of CIFAR-10's
    without, with_tests = (estimates([result("plain-20", 100.0, each)], sizes)["table6"] for each in (0.0, 1.0))
    of_two = estimates([result("plain-20", 100.0), result("plain-56", 300.0)], sizes)["fig1"]

    assert pytest.approx(64_000 * (0.1 + 0.3) + 2, abs=0.2) == of_two
    epochs = 64_000 * 128 // 250
    tests = epochs // 2 + 1 + AVERAGED_TEST * (epochs // 6 + 1)
    assert pytest.approx(tests / 6_400, rel=1e-4) == (with_tests - without) / (without - 6)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["resnet-21"], "resnet-21: depth 21 is not 6n+2"),
        (["vgg-16"], "'vgg-16' is not a net"),
        (["--precision", "tf32", "--device", "cpu"], "--precision tf32: a CUDA device has it"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is no net, or cannot be computed here, ends with code 2."""
    code = _exit_code(["bench", *arguments])
    error = capsys.readouterr().err

    assert 2 == code
    assert words in error
    assert 1 == error.count("\n")


def test_without_a_compiler_the_plain_step_is_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line says so, and so does the legend."""
    monkeypatch.setattr(graph_step, "obstacle", lambda _: "no compiler here")
    monkeypatch.setattr(timing, "measure", lambda net, plan, report: result(net.name, 100.0))  # noqa: ARG005
    code = _exit_code(["bench", "resnet-20", "--device", "cpu"])
    said = capsys.readouterr()

    assert 0 == code
    assert "Measuring the plain step: no compiler here" in said.err
    assert "ms: the plain step" in said.out


@pytest.mark.long
def test_nothing_is_said_at_the_end(tmp_path: Path) -> None:
    """A process that has compiled ends without a word from the libraries it loaded; long, for it compiles."""
    command = [sys.executable, "-m", "resnet_cli", "bench", "resnet-8", "--device", "cpu", "--precision", "fp32"]
    command += ["--rounds", "1", "--updates", "1", "--format", "json", "--data-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert "" == done.stderr
