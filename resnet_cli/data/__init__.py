"""Datasets, and the order and augmentation in which training sees them."""

from resnet_cli.data.dataset import Dataset
from resnet_cli.data.photo_stream import PhotoStream
from resnet_cli.data.photos import PhotoDataset
from resnet_cli.data.stream import Stream, TrainStream

__all__ = ["Dataset", "PhotoDataset", "PhotoStream", "Stream", "TrainStream"]
