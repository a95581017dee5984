"""What a step of distillation costs beside its parts and its alternatives."""

import functools

import keras

from kd_keras import teachers
from kd_keras.benchmarks import rounds
from kd_keras.benchmarks import workloads
from kd_keras.distiller import Distiller

# What a comparison is called, in front of the name of its workload.
PREFIX = "step_"
NAMES = tuple(PREFIX + name for name in workloads.WORKLOADS)


def run(name, *, num_rounds=7):
    """Times every way to train and evaluate on one workload.

    Args:
        name: One of `NAMES`.
        num_rounds: Rounds that count, at least. Defaults to 7.

    Returns:
        List of `rounds.Ratio`.
    """
    workload = workloads.WORKLOADS[name.removeprefix(PREFIX)]
    taken = rounds.time_instances(
        lambda: arms(workload),
        num_instances=max(workload.builds_per_round * num_rounds, 1),
        num_rounds=num_rounds,
    )
    return list(_ratios(workload, taken))


def arms(workload, only=None):
    """Functions that train or evaluate for one epoch.

    Args:
        workload: `workloads.Workload`.
        only: Name of the arm to make, one that trains on labels or with a
            live teacher; nothing that it does not need is made. Defaults to
            None: all.

    Returns:
        Dict of names to functions without arguments: the student alone
        (`plain`), the same with the updates of a Distiller (`updated`), the
        forward pass alone of the teacher (`teacher`) and of the student
        (`student`), ours (`live`, `stored`), those of `keras.distillation` as
        it comes (`keras`) and with a `KLDivergence` object (`keras_kl`), which
        are missing where the teacher is an ensemble, and evaluation
        (`..._evaluate`). `..._many` takes several steps per execution,
        `..._compiled` does so by XLA, `..._bfloat16` computes the teacher in
        that.
    """
    x, y = workload.arrays()
    data = workloads.batched(workload, x, y)
    teacher = workload.make_teacher(0)
    if only is None:
        logits = workloads.all_logits(teacher, data)
        stored = workloads.batched(
            workload, x, {"label": y, "teacher_logits": logits}
        )
    many = {
        "steps_per_execution": min(
            workloads.STEPS_PER_EXECUTION, workload.num_steps
        )
    }
    by_xla = {**many, "jit_compile": True}
    found = {}
    if only is None:
        found["teacher"] = workloads.bare_forward(teacher, data)
        found["student"] = workloads.bare_forward(
            workload.make_student(1), data
        )

    def add(name, make, data, evaluates=True, **compile_args):
        if only not in (None, name):
            return
        model = workloads.compiled(make(), **compile_args)
        found[name] = lambda: model.fit(data, verbose=0, shuffle=False)
        if evaluates:
            found[f"{name}_evaluate"] = lambda: model.evaluate(data, verbose=0)

    def student():
        return workload.make_student(1)

    def ours(teacher=teacher, **kwargs):
        return Distiller(
            student=student(),
            teacher=teacher,
            temperature=workloads.TEMPERATURE,
            **kwargs,
        )

    def student_only():
        return ours(None)

    add("plain", student, data)
    add("live", ours, data)
    add("plain_many", student, data, False, **many)
    add("live_many", ours, data, False, **many)
    if only is None:
        labels_alone = functools.partial(ours, None, soft_weight=0.0)
        add("updated", labels_alone, data, False)
        add("stored", student_only, stored, False)
        add("stored_many", student_only, stored, False, **many)
        add("stored_compiled", student_only, stored, False, **by_xla)
        add("live_compiled", ours, data, False, **by_xla)
        in_half = functools.partial(ours, teacher_dtype="bfloat16")
        add("live_bfloat16", in_half, data, False)
    if not isinstance(teacher, teachers.EnsembleTeacher):
        for name, loss, evaluates in (
            ("keras", "kl_divergence", True),
            ("keras_kl", keras.losses.KLDivergence(), False),
        ):
            make = functools.partial(theirs, teacher, student, loss)
            add(name, make, data, evaluates)
    return found


def theirs(teacher, make_student, loss):
    """The Distiller of Keras itself."""
    # Nobody else imports it.
    from keras import distillation

    return distillation.Distiller(
        teacher=teacher,
        student=make_student(),
        distillation_losses=distillation.LogitsDistillation(
            temperature=workloads.TEMPERATURE, loss=loss
        ),
        student_loss_weight=0.1,
    )


def _ratios(workload, taken):
    def ratio(what, first, second, limit):
        name = f"{workload.title}: {what}"
        return rounds.ratio_of(name, taken, first, second, limit)

    yield ratio("teacher / student, forward alone", "teacher", "student", "")
    yield ratio("teacher's forward / plain step", "teacher", "plain", "")
    yield ratio(
        "live step / (teacher + plain step)",
        "live",
        ("teacher", "plain"),
        "<= 1.05",
    )
    yield ratio(
        "live step / (teacher + plain step), several per execution",
        "live_many",
        ("teacher", "plain_many"),
        "<= 1.05",
    )
    yield ratio(
        "live step / (teacher + plain step with the same updates)",
        "live",
        ("teacher", "updated"),
        "",
    )
    yield ratio("live step, compiled / not", "live_compiled", "live_many", "")
    yield ratio(
        "live step, teacher in bfloat16 / not", "live_bfloat16", "live", ""
    )
    yield ratio("stored / plain step", "stored", "plain", "<= 1.05")
    yield ratio(
        "stored / plain step with the same updates", "stored", "updated", ""
    )
    yield ratio(
        "stored / plain step, several per execution",
        "stored_many",
        "plain_many",
        "<= 1.05",
    )
    yield ratio(
        "stored step, compiled / not, several per execution",
        "stored_compiled",
        "stored_many",
        "",
    )
    if "keras" in taken:
        yield ratio(
            "live step / keras.distillation as it comes",
            "live",
            "keras",
            "<= 1",
        )
        yield ratio(
            "live step / keras.distillation with KLDivergence()",
            "live",
            "keras_kl",
            "<= 1",
        )
        yield ratio(
            "keras.distillation as it comes / stored, compiled",
            "keras",
            "stored_compiled",
            ">= 2" if workload.num_classes == 10 else "",
        )
        yield ratio(
            "evaluation, keras.distillation / ours",
            "keras_evaluate",
            "live_evaluate",
            ">= 1.5",
        )
