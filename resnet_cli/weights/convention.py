"""What weights assume about net and pixels: the paper's, and four families of weights that others published.

Imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from resnet_cli import tasks
from resnet_cli.errors import BadInputError

if TYPE_CHECKING:
    from resnet_cli.data.dataset import Constants
    from resnet_cli.names import ConventionName
    from resnet_cli.nets.resnet import Zeros
    from resnet_cli.spec import Net
    from resnet_cli.tasks.task import Task

IMAGENET_CONSTANTS: Constants = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
FB_CIFAR10_CONSTANTS: Constants = ((125.3 / 255, 123.0 / 255, 113.9 / 255), (63.0 / 255, 62.1 / 255, 66.7 / 255))
# Copied from kuangliu/pytorch-cifar into many training scripts. The deviations are means over images of each image's
# own deviation, not those of all pixels.
KUANGLIU_CONSTANTS: Constants = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
# Other scales of pixels that published weights assume: -1 to 1, and 0 to 1.
PIXELS_WITHOUT_NAME: tuple[Constants, ...] = (
    ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
)


@dataclass(frozen=True)
class Convention:
    """What weights assume, besides the paper's net.

    Attributes:
        source: Whose weights are like this.
        stride_3x3: A bottleneck's stride is on its 3x3 convolution, not on the first 1x1.
        zeros: Where option A's zero channels stand.
        constants: Per-channel mean and std on the scale 0 to 1; None for the training mean of our own.
        option_b: Whether a bare `resnet-18` has option B.
    """

    source: str
    stride_3x3: bool = False
    zeros: Zeros = "end"
    constants: Constants | None = None
    option_b: bool = False

    def meaning(self, task: Task) -> str:
        """What it assumes, in words."""
        stride = f"stride on the {'3x3' if self.stride_3x3 else 'first 1x1'} of a bottleneck, "
        zeros = {"end": "option A's zero channels last", "both": "option A's zero channels half on each side"}
        pixels = "the training mean subtracted"
        if self.constants:
            mean, std = (" ".join(f"{value:.4g}" for value in values) for values in self.constants)
            pixels = f"mean {mean}, std {std}"
        return f"{self.source}: {stride if task.protocol.photos else ''}{zeros[self.zeros]}, {pixels}"


# By name and task.
CONVENTIONS: dict[ConventionName, dict[str, Convention]] = {
    "paper": {"cifar10": Convention("the paper's"), "imagenet": Convention("the paper's")},
    "torchvision": {
        "imagenet": Convention("torchvision's", stride_3x3=True, constants=IMAGENET_CONSTANTS, option_b=True)
    },
    "fb": {
        "cifar10": Convention("fb.resnet.torch's", constants=FB_CIFAR10_CONSTANTS),
        "imagenet": Convention("fb.resnet.torch's", stride_3x3=True, constants=IMAGENET_CONSTANTS, option_b=True),
    },
    "akamaster": {
        "cifar10": Convention("akamaster/pytorch_resnet_cifar10's", zeros="both", constants=IMAGENET_CONSTANTS)
    },
    "kuangliu": {"cifar10": Convention("kuangliu/pytorch-cifar's", constants=KUANGLIU_CONSTANTS)},
}


def find_convention(name: ConventionName, task: Task) -> Convention:
    """The convention in a task.

    Raises:
        BadInputError: Its authors published no weights for the task, or the task has no conventions.
    """
    there = CONVENTIONS[name]
    if not any(task.name in each for each in CONVENTIONS.values()):
        raise BadInputError(f"{task.title}'s nets: eval tests only nets that classify images; see eval.csv of the run")
    if task.name not in there:
        (other,) = there
        title = tasks.task_of(other).title
        raise BadInputError(f"--convention {name}: only for weights for {title}; add --dataset {other}, or use another")
    return there[task.name]


def net_under(convention: Convention, task: Task, name: str) -> Net:
    """The net that a name means: where all of a family's nets have option B, a bare `resnet-18` has it too.

    Raises:
        ValueError: It is no net of this task.
    """
    bare = name.startswith("resnet-") and name[-1:].isdecimal()
    return task.net(f"{name}-B" if bare and convention.option_b else name)
