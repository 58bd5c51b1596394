"""What the rest of the program asks of a dataset. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Data(Protocol):
    """A dataset on a device: training examples in the source's own order, and test examples."""

    @property
    def name(self) -> str:
        """What it is."""

    @property
    def checksum(self) -> str:
        """Identifies its content, for environment.json."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes' names."""

    @property
    def device(self) -> torch.device:
        """Where it is."""

    @property
    def train_labels(self) -> Tensor:
        """One for each training example."""

    @property
    def test_labels(self) -> Tensor:
        """One for each test example."""

    def to(self, device: torch.device) -> Data:
        """The same dataset on the device."""

    def prepare(self) -> object:
        """Makes a pass over the training set, if a training needs its result; returns it, for other ranks too."""
