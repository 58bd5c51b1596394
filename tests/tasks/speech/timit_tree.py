"""A folder that is built as TIMIT's: six speakers, with sounds of the synthesiser."""

from __future__ import annotations

import io
import wave
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from resnet_cli.tasks.speech.formants import PHONES
from resnet_cli.tasks.speech.spoken import TRAIN, recordings

if TYPE_CHECKING:
    from pathlib import Path

    from resnet_cli.tasks.speech.recording import Recording

SPEAKERS = {"TRAIN/DR1": ("FAAA0", "MBBB0"), "TRAIN/DR2": ("FCCC0", "MDDD0"), "TEST/DR1": ("FEEE0", "MFFF0")}
SENTENCES = ("SA1", "SX1", "SI2")
HEADER = (
    "NIST_1A\n   1024\ndatabase_id -s5 TIMIT\nchannel_count -i 1\nsample_count -i {count}\nsample_rate -i 16000\n"
    "sample_n_bytes -i 2\nsample_byte_format -s2 01\nsample_sig_bits -i 16\n{others}end_head\n"
)


def sphere(samples: np.ndarray, others: str = "") -> bytes:
    """A file of NIST SPHERE."""
    header = HEADER.format(count=len(samples), others=others).encode()
    return header.ljust(1024) + samples.astype("<i2").tobytes()


def riff(samples: np.ndarray, rate: int = 16_000) -> bytes:
    """A file of RIFF."""
    content = io.BytesIO()
    with wave.open(content, "wb") as stream:
        stream.setnchannels(1)
        stream.setsampwidth(2)
        stream.setframerate(rate)
        stream.writeframes(samples.astype("<i2").tobytes())
    return content.getvalue()


def make_tree(root: Path) -> Path:
    """Writes the folder TIMIT; the labels are those of the frames, which end a little before the samples do."""
    spoken = iter(_utterances())
    for region, speakers in SPEAKERS.items():
        for speaker in speakers:
            folder = root / "TIMIT" / region / speaker
            folder.mkdir(parents=True)
            for sentence in SENTENCES:
                each = next(spoken)
                (folder / f"{sentence}.WAV").write_bytes(sphere(each.samples))
                (folder / f"{sentence}.PHN").write_text(_phones(each.labels), encoding="ascii")
    return root / "TIMIT"


@cache
def _utterances() -> list[Recording]:
    return recordings(TRAIN, sum(map(len, SPEAKERS.values())) * len(SENTENCES))


def _phones(labels: np.ndarray) -> str:
    """Lines of a .PHN file: silence is h#, closures are closures, and a glottal stop stands in each utterance."""
    changes = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist(), len(labels)]
    lines = []
    for number, (first, last) in enumerate(pairwise(changes)):
        name = PHONES[labels[first]]
        label = "q" if number == 2 else "h#" if name == "sil" and number == 0 else "tcl" if name == "sil" else name
        begin, end = (0 if first == 0 else 160 * first + 120), 160 * last + 120
        lines.append(f"{begin} {end} {label}")
    return "\n".join(lines) + "\n"
