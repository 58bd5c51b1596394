"""Torch and torchvision that are missing, too old, or do not fit: one line, exit code 2, wherever it shows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from typing import TYPE_CHECKING

import pytest
import torch

from resnet_cli.cli.main import _exit_code
from resnet_cli.device import versions as pair

if TYPE_CHECKING:
    from pathlib import Path

COMMANDS = [
    ["doctor"],
    ["bench", "resnet-8"],
    ["eval", "resnet-18-B", "--weights", "torchvision"],
    ["list"],
]
# What torchvision itself does when it is loaded, and what fails where torch is another than the one it was made for.
META_REGISTRATIONS = """
import torch

@torch.library.register_fake("torchvision::nms")
def meta_nms(dets, scores, iou_threshold):
    pass
"""


MISSING = """
import sys

class Missing:
    def find_spec(self, name, path, target=None):
        if name == {name!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
"""


def answers(folder: Path, first: str = "") -> list[tuple[int, str]]:
    """Each command's exit code and standard error, with packages in a folder before the installed ones."""
    program = (
        f"{first}\nimport contextlib, io, json, sys\nfrom resnet_cli.cli.main import _exit_code\n"
        f"for command in {COMMANDS!r}:\n"
        "    with contextlib.redirect_stderr(io.StringIO()) as err, contextlib.redirect_stdout(io.StringIO()):\n"
        "        code = _exit_code(command)\n"
        "    print(json.dumps([code, err.getvalue()]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "packages"), "RESNET_DATA": "data", "RESNET_RESULTS": "results"},
        capture_output=True,
        text=True,
        check=True,
    )
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def test_a_torchvision_made_for_another_torch(tmp_path: Path) -> None:
    """Its well-known error becomes a line with both versions, the torch that it wants and the next step.

    Commands that need neither do their work. Seen to fail when errors in loading are not explained.
    """
    package = tmp_path / "packages" / "torchvision"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from torchvision import _meta_registrations\n")
    (package / "_meta_registrations.py").write_text(META_REGISTRATIONS)
    information = package.with_name("torchvision-0.20.0.dist-info")
    information.mkdir()
    (information / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: torchvision\nVersion: 0.20.0\nRequires-Dist: numpy\nRequires-Dist: torch==2.5.0\n"
    )
    line = (
        f"torch {metadata.version('torch')} and torchvision 0.20.0 do not load: operator torchvision::nms does not "
        "exist; this torchvision wants torch ==2.5.0; install the pair in constraints.txt: pip install -c "
        "constraints.txt ."
    )

    assert [(2, f"error: {line}\n")] * 3 + [(0, "")] == answers(tmp_path)


@pytest.mark.parametrize("name", ["torch", "torchvision"])
def test_one_is_missing(tmp_path: Path, name: str) -> None:
    """What cannot do without it says in one line that it is not installed; the others do their work."""
    line = f"error: {name} is not installed; install the pair in constraints.txt: pip install -c constraints.txt .\n"

    assert [(2, line)] * 3 + [(0, "")] == answers(tmp_path, MISSING.format(name=name))


def explained(tmp_path: Path, content: str) -> str | None:
    """What is said of the error that a module of this content raises when it is loaded."""
    (tmp_path / "torchvision.py").write_text(content)
    with pytest.raises((ImportError, OSError, AttributeError, RuntimeError)) as caught:
        exec(compile(content, "torchvision.py", "exec"), {"__name__": "torchvision.extension"})  # noqa: S102
    return pair.explanation(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        'ImportError("_C.so: undefined symbol: _ZN3c10")',
        'OSError("libcudart.so.12: cannot open shared object file")',
        'AttributeError("module torch has no attribute library")',
    ],
)
def test_whatever_loading_raises_is_explained(tmp_path: Path, error: str) -> None:
    """A pair that does not fit shows itself in many ways; each is told with the versions."""
    line = explained(tmp_path, f"raise {error}")

    assert line is not None
    assert line.startswith(
        f"torch {metadata.version('torch')} and torchvision {metadata.version('torchvision')} do not"
    )
    assert error.split('"')[1] in line


def test_packages_that_tell_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without their metadata the line says less, and the next step all the same."""

    def nothing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", nothing)
    monkeypatch.setattr(metadata, "requires", nothing)

    assert (
        "torch (not installed) and torchvision (not installed) do not load: odd; install the pair in constraints.txt: "
        "pip install -c constraints.txt ." == explained(tmp_path, 'raise RuntimeError("odd")')
    )


def test_other_errors_are_not_explained_away() -> None:
    """An error while torch computes, or of a missing package of another name, is not the pair's.

    Seen to fail when every error out of torch's files is taken for one in loading it.
    """
    with pytest.raises(RuntimeError) as computing:
        torch.nn.Linear(2, 2)(torch.ones(3))
    with pytest.raises(ModuleNotFoundError) as missing:
        __import__("no_such_package")

    assert (None, None) == (pair.explanation(computing.value), pair.explanation(missing.value))


@pytest.mark.parametrize(
    ("version", "is_fine"),
    [
        ("2.9.1", False),
        ("2.9.1+cu128", False),
        ("1.13.1", False),
        ("2.10.0", True),
        ("2.10.0+cpu", True),
        ("2.15.0a0+git1", True),
        ("2.10.0a0+b4e4ee81d3.nv25.12", True),
        ("2.10.0rc1", True),
        ("3.0.0", True),
    ],
)
def test_the_oldest_torch(version: str, is_fine: bool) -> None:
    """Versions are compared as versions, not as text."""
    assert is_fine == (pair.problem_with_version(version) is None)


def test_an_old_torch_is_not_trained_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run says so before anything is trained.

    Seen to fail when the device is chosen without a look at the version.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch, "__version__", "2.9.1")
    for command in (["run", "table6", "--tiny"], ["bench", "resnet-8"]):
        assert 2 == _exit_code(command)
        assert capsys.readouterr().err.startswith("error: torch 2.9.1: too old, 2.10 or later is needed; install ")
    assert [] == list(tmp_path.iterdir())
