"""Teachers that are not called: their logits come with the data."""

import keras

from kd_keras import model_checks
from kd_keras import ops


class StoredTeacher:
    """A teacher whose logits were stored, and come with the data.

    It declares what they hold for, so that a Distiller that they do not fit is
    refused when it is made. See `kd_keras.soft_targets.open_store`.

    Args:
        num_classes: Classes of the logits.
        temperature: The one temperature that they hold for. Defaults to None:
            every one.
    """

    def __init__(self, num_classes, temperature=None):
        self.num_classes = num_classes
        self.temperature = temperature

    def __call__(self, x):
        """Raises: there is nothing to call."""
        raise ValueError(
            "This teacher's logits are stored. Train on data that brings them: "
            "distiller.fit(store.batches(source, batch_size))."
        )


def check_declared(teacher, student, soft_loss, fidelity_metrics):
    """Raises if stored logits do not hold for what a Distiller does.

    Args:
        teacher: Any teacher; only a `StoredTeacher` declares anything.
        student: The student, a `keras.Model`.
        soft_loss: The soft loss, or a structure of them.
        fidelity_metrics: The fidelity metrics, in any structure.

    Raises:
        ValueError: If the student has other classes, or more than one output,
            or if a temperature differs.
    """
    if not isinstance(teacher, StoredTeacher):
        return
    outputs = model_checks.outputs(student)
    if keras.tree.is_nested(outputs) or keras.tree.is_nested(soft_loss):
        raise ValueError(
            "Stored soft targets are those of one output. Received a student "
            "with several."
        )
    if outputs is not None and outputs.shape[-1] != teacher.num_classes:
        raise ValueError(
            f"The stored soft targets are of {teacher.num_classes} classes, "
            f"and the student gives logits of shape {outputs.shape}: they must "
            "have the same classes."
        )
    if teacher.temperature is None:
        return
    users = {"soft loss": getattr(soft_loss, "temperature", None)}
    for metric in keras.tree.flatten(fidelity_metrics):
        users[f"fidelity metric {metric.name}"] = getattr(
            metric, "temperature", 1.0
        )
    for user, temperature in users.items():
        if temperature is None or (
            ops.check_temperature(temperature) != teacher.temperature
        ):
            raise ValueError(
                "These stored soft targets are an arithmetic mean, which holds "
                f"at the temperature {teacher.temperature} alone, and the "
                f"{user} takes them at: {temperature}. Use "
                f"{teacher.temperature}, open a store of all members at the "
                "other temperature, or store the geometric mean, which holds "
                "at every one."
            )
