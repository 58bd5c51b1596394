"""Tables in terminals of any width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from resnet_cli.report.terminal import Grid

HEADERS = ["net", "question", "multiply-adds", "ours\ntop-1", "scale"]
ROWS = [
    ["plain-20-from-8 s0", "Does a net that starts from a shallower one get as good?", "40,551,040", "8.75±0.21", "1"],
    ["plain-20-from-8 s10", "", "2,829,238,912", "–", "schedule-0.02-bf16"],  # noqa: RUF001  a dash
]


def lines(grid: Grid, width: int) -> list[str]:
    """What a terminal of this width shows."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as capture:
        console.print(grid)
    return capture.get().splitlines()


@pytest.mark.parametrize("width", [20, 30, 40, 41, 50, 60, 70, 80, 90, 100, 120, 200])
def test_numbers_and_names_stay_whole(width: int) -> None:
    """Neither is cut or broken at any width, nothing is left out, and no line is wider than the terminal."""
    shown = lines(Grid(HEADERS, ROWS, (0, 1, 4), (1,)), width)
    for row in ROWS:
        for place, cell in enumerate(row):
            if place != 1:
                assert any(cell in line for line in shown), cell
    assert "…" not in "".join(shown)
    assert {"starts", "shallower", "good?"} <= set(" ".join(shown).split())
    assert max(map(len, shown)) <= width


def test_side_by_side_where_there_is_room() -> None:
    """A row stays a row; prose is broken between words before anything else changes."""
    shown = lines(Grid(HEADERS, ROWS, (0, 1, 4), (1,)), 85)

    assert any("plain-20-from-8 s10" in line and "2,829,238,912" in line for line in shown)
    assert any("plain-20-from-8 s0" in line and "40,551,040" in line and "8.75±0.21" in line for line in shown)


def test_headers_are_broken_at_spaces_only() -> None:
    """A header has as many lines as it needs, and none is broken at a space that holds words together."""
    rows = [["resnet-20", "-0.58"], ["resnet-1202", "+0.10"]]
    wide, narrow, held = (
        [line.split() for line in lines(Grid(["net", header], rows), width)]
        for header, width in (("ours - paper", 25), ("ours - paper", 24), ("ours\xa0- paper", 24))
    )

    assert [["net", "ours", "-", "paper"]] == wide[:1]
    assert [["ours"], ["-"], ["net", "paper"]] == narrow[:3]
    assert [["ours", "-"], ["net", "paper"]] == held[:2]
    assert "\xa0" not in "".join(lines(Grid(["net", "ours\xa0- paper"], rows), 24))


def test_columns_that_may_go() -> None:
    """They go, the first first, where the others then fit; no more of them than needed; else none does."""
    headers, rows = ["net", "state", "images/s", "left"], [["resnet-20 s0", "running", "1,234", "45 min"]]
    widths = {width: " ".join(lines(Grid(headers, rows, spare=(2, 3)), width)) for width in (40, 33, 22, 15)}

    assert all(cell in widths[40] for cell in rows[0])
    assert ("1,234" in widths[33], "45 min" in widths[33]) == (False, True)
    assert ("1,234" in widths[22], "45 min" in widths[22]) == (False, False)
    assert all(cell in widths[15] for cell in rows[0])


def test_a_paragraph_names_what_it_says() -> None:
    """Where rows are paragraphs, each figure stands behind its header, and an empty one is left out."""
    shown = lines(Grid(HEADERS, [["a-net", "Why?", "", "8.75", "x"]], (0,), (1,), title="Nets"), 14)

    assert ["Nets", "a-net", "  Why?", "  ours top-1", "  8.75,", "  scale x"] == [line.rstrip() for line in shown]
