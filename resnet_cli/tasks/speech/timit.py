"""TIMIT as users have it (LDC93S1): its folder in letters of any case, its phone labels, its parts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from resnet_cli.errors import BadInputError
from resnet_cli.tasks.speech import audio
from resnet_cli.tasks.speech.recording import FRAME, NO_CLASS, Recording, labels_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

# The 39 classes of Lee and Hon (1989): the others of TIMIT's 61 labels become one of these.
FOLDED = {
    "ao": "aa",
    **dict.fromkeys(("ax", "ax-h"), "ah"),
    "axr": "er",
    "hv": "hh",
    "ix": "ih",
    "el": "l",
    "em": "m",
    **dict.fromkeys(("en", "nx"), "n"),
    "eng": "ng",
    "zh": "sh",
    "ux": "uw",
    **dict.fromkeys(("bcl", "dcl", "gcl", "pcl", "tcl", "kcl", "h#", "pau", "epi"), "sil"),
}
CLASSES = (
    "sil",
    *("aa", "ae", "ah", "aw", "ay", "b", "ch", "d", "dh", "dx", "eh", "er", "ey", "f", "g", "hh", "ih", "iy", "jh"),
    *("k", "l", "m", "n", "ng", "ow", "oy", "p", "r", "s", "sh", "t", "th", "uh", "uw", "v", "w", "y", "z"),
)
DROPPED = "q"  # the glottal stop: it has frames, but no class
NUMBERS = {
    **{name: number for number, name in enumerate(CLASSES)},
    **{name: CLASSES.index(folded) for name, folded in FOLDED.items()},
    DROPPED: NO_CLASS,
}
PARTS = ("train", "test")
SAME_TEXTS = "sa"  # sentences that every speaker says, left out
CORE = {  # two men and a woman of each dialect region
    *("mdab0", "mwbt0", "felc0", "mtas1", "mwew0", "fpas0", "mjmp0", "mlnt0", "fpkt0", "mlll0", "mtls0", "fjlm0"),
    *("mbpm0", "mklt0", "fnlp0", "mcmj0", "mjdh0", "fmgd0", "mgrt0", "mnjm0", "fdhc0", "mjln0", "mpam0", "fmld0"),
}
WHOLE = (462, 3_696, 24, 192)  # speakers and utterances of the training set, and of the core test set


@dataclass(frozen=True)
class Utterance:
    """The files of an utterance.

    Attributes:
        name: The name of its files, without their endings.
        speaker: The name of its folder, in lower case.
        audio: The file of samples.
        phones: The file of labels.
    """

    name: str
    speaker: str
    audio: Path
    phones: Path


@dataclass(frozen=True)
class Corpus:
    """The utterances of a folder; of its test set only the core test's speakers, if it has all of them."""

    root: Path
    train: tuple[Utterance, ...]
    test: tuple[Utterance, ...]

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """As in `WHOLE`."""
        train, test = self.train, self.test
        return len({each.speaker for each in train}), len(train), len({each.speaker for each in test}), len(test)

    @property
    def is_whole(self) -> bool:
        """Whether it is TIMIT, by speakers and numbers of utterances."""
        return self.counts == WHOLE and {each.speaker for each in self.test} == CORE

    @property
    def source(self) -> str:
        """Names a folder that is not the whole of TIMIT: its number of speakers, and a hash of its utterances."""
        names = " ".join(f"{each.speaker}/{each.name}" for each in (*self.train, *self.test))
        train, _, test, _ = self.counts
        return f"timit-{train + test}-speakers-{hashlib.sha256(names.encode()).hexdigest()[:8]}"

    @property
    def in_words(self) -> str:
        """How much it holds."""
        train, said, test, tested = self.counts
        return f"{said:,} utterances of {train} speakers to train on, {tested:,} of {test} to test on"


def scan(folder: Path) -> Corpus:
    """Finds the utterances in a folder by names; opens none of them.

    Args:
        folder: It has TRAIN and TEST, or a folder TIMIT that has them; names may be in letters of any case.

    Raises:
        BadInputError: It does not have them, or an utterance lacks one of its two files.
    """
    root = next((each for each in (folder, _child(folder, "timit")) if each and _child(each, PARTS[0])), None)
    if root is None:
        raise BadInputError(f"{folder}: not TIMIT's folder: it has no TRAIN/DR1/<speaker>/<sentence>.PHN")
    train, test = (tuple(_utterances(_child(root, part))) for part in PARTS)
    for part, found in zip(PARTS, (train, test), strict=True):
        if not found:
            raise BadInputError(f"{root}: no utterance in {part.upper()}/DR1/<speaker>/; SA sentences do not count")
    core = tuple(each for each in test if each.speaker in CORE)
    has_core = {each.speaker for each in core} == CORE
    return Corpus(root, train, core if has_core else test)


