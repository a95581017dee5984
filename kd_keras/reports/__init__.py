"""Results as pages to read: Markdown with plots beside it."""

from kd_keras.reports.distillation import write_distillation_report
from kd_keras.reports.experiment import write_experiment_report
from kd_keras.reports.teacher import write_teacher_report

__all__ = [
    "write_distillation_report",
    "write_experiment_report",
    "write_teacher_report",
]
