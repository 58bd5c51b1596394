"""Noise for clean speech: pink, or the babble of four other voices, at a signal-to-noise ratio."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from resnet_cli.tasks.speech.formants import Chance, Floats

TRAINED_SNR = (0.0, 15.0)  # dB, between which the noise of training and of tests on the way is drawn
VOICES = 4  # of babble


def noisy(
    samples: NDArray[np.int16], others: Sequence[NDArray[np.int16]], snr: float, chance: Chance
) -> NDArray[np.int16]:
    """Speech in noise: pink or babble, chosen at random.

    Args:
        samples: Speech, (n,).
        others: What babble is made of: other utterances.
        snr: Signal-to-noise ratio of the powers over the whole utterance, dB.
        chance: Draws kind, voices and noise.
    """
    kind = chance.below(2)
    noise = pink(len(samples), chance) if kind else babble(len(samples), others, chance)
    speech = samples.astype(np.float64)
    gain = np.sqrt(np.square(speech).mean() / np.square(noise).mean() / 10 ** (snr / 10))
    mixed = speech + gain * noise
    loudest = max(1.0, float(np.abs(mixed).max()) / np.iinfo(np.int16).max)
    rounded: NDArray[np.int16] = np.round(mixed / loudest).astype(np.int16)
    return rounded


def pink(count: int, chance: Chance) -> Floats:
    """Noise whose power falls by 3 dB an octave, (count,)."""
    spectrum = np.fft.rfft(chance.uniform(count) - 0.5)
    spectrum[0] = 0
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    noise: Floats = np.fft.irfft(spectrum, count)
    return noise


def babble(count: int, others: Sequence[NDArray[np.int16]], chance: Chance) -> Floats:
    """Several voices at once, each beginning anywhere and repeated to the end, (count,)."""
    total = np.zeros(count)
    for _ in range(VOICES):
        voice = others[chance.below(len(others))].astype(np.float64)
        start = chance.below(len(voice))
        total += np.resize(np.roll(voice, -start), count) / (np.sqrt(np.square(voice).mean()) + 1)
    return total
