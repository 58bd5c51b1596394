"""`--precision auto` takes what fits the device and says so; bf16 where it is emulated says what that costs."""

from __future__ import annotations

from pathlib import Path

import pytest

from resnet_cli.cli.main import _exit_code
from resnet_cli.device import torch_device as device

RUN = ["run", "fig1", "--dry-run", "--device", "cpu"]


def emulates(monkeypatch: pytest.MonkeyPatch, *, emulated: bool) -> None:
    """A processor with bf16 instructions, or without; measured is nothing."""
    monkeypatch.setattr(device, "_cpu_capabilities", lambda: {"avx512_bf16": not emulated})
    monkeypatch.setattr(device, "bf16_slowdown", lambda _device: 2.34)


@pytest.mark.parametrize(("emulated", "expected"), [(False, "bf16"), (True, "fp32")], ids=["native", "emulated"])
def test_auto_says_what_it_takes(
    emulated: bool, expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was chosen is said in a line and is the runs' identity, the same as if it had been asked for by name."""
    emulates(monkeypatch, emulated=emulated)

    assert 0 == _exit_code([*RUN, "--precision", "auto"])
    chosen = capsys.readouterr()
    _exit_code([*RUN, "--precision", expected])

    assert [f"--precision auto: {expected}; this cpu"] == [
        line[: len(f"--precision auto: {expected}; this cpu")] for line in chosen.err.splitlines()
    ]
    assert capsys.readouterr().out == chosen.out


def test_emulated_bf16_says_what_it_costs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """In one line; where the processor has it there is nothing to say."""
    emulates(monkeypatch, emulated=True)
    _exit_code([*RUN, "--precision", "bf16"])
    emulated = capsys.readouterr()
    emulates(monkeypatch, emulated=False)
    _exit_code([*RUN, "--precision", "bf16"])
    native = capsys.readouterr()

    assert 1 == len(emulated.err.splitlines())
    assert "2.3 times as long as in fp32" in emulated.err
    assert ("", emulated.out) == (native.err, native.out)


@pytest.mark.parametrize("command", ["table", "check", "plot"])
def test_auto_finds_what_auto_made(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Commands that show results take the same word."""
    emulates(monkeypatch, emulated=False)
    arguments = [command, "fig6", "--results-dir", str(Path(__file__).parents[2] / "results/published")]
    arguments += ["--output", str(tmp_path / "figure.png")] if command == "plot" else []

    assert 0 == _exit_code([*arguments, "--precision", "auto"])
    auto = capsys.readouterr().out

    assert 0 == _exit_code([*arguments, "--precision", "bf16"])
    assert capsys.readouterr().out == auto


def test_a_cluster_is_not_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    """What fits this machine need not fit the nodes."""
    assert 2 == _exit_code(["run", "fig1", "--precision", "auto", "--launcher", "slurm"])
    assert "--precision auto: checks this machine" in capsys.readouterr().err
