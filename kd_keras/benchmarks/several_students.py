"""Several students on one pass of the teacher, beside a run for each."""

import functools
import time

import keras

from kd_keras import together
from kd_keras.benchmarks import rounds
from kd_keras.benchmarks import workloads
from kd_keras.distiller import Distiller

NAME = "several_students"
_NUM_STUDENTS = 8
# Its forward pass takes some five times as long as the step of a student.
_TEACHER = (3100, 3100)
_STUDENT = (300, 300)
_EPOCHS = 3


def run(name=NAME, *, num_rounds=7):
    """Times eight students together and one by one.

    Args:
        name: `NAME`.
        num_rounds: Rounds that count. Defaults to 7.

    Returns:
        List of `rounds.Ratio`.
    """
    del name
    taken = rounds.time_in_turn(arms(), num_rounds=num_rounds)
    each = workloads.dashed(_STUDENT)
    return [
        rounds.ratio_of(
            f"MLP of {workloads.dashed(_TEACHER)}, forward / plain step of "
            f"{each}",
            taken,
            "teacher",
            "plain",
            "",
        ),
        rounds.ratio_of(
            f"{_NUM_STUDENTS} students ({each}) one by one / on one live pass",
            taken,
            "one_by_one",
            "together",
            ">= 2.5",
        ),
        rounds.ratio_of(
            f"{_NUM_STUDENTS} students ({each}), whole runs of {_EPOCHS} "
            "epochs with tracing, one by one / on one live pass",
            taken,
            "whole_one_by_one",
            "whole_together",
            "",
        ),
        rounds.ratio_of(
            f"{_NUM_STUDENTS} students ({each}) one by one / on one read of "
            "stored targets",
            taken,
            "stored_one_by_one",
            "stored_together",
            "",
        ),
    ]


def arms():
    """Functions that train all students, or one without a teacher.

    Returns:
        Dict of names to functions without arguments, which return the seconds
        that count: those of an epoch, without the first, or (`whole_...`) of
        all, with models that were not trained before.
    """
    workload = workloads.Workload(
        f"MLP of {_TEACHER} to {_STUDENT}",
        (28, 28, 1),
        10,
        128,
        30,
        workloads.mlps(_STUDENT, (28, 28, 1), 10),
        workloads.mlps(_TEACHER, (28, 28, 1), 10),
    )
    x, y = workload.arrays()
    data = workloads.batched(workload, x, y)
    teacher = workload.make_teacher(0)
    logits = workloads.all_logits(teacher, data)
    stored = workloads.batched(
        workload, x, {"label": y, "teacher_logits": logits}
    )

    def distillers(teacher):
        return {
            f"student_{i}": workloads.compiled(
                Distiller(
                    student=workload.make_student(i),
                    teacher=teacher,
                    temperature=1.0 + i,
                ),
                workloads.STEPS_PER_EXECUTION,
            )
            for i in range(_NUM_STUDENTS)
        }

    plain = workloads.compiled(
        workload.make_student(0), workloads.STEPS_PER_EXECUTION
    )

    def fit(call, data=data, is_whole=False):
        clock = _AfterTheFirst()
        begin = time.perf_counter()
        call(
            data,
            epochs=_EPOCHS,
            verbose=0,
            shuffle=False,
            callbacks=[clock],
        )
        whole = time.perf_counter() - begin
        return rounds.Counted(whole if is_whole else clock.seconds)

    def one_by_one(made, *args):
        return rounds.Counted(sum(fit(one.fit, *args) for one in made.values()))

    def at_once(made, *args):
        return fit(functools.partial(together.fit_together, made), *args)

    def both(teacher, data):
        alone, joint = distillers(teacher), distillers(teacher)
        yield lambda: one_by_one(alone, data)
        yield lambda: at_once(joint, data)

    live_one_by_one, live_at_once = both(teacher, data)
    stored_one_by_one, stored_at_once = both(None, stored)
    return {
        "teacher": workloads.bare_forward(teacher, data),
        "plain": lambda: fit(plain.fit),
        "one_by_one": live_one_by_one,
        "together": live_at_once,
        "whole_one_by_one": lambda: one_by_one(distillers(teacher), data, True),
        "whole_together": lambda: at_once(distillers(teacher), data, True),
        "stored_one_by_one": stored_one_by_one,
        "stored_together": stored_at_once,
    }


class _AfterTheFirst(keras.callbacks.Callback):
    """Times the epochs but for the first, in which steps may be traced.

    Attributes:
        seconds: Mean of an epoch.
    """

    def __init__(self):
        super().__init__()
        self.seconds = None

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 0:
            self._begin = time.perf_counter()

    def on_train_end(self, logs=None):
        self.seconds = (time.perf_counter() - self._begin) / (_EPOCHS - 1)
