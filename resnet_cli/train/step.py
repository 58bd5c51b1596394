"""One update, plainly: the reference that every faster step must equal."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from resnet_cli.errors import BadInputError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from torch import Tensor, nn

    from resnet_cli.spec import Precision, Protocol


def choose_device(name: str) -> torch.device:
    """The device that `--device` names; `auto` is the first there is of cuda, mps, cpu.

    Raises:
        BadInputError: It is not here.
    """
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, there in here.items() if there)
    if not here[name]:
        found = ", ".join(device for device, there in here.items() if there)
        raise BadInputError(f"--device {name}: torch {torch.__version__} finds none here; there is {found}")
    return torch.device(name)


def prepare(device: torch.device, precision: Precision) -> None:
    """Sets torch's global switches for exact, repeatable training at the wanted precision.

    Raises:
        BadInputError: The device does not have this precision.
    """
    if precision == "tf32" and device.type != "cuda":
        raise BadInputError(f"--precision tf32: a CUDA device has it, {device.type} does not; use fp32 or bf16")
    # TF32 is a decision, never an accident: torch allows it in cuDNN's convolutions unless told otherwise.
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = False
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS is not deterministic
        torch.use_deterministic_algorithms(mode=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a debugging aid that costs a kernel a tensor
    # Tiny weights and momenta decay into denormals, which slow a CPU down several times.
    torch.set_flush_denormal(True)


def memory_format(device: torch.device, precision: Precision) -> torch.memory_format:
    """The layout in which convolutions are fastest: channels last, but on MPS and for bf16 on a CPU with AMX.

    There oneDNN's eager bf16 kernels are several times slower with channels last.
    """
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    plain = device.type == "mps" or (device.type == "cpu" and precision == "bf16" and capabilities.get("amx_bf16"))
    return torch.contiguous_format if plain else torch.channels_last


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Mixed precision for the forward pass: bf16 where asked for, weights and statistics stay fp32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


class EagerStep:
    """SGD on the cross-entropy of a batch (section 3.4). Weight decay on every parameter, as Caffe does by default."""

    def __init__(self, net: nn.Module, protocol: Protocol, precision: Precision, device: torch.device) -> None:
        self.memory_format = memory_format(device, precision)
        self.net = net.to(device).to(memory_format=self.memory_format)
        self.precision = precision
        self.device = device
        self.optimizer = torch.optim.SGD(
            net.parameters(),
            lr=protocol.learning_rate,
            momentum=protocol.momentum,
            weight_decay=protocol.weight_decay,
        )

    def __call__(self, images: Tensor, labels: Tensor, learning_rate: float) -> tuple[Tensor, Tensor]:
        """Makes one update.

        Args:
            images: (B, 3, H, W) float32 on the device.
            labels: (B,) int64 on the device.
            learning_rate: This update's rate.

        Returns:
            Mean loss and the number of wrong answers of this batch before the update, 0-dim on the device.
        """
        self.net.train()
        images = images.contiguous(memory_format=self.memory_format)
        with autocast(self.device, self.precision):
            logits = self.net(images)
        logits = logits.float()
        loss = functional.cross_entropy(logits, labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        return loss.detach(), (logits.argmax(dim=1) != labels).sum()
