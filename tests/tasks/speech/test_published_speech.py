"""docs/speech.md says what the published runs say."""

from __future__ import annotations

from pathlib import Path

import pytest

from resnet_cli.experiment import load_experiment
from resnet_cli.identity import Variant
from resnet_cli.report.summarize import Summary, summarize
from resnet_cli.storage.store import Store

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def summary() -> Summary:
    """Of the published runs of the experiment."""
    return summarize(Store(ROOT / "results/published"), load_experiment("wrbn"), Variant(dataset="spoken"))


def test_errors_without_silence_are_those_of_the_runs(summary: Summary) -> None:
    """And so is what always saying the most frequent class would err."""
    document = (ROOT / "docs/speech.md").read_text(encoding="utf-8")

    assert 1 == summary.runs["majority_error"].nunique()
    assert f"{summary.runs['majority_error'][0]:.1f}%" in document
    for name, row in summary.by_net.iterrows():
        assert f"| {name} | {row['test_speech_error']:.2f} ± {row['test_speech_error_std']:.2f} |" in document
