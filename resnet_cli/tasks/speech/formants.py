"""A formant synthesiser: phones with their durations to samples at 16 kHz, and to each phone's first sample.

After the source-filter model (Fant, 1960; Klatt, 1980): pulses of the glottis, or noise, go through a cascade of
resonators, whose frequencies move from phone to phone; frication is noise through one resonator of its own. Formants of
vowels are the averages of Peterson and Barney (1952). All randomness is raw Philox words, and samples are rounded to 16
bits, so that every machine makes the same speech.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.signal import lfilter, sosfilt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RATE = 16_000  # samples a second
HOP = 80  # samples for which a resonator keeps its frequency, 5 ms
GLIDE = 0.025  # seconds before and after a boundary in which formants move
FADE = 0.006  # seconds in which a sound comes and goes
BANDWIDTHS = (70.0, 100.0, 150.0, 250.0)  # Hz, of the cascade
FOURTH = 3500.0  # Hz
TILT = (0.95, 0.8)  # poles of the glottis's smoothing
LOUDEST = 12_000  # of 32,767: the peak of an utterance


@dataclass(frozen=True)
class Sound:
    """How a phone is made.

    Attributes:
        formants: Frequencies of the cascade, Hz; those of a noise phone shift its neighbours' formants.
        voice: Amplitude of the glottis, 0 to 1.
        breath: Amplitude of noise through the cascade.
        hiss: Amplitude of noise through the resonator of frication.
        place: Frequency of that resonator, Hz.
        spread: Bandwidth of that resonator, Hz.
        seconds: Shortest and longest duration.
    """

    formants: tuple[float, float, float]
    voice: float = 0.0
    breath: float = 0.0
    hiss: float = 0.0
    place: float = 4000.0
    spread: float = 1500.0
    seconds: tuple[float, float] = (0.06, 0.11)


VOWELS = {
    "iy": Sound((270, 2290, 3010), 1.0, seconds=(0.07, 0.15)),
    "ih": Sound((390, 1990, 2550), 1.0, seconds=(0.06, 0.11)),
    "eh": Sound((530, 1840, 2480), 1.0, seconds=(0.07, 0.13)),
    "ae": Sound((660, 1720, 2410), 1.0, seconds=(0.09, 0.17)),
    "aa": Sound((730, 1090, 2440), 1.0, seconds=(0.09, 0.16)),
    "ao": Sound((570, 840, 2410), 1.0, seconds=(0.09, 0.16)),
    "uh": Sound((440, 1020, 2240), 1.0, seconds=(0.06, 0.11)),
    "uw": Sound((300, 870, 2240), 1.0, seconds=(0.07, 0.15)),
    "ah": Sound((640, 1190, 2390), 1.0, seconds=(0.06, 0.12)),
    "er": Sound((490, 1350, 1690), 1.0, seconds=(0.08, 0.14)),
}
CONSONANTS = {
    "m": Sound((250, 1000, 2200), 0.45),
    "n": Sound((250, 1500, 2400), 0.45),
    "ng": Sound((250, 2000, 2700), 0.45),
    "w": Sound((300, 610, 2150), 0.6),
    "y": Sound((260, 2070, 3020), 0.6),
    "l": Sound((310, 1050, 2880), 0.6),
    "r": Sound((310, 1060, 1380), 0.6),
    "hh": Sound((500, 1500, 2500), breath=0.5, seconds=(0.04, 0.09)),
    "s": Sound((320, 1390, 2530), hiss=0.5, place=6000, spread=1500, seconds=(0.07, 0.14)),
    "sh": Sound((300, 1840, 2750), hiss=0.5, place=2900, spread=900, seconds=(0.07, 0.14)),
    "f": Sound((340, 1100, 2080), hiss=0.08, place=3500, spread=6000),
    "th": Sound((320, 1290, 2540), hiss=0.08, place=5200, spread=3000),
    "z": Sound((240, 1390, 2530), 0.35, hiss=0.3, place=6000, spread=1500, seconds=(0.05, 0.10)),
    "v": Sound((220, 1100, 2080), 0.4, hiss=0.05, place=3500, spread=6000, seconds=(0.04, 0.08)),
    "p": Sound((400, 1100, 2150), breath=0.3, hiss=0.15, place=900, spread=1200, seconds=(0.03, 0.06)),
    "t": Sound((400, 1600, 2600), breath=0.2, hiss=0.6, place=4300, spread=2000, seconds=(0.03, 0.06)),
    "k": Sound((300, 1990, 2850), breath=0.2, hiss=0.5, place=1900, spread=600, seconds=(0.03, 0.06)),
    "b": Sound((200, 1100, 2150), 0.4, hiss=0.2, place=900, spread=1200, seconds=(0.015, 0.03)),
    "d": Sound((200, 1600, 2600), 0.4, hiss=0.5, place=4000, spread=2000, seconds=(0.015, 0.03)),
    "g": Sound((200, 1990, 2850), 0.4, hiss=0.4, place=1800, spread=600, seconds=(0.015, 0.03)),
}
STOPS = ("p", "t", "k", "b", "d", "g")
VOICED_STOPS = ("b", "d", "g")
SILENCE = "sil"
CLOSURE = Sound((200, 1100, 2150), seconds=(0.04, 0.08))  # labelled as silence, as TIMIT's 39 classes do
VOICED_CLOSURE = Sound((180, 1100, 2150), 0.08, seconds=(0.03, 0.07))
PAUSE = Sound((500, 1500, 2500), seconds=(0.1, 0.3))
PHONES = (SILENCE, *VOWELS, *CONSONANTS)


@dataclass(frozen=True)
class Voice:
    """A speaker.

    Attributes:
        tract: Factor of all formants: they are higher for a shorter vocal tract.
        pitch: Hz, at the start of an utterance.
        tempo: Factor of all durations.
        breath: Noise in vowels, relative to their voice.
    """

    tract: float
    pitch: float
    tempo: float
    breath: float


@dataclass(frozen=True)
class Spoken:
    """An utterance.

    Attributes:
        samples: (n,) int16.
        starts: Each phone's first sample; it ends where the next begins, the last with the samples.
        labels: Each phone's number in `PHONES`.
    """

    samples: NDArray[np.int16]
    starts: NDArray[np.int64]
    labels: NDArray[np.int64]


class Chance:
    """Numbers drawn from raw Philox words, which no version of NumPy will change."""

    def __init__(self, *key: int) -> None:
        self.words = np.random.Philox(key=np.array(key, dtype=np.uint64))

    def uniform(self, count: int) -> Floats:
        """Between 0 and 1, (count,)."""
        return (self.words.random_raw(count) >> np.uint64(11)).astype(np.float64) / 2.0**53

    def between(self, low: float, high: float) -> float:
        """One number between these."""
        return low + (high - low) * float(self.uniform(1)[0])

    def below(self, count: int) -> int:
        """A whole number."""
        return int(self.uniform(1)[0] * count)


def speak(words: Sequence[Sequence[str]], voice: Voice, chance: Chance) -> Spoken:
    """Says words, each a list of phones, between two pauses; now and then there is a pause between them too."""
    names, sounds = _sounds(words, chance)
    seconds = np.array([chance.between(*sound.seconds) for sound in sounds])
    seconds *= np.where([sound is PAUSE for sound in sounds], 1.0, voice.tempo)
    lengths = np.maximum(1, np.round(seconds * RATE)).astype(np.int64)
    ends = np.cumsum(lengths)
    samples = _synthesized(sounds, ends, voice, chance)
    labels = np.array([PHONES.index(name) for name in names])
    return Spoken(samples, ends - lengths, labels)


def _sounds(words: Sequence[Sequence[str]], chance: Chance) -> tuple[list[str], list[Sound]]:
    """The phones' names, and their sounds: stops have a closure first."""
    names, sounds = [SILENCE], [PAUSE]
    for number, word in enumerate(words):
        if number and chance.uniform(1)[0] < 0.15:  # noqa: PLR2004  how often speakers pause
            names.append(SILENCE)
            sounds.append(PAUSE)
        for phone in word:
            if phone in STOPS:
                names.append(SILENCE)
                sounds.append(VOICED_CLOSURE if phone in VOICED_STOPS else CLOSURE)
            names.append(phone)
            sounds.append(VOWELS.get(phone) or CONSONANTS[phone])
    return [*names, SILENCE], [*sounds, PAUSE]


