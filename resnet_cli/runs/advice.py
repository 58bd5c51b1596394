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
        net: Its name.
        precision: Of the step.
        step: compiled, captured or plain.
        device_name: Of the GPU.
        torch: Its version.
        milliseconds: The median.
    """

    net: str
    precision: Precision
    step: str
    device_name: str
    torch: str
    milliseconds: float


def has_tensor_cores(device: torch.device) -> bool:
    """Whether precision is worth a line here: on CUDA, from the cores that multiply bf16 on."""
    return device.type == "cuda" and has_bf16(device)


def note(measured: Measured, store: Store) -> None:
    """Keeps a measurement beside the results, in place of an earlier one of the same.

    Raises:
        OSError: The note cannot be written.
    """
    what = measured.model_dump_json(exclude={"milliseconds"})
    digest = hashlib.sha256(what.encode()).hexdigest()[:8]
    store.speeds.mkdir(parents=True, exist_ok=True)
    path = store.speeds / f"{measured.net}-{measured.precision}-{digest}.json"
    run_folder.replace_file(path, (measured.model_dump_json(indent=1) + "\n").encode())


def about_precision(runs: Sequence[RunSpec], device: torch.device, store: Store) -> str | None:
    """That tensor cores lie idle in fp32, and the gain, or what measures it; None where there are none or they work.

    Args:
        runs: To be trained.
        device: On which.
        store: Where `resnet bench` has noted what it measured.
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
    return f"fp32 leaves the tensor cores of {name} idle. {gain}. Precision is part of a run: another makes other runs"


def _gain(wanted: set[str], device_name: str, version: str, store: Store) -> str | None:
    """What bf16 and tf32 made of an update of one net here, of these if it was measured; None if none was in both."""
    times: dict[tuple[str, str], dict[str, float]] = {}
    for path in sorted(store.speeds.glob("*.json")):
        try:
            each = Measured.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            continue  # a note that is damaged, or of a later version, is none
        if (each.device_name, each.torch) == (device_name, version):
            times.setdefault((each.net, each.step), {})[each.precision] = each.milliseconds
    # Like beside like: the same net by the same step.
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
    return f"An update of {net} took {found['fp32']:.3g} ms here by 'resnet bench', in {others}"
