from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _same_arithmetic() -> None:
    """Trainings repeat bit for bit with the same number of threads only."""
    torch.set_num_threads(1)
