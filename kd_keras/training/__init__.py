"""From configurations to trained models and stored soft targets."""

from kd_keras.training.config import DistillConfig
from kd_keras.training.config import TeacherConfig
from kd_keras.training.distillation import run_distillation
from kd_keras.training.evaluation import EvaluationConfig
from kd_keras.training.evaluation import run_evaluation
from kd_keras.training.exporting import ExportConfig
from kd_keras.training.exporting import run_export
from kd_keras.training.specialist_config import SpecialistsConfig
from kd_keras.training.specialist_job import run_specialists
from kd_keras.training.specialist_summary import summarise_specialists
from kd_keras.training.specialist_training import SpecialistRecipe
from kd_keras.training.storing import StoreConfig
from kd_keras.training.storing import audit_soft_targets
from kd_keras.training.storing import plan_soft_targets
from kd_keras.training.storing import store_soft_targets
from kd_keras.training.summary import summarise
from kd_keras.training.teaching import run_teacher
from kd_keras.training.teaching import summarise_teacher

__all__ = [
    "DistillConfig",
    "EvaluationConfig",
    "ExportConfig",
    "SpecialistRecipe",
    "SpecialistsConfig",
    "StoreConfig",
    "TeacherConfig",
    "audit_soft_targets",
    "plan_soft_targets",
    "run_distillation",
    "run_evaluation",
    "run_export",
    "run_specialists",
    "run_teacher",
    "store_soft_targets",
    "summarise",
    "summarise_specialists",
    "summarise_teacher",
]
