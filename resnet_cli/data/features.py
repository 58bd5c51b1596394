"""Features of speech, as Kaldi computes them without dither: log mel energies, 25 ms every 10 ms, and their deltas."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

RATE = 16_000
FRAME, HOP, POINTS = 400, 160, 512
LOWEST = 20.0  # Hz
PRE_EMPHASIS = 0.97
DELTA_WINDOW = 2  # frames on each side


def log_mel(samples: Tensor, mels: int) -> Tensor:
    """Log mel energies of an utterance.

    From each frame its mean is subtracted, and it is pre-emphasised and weighted by Povey's window; its power spectrum
    is summed under triangles of equal width on the mel scale, from 20 Hz to 8 kHz.

    Args:
        samples: (n,) of 16 kHz on the scale of 16-bit integers; n is a frame (400) at least.
        mels: How many.

    Returns:
        (T, mels) float32, T = 1 + (n - 400) // 160.
    """
    frames = samples.float().unfold(0, FRAME, HOP)
    frames = frames - frames.mean(dim=1, keepdim=True)
    before = functional.pad(frames[None], (1, 0), mode="replicate")[0, :, :-1]
    window = torch.hann_window(FRAME, periodic=False, dtype=torch.float64).pow(0.85).float()
    spectrum = torch.fft.rfft((frames - PRE_EMPHASIS * before) * window, POINTS)
    power = spectrum.abs().square()
    energies = power @ mel_matrix(mels)
    logarithms: Tensor = energies.clamp(min=torch.finfo(torch.float32).eps).log()
    return logarithms


@lru_cache
def mel_matrix(mels: int) -> Tensor:
    """Weights of the spectrum's points in each mel band, (257, mels) float32: triangles on the mel scale."""

    def mel(frequency: Tensor) -> Tensor:
        return 1127 * torch.log1p(frequency / 700)

    low, high = (mel(torch.tensor(each, dtype=torch.float64)) for each in (LOWEST, RATE / 2))
    points = mel(torch.arange(POINTS // 2 + 1, dtype=torch.float64) * RATE / POINTS)
    edges = low + (high - low) / (mels + 1) * torch.arange(mels + 2, dtype=torch.float64)
    rising = (points[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - points[:, None]) / (edges[2:] - edges[1:-1])
    weights = torch.minimum(rising, falling).clamp(min=0)
    weights[-1] = 0  # Kaldi leaves the last point out
    return weights.float()


def deltas(statics: Tensor) -> Tensor:
    """The slope of each feature over two frames on each side, the ends repeated; (T, mels) to (T, mels)."""
    frames = len(statics)
    steps = range(-DELTA_WINDOW, DELTA_WINDOW + 1)
    place = torch.arange(frames)
    shifted = sum(step * statics[(place + step).clamp(0, frames - 1)] for step in steps)
    return torch.as_tensor(shifted) / sum(step * step for step in steps)


def features(samples: Tensor, mels: int) -> Tensor:
    """Statics, deltas and delta-deltas, (T, 3, mels) float32, each minus its mean over the utterance; see `log_mel`."""
    statics = log_mel(samples, mels)
    first = deltas(statics)
    together = torch.stack([statics, first, deltas(first)], dim=1)
    return together - together.mean(dim=0)
