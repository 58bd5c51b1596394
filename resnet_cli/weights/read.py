"""Weights from files, ours or others': reading them, and matching their names with ours. Executes nothing in them."""

from __future__ import annotations

import hashlib
import re
import sys
import urllib.request
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.torch
import torch
from torch import Tensor

from resnet_cli.data.download import https_opener
from resnet_cli.errors import BadInputError
from resnet_cli.storage import run_folder

if TYPE_CHECKING:
    from resnet_cli.nets.resnet import ResNet
    from resnet_cli.spec import Net

WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
DEEPEST_WRAPPING = 10
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
TORCHVISION = {"resnet-18-B": 18, "resnet-34-B": 34, "resnet-50-B": 50, "resnet-101-B": 101, "resnet-152-B": 152}
NOT_WEIGHTS = {
    b"<": "a web page, not weights; download the file itself",
    b"version https://git-lfs": "a Git LFS pointer, not weights; 'git lfs pull' gets the file itself",
}

# A layer's kind, by the dimensions of its `weight`, and the tensors that it has with us.
KINDS = {4: "convolution", 2: "linear layer", 1: "batch normalization"}
TENSORS = {
    "convolution": {"weight"},
    "linear layer": {"weight", "bias"},
    "batch normalization": {"weight", "bias", "running_mean", "running_var"},
}
COUNTER = "num_batches_tracked"  # BN's, optional: testing does not use it


