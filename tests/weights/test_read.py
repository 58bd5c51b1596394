"""Weights under foreign names, in foreign wrappers, damaged or hostile."""

from __future__ import annotations

import argparse
import hashlib
import io
import itertools
import os
import pickle
import urllib.error
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from paper_tasks import CIFAR10, IMAGENET
from torch import Tensor, nn

from resnet_cli.errors import BadInputError
from resnet_cli.storage import run_folder
from resnet_cli.weights.read import match, torchvision_weights
from resnet_cli.weights.weight_files import read_weights

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from resnet_cli.nets.resnet import ResNet

BLOCK_OF_KUANGLIU = {"downsample": "shortcut", "fc": "linear"}


@torch.no_grad()
def scrambled(net: nn.Module) -> nn.Module:
    """The net with every tensor random, BN's statistics too, so that no two layers may be confused unnoticed."""
    generator = torch.Generator().manual_seed(7)
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) - (0.5 if tensor.ndim > 1 else -0.5))
        assert tensor.isfinite().all(), name
    return net.eval()


def cifar(name: str, seed: int = 0, classes: int = 10) -> ResNet:
    """A net for CIFAR-10, as it is tested."""
    return CIFAR10.make(CIFAR10.net(name), seed, classes).eval()


def as_run(net: nn.Module) -> list[nn.Module]:
    """The layers with weights as most nets run them: a block's projection after its other layers."""
    names = [name for name, each in net.named_modules() if isinstance(each, nn.Conv2d | nn.BatchNorm2d | nn.Linear)]
    blocks = itertools.groupby(names, key=lambda name: name.split(".")[:2])
    order = [name for _, block in blocks for name in sorted(block, key=lambda name: "downsample" in name)]
    return [net.get_submodule(name) for name in order]


def numbered(layers: list[nn.Module]) -> dict[str, Tensor]:
    """The layers' tensors under names that say nothing: features.0.weight, ..."""
    return {
        f"features.{number}.{name}": tensor
        for number, layer in enumerate(layers)
        for name, tensor in layer.state_dict().items()
    }


def bn_first(layers: list[nn.Module]) -> list[nn.Module]:
    """The layers as one who writes all BN before all convolutions has them."""
    return sorted(layers, key=lambda layer: not isinstance(layer, nn.BatchNorm2d))


def same_logits(net: nn.Module, other: nn.Module, size: int = 32) -> bool:
    """Whether both answer the same, to the bit."""
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return torch.equal(net(images), other(images))


def as_torch(content: Any) -> bytes:
    """What torch.save writes."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def test_others_checksums_are_their_own_affair(tmp_path: Path) -> None:
    """A SHA256SUMS beside foreign weights, in whatever form and of whatever files, is not taken for a run's."""
    net, other = scrambled(cifar("resnet-8")), cifar("resnet-8", seed=1)
    (tmp_path / run_folder.WEIGHTS).write_bytes(safetensors.torch.save(net.state_dict()))
    (tmp_path / run_folder.SUMS).write_text(f"{64 * '0'} *config.json\n")

    assert "by name" == match(read_weights(tmp_path / run_folder.WEIGHTS), other)


