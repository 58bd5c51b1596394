"""Weights of ours and of others: torchvision's, and matching names with ours."""

from __future__ import annotations

import hashlib
import sys
import urllib.request
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from resnet_cli.data.download import https_opener
from resnet_cli.errors import BadInputError, one_line
from resnet_cli.weights.weight_files import COUNTER, read_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from resnet_cli.nets.resnet import ResNet
    from resnet_cli.spec import Net

TORCHVISION = {"resnet-18-B": 18, "resnet-34-B": 34, "resnet-50-B": 50, "resnet-101-B": 101, "resnet-152-B": 152}

# A layer's kind, by the dimensions of its `weight`, and the tensors that it has with us.
KINDS = {4: "convolution", 2: "linear layer", 1: "batch normalization"}
TENSORS = {
    "convolution": {"weight"},
    "linear layer": {"weight", "bias"},
    "batch normalization": {"weight", "bias", "running_mean", "running_var"},
}


def torchvision_weights(net: Net) -> dict[str, Tensor]:
    """The weights that torchvision publishes for an ImageNet net, IMAGENET1K_V1; see `torchvision_file`.

    Raises:
        BadInputError: torchvision has none for this net, or they cannot be downloaded.
    """
    from torchvision.models import get_weight  # type: ignore[import-untyped]

    if net.full_name not in TORCHVISION:
        raise BadInputError(f"{net.full_name}: torchvision has weights of {', '.join(TORCHVISION)} only")
    return read_weights(torchvision_file(get_weight(f"ResNet{TORCHVISION[net.full_name]}_Weights.IMAGENET1K_V1").url))


def torchvision_file(url: str) -> Path:
    """A file of weights that torchvision publishes, from its cache, else downloaded; its checksum is verified.

    torchvision's own loader would print to standard output, trust its cache unchecked, and follow a redirection to
    http. So torch.hub only fetches the file, through an opener for the whole process that uses HTTPS only.

    Raises:
        BadInputError: It cannot be downloaded.
    """
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
            f"--weights torchvision: {one_line(error)}; download {url} into {path.parent}, or give --weights FILE"
        ) from error
    if not found.startswith(expected):
        raise BadInputError(
            f"--weights torchvision: {path}: not what torchvision publishes (SHA-256 {found}, want {expected}...); "
            "delete it, and it is downloaded again"
        )
    return path


def match(state: Mapping[str, Tensor], net: ResNet, source: object = "weights") -> str:
    """Loads weights into a net: by name if all names are ours, else by the order in which layers are written down.

    By order, convolutions, batch normalisations and linear layers are counted separately, with a block's projection
    after its other layers, as in torchvision, or before them; all shapes must fit.

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


def load_by_name(state: Mapping[str, Tensor], net: nn.Module, source: object) -> None:
    """Loads weights into any net, whose names they must have; `num_batches_tracked` may be missing.

    Raises:
        BadInputError: Names or shapes differ; the message names the first. The net is as it was.
    """
    own = {name: tensor for name, tensor in net.state_dict().items() if not name.endswith(COUNTER)}
    found = {name: tensor for name, tensor in state.items() if not name.endswith(COUNTER)}
    for names, others, what in ((own, found, "not in the file"), (found, own, "not in the net")):
        if missing := next((name for name in names if name not in others), None):
            raise BadInputError(f"{source}: {missing} is {what}; is it another net?")
    try:
        _check_shapes({name: name for name in own}, found, own)
    except BadInputError as error:
        raise BadInputError(f"{source}: {error}") from None
    net.load_state_dict(found, strict=False)


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
            problem = problem or error  # the first order is the more common one
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
            raise BadInputError(f"{layer or 'the file'} has {', '.join(its)}, which no layer of these nets has")
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
    """A hint why the number of convolutions is not the net's."""
    blocks = {tuple(name.split(".")[:2]) for name in own if name.startswith("layer")}
    stages = len({stage for stage, _ in blocks})
    plain = sum(tensor.ndim == 4 and ".downsample." not in name for name, tensor in own.items())  # noqa: PLR2004
    option = {0: "A", stages - 1: "B", stages: "B", len(blocks): "C"}.get(convolutions - plain)
    return f"try resnet-{plain + 1}-{option}" if option else "is it another depth?"
