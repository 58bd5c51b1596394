"""The embedded spoken set: the same on every machine, exact boundaries, voices and words of its own in each part."""

from __future__ import annotations

import numpy as np
import pytest

from resnet_cli.tasks.speech.dataset import in_noise
from resnet_cli.tasks.speech.formants import CONSONANTS, PHONES, VOWELS, Chance, Voice, speak
from resnet_cli.tasks.speech.noise import noisy, pink
from resnet_cli.tasks.speech.recording import checksum, frame_count, labels_of
from resnet_cli.tasks.speech.spoken import TEST, TRAIN, recordings, vocabulary

VOICE = Voice(tract=1.0, pitch=120.0, tempo=1.0, breath=0.05)
RATE = 16_000


def level(samples: np.ndarray, low: float, high: float) -> float:
    """Energy between two frequencies, dB."""
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    frequency = np.fft.rfftfreq(len(samples), 1 / RATE)
    return float(10 * np.log10(power[(low <= frequency) & (frequency < high)].sum() + 1e-9))


def test_it_is_always_the_same() -> None:
    """Samples and labels of the first utterances, in noise, have a known SHA-256."""
    first = [*in_noise(recordings(TRAIN, 4), 0, 15, 1), *in_noise(recordings(TEST, 4), 0, 15, 2)]

    assert "bee20f4d651ad956" == checksum(first)[:16]


def test_parts_share_no_word_and_no_voice() -> None:
    """So that a net that has learned words by heart gains nothing in the test."""
    words = [{tuple(word) for word in vocabulary(part)} for part in (TRAIN, TEST)]

    assert (TRAIN.words, TEST.words) == tuple(map(len, words))
    assert words[0].isdisjoint(words[1])
    assert TRAIN.key != TEST.key
    assert set(PHONES) == {"sil", *VOWELS, *CONSONANTS}
    assert all({*VOWELS, *CONSONANTS} == {phone for word in part for phone in word} for part in words)


def test_boundaries_are_where_sounds_change() -> None:
    """In `s aa`, what is high ends and what is low begins at the boundary, to ten milliseconds."""
    spoken = speak([["s", "aa"]], VOICE, Chance(1, 1))
    names = [PHONES[label] for label in spoken.labels]
    boundary = int(spoken.starts[2])
    step = RATE // 100
    loud = [level(spoken.samples[boundary + n * step :][: 2 * step].astype(float), 4_500, 7_500) for n in (-4, 1)]

    assert ["sil", "s", "aa", "sil"] == names
    assert 0 == spoken.starts[0]
    assert loud[0] > loud[1] + 15


def test_formants_are_those_of_the_vowel() -> None:
    """The second formant of `iy` is high, that of `uw` low."""

    def middle(vowel: str) -> np.ndarray:
        spoken = speak([[vowel]], VOICE, Chance(3, 1))
        begin, end = int(spoken.starts[1]), int(spoken.starts[2])
        return spoken.samples[(3 * begin + end) // 4 : (begin + 3 * end) // 4].astype(float)

    high, low = middle("iy"), middle("uw")

    assert level(high, 1_900, 2_700) - level(high, 600, 1_200) > level(low, 1_900, 2_700) - level(low, 600, 1_200) + 20


def test_stops_have_a_closure_that_is_silence() -> None:
    """As TIMIT's closures are in its 39 classes."""
    spoken = speak([["aa", "t", "aa"]], VOICE, Chance(2, 1))

    assert ["sil", "aa", "sil", "t", "aa", "sil"] == [PHONES[label] for label in spoken.labels]


def test_a_frame_has_the_label_of_its_middle() -> None:
    """Frame t covers samples 160 t to 160 t + 399; a boundary at 360 falls on the middle of frame 1."""
    samples, starts, phones = np.zeros(800, np.int16), np.array([0, 360, 361]), np.array([7, 8, 9])

    assert [7, 8, 9] == labels_of(samples, starts, phones).tolist()
    assert 3 == frame_count(800)


@pytest.mark.parametrize("snr", [-5.0, 10.0])
@pytest.mark.parametrize("key", [1, 2, 3, 4])
def test_noise_has_the_power_that_is_asked_for(snr: float, key: int) -> None:
    """Of what was added, pink or babble; the speech is found by regression, for loud mixtures are turned down."""
    speech = recordings(TEST, 4)
    samples = speech[0].samples.astype(float)
    mixed = noisy(speech[0].samples, [each.samples for each in speech[1:]], snr, Chance(key, 0)).astype(float)
    gain = (mixed @ samples) / (samples @ samples)
    noise = mixed / gain - samples

    assert snr == pytest.approx(10 * np.log10(np.square(samples).mean() / np.square(noise).mean()), abs=1.0)


def test_pink_noise_falls_by_3_db_an_octave() -> None:
    """Each octave has the same energy."""
    octaves = [level(pink(2**17, Chance(5, 0)), low, 2 * low) for low in (500, 1_000, 2_000, 4_000)]

    assert max(octaves) - min(octaves) < 1


def test_noise_is_drawn_anew_for_each_utterance() -> None:
    """And the same each time."""
    speech = recordings(TEST, 4)
    once, again = (in_noise(speech, 0, 0, 9) for _ in range(2))
    first, second = (
        each.samples[:5_000].astype(int) - clean.samples[:5_000] for each, clean in zip(once, speech[:2], strict=False)
    )

    assert checksum(once) == checksum(again)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.5
