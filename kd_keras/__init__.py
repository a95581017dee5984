"""Knowledge distillation for Keras 3 on TensorFlow.

After Hinton, Vinyals & Dean (2015), "Distilling the Knowledge in a Neural
Network", arXiv 1503.02531.
"""

import importlib

import keras

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        "kd_keras needs Keras on the TensorFlow backend. Received: "
        f"{keras.backend.backend()!r}. Set the environment variable "
        "KERAS_BACKEND=tensorflow before Keras is imported."
    )

from kd_keras import callbacks
from kd_keras import distribution
from kd_keras import export
from kd_keras import keras_hooks
from kd_keras import losses
from kd_keras import metrics
from kd_keras import ops
from kd_keras import precision
from kd_keras.distiller import Distiller
from kd_keras.saved_teachers import load_teacher
from kd_keras.teachers import EnsembleTeacher
from kd_keras.teachers import ProbabilityTeacher
from kd_keras.together import fit_together
from kd_keras.version import __version__ as __version__

__all__ = [
    "Distiller",
    "EnsembleTeacher",
    "ProbabilityTeacher",
    "callbacks",
    "datasets",
    "distribution",
    "export",
    "fit_together",
    "load_teacher",
    "losses",
    "metrics",
    "models",
    "ops",
    "precision",
    "soft_targets",
    "specialists",
    "training",
]

keras_hooks.warn_if_unchecked()


def __getattr__(name):
    # What needs more than Keras to import waits until it is asked for.
    if name in (
        "datasets",
        "models",
        "soft_targets",
        "specialists",
        "training",
    ):
        return importlib.import_module(f"kd_keras.{name}")
    raise AttributeError(f"module 'kd_keras' has no attribute {name!r}")
