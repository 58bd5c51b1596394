"""A table for a terminal of any width; numbers and names are never broken."""

from __future__ import annotations

import io
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from resnet_cli.streams import fitting

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from rich.console import ConsoleOptions, RenderableType

FILE_WIDTH = 100  # characters, of a table that is written to a file
UNBROKEN = "\xa0"  # a space at which lines are not broken


@dataclass(frozen=True)
class Grid:
    """Rows under headers. Where they do not fit side by side, each row is a paragraph of its own.

    Attributes:
        headers: One per column; in a narrow terminal their lines are broken at spaces, but not at `UNBROKEN`.
        rows: Texts, one per column; a cell may have several lines.
        left: Left-aligned columns; the others are numbers, right-aligned.
        prose: Columns whose cells may be broken between words.
        spare: Columns that may be dropped, in this order, until the others fit.
        title: Above the table.
    """

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: Collection[int] = (0,)
    prose: Collection[int] = ()
    spare: Sequence[int] = ()
    title: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        headers = [fitting(header, options.encoding) for header in self.headers]
        rows = [[fitting(cell, options.encoding) for cell in row] for row in self.rows]
        narrowest = [self._narrowest(place, header, rows) for place, header in enumerate(headers)]
        broken = ["\n".join(_lines(header, width)) for header, width in zip(headers, narrowest, strict=True)]
        ways = [(headers, 2, 0), (broken, 2, 0), *((broken, 1, dropped) for dropped in range(len(self.spare) + 1))]
        for heads, gap, dropped in ways:
            widths = {
                place: _width([head, *(row[place] for row in rows)])
                for place, head in enumerate(heads)
                if place not in self.spare[:dropped]
            }
            if self._shrink(widths, narrowest, options.max_width - gap * (len(widths) - 1)):
                yield self._side_by_side(heads, rows, widths, gap)
                return
        if self.title:
            yield Text(self.title, style="italic")
        for row in rows:
            yield from self._paragraph(headers, row, options.max_width)

    def _narrowest(self, place: int, header: str, rows: list[list[str]]) -> int:
        """The least width of a column: its header, and its cells if they are prose, are broken between all words."""
        cells = [row[place] for row in rows]
        if place in self.prose:
            cells = [word for cell in cells for word in cell.split()]
        return _width([*header.split(), *cells])

    def _shrink(self, widths: dict[int, int], narrowest: list[int], room: int) -> bool:
        """Narrows columns of prose, the widest first, until all columns fit; returns whether they do."""
        while sum(widths.values()) > room:
            able = [place for place in self.prose if widths[place] > narrowest[place]]
            if not able:
                return False
            widths[max(able, key=lambda place: widths[place])] -= 1
        return True

    def _side_by_side(self, headers: list[str], rows: list[list[str]], widths: dict[int, int], gap: int) -> Table:
        table = Table(
            box=box.SIMPLE_HEAD,
            show_edge=False,
            pad_edge=False,
            padding=(0, gap - 1, 0, 0),
            title=self.title or None,
            title_justify="left",
        )
        for place, width in widths.items():
            side = "left" if place in self.left else "right"
            table.add_column(Text(headers[place].replace(UNBROKEN, " ")), justify=side, width=width)  # type: ignore[arg-type]
        for row in rows:
            table.add_row(*(Text(row[place]) for place in widths))
        return table

    def _paragraph(self, headers: list[str], row: list[str], width: int) -> Iterator[Text]:
        name, *cells = (" ".join(cell.split()) for cell in row)
        if name:
            yield from _unbroken(_lines(name, width), style="bold")
        room = width - 2
        named = []
        for place, (header, cell) in enumerate(zip(headers[1:], cells, strict=True), start=1):
            if place in self.prose:
                yield from _unbroken(textwrap.indent(line, "  ") for line in _lines(cell, room))
            elif cell:
                item = f"{' '.join(header.split())} {cell}"
                named.append(item if cell_len(item) >= room else item.replace(" ", UNBROKEN))
        yield from _unbroken(f"  {line.replace(UNBROKEN, ' ')}" for line in _lines(", ".join(named), room))


def as_text(renderable: RenderableType) -> str:
    """The text as a terminal of `FILE_WIDTH` without colours shows it."""
    console = Console(file=io.StringIO(), width=FILE_WIDTH, color_system=None)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def _width(cells: Sequence[str]) -> int:
    return max((cell_len(line) for cell in cells for line in cell.split("\n")), default=0)


def _lines(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(1, width), break_long_words=False, break_on_hyphens=False)


def _unbroken(lines: Iterator[str] | list[str], style: str = "") -> Iterator[Text]:
    """Lines that are not broken again: the terminal itself wraps a word that is too wide."""
    return (Text(line, style=style, no_wrap=True, overflow="ignore") for line in lines)
