"""The frame error of speech nets at each of several signal-to-noise ratios."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resnet_cli.analyses.analysis import Analysis
from resnet_cli.tasks.metric import Metric

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd

    from resnet_cli.identity import RunSpec

RATIOS = (-5, 0, 5, 10, 15, 20)  # dB


class Noise(Analysis):
    """The frame error on the same test utterances at different noise levels."""

    name = "noise"
    columns = ("snr", "error", "speech_error")
    may_be_nan = ()
    numbers = (
        Metric("error_at_0_db", "test frame error at 0 dB", header="0 dB"),
        Metric("error_at_20_db", "test frame error at 20 dB", header="20 dB"),
    )
    tasks = ("speech",)
    note = "0 dB, 20 dB: frame error (%) on test utterances in pink noise or babble at this signal-to-noise ratio."
    value = "error"
    part = "dB"
    along = "snr"
    axis = "test frame error (%)"
    definition = (
        "Frame error of the test utterances at each signal-to-noise ratio, in pink noise or the babble of four other "
        "voices, the same for every net."
    )

    def compute(
        self, run: RunSpec, folder: Path, data: Any, source: Path | None, progress: Callable[[int], None]
    ) -> pd.DataFrame:
        """One row per ratio: snr (dB), error and speech_error (without silence), in percent."""
        import pandas as pd

        from resnet_cli.weights.trained import trained_net

        net, rows, done = trained_net(run, folder).to(data.device), [], 0
        for snr in RATIOS:
            scores = run.task.test(net, data.in_noise(snr), "fp32")
            error, speech_error, *_ = scores.metrics.values()
            rows.append({"snr": snr, "error": error, "speech_error": speech_error})
            done += scores.images
            progress(done)
        return pd.DataFrame(rows)

    def is_right(self, table: pd.DataFrame, run: RunSpec) -> bool:
        """Whether the table is plausible."""
        are_errors = all(table[name].between(0, 100).all() for name in ("error", "speech_error"))
        return tuple(table["snr"]) == RATIOS and are_errors

    def sum_up(self, table: pd.DataFrame) -> dict[str, float]:
        """The errors at 0 and 20 dB."""
        errors = table.set_index("snr")["error"]
        return {f"error_at_{snr}_db": float(errors[snr]) for snr in (0, 20)}

    def seconds(self, run: RunSpec, test: float, update: float, epoch_tests: float) -> float:
        """A test for each ratio."""
        return test * len(RATIOS)
