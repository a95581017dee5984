"""Results as pages to read: Markdown with plots beside it."""

from kd_keras.reports.distillation import write_distillation_report
from kd_keras.reports.experiment import command_of_experiment
from kd_keras.reports.experiment import commands_table
from kd_keras.reports.experiment import headline_table
from kd_keras.reports.experiment import marks_table
from kd_keras.reports.experiment import write_experiment_report
from kd_keras.reports.experiment import write_results_page
from kd_keras.reports.ratios import write_ratios_plot
from kd_keras.reports.specialists import write_specialists_report
from kd_keras.reports.teacher import write_teacher_report

__all__ = [
    "command_of_experiment",
    "commands_table",
    "headline_table",
    "marks_table",
    "write_distillation_report",
    "write_experiment_report",
    "write_ratios_plot",
    "write_results_page",
    "write_specialists_report",
    "write_teacher_report",
]
