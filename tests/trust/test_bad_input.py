"""Bad input of every kind, by the thousand: each is one line that names it and exit code 2, and never a traceback.

The short form of each test is in the normal suite; `pytest -m slow` has 2,000 inputs in all, and others.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import math
import pickle
import shutil
import tomllib
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors.torch
import torch
import typer
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from PIL import Image

from resnet_cli import run_folder
from resnet_cli.cli import main
from resnet_cli.cli.main import app
from resnet_cli.data import cifar10, folder, synthetic
from resnet_cli.experiment import experiments_folder, load_experiment
from resnet_cli.model import cifar_net, imagenet_net
from resnet_cli.spec import Net, RunSpec, Variant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import AddRun, AddTest

    from resnet_cli.data.dataset import Dataset
    from resnet_cli.runs.store import Store

SHORT, FULL = 40, 400  # inputs of a kind
COUNTS = [SHORT, pytest.param(FULL, marks=pytest.mark.slow)]
LONGEST_LINE = 2_000
LONG = 100_000
NOT_TEXT = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\xff\xfe"
WEB_PAGE = b"<!DOCTYPE html>\n<html><body>404</body></html>\n"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
DRAW = synthetic.load
CONTROL = "\x1b[31m\x07\x7f\u2028"


@dataclass(frozen=True)
class Input:
    """A command line, words of which one must stand in the error's line, and whether the input may pass after all.

    Attributes:
        says: One of these must be in the line.
        is_sure: It must be refused; else only nine of ten such inputs, for some may be fine by chance.
        may_pass: It is tolerated by design, and not counted.
        after_progress: Progress may come first, and a run's ending may take the error's place.
    """

    arguments: list[str]
    says: tuple[str, ...]
    is_sure: bool = True
    may_pass: bool = False
    after_progress: bool = False


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    for name in ("RESNET_RESULTS", "RESNET_DATA"):
        monkeypatch.delenv(name, raising=False)


def answer(arguments: list[str]) -> tuple[int, str, str]:
    """What a command line gives: exit code, standard output, standard error; an exception that leaves it is raised."""
    # As Python opens them: standard output takes no half of a character, standard error takes everything.
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main._exit_code(arguments)
    for stream in (out, err):
        stream.seek(0)
    return code, out.read(), err.read()


def examine(given_input: Input) -> int:
    """Runs it; whatever is wrong must be told in one line. Returns the exit code, 0 or 2."""
    code, _, err = answer(given_input.arguments)
    lines = err.splitlines()
    if given_input.after_progress:
        lines = [line for line in lines if line.startswith("error: ") or ": bad input: " in line][:1]

    assert code in (0, 2), (given_input, err)
    if code == 2:
        assert 1 == len(lines), (given_input, err)
        assert lines[0].startswith("error: ") or given_input.after_progress, (given_input, err)
        assert "Traceback" not in err
        assert len(lines[0]) <= LONGEST_LINE, (given_input, len(lines[0]))
        assert any(word in lines[0] for word in given_input.says), (given_input, lines[0])
    return code


def examine_many(inputs: st.SearchStrategy[Input] | Callable[[st.DataObject], Input], count: int) -> None:
    """So many inputs, always the same ones."""
    codes: Counter[int] = Counter()

    @seed(count)
    @settings(
        max_examples=count, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(data=st.data())
    def one(data: st.DataObject) -> None:
        drawn = inputs(data) if callable(inputs) else data.draw(inputs)
        code = examine(drawn)
        assert code == 2 or drawn.may_pass or not drawn.is_sure, drawn
        if not drawn.may_pass:
            codes[code] += 1

    one()

    assert codes[2] >= 0.9 * codes.total() > 0, codes


# Experiment files

OWN_FILE = """
title = "Two nets"
question = "Does it run?"
section = "none"
dataset = "synthetic"
[protocol]
batch_size = 16
iterations = 100
learning_rate = 0.1
milestones = [50, 75]
[[runs]]
nets = ["plain-8", "resnet-8"]
seeds = 2
[[rows]]
label = "ResNet"
net = "resnet-8"
error = 8.75
mean = 8.9
std = 0.2
[[claims]]
kind = "less"
text = "Shortcuts help"
left = "resnet-8"
right = 30.0
[[claims]]
kind = "within"
text = "Near"
net = "resnet-8"
value = 9.0
tolerance = 0.5
[figure]
title = "Curves"
y_min = 0
y_max = 20
[[figure.panels]]
title = "both"
nets = ["plain-8", "resnet-8"]
"""
EXPERIMENTS = [OWN_FILE, *(path.read_text(encoding="utf-8") for path in sorted(experiments_folder().glob("*.toml")))]
READ_BY = (["show", "{}"], ["run", "{}", "--dry-run"], ["run", "{}", "--tiny"], ["table", "{}"], ["check", "{}"],
           ["plot", "{}"])  # fmt: skip
NO_NUMBERS = [-1, -0.5, 10**12 + 0.5, -(10**30), 10**400, math.nan, math.inf, -math.inf, "", "many", [], [1], {}]
NO_TEXTS = [0, -7, 1.5, True, [], ["a"], {"a": 1}, 240 * "long ", LONG * "x"]
NO_NETS = ["resnet-21", "plain-2", "plain-20-B", "resnet-60002", "vgg-16", "resnet-20-D", "", "{depth}",
           {"family": "resnet", "depth": 6 * 10**11 + 2, "shortcut": "A"}, 20]  # fmt: skip


def toml(value: Any) -> str:
    """A value as TOML has it, tables inline."""
    match value:
        case dict():
            return "{" + ", ".join(f"{toml(str(key))} = {toml(each)}" for key, each in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(toml, value)) + "]"
        case str():
            return json.dumps(value).replace("\x7f", "\\u007f")
        case bool():
            return str(value).lower()
        case _:
            return "0x" + f"{value:x}" if isinstance(value, int) and value > 10**300 else str(value)


def places(content: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a file's content: the table or list, and the key or number in it."""
    pairs = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in list(pairs):
        yield content, key
        if isinstance(value, dict | list):
            yield from places(value)


