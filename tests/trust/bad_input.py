"""Bad input: what is drawn, and what the program must answer, one line that names it and exit code 2."""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from resnet_cli.cli import main
from resnet_cli.data import synthetic

if TYPE_CHECKING:
    from collections.abc import Callable

    from resnet_cli.data.dataset import Dataset

SHORT, FULL = 40, 400  # inputs of a kind
COUNTS = [SHORT, pytest.param(FULL, marks=pytest.mark.slow)]
LONGEST_LINE = 2_000
LONG = 100_000
NOT_TEXT = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\xff\xfe"
WEB_PAGE = b"<!DOCTYPE html>\n<html><body>404</body></html>\n"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
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
        assert lines[0].isprintable() or given_input.after_progress, (given_input, lines[0])
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


DRAW = synthetic.load


@cache
def embedded(**_: int) -> Dataset:
    """The smoke run's embedded set, drawn once."""
    return DRAW(train=64, test=64)


@st.composite
def composed(draw: st.DrawFn, spoil: Callable[[st.DrawFn, bytes], bytes], content: bytes) -> bytes:
    """What comes of spoiling it."""
    return spoil(draw, content)
