"""The papers' claims as experiments, one module for each."""

from kd_keras.experiments import ensemble
from kd_keras.experiments import few_examples
from kd_keras.experiments import gradient_noise
from kd_keras.experiments import mnist_table
from kd_keras.experiments import omitted_class
from kd_keras.experiments import soft_labels_from_counts
from kd_keras.experiments import specialists
from kd_keras.experiments import two_classes
from kd_keras.experiments import width
from kd_keras.experiments.laboratory import Settings
from kd_keras.experiments.running import read_done
from kd_keras.experiments.running import run_experiment

# By the names under which they are run.
EXPERIMENTS = {
    "mnist_table": mnist_table,
    "omitted_class": omitted_class,
    "two_classes": two_classes,
    "few_examples": few_examples,
    "ensemble": ensemble,
    "width": width,
    "gradient_noise": gradient_noise,
    "soft_labels_from_counts": soft_labels_from_counts,
    "specialists": specialists,
}

__all__ = ["EXPERIMENTS", "Settings", "read_done", "run_experiment"]
