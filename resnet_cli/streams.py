"""Standard output and standard error that survive their readers, and write only what their character set has."""

from __future__ import annotations

import codecs
import errno
import io
import sys
import unicodedata
from typing import Any, NoReturn, TextIO

HANDLER = "resnet-in-ascii"
IN_ASCII = {
    "±": "+-",
    "–": "-",  # noqa: RUF001  a dash, no minus
    "—": "-",
    "−": "-",  # noqa: RUF001  a minus sign
    "×": "x",  # noqa: RUF001  a multiplication sign
    "·": "*",
    "→": "->",
    "…": "...",
    "≤": "<=",
    "≥": ">=",
    "≈": "~",
    "‘": "'",  # noqa: RUF001  quotation marks
    "’": "'",  # noqa: RUF001
    "“": '"',
    "”": '"',
}
FIRST_RAW, LAST_RAW = "\udc80", "\udcff"  # how Python represents bytes of a file's name that are not text


def in_ascii(character: str) -> str:
    """A replacement for a character in ASCII: a similar one, else its letter without the accent, else `?`."""
    letters = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return IN_ASCII.get(character) or letters or "?"


def printable(text: str) -> str:
    """A text from a file or a folder's name, with control characters escaped for the terminal."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def fitting(text: str, encoding: str) -> str:
    """The text as it will look in this character set; columns are measured with it."""
    return text.encode(encoding, HANDLER).decode(encoding, "surrogateescape")


def _replace(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character, end = error.object[error.start], error.start + 1
    if FIRST_RAW <= character <= LAST_RAW:
        return bytes([ord(character) - 0xDC00]), end
    return in_ascii(character), end


codecs.register_error(HANDLER, _replace)


class _Descriptor(io.FileIO):
    """Standard output or standard error. Once its reader is gone, output is dropped, so that no run is lost.

    A full disk is an error of standard output, reported once; for standard error nothing is reported.
    """

    def __init__(self, descriptor: int, *, is_answer: bool) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.was_terminal = self.isatty()
        self.must_tell = is_answer
        self.reader_gone = False

    def write(self, data: Any) -> int | None:  # type: ignore[override]
        """Writes what can be written; reports all of it as written."""
        try:
            return super().write(data)
        except OSError as error:
            if error.errno == errno.EPIPE or (error.errno == errno.EIO and self.was_terminal):
                self.reader_gone = True
            elif self.must_tell:
                self.must_tell = False
                raise OSError(error.errno, error.strerror, "standard output") from error
        return memoryview(data).nbytes


class _Stream(io.TextIOWrapper):
    """A text stream that replaces characters which its descriptor's character set lacks."""

    def __init__(self, stream: TextIO, *, is_answer: bool) -> None:
        self.descriptor = _Descriptor(stream.fileno(), is_answer=is_answer)
        super().__init__(
            io.BufferedWriter(self.descriptor),
            stream.encoding,
            HANDLER,
            line_buffering=getattr(stream, "line_buffering", False),
            write_through=getattr(stream, "write_through", False),
        )

    @property
    def buffer(self) -> NoReturn:
        """Not available: Typer would use it, and write UTF-8 where ASCII is asked for."""
        raise AttributeError


def install() -> None:
    """Replaces the process's own streams with such streams; others, such as those of tests, stay."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and stream is getattr(sys, f"__{name}__"):
            stream.flush()
            setattr(sys, name, _Stream(stream, is_answer=name == "stdout"))


def reader_gone() -> bool:
    """Whether nobody reads our standard output any more."""
    return isinstance(sys.stdout, _Stream) and sys.stdout.descriptor.reader_gone
