"""Signals that ask a training to stop: noted at once, obeyed after the current update."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType, TracebackType
    from typing import Self

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2, signal.SIGHUP)


class StopSignals:
    """While in force, notes the first stop signal in `received`; a second Ctrl-C stops at once."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None

    def __enter__(self) -> Self:
        """Installs the handlers. A lost terminal (SIGHUP) is ignored under nohup, and stays so."""
        is_kept = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        heard = [number for number in STOPPING if not (is_kept and number is signal.SIGHUP)]
        self._old = {number: signal.signal(number, self._note) for number in heard}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Restores the handlers that were there before."""
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.received is signal.SIGINT and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = self.received or signal.Signals(number)
