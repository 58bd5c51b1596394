from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from resnet_cli.cli.main import _exit_code
from resnet_cli.identity import Variant

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import AddRun

    from resnet_cli.storage.store import Store


@pytest.fixture(autouse=True)
def _results(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNET_RESULTS", str(store.root))
    monkeypatch.setenv("COLUMNS", "100")


def test_table_goes_to_standard_output(add_run: AddRun, capsys: pytest.CaptureFixture[str]) -> None:
    """Without options the scale with something to show is shown, in the terminal's form."""
    add_run("resnet-20", [50.0, 8.9])

    assert 0 == _exit_code(["table", "table6"])
    output, errors = capsys.readouterr()
    assert "schedule 0.01 of the paper's; CIFAR-10; fp32" in output
    assert "ResNet       20     269,722              8.75  8.90  8.90   1.00  1   +0.15" in output
    assert "" == errors


def test_options_choose_the_scale(add_run: AddRun, capsys: pytest.CaptureFixture[str]) -> None:
    """A scale that is asked for is shown, even if nothing of it was run."""
    add_run("resnet-20", [50.0, 8.9])

    assert 0 == _exit_code(["table", "table6", "--schedule", "1", "--format", "md"])
    output = capsys.readouterr().out
    assert "(paper scale; CIFAR-10; fp32)" in output
    assert "8.90" not in output


@pytest.mark.parametrize(
    ("at", "scale"),
    [
        ("schedule-0.01", "schedule 0.01 of the paper's; CIFAR-10; fp32"),
        ("schedule-0.1-bf16", "schedule 0.1 of the paper's; CIFAR-10; bf16"),
        ("paper", "paper scale; CIFAR-10; fp32"),
        ("tiny", "SMOKE RUN"),
    ],
)
def test_a_slug_chooses_the_scale(add_run: AddRun, capsys: pytest.CaptureFixture[str], at: str, scale: str) -> None:
    """`--at` takes a scale that is there by what stands of it in the names of files, which those written show."""
    add_run("resnet-20", [50.0, 8.9])
    for variant in (Variant(), Variant(schedule=0.1, precision="bf16"), Variant(tiny=True, dataset="synthetic")):
        add_run("resnet-20", [40.0, 8.0], variant=variant)

    assert 0 == _exit_code(["table", "table6", "--at", at, "--format", "md"])
    assert f"({scale}" in capsys.readouterr().out
    assert 0 == _exit_code(["plot", "fig6", "--at", at, "--format", "svg"])
    name = "fig6.svg" if at == "paper" else f"fig6-{at}.svg"
    assert capsys.readouterr().out.strip().endswith(f"figures/{name}")


def test_a_slug_of_nothing_there(add_run: AddRun, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """A scale that is not there is an error that lists what is: of the experiment, or of all where none is named."""
    add_run("resnet-20", [50.0, 8.9])
    add_run("plain-26", [50.0], variant=Variant(precision="bf16"))
    there = {
        ("table", "table6"): "schedule-0.01 of table6",
        ("plot", "fig4"): "no run of fig4",
        ("check", "table6"): "schedule-0.01 of table6",
        ("check",): "schedule-0.01",
    }

    for words, has in there.items():
        assert 2 == _exit_code([*words, "--at", "tiny"])
        assert capsys.readouterr().err == f"error: --at tiny: {store.root} has {has}\n"


@pytest.mark.parametrize("option", [["--tiny"], ["--schedule", "0.01"], ["--precision", "auto"], ["--accumulate", "2"]])
def test_a_slug_says_all_of_the_scale(capsys: pytest.CaptureFixture[str], option: list[str]) -> None:
    """With another option of the scale `--at` is refused."""
    for words in (["table", "table6"], ["plot", "fig6"], ["check"]):
        assert 2 == _exit_code([*words, "--at", "tiny", *option])
        assert "error: --at tiny: selects the whole scale; leave out" in capsys.readouterr().err


def test_smoke_runs_and_depths(add_run: AddRun, capsys: pytest.CaptureFixture[str]) -> None:
    """A sweep's depths and the smoke scale are chosen by options; json says that it is no result."""
    add_run("plain-26", [80.0], variant=Variant(tiny=True, dataset="synthetic"))

    assert 0 == _exit_code(["table", "depth", "--tiny", "--depths", "26,38", "--format", "json"])
    content = json.loads(capsys.readouterr().out)
    assert content["header"]["is_smoke"]
    assert [("plain-26", 1), ("plain-38", 0), ("resnet-26", 0), ("resnet-38", 0)] == [
        (row["net"], row["n"]) for row in content["rows"]
    ]


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("t.csv", "label,net,layers"),
        ("t.md", "**Table 6."),
        ("t.tex", "% needs \\usepackage{booktabs,graphicx}\n\\begin{table*}"),
        ("t.json", "{"),
        ("t", "Table 6."),
    ],
)
def test_output_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, start: str) -> None:
    """A table goes into a file of the format its suffix says, and its path to standard output."""
    path = tmp_path / "new" / name

    assert 0 == _exit_code(["table", "table6", "--output", str(path)])
    assert f"{path}\n" == capsys.readouterr().out
    assert path.read_text().startswith(start)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table", "table15"], "unknown experiment 'table15'"),
        (["table", "table6", "--depths", "8"], "--depths: table6 has no depth sweep"),
        (["table", "table6", "--tiny", "--schedule", "0.1"], "--tiny: has a schedule"),
        (["table", "table6", "--output", "/dev/null/x.md"], "/dev/null/x.md: cannot be written"),
    ],
)
def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    """What cannot be used is one line on standard error, and exit code 2."""
    assert 2 == _exit_code(arguments)
    output, errors = capsys.readouterr()
    assert "" == output
    assert errors.startswith(f"error: {message}")
    assert 1 == errors.count("\n")