def read_weights(path: Path) -> dict[str, Tensor]:
    """Reads a safetensors file, a file of torch.save's, or the final weights in a run's folder, onto the CPU.

    Of a checkpoint the state dict is taken, under `state_dict`, `model` or `net`; what stands beside it, an epoch or an
    optimiser, is no weight. A prefix that all names share (`module.`) goes.

    Returns:
        The tensors by name, in the file's order.

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
            head = stream.read(100)
    except OSError as error:
        raise BadInputError(f"{path}: {error.strerror}") from error
    if not head:
        raise BadInputError(f"{path}: is empty")
    for start, what in NOT_WEIGHTS.items():
        if head.lstrip().startswith(start):
            raise BadInputError(f"{path}: is {what}")
    # A safetensors file begins with the length of its header, eight bytes, and the header, which is JSON.
    content = _read_safetensors(path) if head[8:9] == b"{" else _read_torch(path)
    state = _without_prefix(_state_dict(content, path))
    for name, tensor in state.items():
        if not tensor.float().isfinite().all():
            raise BadInputError(f"{path}: {name} has values that are not finite; these weights answer nothing")
    return state


def torchvision_weights(net: Net) -> dict[str, Tensor]:
    """The weights that torchvision gives out for an ImageNet net, IMAGENET1K_V1: its cache, else downloaded, checked.

    Its own loader would say on standard output that it downloads, believe its cache unseen, and follow a redirection to
    http. So torch.hub only fetches the file, by an opener that the whole process has from then on: https or nothing.

    Raises:
        BadInputError: torchvision has none for this net, or they cannot be had.
    """
    from torchvision.models import get_weight  # type: ignore[import-untyped]

    if net.full_name not in TORCHVISION:
        raise BadInputError(f"{net.full_name}: torchvision has weights of {', '.join(TORCHVISION)} only")
    url = get_weight(f"ResNet{TORCHVISION[net.full_name]}_Weights.IMAGENET1K_V1").url
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    expected = path.stem.rpartition("-")[2]  # resnet18-f37072fd.pth: the first digits of its SHA-256
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            urllib.request.install_opener(https_opener())
            torch.hub.download_url_to_file(url, str(path), expected, progress=sys.stderr.isatty())
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except Exception as error:  # a network and a disk can raise nearly anything
        raise BadInputError(
            f"--weights torchvision: {_one_line(error)}; put {url} whole into {path.parent}, or give --weights FILE"
        ) from error
    if not found.startswith(expected):
        raise BadInputError(
            f"--weights torchvision: {path}: not what torchvision gives out (SHA-256 {found}, want {expected}...); "
            "delete it, and it is downloaded anew"
        )
    return read_weights(path)


def match(state: Mapping[str, Tensor], net: ResNet, source: object = "weights") -> str:
    """Loads weights into a net: by name if all names are ours, else by the order in which layers are written down.

    By order, convolutions, batch normalisations and linear layers are each counted for themselves, with a block's
    projection after its other layers, as in torchvision, or before them; all shapes must fit.

    Args:
        state: The tensors by name; `num_batches_tracked` may be missing.
        net: Built for these weights; changed in place, and only if all fit.
        source: Where they come from, for the error.

    Returns:
        How they were matched, in words.

    Raises:
        BadInputError: They do not fit; the message names the first that does not.
    """
    own = {name: tensor for name, tensor in net.state_dict().items() if not name.endswith(COUNTER)}
    found = {name: tensor for name, tensor in state.items() if not name.endswith(COUNTER)}
    try:
        if found.keys() == own.keys():
            _check_shapes({name: name for name in own}, found, own)
            names, how = {name: name for name in own}, "by name"
        else:
            names, how = _by_order(found, own)
    except BadInputError as error:
        raise BadInputError(f"{source}: {error}") from None
    net.load_state_dict({name: found[other] for name, other in names.items()}, strict=False)
    return how


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        state = safetensors.torch.load_file(path)
    except Exception as error:  # a damaged file can raise nearly anything
        raise BadInputError(f"{path}: not whole: {_one_line(error)}") from error
    # The format keeps no order. By name, numbers by value, comes nearest to the one in which layers are written down.
    return {name: state[name] for name in sorted(state, key=_natural)}


def _read_torch(path: Path) -> Any:
    try:
        with path.open("rb") as stream, warnings.catch_warnings():  # a stream: a path's suffix would mean something
            warnings.simplefilter("ignore")  # what torch finds odd in a file is an error below, or nothing
            return torch.load(stream, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise nearly anything
        forbidden = re.search(r"GLOBAL ([\w.]+)", str(error), re.IGNORECASE)
        if forbidden:
            raise BadInputError(
                f"{path}: holds {forbidden[1]}, which is no tensor and could run code, so it was not loaded; "
                "save the state dict alone"
            ) from error
        raise BadInputError(f"{path}: neither a safetensors file nor a whole file of torch.save's") from error


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    """The state dict in what a file holds."""
    for _ in range(DEEPEST_WRAPPING):  # one may hold itself
        if not isinstance(content, Mapping):
            break
        inner = [name for name in WRAPPERS if isinstance(content.get(name), Mapping)]
        if len(inner) > 1:
            raise BadInputError(f"{path}: holds {' and '.join(inner)}; save one of them alone")
        if not inner:
            break
        content = content[inner[0]]
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        raise BadInputError(f"{path}: holds no tensors by name; save net.state_dict()")
    for name, value in content.items():
        plain = isinstance(value, Tensor) and value.layout is torch.strided and value.device.type == "cpu"
        if not isinstance(name, str) or not plain or not _is_of_its_kind(name, value):
            raise BadInputError(f"{path}: {name} is not a tensor of floating-point numbers; save net.state_dict()")
        if value.nbytes > value.untyped_storage().nbytes():  # a few numbers that stand for terabytes
            raise BadInputError(f"{path}: {name} says that it is {tuple(value.shape)}, but has not so many numbers")
    return dict(content)


def _is_of_its_kind(name: str, value: Tensor) -> bool:
    return value.is_floating_point() or (name.endswith(COUNTER) and not value.is_complex())


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without the prefixes that wrappers put before every name, however many."""
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in state):
            return _without_prefix({name.removeprefix(prefix): tensor for name, tensor in state.items()})
    return state


