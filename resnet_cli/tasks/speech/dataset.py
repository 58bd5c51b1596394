"""A spoken set in memory: features of training and test utterances, and the batches of crops that a training sees."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from resnet_cli.data import features as speech_features
from resnet_cli.data.stream import Epochs
from resnet_cli.tasks.speech import spoken
from resnet_cli.tasks.speech.formants import Chance
from resnet_cli.tasks.speech.noise import TRAINED_SNR, noisy
from resnet_cli.tasks.speech.recording import CROP, NO_CLASS, Recording, checksum

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


TOGETHER = 16  # utterances tested at a time
NOISE_KEYS = {"train": 2018, "test": 2019, "by ratio": 2020}  # no part of the spoken set uses these


@dataclass(frozen=True)
class Utterances:
    """Utterances end to end on a device.

    Attributes:
        frames: Features, (frames of all, 3, mels) float32.
        labels: Phones, (frames of all,) int64.
        lengths: Frames of each, (N,) int64.
    """

    frames: Tensor
    labels: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, recordings: Sequence[Recording], mels: int) -> Utterances:
        """Computes the features."""
        lengths = torch.tensor([len(each.labels) for each in recordings])
        frames = torch.empty(int(lengths.sum()), 3, mels)
        for part, each in zip(torch.split(frames, lengths.tolist()), recordings, strict=True):
            part.copy_(speech_features.features(torch.from_numpy(each.samples), mels))
        return cls(frames, torch.from_numpy(np.concatenate([each.labels for each in recordings])), lengths)

    def to(self, device: torch.device) -> Utterances:
        """The same on the device."""
        return Utterances(self.frames.to(device), self.labels.to(device), self.lengths.to(device))

    def cut(self, numbers: Tensor, firsts: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """So many frames of some utterances, in the form that nets take.

        Args:
            numbers: Of the utterances, (B,).
            firsts: The first frame to take of each, (B,).
            count: How many, T.

        Returns:
            Features (B, 3, mels, T), labels (B, T) and valid frames (B,); after an utterance's end there are zeros and
            no class.
        """
        starts = (self.lengths.cumsum(0) - self.lengths)[numbers] + firsts
        lengths = (self.lengths[numbers] - firsts).clamp(max=count)
        place = torch.arange(count, device=self.labels.device)
        rows = (starts[:, None] + place).clamp(max=len(self.labels) - 1)
        outside = place >= lengths[:, None]
        found = self.frames[rows].masked_fill(outside[:, :, None, None], 0)
        return found.permute(0, 2, 3, 1), self.labels[rows].masked_fill(outside, NO_CLASS), lengths


@dataclass(frozen=True)
class SpeechData:
    """Training and test utterances.

    Attributes:
        name: What it is.
        checksum: Identifies its content.
        classes: Phones, the first of which is silence.
        mels: Mel bands of its features.
        train: Training utterances.
        test: Test utterances, as they are tested during training.
        spoken: The test utterances before noise is added, for tests in other noise, and for pictures.
        heard: The same utterances with the noise in which they are tested.
    """

    name: str
    checksum: str
    classes: tuple[str, ...]
    mels: int
    train: Utterances
    test: Utterances
    spoken: tuple[Recording, ...]
    heard: tuple[Recording, ...]

    @classmethod
    def of(
        cls,
        name: str,
        classes: tuple[str, ...],
        mels: int,
        train: Sequence[Recording],
        heard: Sequence[Recording],
        spoken: Sequence[Recording],
    ) -> SpeechData:
        """Computes the features of training and test utterances; `spoken` are the test utterances without noise."""
        return cls(
            name,
            f"SHA-256 of samples and labels {checksum([*train, *heard])}",
            classes,
            mels,
            Utterances.of(train, mels),
            Utterances.of(heard, mels),
            tuple(spoken),
            tuple(heard),
        )

    @property
    def device(self) -> torch.device:
        """Where its features are."""
        return self.train.labels.device

    @property
    def train_labels(self) -> Tensor:
        """Frames of each training utterance: there is a label for each of them."""
        return self.train.lengths

    @property
    def test_labels(self) -> Tensor:
        """Frames of each test utterance."""
        return self.test.lengths

    def to(self, device: torch.device) -> SpeechData:
        """The same dataset on the device."""
        return replace(self, train=self.train.to(device), test=self.test.to(device))

    def prepare(self) -> None:
        """Nothing: features are computed when it is opened."""

    def in_noise(self, snr: float) -> SpeechData:
        """The same with its test utterances in noise at this ratio (dB): always the same noise, louder or softer."""
        heard = tuple(in_noise(self.spoken, snr, snr, NOISE_KEYS["by ratio"]))
        return replace(self, test=Utterances.of(heard, self.mels).to(self.device), heard=heard)


@lru_cache(maxsize=1)
def embedded(train: int, test: int, mels: int) -> SpeechData:
    """The embedded spoken set of so many utterances, in noise; cached, since making it takes many seconds."""
    learned, tested = spoken.recordings(spoken.TRAIN, train), spoken.recordings(spoken.TEST, test)
    noisy_learned = in_noise(learned, *TRAINED_SNR, NOISE_KEYS["train"])
    noisy_tested = in_noise(tested, *TRAINED_SNR, NOISE_KEYS["test"])
    return SpeechData.of("spoken", spoken.CLASSES, mels, noisy_learned, noisy_tested, tested)


def in_noise(recordings: Sequence[Recording], low: float, high: float, key: int) -> list[Recording]:
    """Each recording in its own noise, at a signal-to-noise ratio between these (dB); babble is made of the others."""
    samples = [each.samples for each in recordings]
    result = []
    for number, each in enumerate(recordings):
        chance = Chance(key, number)
        others = samples[:number] + samples[number + 1 :] or samples
        ratio = chance.between(low, high)
        mixed = noisy(each.samples, others, ratio, chance)
        result.append(replace(each, name=f"{each.name} at {ratio:.0f} dB", samples=mixed))
    return result


def batches(utterances: Utterances) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """All utterances whole, grouped by similar length: numbers (B,), features and valid frames; see `cut`."""
    order = torch.argsort(utterances.lengths, stable=True)
    for numbers in torch.split(order, TOGETHER):
        longest = int(utterances.lengths[numbers].max())
        features, _, lengths = utterances.cut(numbers, torch.zeros_like(numbers), longest)
        yield numbers, features, lengths


class CropStream:
    """Crops of training utterances by iteration number; holds no state that a resumed run would have to restore."""

    def __init__(self, data: SpeechData, seed: int, batch_size: int, share: tuple[int, int] = (0, 1)) -> None:
        self.data = data
        lengths = data.train.lengths.cpu().numpy()
        self.epochs = Epochs(len(lengths), batch_size, share)
        self._rows = lru_cache(maxsize=2)(lambda epoch: crops(seed, epoch, lengths))

    def inputs(self, iteration: int) -> tuple[Tensor, Tensor]:
        """Which utterances, and the first frame of each crop, (B,) int64 each."""
        rows = np.concatenate([self._rows(epoch)[part] for epoch, part in self.epochs.parts(iteration)])
        numbers, firsts = torch.from_numpy(rows).to(self.data.device).unbind(1)
        return numbers, firsts

    def make(self, numbers: Tensor, firsts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features, valid frames and labels, in the order in which the net takes them."""
        found, labels, lengths = self.data.train.cut(numbers, firsts, CROP)
        return found, lengths, labels

    def batch(self, iteration: int) -> tuple[Tensor, Tensor, Tensor]:
        """The batch of an update, counted from 1; see `make`."""
        return self.make(*self.inputs(iteration))

    def epochs_seen(self, iteration: int) -> int:
        """Epochs that are complete after this many iterations."""
        return self.epochs.seen(iteration)

    def close(self) -> None:
        """Nothing to release."""


def crops(seed: int, epoch: int, lengths: np.ndarray) -> np.ndarray:
    """In which order an epoch has the utterances, and where each is cropped, (N, 2) int64.

    Args:
        seed: The run's.
        epoch: Counted from 0.
        lengths: Frames of each utterance, (N,).
    """
    chance = Chance(seed, epoch)
    order = np.argsort(chance.uniform(len(lengths)), kind="stable")
    room = np.maximum(lengths[order] - CROP, 0) + 1
    firsts = (chance.uniform(len(lengths)) * room).astype(np.int64)
    return np.stack([order, firsts], axis=1)
