"""The paper's two tasks of classifying images."""

from __future__ import annotations

from resnet_cli.tasks import TASKS
from resnet_cli.tasks.cifar10 import Cifar10
from resnet_cli.tasks.imagenet import ImageNet

CIFAR10 = next(task for task in TASKS if isinstance(task, Cifar10))
IMAGENET = next(task for task in TASKS if isinstance(task, ImageNet))
