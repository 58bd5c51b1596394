"""Log mel features, against Kaldi's as torchaudio computes them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from resnet_cli.data.features import deltas, features, log_mel, mel_matrix


@pytest.fixture(scope="module")
def samples() -> torch.Tensor:
    """A second of a tone that rises, in noise, as 16-bit integers."""
    time = np.arange(16_000) / 16_000
    tone = 8_000 * np.sin(2 * np.pi * (200 + 1_500 * time) * time)
    noise = np.random.default_rng(0).standard_normal(len(time))
    return torch.from_numpy((tone + 300 * noise).astype(np.int16))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("mels", [24, 80])
def test_they_are_kaldis(samples: torch.Tensor, mels: int) -> None:
    """The filterbank without dither, and deltas and delta-deltas over two frames on each side."""
    kaldi = pytest.importorskip("torchaudio.compliance.kaldi")
    delta = pytest.importorskip("torchaudio.functional").compute_deltas
    expected = kaldi.fbank(samples[None].float(), num_mel_bins=mels, dither=0.0, sample_frequency=16_000.0)
    slopes = delta(expected.T[None])
    found = features(samples, mels)

    torch.testing.assert_close(log_mel(samples, mels), expected, atol=1e-3, rtol=0)
    for place, each in enumerate((expected, slopes[0].T, delta(slopes)[0].T)):
        torch.testing.assert_close(found[:, place], each - each.mean(dim=0), atol=1e-3, rtol=0)


def test_frames_lie_wholly_in_the_utterance() -> None:
    """25 ms each 10 ms: one of 400 samples, a second one from 560 on."""
    assert [1, 1, 2, 98] == [len(log_mel(torch.zeros(count), 24)) for count in (400, 559, 560, 16_000)]


def test_a_tone_is_in_its_band() -> None:
    """The band with most energy has its peak at the tone's frequency."""
    tone = 10_000 * torch.sin(2 * np.pi * 1_000 * torch.arange(16_000) / 16_000)
    band = int(log_mel(tone, 80)[50].argmax())
    peak = int(mel_matrix(80)[:, band].argmax()) * 16_000 / 512

    assert peak == pytest.approx(1_000, abs=40)


def test_deltas_of_a_ramp_are_its_slope() -> None:
    """But at the ends, which are repeated."""
    ramp = 3.0 * torch.arange(10)[:, None]

    assert torch.equal(torch.full((6, 1), 3.0), deltas(ramp)[2:8])
    assert deltas(ramp)[0] < 3
