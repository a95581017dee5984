"""The papers' claims as experiments, one module for each."""

from kd_keras.experiments import mnist_table
from kd_keras.experiments import omitted_class
from kd_keras.experiments import two_classes
from kd_keras.experiments.laboratory import Settings
from kd_keras.experiments.running import run_experiment

# By the names under which they are run.
EXPERIMENTS = {
    "mnist_table": mnist_table,
    "omitted_class": omitted_class,
    "two_classes": two_classes,
}

__all__ = ["EXPERIMENTS", "Settings", "run_experiment"]
