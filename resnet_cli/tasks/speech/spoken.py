"""The embedded spoken set: invented words said by a formant synthesiser, always the same; nothing is downloaded."""

from __future__ import annotations

from dataclasses import dataclass

from resnet_cli.tasks.speech.formants import CONSONANTS, PHONES, VOWELS, Chance, Voice, speak
from resnet_cli.tasks.speech.recording import Recording, labels_of

CLASSES = PHONES
WORDS_SAID = (2, 5)  # fewest and most of an utterance


@dataclass(frozen=True)
class Part:
    """Training or test set: they have no voice and no word in common.

    Attributes:
        key: The key of all random draws.
        voices: Number of speakers.
        words: Size of the vocabulary.
    """

    key: int
    voices: int
    words: int


TRAIN, TEST = Part(2016, 48, 400), Part(2017, 16, 150)


def recordings(part: Part, count: int) -> list[Recording]:
    """The part's first `count` utterances, clean."""
    voices = [_voice(Chance(part.key, 10**6 + number)) for number in range(part.voices)]
    words = vocabulary(part)
    result = []
    for number in range(count):
        chance = Chance(part.key, number)
        fewest, most = WORDS_SAID
        said = [words[chance.below(len(words))] for _ in range(fewest + chance.below(most - fewest + 1))]
        spoken = speak(said, voices[number % len(voices)], chance)
        labels = labels_of(spoken.samples, spoken.starts, spoken.labels)
        result.append(Recording(f"utterance {number + 1}", spoken.samples, labels))
    return result


def vocabulary(part: Part) -> list[list[str]]:
    """The part's words: two syllables, each a consonant and a vowel; some second ones end with another consonant."""
    words: dict[tuple[str, ...], None] = {}
    chance, known = Chance(TRAIN.key, 10**7), TRAIN.words + TEST.words
    consonants, vowels = list(CONSONANTS), list(VOWELS)
    opening = [each for each in consonants if each != "ng"]  # no English word begins with it
    while len(words) < known:
        word = [opening[chance.below(len(opening))], vowels[chance.below(len(vowels))]]
        word += [consonants[chance.below(len(consonants))], vowels[chance.below(len(vowels))]]
        if chance.below(3) == 0:
            word.append(consonants[chance.below(len(consonants))])
        words[tuple(word)] = None
    every = [list(word) for word in words]
    return every[: TRAIN.words] if part is TRAIN else every[TRAIN.words :]


def _voice(chance: Chance) -> Voice:
    """A speaker: the shorter the vocal tract, the higher the pitch, but not always."""
    tract = chance.between(0.92, 1.22)
    pitch = 110 * (tract / 0.95) ** 2.2 * chance.between(0.8, 1.25)
    return Voice(tract, pitch, tempo=chance.between(0.75, 1.25), breath=chance.between(0.02, 0.25))
