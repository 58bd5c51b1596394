"""Torch and torchvision, a pair of packages: each release of one fits one release of the other."""

from __future__ import annotations

import traceback
from importlib import metadata

from packaging.requirements import Requirement
from packaging.version import Version

OLDEST_TORCH = "2.10"  # before it, torch.load runs code in spite of weights_only (CVE-2026-24747)
PAIR = ("torch", "torchvision")
ADVICE = "install the pair in constraints.txt: pip install -c constraints.txt ."


def problem_with_version(torch_version: str) -> str | None:
    """What is wrong with this version of torch, as one line; None if nothing is."""
    if Version(torch_version).release >= Version(OLDEST_TORCH).release:  # NVIDIA's builds call themselves 2.10.0a0
        return None
    return f"torch {torch_version}: too old, {OLDEST_TORCH} or later is needed; {ADVICE}"


def explanation(error: BaseException) -> str | None:
    """An error in loading torch or torchvision as one line: what is here, what fits, the next step.

    A pair that does not fit raises nearly anything: `operator torchvision::nms does not exist`, `undefined symbol`.

    Returns:
        None if the error is another one.
    """
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in PAIR:
        return f"{error.name} is not installed; {ADVICE}"
    loading = [
        str(frame.f_globals.get("__name__")).partition(".")[0]
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_name == "<module>"
    ]
    if not set(PAIR) & set(loading):
        return None
    here = " and ".join(f"{name} {installed(name) or '(not installed)'}" for name in PAIR)
    wanted = _wanted_torch()
    fits = f"; this torchvision wants torch {wanted}" if wanted else ""
    return f"{here} do not load: {str(error).strip() or type(error).__name__}{fits}; {ADVICE}"


def installed(name: str) -> str | None:
    """The version of a package that is installed; None if it is not."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _wanted_torch() -> str | None:
    """The torch that torchvision was made for, as its package says: `==2.15.0`."""
    try:
        requirements = [Requirement(each) for each in metadata.requires("torchvision") or []]
    except metadata.PackageNotFoundError:
        return None
    return next((str(each.specifier) for each in requirements if each.name == "torch" and each.specifier), None)
