"""Experiment files that are none: each is named in one line, and never a traceback."""

from __future__ import annotations

import json
import math
import tomllib
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
from bad_input import (
    CONTROL,
    COUNTS,
    LONG,
    NOT_TEXT,
    WEB_PAGE,
    Input,
    answer,
    examine_many,
)
from hypothesis import strategies as st

from resnet_cli.experiment import experiments_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


pytestmark = pytest.mark.usefixtures("elsewhere")

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
