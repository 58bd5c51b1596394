"""Files of weights, ours or others': finds the state dict in them. Executes nothing in them."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import pathlib
import re
import shlex
import types
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from resnet_cli.errors import BadInputError, one_line
from resnet_cli.storage import run_folder
from resnet_cli.weights.file_kinds import HEAD, foreign_kind, is_plain_pickle, names_in_archive

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "module", "params", "weights")
AVERAGED = re.compile(r"(^|[._])(ema|swa|averaged?|polyak|shadow)([._]|$)", re.IGNORECASE)
DEEPEST_WRAPPING = 10
MOST_COPIES = 20
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
COUNTER = "num_batches_tracked"  # BN's, optional: testing does not use it
AVERAGES = "n_averaged"  # of torch.optim.swa_utils.AveragedModel: how many weights were averaged

# This saves the net's state dict alone, in a Python that has the classes that the file names.
CONVERSION = (
    'import torch; c = torch.load({source}, "cpu", weights_only=False); '
    'c = next((c[k] for k in ("state_dict", "model_state_dict", "model", "net") if isinstance(c, dict) and k in c), c);'
    " torch.save(c if isinstance(c, dict) else c.state_dict(), {target})"
)


def _empty_dict(*_: object) -> dict[Any, Any]:
    """Replaces a defaultdict, whose factory is not needed."""
    return {}


def _harmless() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """Types allowed beside tensors, under their names in files: plain values, none of which runs code.

    Paths become pure paths, which access no disk and exist on every system. NumPy's arrays of objects are left out.
    """
    multiarray = np._core.multiarray  # type: ignore[attr-defined]  # noqa: SLF001  where files name it
    kinds = "Bool Int8 Int16 Int32 Int64 UInt8 UInt16 UInt32 UInt64 Float16 Float32 Float64 Complex64 Complex128 Str"
    named: dict[str, Callable[..., Any]] = {
        "collections.defaultdict": _empty_dict,
        **{f"numpy.{core}.multiarray.scalar": multiarray.scalar for core in ("core", "_core")},
        **{f"numpy.{core}.multiarray._reconstruct": multiarray._reconstruct for core in ("core", "_core")},  # noqa: SLF001
        **{
            f"pathlib{module}.{name}": pathlib.PureWindowsPath if "Windows" in name else pathlib.PurePosixPath
            for module in ("", "._local")
            for name in ("PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath")
        },
    }
    plain = [argparse.Namespace, types.SimpleNamespace, np.dtype, np.ndarray, list, dict, int, float, str, bool]
    times = [dt.datetime, dt.date, dt.time, dt.timedelta, dt.timezone]
    return [
        *plain,
        *times,
        *(getattr(np.dtypes, f"{kind}DType") for kind in kinds.split()),
        *((value, name) for name, value in named.items()),
    ]


def read_weights(path: Path, key: str | None = None) -> dict[str, Tensor]:
    """Reads the weights in a file or a run's folder; see `read_copy`."""
    return read_copy(path, key)[0]


def read_copy(path: Path, key: str | None = None) -> tuple[dict[str, Tensor], str]:
    """Reads a safetensors file, a file of torch.save's, or the final weights in a run's folder, onto the CPU.

    From a checkpoint, the state dict is taken, under `state_dict`, `model` or `net`; an epoch or an optimiser beside it
    is ignored. Of raw weights and an average of them, the raw ones are taken. A prefix that all names share
    (`module.`) is removed.

    Args:
        path: The file or the folder.
        key: Which state dict to take if a file holds several; dots separate nested names.

    Returns:
        The tensors by name, in the file's order; and which copy was taken, in words, if there was a choice.

    Raises:
        BadInputError: There is no such file, it is damaged, it would run code, or it holds other than tensors.
    """
    if path.is_dir():
        if not (path / run_folder.WEIGHTS).is_file():
            raise BadInputError(
                f"{path}: a folder without {run_folder.WEIGHTS}; give a file, or a finished run's folder"
            )
        path /= run_folder.WEIGHTS
    try:
        if (path.parent / run_folder.SPEC).is_file():  # a run's own
            run_folder.read_checked(path)
        with path.open("rb") as stream:
            head = stream.read(HEAD)
            names = names_in_archive(stream) if head.startswith(b"PK") else None
    except OSError as error:
        raise BadInputError(f"{path}: {error.strerror}") from error
    if not head:
        raise BadInputError(f"{path}: is empty")
    if what := foreign_kind(path, head, names):
        raise BadInputError(f"{path}: is {what}")
    # A safetensors file begins with the length of its header, eight bytes, and the header, which is JSON.
    content = _read_safetensors(path) if head[8:9] == b"{" else _read_torch(path, head)
    content, taken = _choose(content, path, key)
    state = _without_prefix(_state_dict(content, path))
    for name, tensor in state.items():
        if not tensor.float().isfinite().all():
            raise BadInputError(f"{path}: {name} has values that are not finite; the weights cannot be used")
    return state, taken


def is_ours(path: Path) -> bool:
    """Whether a run of this program wrote these weights: into its folder, or as an export that says so."""
    if path.is_dir() or (path.parent / run_folder.SPEC).is_file():
        return True
    try:
        with safetensors.safe_open(path, "pt") as file:
            return "run_id" in (file.metadata() or {})
    except Exception:  # noqa: BLE001  any other file
        return False


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        state = safetensors.torch.load_file(path)
    except Exception as error:  # a damaged file can raise nearly anything
        raise BadInputError(f"{path}: not whole: {one_line(error)}") from error
    # The format keeps no order. By name, numbers by value, comes nearest to the one in which layers are written down.
    return {name: state[name] for name in sorted(state, key=_natural)}


