"""What the soft loss costs by itself, forward and backward."""

import keras
import tensorflow as tf

from kd_keras import losses
from kd_keras.benchmarks import rounds
from kd_keras.benchmarks import workloads

# What a comparison is called, by the number of classes: examples per call,
# calls per round, and the largest ratio to the loss of Keras.
SIZES = {
    "loss_1000_classes": (256, 1000, 40, 0.75),
    "loss_of_1024_rows": (1024, 1000, 10, 0.75),
    "loss_32000_classes": (64, 32000, 10, 0.7),
}
NAMES = tuple(SIZES)


def run(name, *, num_rounds=7):
    """Times value and gradient beside `keras.distillation` and memory itself.

    Args:
        name: One of `NAMES`.
        num_rounds: Rounds that count. Defaults to 7.

    Returns:
        List of `rounds.Ratio`.
    """
    size, num_classes, calls, limit = SIZES[name]
    taken = rounds.time_in_turn(
        arms(size, num_classes, calls), num_rounds=num_rounds
    )
    title = f"loss of {size} x {num_classes:,}"
    return [
        rounds.ratio_of(
            f"{title}: ours / keras.distillation with KLDivergence()",
            taken,
            "ours",
            "keras_kl",
            f"<= {limit}",
        ),
        rounds.ratio_of(
            f"{title}: ours / reading both arrays and writing one",
            taken,
            "ours",
            "memory",
            "",
        ),
    ]


def arms(size, num_classes, calls):
    """Functions that compute value and gradient so many times.

    Args:
        size: Examples.
        num_classes: Classes.
        calls: How often, within a round.

    Returns:
        Dict of names to functions without arguments.
    """
    student_logits, teacher_logits = logits(size, num_classes)

    def repeated(function):
        def call():
            for _ in range(calls):
                _, gradient = function(teacher_logits, student_logits)
            return float(gradient[0, 0])

        return call

    return {name: repeated(one) for name, one in functions().items()}


def functions():
    """Compiled functions of the logits of teacher and student.

    Returns:
        Dict of names to functions that return a value and a gradient: the loss
        (`ours`), that of `keras.distillation` (`keras_kl`), and what only reads
        both arrays and writes one (`memory`).
    """
    # Imported by whoever measures it.
    from keras import distillation

    theirs = distillation.LogitsDistillation(
        temperature=workloads.TEMPERATURE, loss=keras.losses.KLDivergence()
    )
    return {
        "ours": with_gradient(
            losses.SoftTargetKLDivergence(workloads.TEMPERATURE)
        ),
        "keras_kl": with_gradient(theirs.compute_loss),
        "memory": tf.function(lambda v, z: (tf.zeros([]), v + z)),
    }


def logits(size, num_classes):
    """Random logits of a student and of a teacher that it has come near to."""
    generator = tf.random.Generator.from_seed(0)
    teacher_logits = generator.normal([size, num_classes], stddev=3.0)
    return teacher_logits + generator.normal(
        [size, num_classes]
    ), teacher_logits


def with_gradient(loss):
    """A compiled function of the logits to the value and its gradient.

    Args:
        loss: Function of the logits of teacher and student to a scalar.

    Returns:
        Function of the same to a tuple of two tensors.
    """

    @tf.function
    def compute(teacher_logits, student_logits):
        with tf.GradientTape() as tape:
            tape.watch(student_logits)
            value = loss(teacher_logits, student_logits)
        return value, tape.gradient(value, student_logits)

    return compute
