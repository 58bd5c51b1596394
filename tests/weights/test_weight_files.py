"""Files of weights as training scripts leave them: plain values beside the tensors, averages, and other programs'."""

from __future__ import annotations

import argparse
import bz2
import gzip
import io
import lzma
import pathlib
import pickle
import shlex
import subprocess
import sys
import tarfile
import types
import zipfile
from collections import OrderedDict, defaultdict
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import safetensors.torch
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from resnet_cli.errors import BadInputError
from resnet_cli.weights.weight_files import is_ours, read_copy, read_weights

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def net(seed: int = 0) -> nn.Sequential:
    """A small net with every kind of layer."""
    torch.manual_seed(seed)
    return nn.Sequential(OrderedDict(conv1=nn.Conv2d(3, 4, 3, bias=False), bn1=nn.BatchNorm2d(4), fc=nn.Linear(4, 2)))


RAW, EMA = net(1).state_dict(), net(2).state_dict()


def saved(path: Path, content: Any) -> Path:
    """The file that torch.save writes."""
    torch.save(content, path)
    return path


def same(state: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether both have the same tensors under the same names."""
    return state.keys() == other.keys() and all(torch.equal(state[name], other[name]) for name in state)


@pytest.mark.parametrize(
    "beside",
    [
        {"best_acc": np.float64(91.83), "epoch": np.int64(164)},
        {"acc": np.float32(1), "flag": np.bool_(1), "half": np.float16(2), "name": np.str_("x")},
        {"history": np.arange(3.0), "matrix": np.ones((2, 2), dtype=np.float32)},
        {"args": argparse.Namespace(lr=0.1, path=pathlib.Path("x/y"), inner=argparse.Namespace(a=[1, None]))},
        {"path": pathlib.PureWindowsPath("C:/x"), "config": types.SimpleNamespace(depth=20)},
        {"began": datetime.now(tz=UTC), "took": timedelta(seconds=3)},
        {"meters": defaultdict(list, loss=[1.0]), "order": OrderedDict(a=1), "seen": {1, 2}, "complex": 1j},
        {"types": [list, dict, int, float], "size": torch.Size([1]), "dtype": torch.float16},
    ],
)  # fmt: skip
def test_harmless_values_beside_tensors(tmp_path: Path, beside: dict[str, Any]) -> None:
    """Plain values of Python and NumPy, beside the weights, do not keep them from being read."""
    path = saved(tmp_path / "checkpoint.pth", {"state_dict": RAW, **beside})

    assert same(RAW, read_weights(path))


def test_names_of_numpy_1(tmp_path: Path) -> None:
    """Files written under NumPy 1, where its modules had other names, are read too."""
    path = saved(tmp_path / "new.pth", {"state_dict": RAW, "acc": np.float64(1), "history": np.ones(2)})
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(tmp_path / "old.pth", "w") as old:
        for name in archive.namelist():
            old.writestr(name, archive.read(name).replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))

    assert same(RAW, read_weights(tmp_path / "old.pth"))


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"state_dict": RAW, "half": Fraction(1, 2)}, "fractions.Fraction"),
        ({"model": net(1), "epoch": 3}, "torch.nn.modules.container.Sequential"),
        (net(1), "torch.nn.modules.container.Sequential"),
        ({"net": RAW, "objects": np.array([Fraction(1)], dtype=object)}, "numpy.dtypes.ObjectDType"),
    ],
    ids=["value", "a net under a key", "a net", "objects"],
)
def test_what_could_run_code_is_converted_by_one_line(tmp_path: Path, content: Any, named: str) -> None:
    """What is not on the list is refused by its name; the line that is printed makes a file that can be read."""
    path = saved(tmp_path / "it's a checkpoint.pth", content)
    with pytest.raises(BadInputError) as caught:
        read_weights(path)
    message, _, line = str(caught.value).partition("this saves its state dict alone: ")
    program, *arguments = shlex.split(line)

    assert f"{path}: holds {named}, which is not a tensor and could run code" in message
    assert "python" == program
    subprocess.run([sys.executable, *arguments], check=True, timeout=120)
    assert same(RAW, read_weights(tmp_path / "it's a checkpoint.pth.weights.pth"))


def averaged(prefix: str = "module.") -> dict[str, torch.Tensor]:
    """What torch.optim.swa_utils.AveragedModel has as its state dict."""
    return {"n_averaged": torch.tensor(5), **{prefix + name: tensor for name, tensor in EMA.items()}}


@pytest.mark.parametrize(
    "content",
    [
        averaged(),
        {"state_dict": averaged()},
        {"model": averaged("module.module."), "epoch": 3},
        AveragedModel(net(2)).state_dict(),
        {"ema": {"decay": 0.999, "updates": 7, "module": EMA}},
        {"epoch": 1, "model_ema": averaged()},
        {"anything": EMA, "amp": {"scale": torch.ones(1)}, "lr": {"last": torch.ones(3, 3)}},
        {"ema_state_dict": EMA, "optimizer": {"state": {"conv1.weight": {"exp_avg": torch.ones(1)}}}},
    ],
)
def test_averaged_weights(tmp_path: Path, content: dict[str, Any]) -> None:
    """An averaged model is read; how many weights were averaged is no weight."""
    assert same(EMA, read_weights(saved(tmp_path / "averaged.pth", content)))


@pytest.mark.parametrize(
    ("content", "raw", "key"),
    [
        ({"model": RAW, "model_ema": averaged()}, "model", "model_ema"),
        ({"state_dict": RAW, "state_dict_ema": EMA, "arch": "x"}, "state_dict", "state_dict_ema"),
        ({"ema": EMA, "net": RAW}, "net", "ema"),
        ({"params": RAW, "params_ema": EMA}, "params", "params_ema"),
        ({"swa_state_dict": averaged(), "model_state_dict": RAW}, "model_state_dict", "swa_state_dict"),
        ({"state_dict": RAW, "callbacks": {"EMA": {"weights": EMA}}}, "state_dict", "callbacks.EMA.weights"),
        ({"backbone": RAW, "averaged_model": EMA}, "backbone", "averaged_model"),
        ({**RAW, "ema": EMA}, "the raw weights", "ema"),
        (
            {f"{part}.{name}": its[name] for part, its in (("net", RAW), ("ema_net", averaged())) for name in its},
            "net",
            "ema_net",
        ),
    ],
)  # fmt: skip
def test_raw_and_averaged(tmp_path: Path, content: dict[str, Any], raw: str, key: str) -> None:
    """Of raw weights and their average the raw ones are taken, which is said, and how to take the others."""
    path = saved(tmp_path / "both.pth", content)
    state, taken = read_copy(path)

    assert same(RAW, state)
    assert f"{raw} of it; --key {key} takes the averaged ones" == taken
    assert same(EMA, read_weights(path, key))
    with pytest.raises(BadInputError, match=f"--key nothing: there is .*{key}"):
        read_weights(path, "nothing")


def test_two_nets_and_no_average(tmp_path: Path) -> None:
    """Where nothing tells which of two state dicts is meant, one must be named."""
    path = saved(tmp_path / "both.pth", {"teacher": RAW, "student": EMA})
    with pytest.raises(BadInputError, match=r": holds teacher and student; choose one with --key$"):
        read_weights(path)

    assert same(EMA, read_weights(path, "student"))


def zipped(names: list[str]) -> bytes:
    """A zip archive of empty files."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    return content.getvalue()


def scripted() -> bytes:
    """A TorchScript archive, the traced and the scripted ones being alike."""
    content = io.BytesIO()
    torch.jit.save(torch.jit.script(net()), content)
    return content.getvalue()


def tarred() -> bytes:
    """A tar archive."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("weights.pth"))
    return content.getvalue()


def as_onnx() -> bytes:
    """An ONNX model of one node."""
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["x2"])], "g", [value], [])
    content: bytes = onnx.helper.make_model(graph, producer_name="pytorch").SerializeToString()
    return content


def npz() -> bytes:
    """What numpy.savez writes."""
    content = io.BytesIO()
    np.savez(content, a=np.ones(1))
    return content.getvalue()


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
@pytest.mark.parametrize(
    ("name", "write", "what"),
    [
        ("w.pt", scripted, "is a TorchScript archive, a program with its weights; give its state dict: torch.save"),
        ("w.pt2", lambda: zipped(["w/models/model.json", "w/version"]), "is a torch.export archive"),
        ("w.pt", lambda: zipped(["w/.data/extern_modules", "w/x.pkl"]), "is a torch.package archive"),
        ("w.keras", lambda: zipped(["metadata.json", "model.weights.h5"]), "is a Keras model"),
        ("w.zip", lambda: zipped(["a/x.pth", "b"]), "is a zip archive of 2 files, a/x.pth first; unpack it"),
        ("w.npz", npz, "is an archive of NumPy arrays"),
        ("w.onnx", as_onnx, "is an ONNX model"),
        ("w.bin", as_onnx, "is an ONNX model"),
        ("saved_model.pb", lambda: b"\x08\x01\x12\xff\x01" + bytes(99), "is a TensorFlow graph"),
        ("w.h5", lambda: b"\x89HDF\r\n\x1a\n" + bytes(99), "is an HDF5 file, as Keras writes"),
        ("checkpoint", lambda: b'model_checkpoint_path: "m.ckpt-7"\n', "is the index of a TensorFlow checkpoint"),
        ("m.ckpt-7.index", lambda: bytes(99), "is the index of a TensorFlow checkpoint"),
        ("m.ckpt-7.data-00000-of-00001", lambda: bytes(99), "is part of a TensorFlow checkpoint"),
        ("w.tflite", lambda: b"\x1c\0\0\0TFL3" + bytes(99), "is a TensorFlow Lite model"),
        ("w.caffemodel", lambda: b"\x0a\x09ResNet-50" + bytes(99), "is a Caffe model"),
        ("w.pth", lambda: gzip.compress(b"x"), "is a gzip archive; unpack it"),
        ("w.pth", lambda: bz2.compress(b"x"), "is a bzip2 archive; unpack it"),
        ("w.pth", lambda: lzma.compress(b"x"), "is an xz archive; unpack it"),
        ("w.pth", tarred, "is a tar archive; unpack it"),
        ("w.pth", lambda: b"\n<html>", "is a web page, not weights"),
        ("w.pth", lambda: b"\xef\xbb\xbf<!doctype html>", "is a web page, not weights"),
        ("w.pth", lambda: b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        ("w.json", lambda: b'{"weight_map": {}}', "is JSON, not weights"),
        ("w.pth", lambda: pickle.dumps(dict.fromkeys("ab", 1), 4), "a plain pickle, which could run code"),
        ("w.t7", lambda: b"\x04\0\0\0\1\0\0\0\3\0\0\0V 1" + bytes(99), "is a Torch7 file"),
        ("w.params", lambda: b"\x12\1\0\0\0\0\0\0" + bytes(99), "is an MXNet file"),
        ("w.npy", lambda: b"\x93NUMPY\1\0" + bytes(99), "is a NumPy array"),
    ],
)  # fmt: skip
def test_other_files_are_said_for_what_they_are(
    tmp_path: Path, name: str, write: Callable[[], bytes], what: str
) -> None:
    """A file of another program, or in another wrapping, is named as such."""
    path = tmp_path / name
    path.write_bytes(write())
    with pytest.raises(BadInputError) as caught:
        read_weights(path)

    assert str(caught.value).startswith(f"{path}: {what}")


@pytest.mark.parametrize("name", ["w.safetensors", "w.onnx", "w.pb"])
@pytest.mark.parametrize("first", [b"{", b"<", b"\x08", b"\n", b"P"])
def test_a_safetensors_file_may_begin_with_any_byte(tmp_path: Path, name: str, first: bytes) -> None:
    """The length that a safetensors file begins with is not taken for another format's mark."""
    content = safetensors.torch.save(RAW)
    length = int.from_bytes(content[:8], "little")
    padding = (first[0] - length) % 256  # the header may end in spaces
    longer = (length + padding).to_bytes(8, "little") + content[8 : 8 + length] + padding * b" " + content[8 + length :]
    (tmp_path / name).write_bytes(longer)

    assert longer.startswith(first)
    assert same(RAW, read_weights(tmp_path / name))


def test_a_file_in_the_old_format(tmp_path: Path) -> None:
    """Files of torch.save before 1.6 are read, whatever plain values they hold."""
    content = {"state_dict": RAW, "best": np.float64(1)}
    torch.save(content, tmp_path / "old.pth", _use_new_zipfile_serialization=False)

    assert same(RAW, read_weights(tmp_path / "old.pth"))


def test_whose_weights_they_are(tmp_path: Path) -> None:
    """Weights of this program's runs are known by their folder, or by what an export says of itself."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "spec.json").write_text("{}")
    for name, metadata in (("run/w", None), ("exported", {"run_id": "x"}), ("other", None)):
        safetensors.torch.save_file(RAW, tmp_path / name, metadata)
    saved(tmp_path / "torch.pth", RAW)

    assert [True, True, True] == [is_ours(tmp_path / name) for name in ("run", "run/w", "exported")]
    assert [False, False, False] == [is_ours(tmp_path / name) for name in ("other", "torch.pth", "missing")]
