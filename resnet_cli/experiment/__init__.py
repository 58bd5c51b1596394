"""Experiments: the schema of their files, and reading one. Imports no torch."""

from resnet_cli.experiment.load import experiment_names, experiments_folder, load_experiment
from resnet_cli.experiment.schema import Architecture, Experiment, Figure, Panel, Row

__all__ = [
    "Architecture",
    "Experiment",
    "Figure",
    "Panel",
    "Row",
    "experiment_names",
    "experiments_folder",
    "load_experiment",
]
