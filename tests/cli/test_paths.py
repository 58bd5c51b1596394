"""Paths as a shell leaves them, commands as a shell takes them, and files as other systems' editors save them."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

import pytest
from typer.main import get_command

from resnet_cli.cli.app import app
from resnet_cli.cli.main import _exit_code
from resnet_cli.cli.options import data_folder
from resnet_cli.cli.paths import path_given, weights_given
from resnet_cli.errors import BadInputError
from resnet_cli.experiment import load_experiment
from resnet_cli.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import AddRun

OWN_FILE = 'title = "t"\nquestion = "q?"\nsection = "4.2"\n\n[[runs]]\nnets = ["resnet-8", "plain-8"]\n'


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder."""
    path = tmp_path / "home"
    path.mkdir()
    monkeypatch.setenv("HOME", str(path))
    return path


def parameters(command: Any = None) -> Iterator[Any]:
    """Every parameter of every command."""
    command = command or get_command(app)
    yield from command.params
    for each in getattr(command, "commands", {}).values():
        yield from parameters(each)


def is_path(parameter: Any) -> bool:
    """Whether it takes a path, or several."""
    return "Path" in str(parameter.type_descriptor.annotation)


def test_every_path_on_the_command_line_is_read_alike() -> None:
    """No option and no argument takes a path but by `path_given`; `--weights` is a path or a word."""
    every = list(parameters())
    paths = {each.name: each.type_descriptor.parameter_info for each in every if is_path(each)}

    assert {"results_dir", "data_dir", "dataset_root", "_val_labels", "output", "ensemble", "a", "b"} == set(paths)
    assert {path_given} == {info.parser for info in paths.values()}
    assert {"weights"} == {each.name for each in every if each.type_descriptor.parameter_info.callback is weights_given}


@pytest.mark.parametrize("option", ["--results-dir=~/my results", "--results-dir=~/r"])
def test_a_home_folder_is_found_after_an_equals_sign(
    option: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The results lie there, no folder is named `~`, and what is to be pasted leads there."""
    (tmp_path / "my file.toml").write_text(OWN_FILE)
    command = ["run", "my file.toml", "--tiny", "--only", "plain-8", "--device", "cpu", option]

    assert 0 == _exit_code(command)
    steps = capsys.readouterr().err.partition("Next: ")[2].strip().split(", ")
    folder = home / option.partition("~/")[2]
    assert (folder / "runs").is_dir()
    assert {"home", "my file.toml"} == {path.name for path in tmp_path.iterdir()}
    assert ["table", "report"] == [shlex.split(step)[1] for step in steps]
    for step in steps:
        program, *words = shlex.split(step)
        assert "resnet" == program
        assert str(folder) in words
    assert 0 == _exit_code(shlex.split(steps[0])[1:])
    assert "plain-8" in capsys.readouterr().out


def test_a_home_folder_is_found_in_every_option(
    home: Path, capsys: pytest.CaptureFixture[str], store: Store, add_run: AddRun
) -> None:
    """Options and arguments of other commands: files of one's own, outputs, data, other results."""
    add_run("resnet-8", [50.0])
    (home / "mine.toml").write_text(OWN_FILE)
    (home / "results").symlink_to(store.root)
    commands = [
        ["show", "~/mine.toml"],
        ["status", "--results-dir=~/results"],
        ["table", "~/mine.toml", "--results-dir=~/results", "--output=~/a/table.csv"],
        ["compare", "~/results", "~/results", "--output=~/compared.md"],
        ["data", "where", "--data-dir=~/data"],
    ]

    assert [0] * len(commands) == [_exit_code(command) for command in commands]
    assert str(home / "data") in capsys.readouterr().out
    assert (home / "a/table.csv").is_file()
    assert (home / "compared.md").is_file()
    for option in ("--weights=~/none.pth", "--weights=~/none"):
        assert 2 == _exit_code(["eval", "resnet-20", option])
        assert f"{home}/none" in capsys.readouterr().err
    assert "torchvision" == weights_given("torchvision")


def test_a_home_folder_is_found_in_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RESNET_RESULTS and RESNET_DATA are read as the options are."""
    monkeypatch.setenv("RESNET_RESULTS", "~/my results")
    monkeypatch.setenv("RESNET_DATA", "~/data")

    assert home / "my results" == Store.open(None).root
    assert home / "data" == data_folder(None)


@pytest.mark.parametrize(
    "arguments",
    [
        ["plot", "my file.toml"],
        ["status"],
        ["list"],
        ["report"],
        ["check"],
        ["status", "my file.toml"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("folder", ["a b", "it's", "a  b", "$HOME;x", ":cat:", "[red]"])
def test_what_is_printed_to_be_pasted_can_be(
    arguments: list[str], folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Commands in answers and errors are quoted for a shell, and lead to the same results."""
    (tmp_path / "my file.toml").write_text(OWN_FILE)
    _exit_code([*arguments, "--results-dir", folder])
    said = "".join(capsys.readouterr())
    commands = re.findall(r"(?<=[:,] )resnet .*?(?=, resnet |$)", said, re.MULTILINE)

    assert commands
    for each in commands:
        words = shlex.split(each)
        assert folder == words[words.index("--results-dir") + 1]
        assert set(arguments[1:]) <= set(words)


@pytest.mark.parametrize("name", ["mine.toml", "MINE.TOML", "Mine.Toml"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte-order mark"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"], ids=["unix", "windows"])
def test_experiment_files_of_other_systems(name: str, mark: bytes, ending: str, tmp_path: Path) -> None:
    """A byte-order mark, Windows' line ends and capitals in the suffix are no fault of a file."""
    path = tmp_path / name
    path.write_bytes(mark + OWN_FILE.replace("\n", ending).encode())

    assert ["resnet-8", "plain-8"] == [net.name for net in load_experiment(str(path)).nets]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_experiment_files_in_utf_16_are_told_so(encoding: str, tmp_path: Path) -> None:
    """What Windows calls Unicode is no UTF-8; the line says what to do."""
    path = tmp_path / "mine.toml"
    path.write_bytes(("" if encoding == "utf-16" else "\ufeff").encode(encoding) + OWN_FILE.encode(encoding))

    with pytest.raises(BadInputError, match=r"mine\.toml: not UTF-8 text: .*; save it as UTF-8"):
        load_experiment(str(path))


def test_a_suffix_in_capitals_says_the_form(
    store: Store, add_run: AddRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """TABLE.CSV is a csv file."""
    add_run("resnet-20", [50.0])
    code = _exit_code(["table", "table6", "--results-dir", str(store.root), "--output", "TABLE.CSV"])

    assert (0, "TABLE.CSV\n") == (code, capsys.readouterr().out)
    assert (tmp_path / "TABLE.CSV").read_text().startswith("label,")