def spoil_content(draw: st.DrawFn, content: dict[str, Any]) -> None:
    """Spoils one place of an experiment's content."""
    within, key = draw(st.sampled_from(list(places(content))))
    value = within[key]
    match draw(st.sampled_from(["value", "value", "value", "value", "rename", "wrap", "more", "without"])):
        case "without" if key in ("title", "question", "section", "nets", "label", "kind", "text"):
            del within[key]
        case "rename" if isinstance(within, dict):
            within[f"{key}{draw(st.sampled_from(['s', ' ', CONTROL, LONG * 'k', '.']))}"] = within.pop(key)
        case "wrap":
            within[key] = draw(st.sampled_from([[[value]], {"value": value}]))
        case "more" if isinstance(value, dict):
            value[draw(st.sampled_from(["colour", "", "\0", "Nets"]))] = 1
        case _ if isinstance(value, str):
            is_net = value.startswith(("plain-", "resnet-"))
            within[key] = deepcopy(draw(st.sampled_from(NO_NETS if is_net else NO_TEXTS)))
        case _ if isinstance(value, int | float):
            within[key] = deepcopy(draw(st.sampled_from(NO_NUMBERS)))
        case _:
            within[key] = draw(st.sampled_from(["none", -1, True, [[]], 3 * [[value]], ["x"]]))


def spoil_text(draw: st.DrawFn, text: bytes) -> bytes:
    """Spoils an experiment file as bytes."""
    lines = text.splitlines(keepends=True)
    at = draw(st.integers(0, len(text) - 1))
    row = draw(st.integers(0, len(lines) - 1))
    ways: dict[str, Callable[[], bytes]] = {
        "cut": lambda: text[:at].rstrip() + b"\n[[",
        "not UTF-8": lambda: text[:at] + b"\xff\xfe" + text[at:],
        "NUL": lambda: text[:at] + b"\0" + text[at:],
        "a line twice": lambda: b"".join([b"title = 'a'\n", *lines]),
        "no bracket": lambda: b"".join([*lines[:row], b"[[runs]\n", *lines[row:]]),
        "deep": lambda: b"runs = " + 20_000 * b"[" + b"\n" + text,
        "deep tables": lambda: b"[" + b".".join(5_000 * [b"a"]) + b"]\n",
        "digits": lambda: b"depths = " + 5_000 * b"9" + b"\n" + text,
        "many depths": lambda: b"depths = [" + 100_000 * b"8," + b"]\n" + text,
        "all depths": lambda: b"depths = [" + b",".join(b"%d" % (6 * n + 2) for n in range(1, 17_000)) + b"]\n" + text,
        "web page": lambda: WEB_PAGE,
        "image": lambda: NOT_TEXT,
        "empty": lambda: b"",
        "UTF-16": lambda: text.decode().encode("utf-16"),
    }
    return ways[draw(st.sampled_from(list(ways)))]()


@st.composite
def experiment_files(draw: st.DrawFn) -> bytes:
    """A bad experiment file."""
    text = draw(st.sampled_from(EXPERIMENTS))
    if draw(st.booleans()):
        return spoil_text(draw, text.encode())
    content = tomllib.loads(text)
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        spoil_content(draw, content)
    lines = [f"{toml(str(key))} = {toml(value)}" for key, value in content.items()]
    return "\n".join(lines).encode()


