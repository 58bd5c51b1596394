"""Commands run where nothing is, and nothing from outside tells them where to look."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RESNET_RESULTS", raising=False)
    monkeypatch.delenv("RESNET_DATA", raising=False)
