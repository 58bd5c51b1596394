"""A line about a better choice for this device, from what `resnet bench` has measured there."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from pydantic import ValidationError

from resnet_cli.device.torch_device import has_bf16
from resnet_cli.names import Precision
from resnet_cli.spec import Frozen
from resnet_cli.storage import run_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from resnet_cli.identity import RunSpec
    from resnet_cli.storage.store import Store


class Measured(Frozen):
    """An update of 128 images of 32x32 as `resnet bench` measured it.

    Attributes:
        net: The net's name.
        precision: Of the step.
        step: compiled, captured or plain.
        device_name: Of the GPU.
        torch: The version of torch.
        milliseconds: The median.
    """

    net: str
    precision: Precision
    step: str
    device_name: str
    torch: str
    milliseconds: float


def has_tensor_cores(device: torch.device) -> bool:
    """Whether the device is a GPU whose tensor cores multiply bf16, so that advice about precision applies."""
    return device.type == "cuda" and has_bf16(device)


def note(measured: Measured, store: Store) -> None:
    """Saves a measurement beside the results, in place of an earlier one of the same kind.

    Raises:
        OSError: The note cannot be written.
    """
    what = measured.model_dump_json(exclude={"milliseconds"})
    digest = hashlib.sha256(what.encode()).hexdigest()[:8]
    store.speeds.mkdir(parents=True, exist_ok=True)
    path = store.speeds / f"{measured.net}-{measured.precision}-{digest}.json"
    run_folder.replace_file(path, (measured.model_dump_json(indent=1) + "\n").encode())


def about_precision(runs: Sequence[RunSpec], device: torch.device, store: Store) -> str | None:
    """A line that fp32 leaves the tensor cores idle, with the gain of others or how to measure it; None if it does not.

    Args:
        runs: The runs to train.
        device: The device to train on.
        store: The results folder, where `resnet bench` saves its measurements.
    """
    import torch

    if any(run.variant.precision != "fp32" for run in runs) or not has_tensor_cores(device):
        return None
    name = torch.cuda.get_device_name()
    gain = _gain({run.net.name for run in runs}, name, torch.__version__, store)
    if gain is None:
        gain = (
            "--precision bf16 or tf32 is faster; 'resnet bench --precision fp32', then bf16 and tf32, measure it here"
        )
    return (
        f"fp32 leaves the tensor cores of {name} idle. {gain}. "
        "Precision is part of a run's identity: another precision trains new runs"
    )


def _gain(wanted: set[str], device_name: str, version: str, store: Store) -> str | None:
    """Times of one net's update in fp32, bf16 and tf32 here, of a wanted net if possible; None without two times."""
    times: dict[tuple[str, str], dict[str, float]] = {}
    for path in sorted(store.speeds.glob("*.json")):
        try:
            each = Measured.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            continue  # ignores a note that is damaged, or of a later version
        if (each.device_name, each.torch) == (device_name, version):
            times.setdefault((each.net, each.step), {})[each.precision] = each.milliseconds
    # Compares the same net with the same step only.
    both = {key: found for key, found in times.items() if "fp32" in found and len(found) > 1}
    if not both:
        return None
    net, step = min(both, key=lambda key: key[0] not in wanted)
    found = both[net, step]
    others = ", ".join(
        f"{precision} {found[precision]:.3g} ms, {found['fp32'] / found[precision]:.2f} times as fast"
        for precision in ("bf16", "tf32")
        if precision in found
    )
    return f"'resnet bench' measured {found['fp32']:.3g} ms per update of {net} here in fp32; in {others}"