def _read_torch(path: Path, head: bytes) -> Any:
    try:
        # A stream, for a path's suffix would mean something.
        with path.open("rb") as stream, warnings.catch_warnings(), torch.serialization.safe_globals(_harmless()):
            warnings.simplefilter("ignore")  # what torch finds odd in a file is an error below, or nothing
            return torch.load(stream, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise nearly anything
        forbidden = re.search(r"(?:GLOBAL |got <class ')([\w.]+)", str(error), re.IGNORECASE)
        if forbidden:
            line = CONVERSION.format(source=json.dumps(str(path)), target=json.dumps(f"{path}.weights.pth"))
            raise BadInputError(
                f"{path}: holds {forbidden[1]}, which is not a tensor and could run code, so it was not loaded; if you "
                f"trust it, this saves its state dict alone: python -c {shlex.quote(line)}"
            ) from error
        if is_plain_pickle(head):
            raise BadInputError(f"{path}: a plain pickle, which could run code; write it by torch.save") from error
        raise BadInputError(f"{path}: neither a safetensors file nor a complete file written by torch.save") from error


def _choose(content: Any, path: Path, key: str | None) -> tuple[Any, str]:
    """The state dict to take of what a file holds, and which it is in words, if there was a choice."""
    copies = _copies(content, 0, {})
    if key is not None:
        if key in copies:
            return copies[key], f"{key} of it"
        raise BadInputError(f"{path}: --key {key}: there is {', '.join(filter(None, copies)) or 'one state dict only'}")
    nets = {name: each for name, each in copies.items() if _has_convolution(each)}
    copies = nets or copies  # a scaler of gradients holds a tensor too
    raw = {name: each for name, each in copies.items() if not AVERAGED.search(name)} or copies
    known = {name: each for name, each in raw.items() if not set(name.split(".")) - set(WRAPPERS)}
    candidates = known or raw
    if len(candidates) > 1:
        raise BadInputError(f"{path}: holds {' and '.join(candidates)}; choose one with --key")
    if not candidates:
        return content, ""
    ((taken, state),) = candidates.items()
    averaged = [name for name in copies if name != taken and AVERAGED.search(name)]
    if averaged:
        return state, f"{taken or 'the raw weights'} of it; --key {averaged[0]} takes the averaged ones"
    return state, f"{taken} of it, averaged" if AVERAGED.search(taken) else ""


def _copies(content: Any, depth: int, known: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """The state dicts in a file's content, by their nested names joined by dots; optimisers do not count."""
    if not isinstance(content, Mapping) or depth == DEEPEST_WRAPPING:
        return {}
    if id(content) in known:
        return known[id(content)]
    known[id(content)] = {}  # while it is being looked through, for one may hold itself
    found: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(name, str) and isinstance(value, Mapping) and "optim" not in name.lower():
            for inner, state in _copies(value, depth + 1, known).items():
                if len(found) < MOST_COPIES:
                    found[f"{name}.{inner}" if inner else name] = state
    if not found and any(isinstance(value, Tensor) for value in content.values()):
        found = _parts(content)
    elif _has_convolution(content):  # raw weights, with an average beside them
        found = {"": {name: value for name, value in content.items() if not isinstance(value, Mapping)}, **found}
    known[id(content)] = found
    return found


def _has_convolution(state: Mapping[Any, Any]) -> bool:
    return any(isinstance(value, Tensor) and value.ndim == 4 for value in state.values())  # noqa: PLR2004


def _parts(state: Mapping[Any, Any]) -> dict[str, Any]:
    """A state dict; of a module that holds a net and its average, the state dict of each."""
    parts: dict[str, dict[str, Any]] = {}
    for name, value in state.items():
        first, _, rest = str(name).partition(".")
        if rest:
            parts.setdefault(first, {})[rest] = value
    averaged = [name for name in parts if AVERAGED.search(name)]
    return {"": state} if not averaged or len(averaged) == len(parts) else parts


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict, each looked at."""
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        raise BadInputError(f"{path}: holds no named tensors; save net.state_dict()")
    state: dict[str, Tensor] = {
        name: value for name, value in content.items() if str(name).rpartition(".")[2] != AVERAGES
    }
    for name, value in state.items():
        plain = isinstance(value, Tensor) and value.layout is torch.strided and value.device.type == "cpu"
        if not isinstance(name, str) or not plain or not _is_of_its_kind(name, value):
            raise BadInputError(f"{path}: {name} is not a tensor of floating-point numbers; save net.state_dict()")
        if value.nbytes > value.untyped_storage().nbytes():  # a few numbers that stand for terabytes
            raise BadInputError(f"{path}: {name} claims the shape {tuple(value.shape)}, but has fewer numbers")
    return state


def _is_of_its_kind(name: str, value: Tensor) -> bool:
    return value.is_floating_point() or (name.endswith(COUNTER) and not value.is_complex())


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without the prefixes that wrappers put before every name, however many."""
    for prefix in PREFIXES:
        if state and all(name.startswith(prefix) for name in state):
            return _without_prefix({name.removeprefix(prefix): tensor for name, tensor in state.items()})
    return state


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts names with the numbers in them by value."""
    return [(int(number or -1), text) for text, number in re.findall(r"(\D+)|(\d+)", name)]