@pytest.mark.parametrize("kind", ["torch", "safetensors", "run"])
def test_our_own_names(tmp_path: Path, kind: str) -> None:
    """Weights of ours are matched by name, from either kind of file and from a run's folder."""
    net, other = scrambled(cifar("resnet-8-B")), cifar("resnet-8-B", seed=1)
    path = tmp_path / run_folder.WEIGHTS
    path.write_bytes(as_torch(net.state_dict()) if kind == "torch" else safetensors.torch.save(net.state_dict()))

    assert not same_logits(net, other)
    assert "by name" == match(read_weights(tmp_path if kind == "run" else path), other)
    assert same_logits(net, other)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 3, "best_prec1": 91.7, "optimizer": {"state": {}}},
        lambda state: {"net": {f"module.{name}": tensor for name, tensor in state.items()}, "acc": 93.0},
        lambda state: {"model": {"state_dict": {f"module.module.{name}": state[name] for name in state}}},
        lambda state: {f"_orig_mod.module.{name}": tensor for name, tensor in state.items()},
        lambda state: {name: tensor for name, tensor in state.items() if "num_batches" not in name},
        lambda state: {name: nn.Parameter(tensor) for name, tensor in state.items() if tensor.is_floating_point()},
        lambda state: {name: tensor.double() for name, tensor in state.items()},
    ],
    ids=["state_dict", "net", "nested", "compiled", "no counters", "parameters", "double"],
)
def test_wrappers(tmp_path: Path, wrap: Callable[[dict[str, Tensor]], dict[str, Any]]) -> None:
    """Checkpoints, wrapped modules and old state dicts hold the same weights."""
    net, other = scrambled(cifar("resnet-8")), cifar("resnet-8", seed=1)
    path = tmp_path / "checkpoint.pth"
    path.write_bytes(as_torch(wrap(net.state_dict())))

    assert "by name" == match(read_weights(path), other)
    assert same_logits(net, other)


@pytest.mark.parametrize("order", ["projections last", "projections first", "BN before convolutions"])
@pytest.mark.parametrize("name", ["plain-8", "resnet-14", "resnet-14-B", "resnet-14-C"])
def test_foreign_names_by_order(name: str, order: str) -> None:
    """Names that say nothing are matched by the order of the layers, in each order in which people write them."""
    net, other = scrambled(cifar(name)), cifar(name, seed=1)
    layers = as_run(net)
    if order == "projections first":
        layers = [module for module in net.modules() if module in set(layers)]
    elif order == "BN before convolutions":
        layers = bn_first(layers)
    how = match(numbered(layers), other)
    place = "first" if order == "projections first" else "last"
    end = f"; projections {place} in a block" if name.endswith(("B", "C")) else " more"

    assert how.startswith("by order: 'features.0' is 'conv1', ") != (order == "BN before convolutions")
    assert how.endswith(end)
    assert same_logits(net, other)


@pytest.mark.parametrize("place", ["first", "last"])
def test_bottlenecks_by_order(place: str) -> None:
    """In a bottleneck, a projection and the last 1x1 have one shape; the order tells them apart."""
    net = scrambled(IMAGENET.make(IMAGENET.net("resnet-50"), 0))
    other = IMAGENET.make(IMAGENET.net("resnet-50"), 1).eval()
    layers = as_run(net)
    layers = [module for module in net.modules() if module in set(layers)] if place == "first" else layers
    how = match(numbered(layers), other)

    assert how.endswith(f"; projections {place} in a block")
    assert same_logits(net, other)


def test_safetensors_keep_no_order(tmp_path: Path) -> None:
    """The format sorts names as text; foreign ones in it are matched with their numbers by value: 2 before 10."""
    net, other = scrambled(cifar("resnet-68-B")), cifar("resnet-68-B", seed=1)
    state = {}
    for name, tensor in net.state_dict().items():
        parts = [BLOCK_OF_KUANGLIU.get(part, part) for part in name.split(".")]
        state[".".join(parts)] = tensor
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors.torch.save(state))

    assert any("layer1.10." in name for name in state)
    assert match(read_weights(path), other).startswith("by order: 'layer2.0.shortcut.0' is 'layer2.0.downsample.0', ")
    assert same_logits(net, other)


def test_one_name_differs() -> None:
    """The answer says which name stood for which."""
    net, other = scrambled(cifar("resnet-8")), cifar("resnet-8", seed=1)
    state = {name.replace("fc.", "linear."): tensor for name, tensor in net.state_dict().items()}

    assert "by order: 'linear' is 'fc'" == match(state, other)
    assert same_logits(net, other)


