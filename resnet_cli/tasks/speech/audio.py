"""Reading 16-bit speech of 16 kHz: NIST SPHERE or RIFF, told apart by their first bytes, never by a file's name."""

from __future__ import annotations

import io
import wave
from typing import TYPE_CHECKING

import numpy as np

from resnet_cli.errors import BadInputError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

RATE = 16_000
NIST, RIFF = b"NIST_1A\n", b"RIFF"


def read(path: Path) -> NDArray[np.int16]:
    """The samples of a file, (n,).

    Raises:
        BadInputError: It is neither kind, or compressed, or of another rate, width or number of channels.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInputError(f"{path}: {error.strerror or error}") from error
    if content.startswith(NIST):
        return _sphere(path, content)
    if content.startswith(RIFF):
        return _riff(path, content)
    raise BadInputError(f"{path}: neither NIST SPHERE nor RIFF by its first bytes")


def _sphere(path: Path, content: bytes) -> NDArray[np.int16]:
    """A text header of as many bytes as its second line says, then the samples; byte format 01 is low byte first."""
    try:
        length = int(content[8:16])
        header, _, _ = content[16:length].decode("ascii").partition("end_head")
        fields = {
            name: value for name, _, value in (line.split(" ", 2) for line in header.splitlines() if line[:1] != ";")
        }
        count = int(fields["sample_count"])
        form = int(fields["channel_count"]), int(fields["sample_rate"]), int(fields["sample_n_bytes"])
    except (ValueError, KeyError) as error:
        raise BadInputError(f"{path}: not a whole header of NIST SPHERE: {error}") from error
    coding = fields.get("sample_coding", "pcm")
    if coding != "pcm":
        raise BadInputError(f"{path}: NIST SPHERE compressed as {coding}; decompress it first with sph2pipe -f rif")
    _check(path, form)
    order = ">" if fields.get("sample_byte_format") == "10" else "<"
    body = content[length : length + 2 * count]
    if len(body) < 2 * count:
        raise BadInputError(f"{path}: cut off: {len(body) // 2:,} of {count:,} samples")
    return np.frombuffer(body, dtype=f"{order}i2").astype(np.int16)


def _riff(path: Path, content: bytes) -> NDArray[np.int16]:
    try:
        with wave.open(io.BytesIO(content)) as stream:
            form = stream.getnchannels(), stream.getframerate(), stream.getsampwidth()
            body = stream.readframes(stream.getnframes())
    except (wave.Error, EOFError) as error:
        raise BadInputError(f"{path}: not a whole RIFF file of plain samples: {error}") from error
    _check(path, form)
    return np.frombuffer(body[: len(body) // 2 * 2], dtype="<i2").astype(np.int16)


def _check(path: Path, form: tuple[int, int, int]) -> None:
    if form != (1, RATE, 2):
        channels, rate, width = form
        raise BadInputError(f"{path}: {channels} channels of {rate} Hz, {8 * width} bits; needed: 1, 16000 Hz, 16 bits")
