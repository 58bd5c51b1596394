"""Two examples for each command's help, and the headings under which help shows options."""

from __future__ import annotations

WHAT, SCALE, DATA, HARDWARE, OUTPUT = "What to run or show", "Scale and protocol", "Data", "Hardware", "Output"
WEIGHTS = "Weights and test"

EXAMPLES = {
    "": {
        "resnet run demo": "the demo, in minutes",
        "resnet show table6": "what Table 6 trains, and the paper's numbers",
    },
    "list": {
        "resnet list": "every experiment, with the time that its missing runs take here",
        "resnet list --results-dir results/published": "the same for another results folder",
    },
    "show": {
        "resnet show table6": "the protocol, nets and claims of Table 6",
        "resnet show depth --depths 8,14,20": "the same for a sweep of three depths",
    },
    "run": {
        "resnet run table6 --tiny": "a smoke run that checks the installation, seconds",
        "resnet run fig1 --minutes 20": "the longest schedule that fits into 20 minutes",
    },
    "reproduce": {
        "resnet reproduce --tiny": "a smoke run of every experiment",
        "resnet reproduce --precision auto --seeds 3": "everything at the paper's scale, three seeds per net",
    },
    "status": {
        "resnet status": "every run in the results folder",
        "resnet status table6": "the runs of Table 6",
    },
    "table": {
        "resnet table table6": "the paper's numbers beside ours, in the terminal",
        "resnet table table6 --output table6.tex": "the same for a LaTeX document",
    },
    "plot": {
        "resnet plot fig6 --format pdf": "Figure 6, from our runs",
        "resnet plot fig1 --tiny": "Figure 1, from smoke runs",
    },
    "check": {
        "resnet check table6": "a verdict on each claim of Table 6",
        "resnet check table6 --power": "how many seeds each claim needs, before you train",
    },
    "compare": {
        "resnet compare results /mnt/other/results": "every run of two results folders",
        "resnet compare results /mnt/other/results fig1": "the runs of one experiment",
    },
    "eval": {
        "resnet eval resnet-20 --weights results/runs/RUN": "a run of ours",
        "resnet eval resnet-50 --weights torchvision --crops 10": "torchvision's, 10-crop",
    },
    "export": {
        "resnet export RUN --to safetensors": "the weights, with their description",
        "resnet export RUN --to onnx --output net.onnx": "a net that takes pixels",
    },
    "bench": {
        "resnet bench": "ResNet-20 and ResNet-56 on this machine",
        "resnet bench resnet-20 --against eager": "beside a common eager training loop",
    },
    "report": {
        "resnet report": "writes results/report.html",
        "resnet report --results-dir results/published --output published.html": "of the published runs",
    },
    "data": {
        "resnet data where": "where datasets are expected",
        "resnet data download": "downloads what can be downloaded",
    },
    "data download": {
        "resnet data download": "into data/",
        "resnet data download --data-dir /mnt/data": "into a folder of yours",
    },
    "data verify": {
        "resnet data verify": "the files that were downloaded",
        "resnet data verify --dataset-root DIR": "every photograph of a folder of classes",
    },
    "data where": {
        "resnet data where": "looks in data/, or where RESNET_DATA says",
        "resnet data where --data-dir /mnt/data": "looks in a folder of yours",
    },
    "doctor": {
        "resnet doctor": "checks versions, devices, data, disk and runs",
        "resnet doctor --prove": "also checks the compiled training step",
    },
}


def examples(command: str) -> str:
    """The examples below a command's help, a line each."""
    return "\n\n".join(["Examples:", *(f"`{line}`: {what}" for line, what in EXAMPLES[command].items())])
