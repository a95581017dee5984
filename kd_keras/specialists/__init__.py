"""Specialists: the mathematics of section 5 of Hinton et al. (2015)."""

from kd_keras.specialists.clusters import cluster_classes
from kd_keras.specialists.clusters import prediction_covariance
from kd_keras.specialists.clusters import random_classes
from kd_keras.specialists.combination import active_specialists
from kd_keras.specialists.combination import combine
from kd_keras.specialists.combination import objective
from kd_keras.specialists.dustbin import dustbin_shift
from kd_keras.specialists.measures import Coverage
from kd_keras.specialists.measures import conditional_accuracy
from kd_keras.specialists.measures import coverage
from kd_keras.specialists.system import CombineSpecialists
from kd_keras.specialists.system import combined_model

__all__ = [
    "CombineSpecialists",
    "Coverage",
    "active_specialists",
    "cluster_classes",
    "combine",
    "combined_model",
    "conditional_accuracy",
    "coverage",
    "dustbin_shift",
    "objective",
    "prediction_covariance",
    "random_classes",
]
