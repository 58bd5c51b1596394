# ruff: noqa: RUF001  the tables have true dashes and minus signs
"""`resnet compare` in four formats, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
import shutil
from typing import TYPE_CHECKING

import pytest

from resnet_cli.cli.main import _exit_code
from resnet_cli.identity import Variant
from resnet_cli.storage import run_folder

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import AddRun

    from resnet_cli.storage.store import Store


@pytest.fixture(autouse=True)
def _two_stores(store: Store, tmp_path: Path, add_run: AddRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """`results` and `other` in the current folder: plain-20 twice, resnet-20 once, and plain-8 on one side."""
    monkeypatch.setenv("COLUMNS", "100")
    runs = [add_run("plain-20", [50.0, 12.0 + 0.4 * seed], seed=seed) for seed in (0, 1)]
    add_run("resnet-20", [50.0, 8.5])
    store.root.rename(tmp_path / "other")
    environment = tmp_path / "other" / "runs" / runs[0].run_id / run_folder.ENVIRONMENT
    environment.write_text(json.dumps({"torch": "2.10.0", "device": "cu\x1bda", "commit": 40 * "f", "started": "now"}))
    for seed in (0, 1):
        add_run("plain-20", [50.0, 10.0 + 0.4 * seed], seed=seed)
    add_run("resnet-20", [50.0, 9.0])
    add_run("plain-8", [50.0, 9.0], variant=Variant(schedule=0.02))


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command says of the two."""
    code = _exit_code(["compare", "results", "other", *arguments])
    out, err = capsys.readouterr()

    assert (0, "") == (code, err)
    return out


def test_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """A row a net and error, an interval that excludes 0 marked, and below what differs and what was not compared."""
    out = output(capsys)
    lines = [" ".join(line.split()) for line in out.splitlines()]

    assert "plain-20 test 10.20±0.28 (2) 12.20±0.28 (2) +2.00 +0.78 to +3.22 *" in lines
    assert "training 1.00±0.00 (2) 1.00±0.00 (2) +0.00 –" in lines
    assert "resnet-20 test 9.00 (1) 8.50 (1) −0.50 –" in lines
    assert "commit 0123abc 0123abc, ffffffffff" in lines
    assert "device cpu cpu, cu\\x1bda" in lines
    assert "schedule 0.01 of the paper's; CIFAR-10; fp32" == lines[3]
    text = " ".join(lines)
    assert "* excludes 0: 1 of 1; if there were no difference anywhere, 0.05 would do so by chance." in text
    assert "Logs, plain-20: different from update 640 on (seed 0, 1)." in text
    assert "Logs, resnet-20: different from update 640 on (seed 0)." in text
    assert "Only A has: plain-8 (schedule 0.02 of the paper's; CIFAR-10; fp32; n = 1)." in text
    assert "Only B" not in text


def test_one_experiment(capsys: pytest.CaptureFixture[str]) -> None:
    """Of fig1 there is plain-20, and of the depth sweep what its depths have."""
    assert "resnet-20" not in output(capsys, "fig1")
    assert "resnet-20" in output(capsys, "degradation", "--depths", "20,26")


def test_the_formats_agree(capsys: pytest.CaptureFixture[str]) -> None:
    """The numbers of csv, json and md are the same, to the digits that each has."""
    rows = list(csv.DictReader(io.StringIO(output(capsys, "--format", "csv"))))
    content = json.loads(output(capsys, "--format", "json"))
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in output(capsys, "--format", "md").splitlines()
        if line.startswith("| ") and ("| test" in line or "| training" in line)
    ]

    assert 4 == len(rows) == len(content["rows"]) == len(cells)
    for row, plain, (_, metric, a, b, difference, interval) in zip(rows, content["rows"], cells, strict=True):
        assert {"test": "test_error", "training": "train_error"}[metric] == row["metric"] == plain["metric"]
        for side, cell in (("a", a), ("b", b)):
            assert plain[f"mean_{side}"] == float(row[f"mean_{side}"])
            assert f"{plain[f'mean_{side}']:.2f}" == cell.split()[0]
            assert f"({plain[f'n_{side}']})" == f"({row[f'n_{side}']})" == cell.split()[-1]
        assert f"{plain['difference']:+.2f}".replace("-", "−") == difference
        assert (plain["low"] is None) == (row["low"] == "") == (interval == "–")
        if plain["low"] is not None:
            wanted = f"{plain['low']:+.2f} to {plain['high']:+.2f} *"
            assert (wanted.replace("-", "−"), float(row["high"])) == (interval, plain["high"])
    assert (1, 1, 0.05) == (
        content["intervals"],
        content["excluding_zero"],
        pytest.approx(content["expected_by_chance"]),
    )
    assert ["2", "2", "1", "1"] == [row["common_seeds"] for row in rows]
    assert ["0", "0", "0", "0"] == [row["same_logs"] for row in rows]
    assert [640, 640, 640] == [log["differs_from"] for log in content["logs"]]
    assert 1 == len(content["only_a"])


@pytest.mark.parametrize(
    ("name", "start"), [("c.csv", "net,scale"), ("c.md", "A: `results`"), ("c.json", "{"), ("c", "A: ")]
)
def test_output_file(capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, start: str) -> None:
    """The suffix of --output says the format; the path goes to standard output."""
    path = tmp_path / "new" / name

    assert f"{path}\n" == output(capsys, "--output", str(path))
    assert path.read_text().startswith(start)


def test_a_store_beside_itself(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing differs, and it is said so."""
    assert 0 == _exit_code(["compare", "results", "results"])
    out = " ".join(capsys.readouterr().out.split())
    assert "Logs, plain-20: identical (seed 0, 1)." in out
    assert "The environments of these runs do not differ." in out
    assert "No interval where both have the same errors, seed by seed" in out
    assert "excludes 0" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["results", "nowhere"], "nowhere: not a results folder: it has no runs/"),
        (["results", "other", "fig9"], "unknown experiment 'fig9'"),
        (["results", "other", "--depths", "8,14"], "--depths: needs the name of an EXPERIMENT"),
        (["results", "other", "table2"], "results: has no finished run to compare"),
        (["results", "empty"], "empty: has no finished run to compare"),
        (["results", "other", "--output", "results"], "results: is a folder; name a file"),
    ],
)
def test_bad_input_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], message: str
) -> None:
    """What cannot be compared is one line on standard error, and exit code 2."""
    (tmp_path / "empty" / "runs").mkdir(parents=True)

    assert 2 == _exit_code(["compare", *arguments])
    out, err = capsys.readouterr()
    assert "" == out
    assert err.startswith(f"error: {message}")
    assert 1 == err.count("\n")


def test_copies_are_the_same_bits(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A folder and its copy on another machine."""
    shutil.copytree(tmp_path / "results", tmp_path / "copy")

    assert 0 == _exit_code(["compare", "results", "copy", "--format", "csv"])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    counts = [(row["net"], row["common_seeds"], row["same_logs"]) for row in rows if row["metric"] == "test_error"]
    assert [("plain-8", "1", "1"), ("plain-20", "2", "2"), ("resnet-20", "1", "1")] == counts
