"""What several Distillers that train together may not be, and not share."""

import keras

from kd_keras import keras_hooks
from kd_keras import teachers
from kd_keras.distiller import Distiller

# What must be the same for all that run in one step.
_SAME = (
    "distribute_strategy",
    "jit_compile",
    "run_eagerly",
    "steps_per_execution",
)


def check_distillers(distillers):
    """Raises what can be told of Distillers before the first step.

    Args:
        distillers: What `fit_together` is given.

    Raises:
        TypeError: If it is no dict of Distillers by name.
        ValueError: If they cannot train in one step, saying why.
    """
    if (
        not isinstance(distillers, dict)
        or not distillers
        or not all(
            isinstance(name, str)
            and name
            and not name.startswith("val_")
            and isinstance(one, Distiller)
            for name, one in distillers.items()
        )
    ):
        raise TypeError(
            "fit_together() takes a dict of names to Distillers: "
            '{"warm": distiller, ...}. Names are strings, not empty, and do '
            'not begin with "val_", as logs of validation do. '
            f"Received: {distillers!r}"
        )
    first_name, first = next(iter(distillers.items()))
    owners = {}
    for name, one in distillers.items():
        if not one.compiled:
            raise ValueError(
                f"Distiller {name!r} is not compiled. Compile each: "
                "distiller.compile(optimizer, loss)."
            )
        # A student that is not built yet has no variables.
        parts = [
            one.student,
            *one.student.variables,
            one.optimizer,
            *keras_hooks.compiled_metrics(one),
            *keras.tree.flatten(one.fidelity_metrics),
        ]
        for part in parts:
            other = owners.setdefault(id(part), name)
            if other != name:
                raise ValueError(
                    f"Distillers {other!r} and {name!r} share variables, an "
                    "optimizer or a metric, so that each would train the "
                    "other's student or count for the other. Make a student, "
                    "an optimizer and metrics for each. Both have "
                    f"{getattr(part, 'name', part)!r}."
                )
        for step in ("train_step", "test_step"):
            if getattr(type(one), step) is not getattr(Distiller, step):
                raise ValueError(
                    f"Distiller {name!r} is a {type(one).__name__}, whose own "
                    f"{step}() a common step would not call. Train it by its "
                    "own fit()."
                )
        for setting in _SAME:
            values = getattr(first, setting), getattr(one, setting)
            if values[0] is not values[1] and values[0] != values[1]:
                raise ValueError(
                    f"Distillers {first_name!r} and {name!r} are to run in "
                    f"one step, and `{setting}` differs: {values[0]!r} and "
                    f"{values[1]!r}. Give the same to each compile()."
                )
    for name, one in distillers.items():
        for model in teachers.models_of(one.teacher):
            for variable in model.variables:
                if id(variable) in owners:
                    raise ValueError(
                        f"The teacher of Distiller {name!r} shares variables "
                        f"with the student of {owners[id(variable)]!r}, so "
                        "that training would change it. Teach with a copy: "
                        "keras.models.clone_model, then set_weights."
                    )
    with_teacher = {
        name: one for name, one in distillers.items() if one.teacher is not None
    }
    for name, one in with_teacher.items():
        shared, *_ = with_teacher
        if one.teacher is not with_teacher[shared].teacher:
            raise ValueError(
                f"Distillers {shared!r} and {name!r} have two teachers. Give "
                "both the same object: open a store once, of a list make one "
                "kd_keras.EnsembleTeacher(list), and of teacher_dtype one "
                "kd_keras.precision.low_precision(teacher, dtype)."
            )


def check_callbacks(callbacks):
    """Raises where a callback needs what the common training has not.

    Args:
        callbacks: List of `keras.callbacks.Callback`.

    Raises:
        ValueError: If there is such a one, with what to do instead.
    """
    for callback in callbacks:
        kind = type(callback).__name__
        if isinstance(
            callback,
            keras.callbacks.LearningRateScheduler
            | keras.callbacks.ReduceLROnPlateau,
        ):
            raise ValueError(
                f"In fit_together() {kind} finds no optimizer: each Distiller "
                "has its own. Give a schedule as the learning rate of each: "
                "keras.optimizers.schedules."
            )
        if isinstance(callback, keras.callbacks.SwapEMAWeights):
            raise ValueError(
                f"In fit_together() {kind} finds no optimizer: each Distiller "
                "has its own. Leave it out: at the end of training averages "
                "become the weights of each. To evaluate them on the way train "
                "each by its own fit()."
            )
        if isinstance(callback, keras.callbacks.TerminateOnNaN):
            raise ValueError(
                f"In fit_together() {kind} finds no log called `loss`: each "
                "Distiller has its own, called `NAME_loss`. Leave it out and "
                "look at the histories, of which one that is NaN leaves the "
                "others alone, or give a callback that looks at these logs."
            )
        if isinstance(callback, keras.callbacks.ModelCheckpoint):
            raise ValueError(
                f"In fit_together() {kind} finds no model that could be loaded "
                "again. Save each Distiller afterwards (distiller.save), or "
                "with kd_keras.callbacks.TrainingState(path) what a training "
                "that is broken off goes on with."
            )