def _by_order(found: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> tuple[dict[str, str], str]:
    """The names in the file by our names, and how they were matched in words."""
    layers, counts = _layers(found), Counter(_layers(found).values())
    wanted = Counter(_layers(own).values())
    for kind in wanted | counts:
        if counts[kind] != wanted[kind]:
            hint = _hint(counts["convolution"], own) if kind == "convolution" else "is it another net?"
            raise BadInputError(f"{kind}s: {counts[kind]} here, {wanted[kind]} in the net; {hint}")
    problem = None
    for place in ("last", "first"):
        pairs: dict[str, str] = {}  # our layer, and the one in the file
        for kind in KINDS.values():
            ours = [layer for layer, its in _layers(_with_projections(own, place)).items() if its == kind]
            theirs = [layer for layer, its in layers.items() if its == kind]
            pairs.update(zip(ours, theirs, strict=True))
        names = {name: f"{pairs[layer]}.{last}" for name in own for layer, _, last in [name.rpartition(".")]}
        try:
            _check_shapes(names, found, own)
        except BadInputError as error:
            problem = problem or error  # the first order is the commoner one
        else:
            return names, _order_in_words(pairs, place)
    raise problem  # type: ignore[misc]  # set: no order fitted


def _order_in_words(pairs: dict[str, str], place: str) -> str:
    renamed = [f"'{theirs}' is '{ours}'" for ours, theirs in pairs.items() if ours != theirs]
    more = f" and {len(renamed) - 2} more" if len(renamed) > 2 else ""  # noqa: PLR2004  two examples will do
    projections = f"; projections {place} in a block" if any(".downsample." in ours for ours in pairs) else ""
    return f"by order: {', '.join(renamed[:2])}{more}{projections}"


def _layers(state: Mapping[str, Tensor]) -> dict[str, str]:
    """The layers in order of appearance, each with its kind.

    Raises:
        BadInputError: One is not of the kinds that these nets have, or lacks a tensor or has one too many.
    """
    tensors: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        layer, _, last = name.rpartition(".")
        tensors.setdefault(layer, {})[last] = tensor
    kinds = {}
    for layer, its in tensors.items():
        kind = KINDS.get(its["weight"].ndim) if layer and "weight" in its else None
        if kind is None:
            raise BadInputError(f"{layer or 'the file'} has {', '.join(its)}; no layer of these nets has")
        odd = sorted(TENSORS[kind] ^ its.keys())
        if odd:
            raise BadInputError(f"{layer}, a {kind}, {'has' if odd[0] in its else 'lacks'} {odd[0]}")
        kinds[layer] = kind
    return kinds


def _with_projections(own: Mapping[str, Tensor], place: str) -> dict[str, Tensor]:
    """Our tensors with each block's projection before or after its other layers."""
    blocks: dict[str, list[str]] = {}
    for name in own:
        blocks.setdefault(".".join(name.split(".")[:2]) if name.startswith("layer") else name, []).append(name)
    return {
        name: own[name]
        for names in blocks.values()
        for name in sorted(names, key=lambda name: (".downsample." in name) == (place == "last"))
    }


def _check_shapes(names: Mapping[str, str], found: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Compares all shapes; `names` has the name in the file of each of ours."""
    for name, other in names.items():
        have, want = tuple(found[other].shape), tuple(own[name].shape)
        if have == want:
            continue
        if name.startswith("fc.") and len(have) == len(want) and have[1:] == want[1:]:
            raise BadInputError(f"has {have[0]:,} classes ({other}), the data {want[0]:,}")
        whose = "the net's" if name == other else f"the net's {name}"
        raise BadInputError(f"{other} is {have}, {whose} {want}; is it another net, or of another dataset?")


def _hint(convolutions: int, own: Mapping[str, Tensor]) -> str:
    """What a number of convolutions other than the net's may come from."""
    blocks = {tuple(name.split(".")[:2]) for name in own if name.startswith("layer")}
    stages = len({stage for stage, _ in blocks})
    plain = sum(tensor.ndim == 4 and ".downsample." not in name for name, tensor in own.items())  # noqa: PLR2004
    option = {0: "A", stages - 1: "B", stages: "B", len(blocks): "C"}.get(convolutions - plain)
    return f"try resnet-{plain + 1}-{option}" if option else "is it another depth?"


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts names with the numbers in them by value."""
    return [(int(number or -1), text) for text, number in re.findall(r"(\D+)|(\d+)", name)]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