def recordings(utterances: Iterable[Utterance]) -> tuple[Recording, ...]:
    """Reads utterances.

    Raises:
        BadInputError: One of them cannot be used.
    """
    result = []
    for each in utterances:
        samples = audio.read(each.audio)
        if len(samples) < FRAME:
            raise BadInputError(f"{each.audio}: {len(samples)} samples; a frame takes {FRAME}")
        starts, phones = read_phones(each.phones)
        result.append(Recording(f"{each.speaker}/{each.name}", samples, labels_of(samples, starts, phones)))
    return tuple(result)


def read_phones(path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each phone's first sample, from 0 on, and its number in `CLASSES`; what follows the last is silence.

    Raises:
        BadInputError: A line is not two samples and one of TIMIT's labels, or begins before the one above ends.
    """
    starts: list[int] = []
    phones: list[int] = []
    end = 0
    try:
        lines = path.read_text(encoding="ascii").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path}: {getattr(error, 'strerror', None) or 'not a text of phones'}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        begin, until, label = _phone(path, number, line)
        if begin < end or until <= begin or (not starts and begin > 0):
            told = f"{begin} to {until} after {end}"
            raise BadInputError(f"{path}:{number}: boundaries must begin at 0 and never run backwards: {told}")
        starts.append(begin)
        phones.append(NUMBERS[label])
        end = until
    if not starts:
        raise BadInputError(f"{path}: no phones in it")
    return np.array([*starts, end]), np.array([*phones, NUMBERS["h#"]])


def _phone(path: Path, number: int, line: str) -> tuple[int, int, str]:
    match line.split():
        case [begin, until, label] if begin.isdecimal() and until.isdecimal():
            if label in NUMBERS:
                return int(begin), int(until), label
            raise BadInputError(f"{path}:{number}: '{label}' is not one of TIMIT's 61 labels")
    raise BadInputError(f"{path}:{number}: not '<begin> <end> <label>': {line.strip()[:40]}")


def _utterances(part: Path | None) -> Iterator[Utterance]:
    """The utterances of TRAIN or TEST by dialect region, speaker and sentence, without those that all speakers say."""
    folders = [speaker for region in _folders(part) for speaker in _folders(region)]
    for folder in folders:
        files = {path.name.lower(): path for path in folder.iterdir()}
        sounds = {_sentence(name): files[name] for name in sorted(files) if name.endswith(".wav")}
        phones = {name.removesuffix(".phn"): files[name] for name in files if name.endswith(".phn")}
        for sentence in sorted(sounds.keys() | phones.keys()):
            if sentence.startswith(SAME_TEXTS):
                continue
            if sentence not in phones or sentence not in sounds:
                missing = "PHN" if sentence not in phones else "WAV"
                raise BadInputError(f"{folder / sentence.upper()}.{missing}: missing; its other file is there")
            yield Utterance(sentence, folder.name.lower(), sounds[sentence], phones[sentence])


def _sentence(name: str) -> str:
    """`sx36` for `sx36.wav`, and for a RIFF copy beside it, `sx36.wav.wav`, which is used if it is there."""
    return name.removesuffix(".wav").removesuffix(".wav")


def _folders(path: Path | None) -> list[Path]:
    there = path.iterdir() if path and path.is_dir() else ()
    return sorted((each for each in there if each.is_dir()), key=lambda each: each.name.lower())


def _child(folder: Path, name: str) -> Path | None:
    """The folder of this name in another, in letters of any case."""
    return next((each for each in _folders(folder) if each.name.lower() == name), None)


def missing(corpus: Corpus) -> str | None:
    """What keeps a corpus from being the whole of TIMIT, in words; None if nothing does."""
    if corpus.is_whole:
        return None
    names = ("training speakers", "training utterances", "core test speakers", "core test utterances")
    wrong = [
        f"{found:,} {name} of {wanted:,}"
        for found, wanted, name in zip(corpus.counts, WHOLE, names, strict=True)
        if found != wanted
    ]
    return ", ".join(wrong) or "other speakers than the core test's"
