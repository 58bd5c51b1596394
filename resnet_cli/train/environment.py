"""What a run was trained with. Does not identify the machine or its owner."""

from __future__ import annotations

import json
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from resnet_cli import __version__
from resnet_cli.device.versions import installed
from resnet_cli.storage import run_folder

if TYPE_CHECKING:
    from resnet_cli.names import Precision
    from resnet_cli.tasks.data import Data
    from resnet_cli.train.graph_step import StepName


def describe(
    device: torch.device,
    precision: Precision,
    dataset: Data,
    *,
    step: StepName = "plain",
    ranks: int = 1,
) -> dict[str, Any]:
    """Versions, device, precision, threads, ranks if there are several, step, commit, data and time."""
    return {
        "resnet_cli": __version__,
        **_commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": installed("torchvision"),
        "numpy": np.__version__,
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "cudnn": torch.backends.cudnn.version() if device.type == "cuda" else None,  # type: ignore[no-untyped-call]
        "system": f"{platform.system()} {platform.machine()}",
        "device": device.type,
        "device_name": device_name(device),
        "threads": torch.get_num_threads(),
        **({"ranks": ranks} if ranks > 1 else {}),
        "precision": precision,
        "step": step,
        "data": f"{dataset.name}: {dataset.checksum}",
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _commit() -> dict[str, Any]:
    """The checkout's commit and whether it was changed; nothing where the program is installed from a wheel."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return {"commit": None, "dirty": None}
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True)  # noqa: S607
        changes = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],  # noqa: S607
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}
    return {"commit": commit.stdout.strip(), "dirty": bool(changes.stdout.strip())}


def device_name(device: torch.device) -> str:
    """The name of the GPU, or of the CPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def last_step(folder: Path) -> StepName | None:
    """The step with which a run was last trained; None before it was trained at all."""
    content = _read(folder)
    if content is None:
        return None
    last: dict[str, Any] = [content, *content.get("resumed", [])][-1]
    step = last.get("step")
    # Earlier versions had only the plain step.
    return step if step in ("compiled", "captured") else "plain"


def _read(folder: Path) -> dict[str, Any] | None:
    """An environment that can be extended; None if there is none."""
    content = run_folder.read_environment(folder)
    resumed = content and content.get("resumed", [])
    whole = isinstance(resumed, list) and all(isinstance(each, dict) for each in resumed)
    return content if whole else None


def record(
    folder: Path,
    device: torch.device,
    precision: Precision,
    dataset: Data,
    *,
    step: StepName,
    ranks: int = 1,
) -> None:
    """Writes environment.json; a run that continues elsewhere keeps its first environment and adds the later ones."""
    now = describe(device, precision, dataset, step=step, ranks=ranks)
    content = _read(folder)
    if content is None:
        content = now
    else:
        known = [content, *content.get("resumed", [])][-1]
        if any(known.get(key) != now.get(key) for key in {*known, *now} - {"started", "resumed"}):
            content["resumed"] = [*content.get("resumed", []), now]
    run_folder.replace_file(folder / run_folder.ENVIRONMENT, (json.dumps(content, indent=1) + "\n").encode())