@pytest.mark.parametrize("depth", [18, 50])
def test_torchvisions_nets(depth: int) -> None:
    """Torchvision's weights in our net, the stride on the 3x3, give torchvision's logits."""
    theirs = scrambled(getattr(torchvision.models, f"resnet{depth}")(weights=None))
    ours = IMAGENET.make(IMAGENET.net(f"resnet-{depth}-B"), 0, stride_3x3=True).eval()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))

    assert "by name" == match(theirs.state_dict(), ours)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-4)


def without(name: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    """A state dict less one tensor."""
    return lambda state: {key: tensor for key, tensor in state.items() if key != name}


def changed(**tensors: Tensor) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    """A state dict with other tensors, or more; `__` in a name stands for a dot."""
    return lambda state: {**state, **{name.replace("__", "."): tensor for name, tensor in tensors.items()}}


@pytest.mark.parametrize(
    ("given", "change", "message"),
    [
        ("resnet-14", None, "w.pt: convolutions: 13 here, 7 in the net; is it another depth?"),
        ("resnet-8-B", None, "w.pt: convolutions: 9 here, 7 in the net; try resnet-8-B"),
        ("resnet-8-C", None, "w.pt: convolutions: 10 here, 7 in the net; try resnet-8-C"),
        (
            "resnet-8",
            changed(conv1__weight=torch.zeros(64, 3, 7, 7)),
            "w.pt: conv1.weight is (64, 3, 7, 7), the net's (16, 3, 3, 3); is it another net",
        ),
        (
            "resnet-8",
            changed(fc__weight=torch.zeros(100, 64), fc__bias=torch.zeros(100)),
            "w.pt: has 100 classes (fc.weight), the data 10",
        ),
        (
            "resnet-8",
            changed(pos_embed=torch.zeros(3)),
            "w.pt: the file has pos_embed, which no layer of these nets has",
        ),
        ("resnet-8", changed(layer1__alpha=torch.zeros(3)), "w.pt: layer1 has alpha, which no layer of these nets has"),
        ("resnet-8", changed(conv1__bias=torch.zeros(16)), "w.pt: conv1, a convolution, has bias"),
        ("resnet-8", without("bn1.running_var"), "w.pt: bn1, a batch normalization, lacks running_var"),
        (
            "resnet-8",
            changed(aux__weight=torch.zeros(9, 9), aux__bias=torch.zeros(9)),
            "w.pt: linear layers: 2 here, 1",
        ),
    ],
)
def test_what_does_not_fit(
    given: str, change: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None, message: str
) -> None:
    """The first thing that does not fit is named, with both sides and a hint, and the net stays as it was."""
    net = cifar("resnet-8", seed=1)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    state = cifar(given).state_dict()
    with pytest.raises(BadInputError) as caught:
        match(change(state) if change else state, net, "w.pt")

    assert str(caught.value).startswith(message)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_a_number_in_place_of_biases() -> None:
    """A tensor of no dimensions is named as any other of a wrong shape is."""
    with pytest.raises(BadInputError, match=r"^weights: fc\.bias is \(\), the net's \(10,\); is it another net"):
        match(changed(fc__bias=torch.zeros(()))(cifar("resnet-8").state_dict()), cifar("resnet-8"))


def circle() -> dict[str, Any]:
    """A state dict that holds itself."""
    state: dict[str, Any] = {"fc.weight": torch.zeros(3)}
    state["model"] = state
    return state


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (circle(), "model is not a tensor of floating-point numbers"),
        (
            {"fc.weight": torch.zeros(1).expand(10**13)},
            "fc.weight claims the shape (10000000000000,), but has fewer numbers",
        ),
        (
            {"bn1.num_batches_tracked": torch.zeros(1, dtype=torch.complex64)},
            "bn1.num_batches_tracked is not a tensor of",
        ),
    ],
    ids=["circle", "vast", "complex"],
)
def test_tensors_that_are_none(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    """What would be read for ever, fill the memory or be warned of is refused."""
    path = tmp_path / "w.pth"
    path.write_bytes(as_torch(content))
    with pytest.raises(BadInputError) as caught:
        read_weights(path)

    assert str(caught.value).startswith(f"{path}: {message}")


def test_option_a_has_no_projections() -> None:
    """Weights without projections for a net that has them: the hint names the net that they may be of."""
    with pytest.raises(BadInputError, match=r"^weights: convolutions: 17 here, 20 in the net; try resnet-18-A$"):
        match(
            IMAGENET.make(IMAGENET.net("resnet-18"), 0).state_dict(),
            IMAGENET.make(IMAGENET.net("resnet-18-B"), 0),
        )


def test_by_order_the_shapes_must_fit() -> None:
    """Foreign names with as many layers of other widths: the first shape that differs is named, theirs and ours."""
    state = numbered(as_run(cifar("resnet-8-B")))
    state["features.2.weight"] = torch.zeros(32, 16, 3, 3)
    with pytest.raises(BadInputError, match=r"features\.2\.weight is \(32, .*layer1\.0\.conv1\.weight \(16, "):
        match(state, cifar("resnet-8-B"))


class Hostile:
    """A pickle of it runs a command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        """What unpickling calls."""
        return os.system, (self.command,)


@pytest.mark.parametrize(
    "write",
    [
        lambda hostile: as_torch({"state_dict": hostile}),
        lambda hostile: as_torch({"weight": torch.zeros(3), "args": hostile}),
        *(lambda hostile, protocol=protocol: pickle.dumps(hostile, protocol) for protocol in range(6)),
    ],
)
def test_nothing_is_executed(
    tmp_path: Path, write: Callable[[Hostile], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that would run code is refused, in whatever form, whatever the environment allows, and does not run it."""
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    marker, path = tmp_path / "ran", tmp_path / "hostile.pth"
    path.write_bytes(write(Hostile(f"touch {marker}")))
    with pytest.raises(BadInputError) as caught:
        read_weights(path)

    assert str(caught.value).startswith(f"{path}: ")
    assert not marker.exists()


GOOD = as_torch({"fc.weight": torch.ones(100, 100)})
GOOD_SAFE = safetensors.torch.save({"fc.weight": torch.ones(100, 100)})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n<!DOCTYPE html><html>", "is a web page, not weights; download the file itself"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer, not weights"),
        (b"no weights at all", "neither a safetensors file nor a complete file written by torch.save"),
        (bytes(5_000), "neither a safetensors file nor a complete file written by torch.save"),
        (GOOD[: len(GOOD) // 2], "neither a safetensors file nor a complete file written by torch.save"),
        (GOOD_SAFE[: len(GOOD_SAFE) // 2], "not whole: "),
        (as_torch({"acc": 3.0}), "holds no named tensors; save net.state_dict()"),
        (as_torch([torch.zeros(3)]), "holds no named tensors"),
        (as_torch(torch.zeros(3)), "holds no named tensors"),
        (
            as_torch({"net": {"a": torch.zeros(1)}, "model": {"a": torch.zeros(1)}}),
            "holds net and model; choose one with --key",
        ),
        (as_torch({"fc.bias": torch.zeros(3), "epoch": 3}), "epoch is not a tensor of floating-point numbers"),
        (as_torch({"fc.bias": torch.zeros(3, dtype=torch.int8)}), "fc.bias is not a tensor of floating-point numbers"),
        (as_torch({"fc.bias": torch.zeros(3), 7: torch.zeros(3)}), "7 is not a tensor of floating-point numbers"),
        (as_torch({"fc.bias": torch.zeros(3).to_sparse()}), "fc.bias is not a tensor of floating-point numbers"),
        (as_torch({"fc.bias": torch.tensor([1.0, float("nan")])}), "fc.bias has values that are not finite"),
        (as_torch({"state_dict": {}, "args": argparse.Namespace()}), "holds no named tensors; save net.state_dict()"),
        (as_torch(nn.Linear(2, 2)), "holds torch.nn.modules.linear.Linear, which is not a tensor and could run code"),
    ],
)
def test_what_is_not_weights(tmp_path: Path, content: bytes, message: str) -> None:
    """Each file that holds no weights is one line that names the file and what it is instead."""
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(BadInputError) as caught:
        read_weights(path)

    assert str(caught.value).startswith(f"{path}: {message}")
    assert 1 == len(str(caught.value).splitlines())


def test_what_is_no_file(tmp_path: Path) -> None:
    """A file that is not there, and a folder without weights."""
    with pytest.raises(BadInputError, match=r"missing\.pth: No such file or directory$"):
        read_weights(tmp_path / "missing.pth")
    with pytest.raises(BadInputError, match=r": a folder without weights\.safetensors; give a file, or a finished"):
        read_weights(tmp_path)


@pytest.mark.parametrize("whole", [as_torch, safetensors.torch.save], ids=["torch", "safetensors"])
def test_damage_is_one_line(tmp_path: Path, whole: Callable[[dict[str, Tensor]], bytes]) -> None:
    """Whatever byte of a file is changed or lost, it is read or refused in one line, never another error."""
    content = whole({"conv1.weight": torch.ones(2, 2, 1, 1), "fc.weight": torch.ones(2, 2), "fc.bias": torch.ones(2)})
    random = np.random.default_rng(3)
    path = tmp_path / "weights"
    messages = []
    for _ in range(300):
        damaged = bytearray(content)
        start, length = int(random.integers(len(content))), int(random.choice([1, 1, 1, 16, len(content)]))
        if length == len(content):
            del damaged[start:]
        else:
            stop = min(start + length, len(content))
            damaged[start:stop] = random.integers(256, size=stop - start, dtype=np.uint8).tobytes()
        path.write_bytes(damaged)
        try:
            read_weights(path)
        except BadInputError as error:
            messages.append(str(error))

    assert len(messages) > 50
    assert {1} == {len(message.splitlines()) for message in messages}


@pytest.fixture
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which torchvision looks for weights; no network stands behind it."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def no_network(*_: object, **__: object) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_torchvisions_weights(torch_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are taken from torchvision's cache, where the name of the file begins its checksum."""
    theirs = torchvision.models.resnet18(weights=None).state_dict()
    content = as_torch(theirs)
    name = f"resnet18-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    weights = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.value
    monkeypatch.setattr(weights, "url", f"https://example.org/models/{name}")
    (torch_home / name).write_bytes(content)
    state = torchvision_weights(IMAGENET.net("resnet-18-B"))

    assert theirs.keys() == state.keys()
    assert torch.equal(theirs["fc.weight"], state["fc.weight"])


def test_torchvisions_cache_is_not_believed_unseen(torch_home: Path) -> None:
    """A file in the cache that torchvision never gave out, whole as it may be, is refused with the way out."""
    path = torch_home / "resnet18-f37072fd.pth"
    path.write_bytes(as_torch(torchvision.models.resnet18(weights=None).state_dict()))
    with pytest.raises(BadInputError) as caught:
        torchvision_weights(IMAGENET.net("resnet-18-B"))

    assert str(caught.value).startswith(f"--weights torchvision: {path}: not what torchvision publishes (SHA-256 ")
    assert str(caught.value).endswith("want f37072fd...); delete it, and it is downloaded again")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet-18-B", "--weights torchvision: <urlopen error Name or service not known>; download https://download."),
        ("resnet-34-B", "--weights torchvision: "),
        ("resnet-18", "resnet-18-A: torchvision has weights of resnet-18-B, resnet-34-B, "),
        ("plain-34", "plain-34: torchvision has weights of resnet-18-B, "),
    ],
)
def test_torchvisions_weights_not_to_be_had(torch_home: Path, name: str, message: str) -> None:
    """No connection, a damaged file in the cache, a net that torchvision has not: one line each."""
    (torch_home / "resnet34-b627a593.pth").write_bytes(b"half a file")
    with pytest.raises(BadInputError) as caught:
        torchvision_weights(IMAGENET.net(name))

    assert str(caught.value).startswith(message)
    assert 1 == len(str(caught.value).splitlines())
