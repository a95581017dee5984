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
        is_partial: Whether they are `T * log(p)` of the largest, and minus
            infinity for the others, which have the rest together. Defaults to
            False.
    """

    def __init__(self, num_classes, temperature=None, is_partial=False):
        self.num_classes = num_classes
        self.temperature = temperature
        self.is_partial = is_partial

    def completed(self, logits, student_logits):
        """Logits of all classes, at the temperature in use if that is one.

        Args:
            logits: The stored ones, shape `[batch, num_classes]`.
            student_logits: Those of the student.
        """
        if not self.is_partial:
            return logits
        return ops.fill_remainder(logits, student_logits, self.temperature)

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
    if teacher.is_partial and keras.tree.flatten(fidelity_metrics):
        raise ValueError(
            "Fidelity metrics compare all logits, and this store holds the "
            "largest only. Store all (write without top_k), or leave out "
            "fidelity_metrics."
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
                "These stored soft targets hold at the temperature "
                f"{teacher.temperature} alone (they are an arithmetic mean, or "
                f"the largest logits only), and the {user} takes them at: "
                f"{temperature}. Use {teacher.temperature}; or open a store of "
                "all members at the other temperature; or store all logits of "
                "the geometric mean, which hold at every one."
            )
