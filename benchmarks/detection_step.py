"""One update of the paper's detectors at its real size: seconds, and bytes that the backward pass needs of the forward.

    python benchmarks/detection_step.py [NET...]

On one image of 600x800 pixels with 128 sampled regions, on the CPU in fp32; `tasks/detection/cost.py` has its bytes.
"""

from __future__ import annotations

import sys
import time

import torch
from torch.optim.swa_utils import update_bn

from resnet_cli.identity import RunSpec, Variant
from resnet_cli.tasks.detection import Voc
from resnet_cli.tasks.detection.detection import LARGE, take_over
from resnet_cli.train.step import EagerStep

NETS = ("faster-rcnn-vgg-16", "faster-rcnn-resnet-101")
SIZE = 600, 800
OBJECTS = 3


def main() -> None:
    """Measures and says it, a line a net."""
    task = Voc()
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (1, 3, *SIZE), generator=generator, dtype=torch.uint8)
    boxes = torch.tensor([[[50.0, 50, 350, 450], [300, 100, 700, 500], [400, 300, 560, 420]]])
    batch = image, torch.tensor([SIZE]), boxes, torch.arange(1, OBJECTS + 1)[None], torch.zeros(1, dtype=torch.int64)
    # With a least overlap of background an untrained net might find fewer than 128 regions.
    assert task.protocol.detector is not None
    settings = task.protocol.detector.model_copy(update={"negatives_from": 0.0})
    protocol = task.protocol.model_copy(update={"detector": settings})
    for name in sys.argv[1:] or NETS:
        run = RunSpec.of(task.net(name), Variant(dataset=task.dataset), protocol, 0)
        net = task.build_for(run, task.classes)
        if "resnet" in name:  # else maps grow from block to block, and no proposal is a number
            classifier = LARGE.make(task.classifier(run.net)[1], 0)
            update_bn([image / 255 - 0.5], classifier)
            take_over(net, classifier.state_dict())
        step = EagerStep(net, run.protocol, "fp32", torch.device("cpu"), loss=task.loss())
        saved: dict[int, int] = {}

        def keep(tensor: torch.Tensor, saved: dict[int, int] = saved) -> torch.Tensor:
            storage = tensor.untyped_storage()
            saved[storage.data_ptr()] = storage.nbytes()
            return tensor

        began = time.perf_counter()
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            step(*batch, 1e-6)
        seconds = time.perf_counter() - began
        weights = sum(each.numel() * each.element_size() for each in net.parameters())
        print(f"{name}: {seconds:.1f} s, {sum(saved.values()) - weights:,} bytes saved for the backward pass")


if __name__ == "__main__":
    main()
