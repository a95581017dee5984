"""Measurements as numbers: of predictions, and of what they cost."""

from kd_keras.diagnostics.bias import best_shift
from kd_keras.diagnostics.bias import prior_matching_shift
from kd_keras.diagnostics.latency import Latency
from kd_keras.diagnostics.latency import measure_latency
from kd_keras.diagnostics.predictions import Fidelity
from kd_keras.diagnostics.predictions import Quality
from kd_keras.diagnostics.predictions import accuracy_interval
from kd_keras.diagnostics.predictions import fidelity
from kd_keras.diagnostics.predictions import quality

__all__ = [
    "Fidelity",
    "Latency",
    "Quality",
    "accuracy_interval",
    "best_shift",
    "fidelity",
    "measure_latency",
    "prior_matching_shift",
    "quality",
]