def _synthesized(sounds: Sequence[Sound], ends: NDArray[np.int64], voice: Voice, chance: Chance) -> NDArray[np.int16]:
    count = int(ends[-1])
    starts = np.concatenate([[0], ends[:-1]])

    def track(values: Sequence[float], seconds: float, times: Floats) -> Floats:
        """A value a phone as it moves with time: level in its middle, straight across boundaries."""
        edge = np.minimum(seconds * RATE, (ends - starts) / 2.5)
        points = np.stack([starts + edge, ends - edge], axis=1).ravel()
        return np.interp(times, points, np.repeat(np.asarray(values, dtype=np.float64), 2))

    samples = np.arange(count, dtype=np.float64)
    hops: Floats = np.arange(0, count, HOP, dtype=np.float64) + HOP / 2
    # No two sounds of a phone are quite alike.
    slips = 1 + 0.08 * (chance.uniform(3 * len(sounds)).reshape(-1, 3) - 0.5)
    formants = [
        np.minimum(track([sound.formants[n] for sound in sounds] * slips[:, n], GLIDE, hops) * voice.tract, 7000)
        for n in range(3)
    ]
    formants.append(np.full(len(hops), FOURTH * voice.tract))
    loudness = 0.6 + 0.4 * chance.uniform(len(sounds))
    noise = chance.uniform(count) + chance.uniform(count) - 1

    voiced = track([sound.voice for sound in sounds] * loudness, FADE, samples)
    breath = track([sound.breath for sound in sounds] * loudness, FADE, samples) + voice.breath * voiced
    hiss = track([sound.hiss for sound in sounds] * loudness, FADE, samples)
    source = voiced * _pulses(count, voice, chance) + 0.12 * breath * noise
    spoken = _resonated(source, formants, [np.full(len(hops), each) for each in BANDWIDTHS])
    place = np.minimum(track([sound.place for sound in sounds], FADE, hops) * voice.tract**0.5, 7400)
    spread = track([sound.spread for sound in sounds], FADE, hops)
    rustle = _resonated(hiss * noise, [place], [spread])
    spoken = np.diff(spoken, prepend=0.0) + 0.4 * rustle  # the mouth radiates the derivative
    spoken += 1e-4 * (chance.uniform(count) - 0.5)  # no recording is quite silent
    rounded: NDArray[np.int16] = np.round(spoken * (LOUDEST / np.abs(spoken).max())).astype(np.int16)
    return rounded


