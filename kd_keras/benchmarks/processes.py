"""What only a process of its own can tell: memory, first steps, imports.

`main` is the program of such a process: it does one thing and prints what that
took, as JSON.
"""

import json
import math
import pathlib
import subprocess
import sys
import time

import tensorflow as tf

from kd_keras.benchmarks import loss_alone
from kd_keras.benchmarks import rounds
from kd_keras.benchmarks import steps
from kd_keras.benchmarks import workloads

NAMES = ("memory", "first_step", "import", "loss_memory")
_MEMORY_WORKLOADS = ("mlp", "32000_classes")
# Examples and classes of an array of half a gigabyte, beside which whatever
# else a call takes is nothing.
_LOSS_SIZE = (4096, 32000)
_PROGRAM = f"""
import sys
from {__name__} import main
main(sys.argv[1:])
"""
_IMPORTS = """
import json, time
times = [time.perf_counter()]
import keras
times.append(time.perf_counter())
import kd_keras
times.append(time.perf_counter())
print(json.dumps(
    {"keras": times[1] - times[0], "added": times[2] - times[1]}
))
"""


def run(name, *, num_rounds=7):
    """Starts processes in turn, and compares what they say.

    Args:
        name: One of `NAMES`.
        num_rounds: Processes of each kind. Defaults to 7.

    Returns:
        List of `rounds.Ratio`.

    Raises:
        RuntimeError: If a process fails, with what it says.
    """
    if name == "import":
        found = [_said(["-c", _IMPORTS]) for _ in range(num_rounds)]
        return [
            rounds.Ratio(
                "seconds that importing kd_keras adds to importing Keras",
                [one["added"] for one in found],
                (_middle(found, "added"), _middle(found, "keras")),
                "<= 0.3",
            )
        ]
    if name == "loss_memory":
        found = _in_turn(
            {arm: ("loss", arm) for arm in ("ours", "memory")}, num_rounds
        )
        # Beside what reads both arrays and writes one: the gradient is no
        # temporary, and an allocator adds to every array.
        ours, least = ([one["added"] for one in found[a]] for a in found)
        taken = [a - b for a, b in zip(ours, least, strict=True)]
        array = math.prod(_LOSS_SIZE) * tf.float32.size
        return [
            rounds.ratio_of(
                "temporary memory of the loss, arrays of logits",
                {"temporary": taken, "array": [array] * num_rounds},
                "temporary",
                "array",
                "<= 2",
                "B",
            )
        ]
    looked_at = {
        "memory": (
            ("peak memory of training", "peak", "<= 1", "B"),
            ("what training adds to its memory", "added", "<= 1", "B"),
        ),
        "first_step": (("first step", "first_step", "<= 1.5", "s"),),
    }[name]
    return [
        ratio
        for workload in _MEMORY_WORKLOADS
        for ratio in _beside_keras(workload, looked_at, num_rounds)
    ]


def _beside_keras(workload, looked_at, num_rounds):
    """What training takes, ours beside `keras.distillation`'s."""
    found = _in_turn(
        {arm: (workload, arm) for arm in ("live", "keras_kl")}, num_rounds
    )
    for what, key, limit, unit in looked_at:
        yield rounds.ratio_of(
            f"{workloads.WORKLOADS[workload].title}: {what}, ours / "
            "keras.distillation",
            {arm: [one[key] for one in each] for arm, each in found.items()},
            "live",
            "keras_kl",
            limit,
            unit,
        )


def _middle(found, key):
    return sorted(one[key] for one in found)[len(found) // 2]


def _in_turn(arms, num_rounds):
    found = {name: [] for name in arms}
    for round_number in range(num_rounds):
        order = list(arms)[:: -1 if round_number % 2 else 1]
        for name in order:
            found[name].append(_said(["-c", _PROGRAM, *arms[name]]))
    return found


def _said(arguments):
    """What a Python of its own prints last, JSON."""
    process = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
    )
    if process.returncode:
        says = process.stderr.strip().splitlines()[-1:] or ["nothing"]
        raise RuntimeError(
            f"A process that was started to measure ({' '.join(arguments)!r}) "
            f"ended with {process.returncode}: {says[0]}"
        )
    return json.loads(process.stdout.splitlines()[-1])


def _memory_of(call):
    """Most bytes that are held while a call runs, on a GPU if there is one.

    Returns:
        A dict of the most (`peak`), and of what of that was not held before
        the call (`added`).
    """
    if tf.config.list_logical_devices("GPU"):
        memory = tf.config.experimental
        memory.reset_memory_stats("GPU:0")
        before = memory.get_memory_info("GPU:0")["current"]
        call()
        peak = memory.get_memory_info("GPU:0")["peak"]
    else:
        # So that the kernel begins anew to look for the most. What `resource`
        # tells counts what the parent held when it started this process, too.
        pathlib.Path("/proc/self/clear_refs").write_text("5")
        before = _status("VmRSS")
        call()
        peak = _status("VmHWM")
    return {"peak": peak, "added": peak - before}


def _status(name):
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"This system does not tell {name} of a process.")


def _loss(arm):
    size, num_classes = _LOSS_SIZE
    # One for many rows, so that nothing is traced while it counts.
    compute = loss_alone.functions()[arm].get_concrete_function(
        *[tf.TensorSpec([None, num_classes])] * 2
    )
    compute(tf.zeros([2, num_classes]), tf.ones([2, num_classes]))
    teacher_logits = tf.zeros([size, num_classes])
    student_logits = tf.ones([size, num_classes])
    return _memory_of(lambda: compute(teacher_logits, student_logits))


def _step(name, arm):
    fit = steps.arms(workloads.WORKLOADS[name], only=arm)[arm]
    seconds = []

    def fit_again():
        for _ in range(3):
            begin = time.perf_counter()
            fit()
            seconds.append(time.perf_counter() - begin)

    memory = _memory_of(fit_again)
    # Tracing and whatever else is done once.
    return {"first_step": seconds[0] - min(seconds[1:]), **memory}


def main(argv):
    """Does one thing and prints what it took.

    Args:
        argv: Name of a workload, or `loss`, and of an arm.
    """
    workload, arm = argv
    taken = _loss(arm) if workload == "loss" else _step(workload, arm)
    print(json.dumps(taken))