@pytest.mark.parametrize("count", COUNTS)
def test_experiment_files(count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever an experiment file holds, the commands that read it take it, or name it in one line.

    Nothing is trained. Seen to fail when the reader lets RecursionError through, and when its message does not name
    the file.
    """
    monkeypatch.setattr("resnet_cli.cli.run.train_missing", lambda *_: 0)
    path = tmp_path / "mine.toml"
    for text in EXPERIMENTS:  # unspoiled, all of them pass, written anew too
        lines = [f"{toml(key)} = {toml(value)}" for key, value in tomllib.loads(text).items()]
        path.write_text("\n".join(lines), encoding="utf-8")
        assert 0 == answer(["show", str(path)])[0]

    def draw(data: st.DataObject) -> Input:
        path.write_bytes(data.draw(experiment_files()))
        command = data.draw(st.sampled_from(READ_BY))
        return Input([part.format(path) for part in command], (str(path),), is_sure=False)

    examine_many(draw, count)


# Flags

JUNK = ["", " ", "many", "-", "1e", "1,5", "[1]", "nan", CONTROL, "--", "\udcff", 300 * "9", "0x10", "½"]
NOT_A_FOLDER = ["plain-file/below", 300 * "a", "loop", f"plain-file/{CONTROL}"]
NOT_WRITABLE = ["", ".", "a-folder", "plain-file/below.csv", 300 * "a", "loop/x"]
# What an option cannot mean, for those whose kind does not say it; a folder that is not there is as good as empty.
NO_VALUES: dict[str, list[str]] = {
    "--only": ["", " ", "vgg*", "[", "resnet-20\n", CONTROL, 900 * "z", "*-21"],
    "--depths": [*JUNK, "8", "8,", "8,9", "8,8", "-8,14", "8,100004", "0,8", "2,8", f"8,{900 * '9'}",
                 ",".join(str(6 * n + 2) for n in range(1, 150))],
    "--schedule": [*JUNK, "0", "-1", "100.5", "inf", "-inf", "1e400"],
    "--checkpoint-seconds": [*(value for value in JUNK if value[:1] != "9"), "-1", "-inf"],
    "--dataset-root": ["nothing-there", "a-folder", *NOT_A_FOLDER],
    "--results-dir": NOT_A_FOLDER,
    "--data-dir": ["nothing-there", "a-folder", *NOT_A_FOLDER],
    "--output": NOT_WRITABLE,
    "--weights": ["", "nothing-there", "a-folder", "plain-file", "loop", 300 * "a", "plain-file/below"],
    "--ensemble": ["", "nothing-there", "a-folder", "plain-file", "loop", 300 * "a", "plain-file/below"],
    "--scales": [*JUNK, "224;256", "0", "-224", "223", "224,", "10000000", f"{900 * '9'}"],
}  # fmt: skip
BASES: dict[str, list[str]] = {
    "list": [],
    "show": ["depth"],
    "run": ["depth", "--dry-run"],
    "reproduce": ["--tiny"],
    "status": ["depth"],
    "table": ["depth"],
    "plot": ["depth"],
    "check": ["depth"],
    "eval": ["resnet-8", "--weights", "plain-file", "--dataset", "synthetic"],
    "bench": ["resnet-8"],
    "report": [],
    "data download": [],
    "data verify": [],
    "data where": [],
    "doctor": [],
}
# Where nothing has to be read or written for the answer, any path does.
ANY_PATH = {("run", "--data-dir"), ("reproduce", "--data-dir"), ("bench", "--data-dir"), ("eval", "--data-dir"),
              ("data where", "--data-dir"), ("doctor", "--results-dir"), ("doctor", "--data-dir"),
              ("run", "--results-dir"), ("plot", "--output")}  # fmt: skip
READERS_OF_RESULTS = {"list", "show", "status", "table", "plot", "check", "report"}
CONTRADICTIONS = [
    (["run", "fig1", "--tiny", "--schedule", "0.1"], "--tiny"),
    (["run", "fig1", "--tiny", "--dataset", "cifar10"], "--tiny"),
    (["run", "table2", "--tiny", "--dataset-root", "a-folder"], "--tiny"),
    (["table", "fig1", "--dataset", "imagenet"], "--dataset"),
    (["plot", "fig4", "--dataset", "cifar10"], "--dataset"),
    (["check", "table2", "--split", "45k-5k"], "--split"),
    (["table", "fig1", "--deviation", "fixed-steps"], "--deviation"),
    (["table", "table2", "--deviation", "none"], "--deviation"),
    (["table", "fig1", "--dataset-root", "a-folder"], "--dataset-root"),
    (["table", "table2", "--dataset", "synthetic-photos", "--dataset-root", "a-folder"], "--dataset-root"),
    (["table", "table2", "--dataset", "folder"], "--dataset"),
    (["table", "fig1", "--accumulate", "3"], "--accumulate"),
    (["show", "table6", "--depths", "8,14"], "--depths"),
    (["show", "depth", "--depths", "8,8"], "--depths"),
    (["run", "fig1", "--only", "plain-20", "--only", "vgg"], "--only"),
    (["bench", "resnet-8", "--precision", "tf32", "--device", "cpu"], "--precision"),
    (["eval"], "--weights"),
    (["eval", "resnet-20"], "--weights"),
    (["eval", "--weights", "plain-file"], "--weights"),
    (["eval", "--ensemble", "plain-file"], "--ensemble"),
    (["eval", "resnet-20", "--ensemble", "a", "--ensemble", "b"], "--ensemble"),
    (["eval", "resnet-18", "--weights", "plain-file", "--crops", "10", "--scales", "224"], "--scales"),
    (["eval", "resnet-20", "--weights", "plain-file", "--crops", "10"], "--crops"),
    (["eval", "resnet-20", "--weights", "plain-file", "--scales", "32"], "--scales"),
    (["eval", "resnet-18", "--weights", "plain-file", "--dataset", "cifar10", "--dataset-root", "a"], "--dataset-root"),
    (["eval", "resnet-110", "--weights", "plain-file", "--convention", "torchvision"], "resnet-110"),
    (["eval", "resnet-50", "--weights", "torchvision", "--convention", "akamaster"], "torchvision"),
    (["bench", "resnet-8", "--device", "mps"], "--device"),
]


def commands() -> dict[str, Any]:
    """Every command by the words that call it."""
    result = {}
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        below = getattr(command, "commands", None)
        result |= {f"{name} {inner}": each for inner, each in below.items()} if below else {name: command}
    return result


COMMANDS = commands()


def no_values(parameter: Any) -> list[str]:
    """What an option, or an argument, cannot be."""
    option = parameter.opts[0]
    if option in NO_VALUES:
        return NO_VALUES[option]
    values = list(JUNK)
    if parameter.min is not None:
        values += [str(parameter.min - 1), str(10**30), "-1e9"]
    if parameter.max is not None:
        values.append(str(parameter.max + 1))
    return values


def as_shown(value: str) -> tuple[str, ...]:
    """How a value stands in a line: in quotation marks, which hold the empty one too, escaped, or as a path."""
    shown = " ".join(value.encode(errors="backslashreplace").decode().split())
    return f"'{shown}'", repr(value), shown or ".:"


@st.composite
def bad_flags(draw: st.DrawFn) -> Input:
    """A command with one option that cannot be meant so, or with two that contradict one another."""
    if draw(st.integers(0, 4)) == 0:
        arguments, word = draw(st.sampled_from(CONTRADICTIONS))
        return Input(arguments, (word,))
    name = draw(st.sampled_from([name for name, command in COMMANDS.items() if command.params]))
    base = [*name.split(), *BASES[name]]
    parameter = draw(st.sampled_from(COMMANDS[name].params))
    option = parameter.opts[0]
    if not option.startswith("-"):
        value = draw(st.sampled_from(["", "resnet-21", CONTROL, 900 * "x", "../fig1", "\udcff", "nothing.toml"]))
        return Input([*name.split(), value], ("--weights", *as_shown(value)))
    value = draw(st.sampled_from(no_values(parameter)))
    if parameter.is_flag:
        more, says = [f"{option}={draw(st.sampled_from(JUNK))}"], (option,)
    else:
        meant = ([option, value], (option, *as_shown(value)))
        others = [([f"{option}x", "1"], (f"{option}x",)), ([option], (option,))]
        more, says = draw(st.sampled_from([*(6 * [meant]), *others]))
    is_read = option == "--results-dir" and name in READERS_OF_RESULTS
    tolerated = more == [option, value] and (is_read or (name, option) in ANY_PATH)
    return Input([*base, *more], ("",) if tolerated else says, may_pass=tolerated)


@pytest.mark.parametrize("count", COUNTS)
def test_flags(count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An option that cannot be meant so is named in one line, whichever command it is given to; nothing is trained.

    Seen to fail when a path that is too long is let through, when the line does not name --split, and, in the full
    count, when --schedule is not checked against its bounds.
    """
    monkeypatch.setattr("resnet_cli.cli.run.train_missing", lambda *_: 0)
    monkeypatch.setattr("resnet_cli.cli.reproduce.train_missing", lambda *_: 0)
    monkeypatch.setattr("resnet_cli.cli.bench._print", lambda *_: None)
    monkeypatch.setattr("resnet_cli.timing.measure", lambda *_: None)
    monkeypatch.setattr("resnet_cli.data.synthetic.load", embedded)
    monkeypatch.setattr("socket.getaddrinfo", no_network)
    (tmp_path / "plain-file").write_bytes(b"nothing\n")
    (tmp_path / "a-folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    examine_many(bad_flags(), count)


def test_every_command_has_a_base() -> None:
    """No command is left out of these tests, and none is in them that is no more."""
    assert BASES.keys() == COMMANDS.keys()


@cache
def embedded(**_: int) -> Dataset:
    """The smoke run's embedded set, drawn once."""
    return DRAW(train=64, test=64)


def no_network(*_: object, **__: object) -> None:
    """In place of a connection."""
    raise OSError("no connection")


# What a run left behind

TABLE5 = ("resnet-34-B", "resnet-34-C", "resnet-50", "resnet-101", "resnet-152", "resnet-152")
LOGS = (run_folder.TRAIN_CSV, run_folder.EVAL_CSV)
TOLERATED = (run_folder.STATUS, run_folder.ENVIRONMENT, run_folder.SPEC, run_folder.PREDICTIONS, "test-dense.json")
READERS = (["table", "fig1"], ["plot", "fig1"], ["check", "fig1"], ["check", "fig1", "--format", "json"])


NO_CELLS = ["x", "-1", "-inf", "1.5.2", "True", CONTROL, "0x7", "½"]
NO_ERRORS = ["", "nan", "4000", "1e30", "inf", 400 * "9"]


def spoil_log(draw: st.DrawFn, content: bytes) -> bytes:
    """Spoils a log so that it can be seen; the sums of SHA256SUMS see the rest."""
    rows = [line.split(",") for line in content.decode().splitlines()]
    row, column = draw(st.integers(1, len(rows) - 1)), draw(st.integers(0, len(rows[0]) - 1))
    above, its, below, names = rows[:row], rows[row], rows[row + 1 :], rows[0]
    is_error = names[column] == "iteration" or "_error" in names[column]
    value = draw(st.sampled_from([*NO_CELLS, *NO_ERRORS] if is_error else NO_CELLS))
    suffix = draw(st.sampled_from(["s", " ", CONTROL, LONG * "x"]))
    cell: Callable[[], list[list[str]]] = lambda: [*above, [*its[:column], value, *its[column + 1 :]], *below]  # noqa: E731
    ways: dict[str, Callable[[], list[list[str]]]] = {
        "cell": cell,
        "a cell": cell,
        "another cell": cell,
        "again": lambda: [*above, its, its, *below],
        "back": lambda: [*above, its, ["0", *its[1:]], *below],
        "gone": lambda: above,
        "short": lambda: [*above, its[:1], *below],
        "long": lambda: [*above, [*its, "1", "2"], *below],
        "rename": lambda: [[*names[:column], names[column] + suffix, *names[column + 1 :]], *rows[1:]],
        "drop": lambda: [each[:column] + each[column + 1 :] for each in rows],
        "swap": lambda: [names[::-1], *rows[1:]],
        "add": lambda: [names, *([*each, "1"] for each in rows[1:])],
    }
    spoiled = ways[draw(st.sampled_from(list(ways)))]()
    place = draw(st.integers(0, content.rindex(b"\n", 0, -1)))
    junk = draw(st.sampled_from([b"\xff", b"\0", b'"', b"\x80\x81", b"x,"]))
    others = [content[:place], content[:place] + junk + content[place + 1 :], b"", b"\n\n", WEB_PAGE, NOT_TEXT, POINTER,
              LONG * b"a", 2 * content, b'"' + content, content.replace(b",", b";"),
              content.decode().encode("utf-16")]  # fmt: skip
    if draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from(others))
    return "".join(",".join(each) + "\n" for each in spoiled).encode()


def spoil_json(draw: st.DrawFn, content: bytes) -> bytes:
    """Spoils a JSON file so that it cannot be taken for what it was."""
    whole = json.loads(content)
    key = draw(st.sampled_from(sorted(whole)))
    number = draw(st.sampled_from([key for key in whole if key.endswith("error")] or [key]))
    place = draw(st.integers(0, content.rindex(b"}") - 1))
    ways: dict[str, Callable[[], bytes]] = {
        "cut": lambda: content[:place],
        "byte": lambda: content[:place] + b"\xff" + content[place:],
        "type": lambda: json.dumps({**whole, key: {"a": [1]}}).encode(),
        "list": lambda: json.dumps([whole]).encode(),
        "deep": lambda: 100_000 * b"[",
        "digits": lambda: b'{"iteration": ' + 5_000 * b"9" + b"}",
        "web page": lambda: WEB_PAGE,
        "image": lambda: NOT_TEXT,
        "empty": lambda: b"",
        "null": lambda: b"null",
        "nonsense": lambda: json.dumps({**whole, number: draw(st.sampled_from([-1, 4_000, 10**30, 10**400]))}).encode(),
    }
    return ways[draw(st.sampled_from(list(ways)))]()


def spoil_scores(draw: st.DrawFn, content: bytes) -> bytes:
    """Spoils a file of scores: cut, flipped, or whole with other arrays."""
    place = draw(st.integers(0, len(content) - 1))
    if draw(st.booleans()):
        flipped = bytes(byte ^ (0x41 if number % 7 == place % 7 else 0) for number, byte in enumerate(content))
        return draw(st.sampled_from([content[:place], flipped, b"", WEB_PAGE, NOT_TEXT, POINTER, content[place:]]))
    with np.load(io.BytesIO(content)) as whole:
        scores, labels = whole["scores"], whole["labels"]
    arrays: list[dict[str, Any]] = [
        {"scores": scores},
        {"labels": labels},
        {"scores": scores[:-1], "labels": labels},
        {"scores": scores[0], "labels": labels},
        {"scores": scores.astype(str), "labels": labels},
        {"scores": scores, "labels": labels + 1_000},
        {"scores": scores, "labels": labels - 1},
        {"scores": scores, "labels": labels.astype(float)},
        {"scores": scores[:0], "labels": labels[:0]},
        {"scores": scores, "labels": labels[::-1]},
        {"scores": scores, "labels": np.array([{"a": 1}] * len(labels), dtype=object)},
        {"scores": scores[:, :7], "labels": labels % 7},
        {"scores": scores[:, :0], "labels": labels},
    ]
    stream = io.BytesIO()
    np.savez(stream, **draw(st.sampled_from(arrays)))
    return stream.getvalue()


@pytest.fixture
def written(store: Store, add_run: AddRun, add_test: AddTest, photos: Variant) -> Store:
    """Finished runs of fig1 on CIFAR-10, and Table 5's on ImageNet with their tests and scores."""
    for net, last in (("plain-20", 9.0), ("plain-56", 13.0)):
        folder = store.folder(add_run(net, [40.0, 20.0, last], 5.0))
        np.savez(folder / run_folder.PREDICTIONS, logits=np.zeros((4, 10), np.float16))
    random = np.random.default_rng(0)
    labels = np.arange(30) % 10
    for net in dict.fromkeys(TABLE5):
        for number in range(TABLE5.count(net)):
            run = add_run(net, [40.0, 30.0], 20.0, seed=number, variant=photos, experiment=load_experiment("table5"))
            add_test(run, "dense", scores=random.normal(size=(30, 10)), labels=labels)
    return store


@pytest.mark.parametrize("count", COUNTS)
def test_files_of_runs(count: int, written: Store, short: Variant, photos: Variant) -> None:
    """A damaged log or file of scores is named; a damaged status or test counts as none, and shows no other number.

    Seen to fail when a log's columns are not checked, when their values are not, and when the reader of scores catches
    ValueError only.
    """
    protocols = {name: load_experiment(name).protocol for name in ("fig1", "table5")}
    of_fig1 = written.folder(RunSpec.of(Net.on("cifar10", "plain-20"), short, protocols["fig1"], 0))
    of_table5 = written.folder(RunSpec.of(Net.on("imagenet", "resnet-50"), photos, protocols["table5"], 0))
    whole = {path: path.read_bytes() for path in (*of_fig1.iterdir(), *of_table5.iterdir())}
    given_dir = ["--results-dir", str(written.root)]
    for command in (*READERS, ["table", "table5"], ["check", "table5"], ["status"], ["list"]):
        assert 0 == answer([*command, *given_dir])[0]

    def draw(data: st.DataObject) -> Input:
        for path, content in whole.items():  # as it was before the last input
            if path.is_dir():
                path.rmdir()
            path.write_bytes(content)
        kind = data.draw(st.sampled_from(["log", "log", "log", "scores", "folder", "tolerated", "tolerated"]))
        if kind in ("log", "folder"):
            path = of_fig1 / data.draw(st.sampled_from(LOGS))
            commands = [*READERS, *([["report"]] if data.draw(st.integers(0, 9)) == 0 else [])]
        elif kind == "scores":
            path = of_table5 / run_folder.scores_file("dense")
            commands = [["table", "table5"], ["check", "table5"]]
        else:
            paths = [path for path in whole if path.name in TOLERATED]
            path = data.draw(st.sampled_from(paths))
            commands = [["status"], ["list"], *READERS[:1], ["table", "table5"]]
        command = [*data.draw(st.sampled_from(commands)), *given_dir]
        if kind == "folder":
            path.unlink()
            path.mkdir()
        elif kind == "log":
            path.write_bytes(data.draw(composed(spoil_log, whole[path])))
        elif kind == "scores":
            path.write_bytes(data.draw(composed(spoil_scores, whole[path])))
        else:
            allowed = [answer(command)[1]]
            path.unlink()
            allowed.append(answer(command)[1])
            is_json = path.suffix == ".json"  # predictions are read by nobody
            path.write_bytes(data.draw(composed(spoil_json, whole[path])) if is_json else NOT_TEXT)

            assert answer(command)[1] in allowed, (command, path.read_bytes()[:500])
        return Input(command, (str(path),), may_pass=kind == "tolerated")

    examine_many(draw, count)


@st.composite
def composed(draw: st.DrawFn, spoil: Callable[[st.DrawFn, bytes], bytes], content: bytes) -> bytes:
    """What comes of spoiling it."""
    return spoil(draw, content)


# Datasets


def photograph(number: int) -> bytes:
    """A small JPEG."""
    pixels = np.random.default_rng(number).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG")
    return stream.getvalue()


def spoil_cifar10(draw: st.DrawFn, data_dir: Path) -> Input:
    """A folder with nothing, something, or other things in place of CIFAR-10."""
    folder = data_dir / cifar10.FOLDER
    ways: dict[str, Callable[[Path], object]] = {
        "none": lambda _: None,
        "empty": Path.touch,
        "folder": Path.mkdir,
        "loop": lambda path: path.symlink_to(path),
        "link": lambda path: path.symlink_to("nothing-there"),
        "page": lambda path: path.write_bytes(WEB_PAGE),
        "pickle": lambda path: path.write_bytes(pickle.dumps({"data": [], "labels": []})),
    }
    one = st.sampled_from(list(ways))
    data_dir.mkdir()
    whole = draw(one)
    ways[whole](folder)
    if whole == "folder":
        for name in cifar10.FILES:
            ways[draw(one)](folder / name)
    commands = (["data", "verify"], ["run", "fig1"], ["run", "table6", "--schedule", "0.00001"],
                ["eval", "resnet-8", "--weights", "cifar.safetensors", "--dataset", "cifar10"])  # fmt: skip
    return Input([*draw(st.sampled_from(commands)), "--data-dir", str(data_dir)], (str(data_dir),))


def folder_of_classes(root: Path) -> Path:
    """A folder of two classes, of two photographs each."""
    for part in ("train", "val"):
        for label in ("cats", "dogs"):
            (root / part / label).mkdir(parents=True)
            for number in range(2):
                (root / part / label / f"{number}.jpg").write_bytes(photograph(number))
    return root


def spoil_folder(draw: st.DrawFn, root: Path) -> Input:
    """A folder of classes that is none."""
    folder_of_classes(root)
    part, label = draw(st.sampled_from(["train", "val"])), draw(st.sampled_from(["cats", "dogs"]))
    its = root / part / label
    name = draw(st.sampled_from(["mice", CONTROL, "\udcff", 200 * "m"]))
    target = draw(st.sampled_from([root, root / part, its]))
    ways: dict[str, Callable[[], object]] = {
        "no part": lambda: shutil.rmtree(root / part),
        "a file for a part": lambda: (shutil.rmtree(root / part), (root / part).touch()),
        "no class": lambda: shutil.rmtree(its),
        "another class": lambda: its.rename(root / part / name),
        "no images": lambda: [path.rename(path.with_suffix(".txt")) for path in its.iterdir()],
        "one class": lambda: [shutil.rmtree(root / each / label) for each in ("train", "val")],
        "loose": lambda: (
            [path.rename(root / part / f"{path.parent.name}.jpg") for path in (root / part).glob("*/0.jpg")]
            + [shutil.rmtree(root / part / each) for each in ("cats", "dogs")]
        ),
        "a file": lambda: (shutil.rmtree(root), root.touch()),
        "a broken link": lambda: (its / "2.jpg").symlink_to(draw(st.sampled_from(["nothing-there", "2.jpg", "/a/b"]))),
        "a loop": lambda: (its / "again").symlink_to(target),
        "loops": lambda: [(its / f"again{number}").symlink_to(target) for number in range(3)],
        "a loop of itself": lambda: (shutil.rmtree(root), root.symlink_to(root)),
        "a folder for an image": lambda: [(path.unlink(), path.mkdir()) for path in list(its.iterdir())],
        "annotations": lambda: annotate(draw, root),
    }
    way = draw(st.sampled_from([*ways, "annotations", *(4 * ["an image"])]))
    if way == "an image":
        return spoil_image(draw, root, part, its)
    ways[way]()
    commands = (["data", "verify"], ["run", "table2", "--dry-run"], ["run", "table2", "--schedule", "0.00001"],
                ["eval", "resnet-18", "--weights", "photos.safetensors"], ["table", "table2"])  # fmt: skip
    return Input([*draw(st.sampled_from(commands)), "--dataset-root", str(root)], (str(root),))


def annotate(draw: st.DrawFn, root: Path) -> None:
    """Lays the validation images out as Tiny ImageNet does, with annotations that are wrong."""
    text = "".join(f"{number}.jpg\t{each}\t0\t0\n" for number, each in enumerate(("cats", "dogs"))).encode()
    shutil.rmtree(root / "val")
    (root / "val" / "images").mkdir(parents=True)
    for number in range(2):
        (root / "val" / "images" / f"{number}.jpg").write_bytes(photograph(number))
    place = draw(st.integers(0, len(text) - 11))
    wrong = [b"", text[:place], text + text, text.replace(b"cats", b"mice"), text.replace(b"\t", b" "), NOT_TEXT,
             WEB_PAGE, text.replace(b"0.jpg", b"../0.jpg"), text[:place] + b"\xff" + text[place:], b"\n" + text,
             text.replace(b"1.jpg", LONG * b"n")]  # fmt: skip
    (root / "val" / "val_annotations.txt").write_bytes(draw(st.sampled_from(wrong)))


def spoil_image(draw: st.DrawFn, root: Path, part: str, its: Path) -> Input:
    """An image that is none; of the training set it is found out by a run only, of the other by tests too."""
    whole = photograph(1)
    cut = whole[: draw(st.integers(0, len(whole) // 2))]
    wrong = [b"", cut, WEB_PAGE, POINTER, NOT_TEXT, b"GIF89a", b"P6\n9 9", b"BM" + bytes(30), b"II*\0" + bytes(8),
             b"RIFF\0\0\0\0WEBPVP8 ", b"P6 60000 60000 255\n", b"P6 1 9000 255\n" + bytes(27_000),
             whole[20:]]  # fmt: skip
    name = draw(st.sampled_from(["0.jpg", "0.jpg", "\udcff.jpg", f"{CONTROL}.jpg"]))
    (its / name).write_bytes(draw(st.sampled_from(wrong)))
    tested = ["eval", "resnet-18", "--weights", "photos.safetensors", "--device", "cpu", "--workers", "0"]
    command = ["run", "table2", "--schedule", "0.00001"] if part == "train" else tested
    return Input([*command, "--dataset-root", str(root)], (root.name,), after_progress=True)


@pytest.mark.parametrize("count", COUNTS)
def test_datasets(count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dataset that is not there, not whole or not one is named, by its folder or the file in it.

    Seen to fail when the classes of the two parts are not compared, and when the message does not name the folder.
    """
    monkeypatch.setattr("resnet_cli.runs.execute.train", lambda *_, **__: None)
    monkeypatch.setattr("resnet_cli.runs.execute.score_run", lambda *_, **__: None)
    net = Net.on("cifar10", "resnet-8")
    safetensors.torch.save_file(cifar_net(net, 0).state_dict(), tmp_path / "cifar.safetensors")
    net = Net.on("imagenet", "resnet-18")
    safetensors.torch.save_file(imagenet_net(net, 0, classes=2).state_dict(), tmp_path / "photos.safetensors")
    whole = folder_of_classes(tmp_path / "whole")
    weights = ["--weights", "photos.safetensors", "--device", "cpu"]
    for command in (["data", "verify"], ["run", "table2", "--dry-run"], ["eval", "resnet-18", *weights]):
        assert 0 == answer([*command, "--dataset-root", str(whole)])[0]
    numbers = itertools.count()

    def draw(data: st.DataObject) -> Input:
        folder._scan.cache_clear()
        root = tmp_path / f"set-{next(numbers)}"
        spoil = data.draw(st.sampled_from([spoil_cifar10, spoil_folder, spoil_folder]))
        return data.draw(composed(spoil, root))

    examine_many(draw, count)


# Weights


def spoil_state(draw: st.DrawFn, state: dict[str, torch.Tensor]) -> dict[str, Any]:
    """A state dict that does not fit, or is none."""
    names = [name for name in state if "num_batches" not in name]
    name = draw(st.sampled_from(names))
    tensor = state[name]
    values: list[Any] = [
        tensor[:0],
        tensor[None],
        torch.cat([tensor, tensor]),
        torch.zeros(()),
        tensor.to(torch.int64),
        tensor.to(torch.complex64),
        tensor.bool(),
        torch.full_like(tensor, math.nan),
        torch.full_like(tensor, math.inf),
        tensor.flatten()[:1].expand(10**13),
        tensor.to_sparse(),
        tensor.to("meta"),
        tensor.to(torch.float8_e4m3fn)[None],
        tensor.tolist(),
        None,
        "0",
    ]
    match draw(st.sampled_from(["value", "value", "value", "without", "more", "rename", "number", "wrapped"])):
        case "value":
            state[name] = draw(st.sampled_from(values))
        case "without":
            del state[name]
        case "more":
            state[draw(st.sampled_from(["more.weight", "", ".", "fc", "conv1", "layer1.0.conv9.weight"]))] = (
                tensor.clone()
            )
        case "rename":
            state[draw(st.sampled_from([name + "s", CONTROL, LONG * "n", "weight"]))] = state.pop(name)
        case "number":
            return {0: tensor} | state
        case _:
            return {"model": state, draw(st.sampled_from(["net", "state_dict"])): state}
    return state


def written_state(draw: st.DrawFn, state: dict[str, Any]) -> bytes:
    """A state dict as a file."""
    as_safetensors = draw(st.booleans()) and all(
        isinstance(name, str) and isinstance(value, torch.Tensor) and value.device.type == "cpu" and not value.is_sparse
        and value.numel() < 10**9 for name, value in state.items())  # fmt: skip
    if as_safetensors:
        return safetensors.torch.save({name: value.contiguous().clone() for name, value in state.items()})
    return as_torch(state, is_zip=draw(st.booleans()))


def other_objects() -> list[Any]:
    """What torch.save takes too, and is no state dict."""
    circle: dict[str, Any] = {"weight": torch.zeros(2)}
    circle["model"] = circle
    deep: dict[str, Any] = {"weight": torch.zeros(2)}
    for _ in range(50):
        deep = {"model": deep}
    return [{}, [], None, 7, "text", torch.zeros(3), [torch.zeros(3)], {"epoch": 3}, {"model": {}}, circle, deep,
            {"model": {"net": 1}}, {1: 2}, {"model": torch.zeros(2)}, Path("x"), {"a": Fraction(1)}]  # fmt: skip


def lying_safetensors(draw: st.DrawFn, whole: bytes) -> bytes:
    """A safetensors file whose header says what is not so."""
    length = int.from_bytes(whole[:8], "little")
    header, body = json.loads(whole[8 : 8 + length]), whole[8 + length :]
    name = draw(st.sampled_from(sorted(header)))
    match draw(st.sampled_from(["length", "offsets", "shape", "dtype", "text", "huge", "deep", "none", "big"])):
        case "length":
            wrong = draw(st.sampled_from([0, 1, length - 1, length + 1, 2**31, 2**63, 2**64 - 1]))
            return wrong.to_bytes(8, "little") + whole[8:]
        case "offsets":
            header[name]["data_offsets"] = draw(st.sampled_from([[0, 0], [-1, 4], [8, 4], [0, 2**62], [1], "0"]))
        case "shape":
            header[name]["shape"] = draw(st.sampled_from([[], [0], [2**40, 2**40], [-1], [1.5], "1", [[1]], None]))
        case "dtype":
            header[name]["dtype"] = draw(st.sampled_from(["F16", "I64", "F128", "", None, 4, "BOOL", "C64"]))
        case "text":
            return len(b"{not json").to_bytes(8, "little") + b"{not json" + body
        case "huge":
            header["__metadata__"] = {"note": 3_000_000 * "x"} | {"n": 1}
        case "deep":
            text = b'{"a":' + 100_000 * b"[" + 100_000 * b"]" + b"}"
            return len(text).to_bytes(8, "little") + text
        case "none":
            header = {}
        case _:
            header[name]["shape"] = [*header[name]["shape"], 10**12]
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


@st.composite
def bad_weights(draw: st.DrawFn, own: dict[str, torch.Tensor], others: list[dict[str, torch.Tensor]]) -> bytes:
    """A file that is no weights of resnet-8."""
    whole = written_state(draw, dict(own))

    def flipped() -> bytes:
        spoiled = bytearray(whole)
        for place in draw(st.lists(st.integers(0, 600), min_size=20, max_size=40, unique=True)):
            spoiled[place] ^= 1 << draw(st.integers(0, 7))
        return bytes(spoiled)

    ways: dict[str, Callable[[], bytes]] = {
        "state": lambda: written_state(draw, spoil_state(draw, dict(own))),
        "another net": lambda: written_state(draw, dict(draw(st.sampled_from(others)))),
        "object": lambda: as_torch(draw(st.sampled_from(other_objects()))),
        "lies": lambda: lying_safetensors(draw, safetensors.torch.save(own)),
        "cut": lambda: whole[: draw(st.integers(0, len(whole) - 100))],
        "flipped": flipped,  # in what stands before the numbers
        "no weights": lambda: draw(st.sampled_from(NO_WEIGHTS)),
    }
    return ways[draw(st.sampled_from([*ways, "state", "state", "lies"]))]()


NO_WEIGHTS = [
    b"",
    b"\0",
    WEB_PAGE,
    POINTER,
    NOT_TEXT,
    bytes(9_999),
    b"PK\3\4",
    b"\x80\x02}.",
    8 * b"{",
    b"{}",
    bytes(8) + b"{}",
]


def as_torch(content: Any, *, is_zip: bool = True) -> bytes:
    """A file of torch.save's."""
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=is_zip)
    return stream.getvalue()


@pytest.mark.parametrize("count", COUNTS)
def test_weights(count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that holds no weights, or those of another net, is named in one line; nothing in it is executed.

    Seen to fail when the reader of torch's files catches RuntimeError only, or that of safetensors OSError only; in the
    full count also when tensors larger than their storage, or NaN, are let through.
    """
    monkeypatch.setattr("resnet_cli.data.synthetic.load", embedded)
    own = cifar_net(Net.on("cifar10", "resnet-8"), 0).state_dict()
    others = [cifar_net(Net.on("cifar10", name), 0).state_dict() for name in ("resnet-14", "resnet-8-B", "resnet-8-C")]
    others.append(cifar_net(Net.on("cifar10", "resnet-8"), 0, classes=7).state_dict())
    path = tmp_path / "weights.pt"
    path.write_bytes(safetensors.torch.save(own))
    command = ["eval", "resnet-8", "--weights", str(path), "--dataset", "synthetic", "--device", "cpu"]
    assert 0 == answer(command)[0]

    def draw(data: st.DataObject) -> Input:
        if path.is_dir():
            shutil.rmtree(path)
        if data.draw(st.integers(0, 19)) == 0:
            path.unlink(missing_ok=True)
            path.mkdir()
            if data.draw(st.booleans()):
                (path / run_folder.SPEC).write_bytes(data.draw(st.sampled_from([b"", b"{}", NOT_TEXT])))
        else:
            path.write_bytes(data.draw(bad_weights(own, others)))
        return Input(command, (str(path),))

    examine_many(draw, count)