def _pulses(count: int, voice: Voice, chance: Chance) -> Floats:
    """One pulse per period, smoothed as by the glottis: up to 12 dB per octave. The pitch falls, and wavers."""
    knots = np.linspace(0, count, 8)
    pitch = voice.pitch * np.linspace(1.1, 0.85, 8) * (1 + 0.12 * (chance.uniform(8) - 0.5))
    phase = np.cumsum(np.interp(np.arange(count), knots, pitch) / RATE)
    pulses = np.diff(np.floor(phase), prepend=0.0)
    smooth: Floats = lfilter([1 - TILT[0]], [1, -TILT[0]], lfilter([1 - TILT[1]], [1, -TILT[1]], pulses))
    return 40 * smooth


def _resonated(source: Floats, frequencies: Sequence[Floats], bandwidths: Sequence[Floats]) -> Floats:
    """A source through a cascade of resonators whose frequencies and bandwidths (Hz) change each hop (Klatt, 1980)."""
    radii = np.exp(-np.pi * np.stack(bandwidths, axis=1) / RATE)
    back, second = 2 * radii * np.cos(2 * np.pi * np.stack(frequencies, axis=1) / RATE), -radii * radii
    none, one = np.zeros_like(back), np.ones_like(back)
    sections = np.stack([1 - back - second, none, none, one, -back, -second], axis=2)  # 1 at 0 Hz
    result = np.empty_like(source)
    state = np.zeros((len(frequencies), 2))
    for hop, cascade in enumerate(sections):
        part = slice(hop * HOP, (hop + 1) * HOP)
        result[part], state = sosfilt(cascade, source[part], zi=state)
    return result
