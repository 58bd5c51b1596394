"""A stand-in for a CUDA graph, for tests of its bookkeeping without a device."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class FakeGraph:
    """In place of a CUDA graph: a launch does again what was done when it was recorded."""

    again: Callable[[], None]

    def replay(self) -> None:
        """Launches it."""
        self.again()
