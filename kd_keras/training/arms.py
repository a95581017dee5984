"""The arms of the main job: what is trained for each seed."""

import dataclasses

TEACHER = "teacher"
HARD = "hard labels"
SMOOTHED = "label smoothing"
DISTILLED = "distilled"

_CONTROLS = {"hard": HARD, "label_smoothing": SMOOTHED}


@dataclasses.dataclass(frozen=True)
class Arm:
    """One thing that is trained for each seed.

    Attributes:
        name: `TEACHER`, `HARD`, `SMOOTHED` or `DISTILLED`.
        temperature: Of a distilled student; None for others.
        soft_weight: Of a distilled student; None for others.
    """

    name: str
    temperature: float | None = None
    soft_weight: float | None = None

    @property
    def title(self):
        """What to call it beside the others."""
        if self.name != DISTILLED:
            return self.name
        return f"T = {self.temperature:g}, weight {self.soft_weight:g}"

    @property
    def unit(self):
        """What to call it in the name of a file."""
        if self.name != DISTILLED:
            return self.name.replace(" ", "-")
        return f"{self.name}-{self.temperature:g}-{self.soft_weight:g}"


def arms_of(config):
    """The arms of a job, the teacher first, in the order of training.

    Args:
        config: A `DistillConfig`.

    Returns:
        A list of `Arm`.
    """
    return [
        Arm(TEACHER),
        *(Arm(_CONTROLS[control]) for control in config.control),
        *(
            Arm(DISTILLED, temperature, soft_weight)
            for temperature in config.temperature
            for soft_weight in config.soft_weight
        ),
    ]


def of_row(row):
    """The arm of a line of `metrics.jsonl`."""
    return Arm(row["arm"], row["temperature"], row["soft_weight"])


def chosen(rows):
    """Which distilled arm the held-out examples speak for.

    Args:
        rows: Lines of `metrics.jsonl`.

    Returns:
        `Arm`: of the least errors on the validation split over all seeds; of
        equals the first. The only one, if there is no choice.
    """
    errors = {}
    for row in rows:
        if row["arm"] == DISTILLED:
            arm = of_row(row)
            errors[arm] = errors.get(arm, 0) + (row["validation_errors"] or 0)
    return min(errors, key=errors.get)
