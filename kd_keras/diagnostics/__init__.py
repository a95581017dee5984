"""Measurements as numbers: of predictions, and of what they cost."""

from kd_keras.diagnostics.bias import best_shift
from kd_keras.diagnostics.bias import prior_matching_shift
from kd_keras.diagnostics.gradients import GradientNoise
from kd_keras.diagnostics.gradients import gradient_noise
from kd_keras.diagnostics.gradients import label_noise_covariance
from kd_keras.diagnostics.latency import Latency
from kd_keras.diagnostics.latency import measure_latency
from kd_keras.diagnostics.predictions import Fidelity
from kd_keras.diagnostics.predictions import Quality
from kd_keras.diagnostics.predictions import accuracy_interval
from kd_keras.diagnostics.predictions import fidelity
from kd_keras.diagnostics.predictions import quality

__all__ = [
    "Fidelity",
    "GradientNoise",
    "Latency",
    "Quality",
    "accuracy_interval",
    "best_shift",
    "fidelity",
    "gradient_noise",
    "label_noise_covariance",
    "measure_latency",
    "prior_matching_shift",
    "quality",
]
