"""Kinds of files without weights that this program reads, recognised by their first bytes. Imports no torch."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import io
    from pathlib import PurePath

HEAD = 512  # bytes that show a file's kind

# How files begin, and what they are.
BEGINNINGS = {
    b"<?xml": "an XML file, not weights",
    b"<": "a web page, not weights; download the file itself",
    b"version https://git-lfs": "a Git LFS pointer, not weights; 'git lfs pull' gets the file itself",
    b"\x1f\x8b": "a gzip archive; unpack it and give the file in it",
    b"BZh": "a bzip2 archive; unpack it and give the file in it",
    b"\xfd7zXZ\0": "an xz archive; unpack it and give the file in it",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive; unpack it and give the file in it",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive; unpack it and give the file in it",
    b"Rar!": "a RAR archive; unpack it and give the file in it",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file, as Keras writes; only PyTorch's weights are read",
    b"model_checkpoint_path:": "the index of a TensorFlow checkpoint; only PyTorch's weights are read",
    b"\x04\0\0\0\1\0\0\0": "a Torch7 file (Lua); only PyTorch's weights are read",  # a tag, the first object
    b"\x03\0\0\0\1\0\0\0": "a Torch7 file (Lua); only PyTorch's weights are read",
    b"\x12\1\0\0\0\0\0\0": "an MXNet file; only PyTorch's weights are read",
    b"GGUF": "a GGUF file; only PyTorch's weights are read",
    b"\x93NUMPY": "a NumPy array, not a state dict",
    b"MATLAB 5.0": "a MATLAB file; only PyTorch's weights are read",
    b"\x89PNG": "a PNG image, not weights",
    b"\xff\xd8\xff": "a JPEG image, not weights",
    b"%PDF": "a PDF document, not weights",
    b"{": "JSON, not weights; a *.index.json only lists the files that hold them",
}
# Ends of names in a zip archive, and what such an archive is.
IN_ARCHIVES = {
    "/constants.pkl": "a TorchScript archive, a program with its weights",  # it has a data.pkl too
    "/data.pkl": None,  # torch.save's own
    "/extern_modules": "a torch.package archive, a program with its weights",
    "models/model.json": "a torch.export archive, a program with its weights",
    "serialized_exported_program.json": "a torch.export archive, a program with its weights",
    "model.weights.h5": "a Keras model; only PyTorch's weights are read",
    ".npy": "an archive of NumPy arrays (npz), not a state dict",
}
INSIDE = (  # marks that are not at the beginning
    (4, b"TFL3", "a TensorFlow Lite model; only PyTorch's weights are read"),
    (257, b"ustar", "a tar archive; unpack it and give the file in it"),
)
# Formats without a mark of their own.
SUFFIXES = {
    ".onnx": "an ONNX model; only PyTorch's weights are read",
    ".index": "the index of a TensorFlow checkpoint; only PyTorch's weights are read",
    ".data-00000-of-00001": "part of a TensorFlow checkpoint; only PyTorch's weights are read",
    ".caffemodel": "a Caffe model; only PyTorch's weights are read",
    ".pb": "a TensorFlow graph; only PyTorch's weights are read",
}
GIVES_STATE = "give its state dict: torch.save(torch.jit.load(FILE, 'cpu').state_dict(), OTHER)"
LEGACY_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # how torch.save's files began before 1.6, after the protocol


def foreign_kind(path: PurePath, head: bytes, names: list[str] | None) -> str | None:
    """What a file is, in words, and what to do; None if it may be weights.

    Args:
        path: Its name, which shows formats without a mark.
        head: Its first `HEAD` bytes.
        names: Names of what a zip archive holds; None if the file is not one.
    """
    if head[8:9] == b"{" or names is not None:  # safetensors, whose first bytes, a length, may be any
        return None if names is None else _archive(names)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for start, what in BEGINNINGS.items():
        if head.startswith(start) or text.startswith(start):
            return what
    for place, mark, what in INSIDE:
        if head[place:].startswith(mark):
            return what
    if head[:1] == b"\x08" and head[2:3] in (b"\x12", b":", b"B"):  # protobuf: version, then text
        return SUFFIXES[".pb" if head[1:2] == b"\x01" else ".onnx"]
    return next((what for end, what in SUFFIXES.items() if path.name.endswith(end)), None)


def names_in_archive(content: io.BufferedIOBase) -> list[str] | None:
    """The names of what a zip archive holds; None if it is not a complete one."""
    try:
        with zipfile.ZipFile(content) as archive:
            return archive.namelist()
    except Exception:  # noqa: BLE001  a damaged archive raises nearly anything
        return None


def _archive(names: list[str]) -> str | None:
    for end, what in IN_ARCHIVES.items():
        if any(f"/{name}".endswith(end) for name in names):
            return f"{what}; {GIVES_STATE}" if what and "TorchScript" in what else what
    first = f", {names[0]} first" if names else ""
    return f"a zip archive of {len(names):,} files{first}; unpack it and give the file with the weights"


def is_plain_pickle(head: bytes) -> bool:
    """Whether a file is Python's own pickle, not a file of torch.save's."""
    return head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5") and not head[2:].startswith(LEGACY_MAGIC)
