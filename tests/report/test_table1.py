# ruff: noqa: RUF001  the tables have true minus signs
from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from resnet_cli.experiment import Experiment, load_experiment
from resnet_cli.identity import Variant
from resnet_cli.report.summarize import summarize
from resnet_cli.report.tables import make_table, render, rich_table

if TYPE_CHECKING:
    from resnet_cli.report.tables import ResultTable
    from resnet_cli.storage.store import Store

LAYOUT = """\
stage     output    18-layer    34-layer    50-layer   101-layer   152-layer
────────────────────────────────────────────────────────────────────────────
conv1    112x112     7x7, 64     7x7, 64     7x7, 64     7x7, 64     7x7, 64
conv2_x    56x56   [3x3, 64;   [3x3, 64;   [1x1, 64;   [1x1, 64;   [1x1, 64;
                    3x3, 64]    3x3, 64]    3x3, 64;    3x3, 64;    3x3, 64;
                         x 2         x 3   1x1, 256]   1x1, 256]   1x1, 256]
                                                 x 3         x 3         x 3
"""

COUNTS = """\
                                                 paper's
net         layers   parameters   multiply-adds    FLOPs  difference
────────────────────────────────────────────────────────────────────
ResNet-18       18   11,515,688   1,794,805,760    1.8e9       −0.3%
ResNet-34       34   21,623,848   3,644,493,824    3.6e9       +1.2%
ResNet-50       50   25,557,032   3,857,973,248    3.8e9       +1.5%
ResNet-101     101   44,549,160   7,570,194,432    7.6e9       −0.4%
ResNet-152     152   60,192,808  11,282,415,616   11.3e9       −0.2%
plain-34        34   21,623,848   3,644,493,824    3.6e9       +1.2%
VGG-16          16  138,357,544  15,470,264,320   15.3e9       +1.1%
VGG-19          19  143,667,240  19,632,062,464   19.6e9       +0.2%
"""

NOTES = (
    "multiply-adds: of the convolutions and fully connected layers, for one image; the paper's FLOPs.",
    (
        "conv1 has stride 2; conv2_x begins with a 3x3 max pooling of stride 2, each later stage with a block of "
        "stride 2; average pooling and a fully connected layer follow. A plain net has the same layers."
    ),
    "Equal to the paper's count, rounded as there: ResNet-18, ResNet-34, ResNet-101, ResNet-152, plain-34, VGG-19.",
    "ResNet-50: 3.858e9 is the paper's 3.8e9 if it is truncated, not rounded.",
    "VGG-16: 15.347e9 without its fully connected layers is the paper's 15.3e9.",
    (
        "A bottleneck's stride is in its first 1x1 convolution; with it in the 3x3: ResNet-50 4.089e9, ResNet-101 "
        "7.801e9, ResNet-152 11.514e9."
    ),
)


@pytest.fixture
def table1(store: Store) -> ResultTable:
    """Table 1, which needs no run."""
    return make_table(summarize(store, load_experiment("table1"), Variant(dataset="imagenet")))


def describing(store: Store, *architectures: dict[str, Any], **changes: Any) -> ResultTable:
    """The table of an experiment of one's own that describes these nets."""
    content = {"name": "own", "title": "T", "question": "Q?", "section": "0", "architectures": list(architectures)}
    return make_table(summarize(store, Experiment.model_validate(content | changes), Variant()))


def test_rich(table1: ResultTable) -> None:
    """In 80 columns the paper's layout stands above the counts, and nothing is cut off."""
    console = Console(file=io.StringIO(), width=80)
    with console.capture() as capture:
        console.print(rich_table(table1))
    text = "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())

    assert text.startswith(
        "Table 1. Architectures for ImageNet\ncounted from the layers; nothing is trained\n\n" + LAYOUT
    )
    assert COUNTS in text


def test_notes(table1: ResultTable) -> None:
    """The notes say what is counted, and why two counts round to other digits than the paper's."""
    assert NOTES == table1.notes


def test_markdown(table1: ResultTable) -> None:
    """Both tables stand in a document, a block on one line."""
    text = render(table1, "md")

    assert "| conv5_x |      7x7 | [3x3, 512; 3x3, 512] x 2 | [3x3, 512; 3x3, 512] x 3 | [1x1, 512; " in text
    assert "| ResNet-152 |      152 |   60,192,808 |  11,282,415,616 |          11.3e9 |        −0.2% |" in text


def test_latex(table1: ResultTable) -> None:
    """The LaTeX form has both tables, in ASCII."""
    text = render(table1, "latex")

    assert text.isascii()
    assert 2 == text.count("\\begin{tabular}")


def test_csv(table1: ResultTable) -> None:
    """A csv row has a net's stages and its counts, those of its convolutions too."""
    rows = list(csv.DictReader(io.StringIO(render(table1, "csv"))))

    assert [
        "resnet-18",
        "resnet-34",
        "resnet-50-B",
        "resnet-101-B",
        "resnet-152-B",
        "plain-34",
        "vgg-16",
        "vgg-19",
    ] == [row["net"] for row in rows]
    assert "[1x1, 256; 3x3, 256; 1x1, 1024] x 36" == rows[4]["conv4_x"]
    assert ("", "15470264320", "15346630656") == tuple(
        rows[6][column] for column in ("conv4_x", "multiply_adds", "convolution_multiply_adds")
    )


def test_json(table1: ResultTable) -> None:
    """The json form has plain numbers, and null where Table 1 lays a net out no further."""
    content = json.loads(render(table1, "json"))

    assert ("table1", True, 0, 8) == (
        *(content["header"][key] for key in ("experiment", "is_paper", "n")),
        len(content["rows"]),
    )
    assert (11_515_688, 1_794_805_760, 1.8e9) == tuple(
        content["rows"][0][key] for key in ("parameters", "multiply_adds", "paper_multiply_adds")
    )
    assert content["rows"][7]["conv1"] is None


def test_a_difference_that_nothing_explains(store: Store) -> None:
    """Where neither cutting off nor leaving out makes a count the paper's, the notes only say that it is not."""
    table = describing(store, {"label": "ours", "net": "resnet-50", "flops": 5e9}, dataset="imagenet")

    assert "ours: 3.858e9 is not the paper's 5.0e9." in table.notes


def test_nets_of_cifar10(store: Store) -> None:
    """Section 4.2's nets are counted as well; Table 1's layout is not for them."""
    table = describing(store, {"label": "ours", "net": "resnet-1202", "flops": 2.8e9})

    assert 1 == len(table.parts)
    assert ["1202", "19,421,274"] == table.parts[0].loc[0, ["layers", "parameters"]].tolist()


def test_beside_runs(store: Store) -> None:
    """An experiment that trains and describes shows the results first, and the architectures below."""
    table = describing(store, {"label": "ours", "net": "resnet-20", "flops": 4e7}, runs=[{"nets": ["resnet-20"]}])

    assert ["method", "net"] == [part.columns[0] for part in table.parts]
    assert ["resnet-20"] == table.frame["label"].tolist()
