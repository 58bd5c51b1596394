from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True, scope="session")
def _same_arithmetic() -> None:
    """Trainings repeat bit for bit with the same number of threads only."""
    torch.set_num_threads(1)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty working folder, no folders of results or data by the environment, and wide lines."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    for name in ("RESNET_RESULTS", "RESNET_DATA"):
        monkeypatch.delenv(name, raising=False)
