"""What may differ between two executions of one experiment: scale, data, precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field
from pydantic import model_validator as validates

from resnet_cli import tasks
from resnet_cli.names import Deviation, Precision, Split
from resnet_cli.spec import Frozen

if TYPE_CHECKING:
    from resnet_cli.tasks.task import Task

Views = Literal["1-crop", "10-crop", "dense"]


class Variant(Frozen):
    """What may differ between two executions of one experiment; printed on every table and figure.

    Attributes:
        source: The name of the folder of classes that is used as the dataset; None for a named dataset.
        accumulate: The number of parts in which a batch goes through the net; None: one.
        weights: The files that nets start from: their convention, and the first digits of a SHA-256 over them.
    """

    dataset: str = tasks.TASKS[0].dataset
    split: Split = "full"
    schedule: float = Field(1.0, gt=0, le=100)
    tiny: bool = False
    precision: Precision = "fp32"
    source: str | None = Field(None, pattern=r"^[\w.-]+$", max_length=80)
    deviations: tuple[Deviation, ...] | None = None
    accumulate: int | None = Field(None, ge=2, le=256)
    weights: str | None = Field(None, pattern=r"^(paper|torchvision|caffe)-[0-9a-f]{8}$")

    @validates(mode="after")
    def _agrees(self) -> Self:
        task = self.task
        if (self.dataset == task.folder) != (self.source is not None):
            raise ValueError("source names a folder of classes: give it for such a folder, and only then")
        if self.deviations is not None and list(self.deviations) != sorted(set(self.deviations)):
            raise ValueError("deviations must be sorted, each once")
        if unknown := set(self.deviations or ()) - set(task.deviations):
            other = tasks.titles(lambda each: unknown & set(each.deviations))
            names = ", ".join(sorted(unknown))
            raise ValueError(f"{names}: a deviation from {other}'s protocol, not from {task.title}'s")
        if self.weights and not task.takes_weights:
            raise ValueError(f"weights: {task.title}'s nets cannot start from files")
        if self.split not in task.splits:
            other = tasks.titles(lambda each: self.split in each.splits)
            raise ValueError(f"{self.split}: a split of {other}'s training set, not of {task.title}'s")
        return self

    @property
    def task(self) -> Task:
        """The task that has the dataset.

        Raises:
            ValueError: No task has the dataset.
        """
        return tasks.task_of(self.dataset)

    @property
    def stride_3x3(self) -> bool:
        """Whether a bottleneck's stride is in its 3x3 convolution ("v1.5"), not in the first 1x1."""
        return "stride-3x3" in (self.deviations or ())

    @property
    def is_paper(self) -> bool:
        """Whether a number of this variant may stand beside the paper's without a mark."""
        return self == Variant(dataset=self.task.dataset, precision=self.precision)

    @property
    def label(self) -> str:
        """The variant in words, for titles; it mentions everything that differs from the paper."""
        task = self.task
        data = task.title
        if self.dataset != task.dataset:
            data = f"{self.source or task.datasets[self.dataset]}, not {data}"
        if self.tiny:
            scale = "SMOKE RUN (--tiny), not a result"
        elif self.schedule == 1:
            scale = "paper scale"
        else:
            scale = f"schedule {self.schedule:g} of the paper's"
        split = "" if self.split == "full" else "; trained on 45k, error on the 5k held out of training"
        others = "".join(f"; {deviation}" for deviation in self.deviations or ())
        parts = f"; batch in {self.accumulate} parts" if self.accumulate else ""
        start = f"; from given weights, {self.weights}" if self.weights else ""
        return f"{scale}; {data}{split}{others}{parts}{start}; {self.precision}"

    @property
    def own_label(self) -> str:
        """The label of an experiment whose protocol is not the paper's."""
        label = self.label.replace("paper scale", "its whole schedule").replace("of the paper's", "of its own")
        whose = f"not section {self.task.section}'s" if self.task.section else "no paper gives one"
        return f"OWN PROTOCOL, {whose}; {label}"

    @property
    def slug(self) -> str:
        """The variant in a file name; empty for the paper's own."""
        parts = [
            "" if self.dataset == self.task.dataset or self.tiny else self.source or self.dataset,
            "" if self.split == "full" else self.split,
            "tiny" if self.tiny else "" if self.schedule == 1 else f"schedule-{self.schedule:g}",
            *(self.deviations or ()),
            f"accumulate-{self.accumulate}" if self.accumulate else "",
            self.weights or "",
            "" if self.precision == "fp32" else self.precision,
        ]
        return "".join(f"-{part}" for part in parts if part)
