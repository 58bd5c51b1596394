"""Copies the finished runs and what was made of them into results/published/.

    python benchmarks/publish.py RESULTS

results/published/ is a results folder like any other: `resnet table table6 --results-dir results/published`. Long logs
are packed by gzip. Of runs at the paper's scale predictions go too, and weights of nets small enough to ship.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_cli.analyses import ANALYSES

if TYPE_CHECKING:
    from collections.abc import Iterator

RUN_FILES = {
    "spec.json",
    "environment.json",
    "status.json",
    "train.csv",
    "eval.csv",
    "SHA256SUMS",
    "test-10-crop.json",
    "test-dense.json",
    *(f"{analysis.name}.csv" for analysis in ANALYSES),
}
ENSEMBLE_FILES = {"ensemble.json", "predictions.npz", "SHA256SUMS"}
AT_PAPER_SCALE = {"predictions.npz": 1_000_000, "weights.safetensors": 4_000_000}  # up to so many bytes: 56 layers
LONGEST_LOG = 500_000  # bytes; longer ones are packed
PUBLISHED = Path(__file__).parents[1] / "results" / "published"


def measured_files(results: Path) -> Iterator[Path]:
    """The logs, specs and environments of every run, and the tables and figures made of them; not what is published."""
    for path in sorted(results.rglob("*")):
        if PUBLISHED.name in path.relative_to(results).parts:
            continue
        is_of_ensemble = path.parent.parent.name == "ensembles" and path.name in ENSEMBLE_FILES
        is_of_run = path.parent.parent.name == "runs" and path.name in RUN_FILES | AT_PAPER_SCALE.keys()
        if is_of_ensemble or is_of_run or path.parent.name in {"tables", "figures"}:
            yield path


def is_a_result(path: Path) -> bool:
    """Whether a file belongs to a finished run, or to a table, a figure or an ensemble, and not to a smoke run."""
    if path.parent.name in {"tables", "figures"}:
        return "-tiny" not in path.stem
    if path.parent.parent.name == "ensembles":
        members = json.loads((path.parent / "ensemble.json").read_text())["members"]
        return all(is_a_result(path.parents[2] / "runs" / member / "spec.json") for member in members)
    status, spec = (json.loads((path.parent / name).read_text()) for name in ("status.json", "spec.json"))
    variant = spec["variant"]
    is_at_paper_scale = variant["schedule"] == 1 and variant["dataset"] in ("cifar10", "imagenet", "drawn-scenes")
    if path.name in AT_PAPER_SCALE and (not is_at_paper_scale or path.stat().st_size > AT_PAPER_SCALE[path.name]):
        return False
    return status["state"] == "done" and not variant["tiny"]


def main() -> None:
    """Copies and says what."""
    results = Path(sys.argv[1])
    for path in filter(is_a_result, measured_files(results)):
        target = PUBLISHED / path.relative_to(results)
        target.parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes()
        if path.suffix == ".csv" and len(content) > LONGEST_LOG:
            target = target.with_name(f"{target.name}.gz")
            content = gzip.compress(content, mtime=0)  # or the same log would be another file each time
        target.write_bytes(content)
        print(target)


if __name__ == "__main__":
    main()
