"""From a configuration to trained models: the main job."""

from kd_keras.training.config import DistillConfig
from kd_keras.training.distillation import run_distillation
from kd_keras.training.summary import ARMS
from kd_keras.training.summary import summarise

__all__ = ["ARMS", "DistillConfig", "run_distillation", "summarise"]
