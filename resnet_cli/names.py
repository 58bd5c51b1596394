"""The values of options, and help texts about datasets. Apart from specs and tasks, so that it needs no pydantic."""

from __future__ import annotations

from typing import Literal, get_args

DetectedDataset = Literal[
    "voc07+12", "voc07++12", "voc07", "voc12", "drawn-scenes",
    "coco2014", "coco2017", "coco-trainval35k", "drawn-scenes-coco",
]  # fmt: skip
OfDetection = Literal[DetectedDataset, "drawn-crops"]
OfLocalisation = Literal["imagenet-loc", "drawn-objects"]
OfSpeech = Literal["timit", "spoken"]
OfImages = Literal["cifar10", "synthetic", "shapes-16", "imagenet", "synthetic-photos"]
DatasetName = Literal[OfImages, "folder", OfDetection, OfLocalisation, OfSpeech]
TrainedDataset = Literal[OfImages, OfDetection, OfLocalisation, OfSpeech, "auto"]
PaperDataset = Literal[
    "cifar10", "imagenet", "imagenet-loc", "voc", "voc07", "voc12", "coco", "coco2017", "coco-trainval35k", "timit"
]
PAPER_DATASETS: tuple[PaperDataset, ...] = get_args(PaperDataset)
GivenDataset = Literal["cifar10", "imagenet", "synthetic", "synthetic-photos"]  # what given classifiers are tested on
TestedDataset = Literal[GivenDataset, DetectedDataset]
Precision = Literal["fp32", "tf32", "bf16"]
Split = Literal["full", "45k-5k"]
Deviation = Literal["channel-mean", "fixed-steps", "random-resized-crop", "stride-3x3"]
ConventionName = Literal["paper", "torchvision", "fb", "akamaster", "kuangliu"]
TestedConvention = Literal[ConventionName, "caffe"]
ClassOrder = Literal["number", "text"]

EXPERIMENT_OF_ALIAS = {"cifar": "fig6", "imagenet": "fig4", "responses": "fig7"}

DATASET_ROOT_HELP = (
    "Your own images: a folder with train/<class>/ and val/<class>/, in place of <data-dir>/imagenet/. For VOC, COCO "
    "and TIMIT: the folder that holds the dataset."
)
DEVIATION_HELP = (
    f"A deviation from the paper's ImageNet protocol: {', '.join(get_args(Deviation))}. May be given several times."
)
DOWNLOAD_HELP = (
    "Download CIFAR-10 (163 MiB) from its official source, check it and unpack it. An archive already in place is used."
)
VERIFY_HELP = (
    "Check a dataset: CIFAR-10's files by their official MD5; ImageNet or a folder of classes by decoding every "
    "photograph; VOC, COCO and TIMIT by reading every annotation too.\n\nAn interrupted check continues where it "
    "stopped."
)
