"""What only a process of its own can tell: memory, first steps, imports.

Run as a program, `python -m kd_keras.benchmarks.processes WORKLOAD ARM`, it
does one thing and prints what that took, as JSON.
"""

import json
import pathlib
import subprocess
import sys
import time

from kd_keras.benchmarks import rounds

NAMES = ("memory", "first_step", "import", "loss_memory")
_MEMORY_WORKLOADS = ("mlp", "32000_classes")
# Examples and classes of an array of half a gigabyte, beside which whatever
# else a call takes is nothing.
_LOSS_SIZE = (4096, 32000)
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
    # Only here, so that a process of its own that imports this has not yet
    # imported what its first step is to import.
    from kd_keras.benchmarks import workloads

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
        ours, array = ([one["bytes"] for one in found[a]] for a in found)
        taken = [a - b for a, b in zip(ours, array, strict=True)]
        return [
            rounds.ratio_of(
                "temporary memory of the loss, arrays of logits",
                {"temporary": taken, "array": array},
                "temporary",
                "array",
                "<= 2",
                "B",
            )
        ]
    key, limit, unit, what = {
        "memory": ("bytes", "<= 1", "B", "peak memory"),
        "first_step": ("first_step", "<= 1.5", "s", "first step"),
    }[name]
    ratios = []
    for workload in _MEMORY_WORKLOADS:
        found = _in_turn(
            {arm: (workload, arm) for arm in ("live", "keras_kl")}, num_rounds
        )
        taken = {arm: [one[key] for one in each] for arm, each in found.items()}
        ratios.append(
            rounds.ratio_of(
                f"{workloads.WORKLOADS[workload].title}: {what}, ours / "
                "keras.distillation",
                taken,
                "live",
                "keras_kl",
                limit,
                unit,
            )
        )
    return ratios


def _middle(found, key):
    return sorted(one[key] for one in found)[len(found) // 2]


def _in_turn(arms, num_rounds):
    found = {name: [] for name in arms}
    for round_number in range(num_rounds):
        order = list(arms)[:: -1 if round_number % 2 else 1]
        for name in order:
            found[name].append(_said(["-m", __name__, *arms[name]]))
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


def _peak():
    """Most bytes that this process has held.

    Without what `resource` counts, too: what its parent held when it was made.
    """
    return _status("VmHWM")


def _taken(call):
    """Most bytes that a call holds on top of what is held before it."""
    # So that the kernel begins anew to look for the most.
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    call()
    return _status("VmHWM") - before


def _status(name):
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"This system does not tell {name} of a process.")


def _loss(arm):
    import tensorflow as tf

    from kd_keras.benchmarks import loss_alone

    size, num_classes = _LOSS_SIZE
    # One for many rows, so that nothing is traced while it counts.
    compute = loss_alone.functions()[arm].get_concrete_function(
        *[tf.TensorSpec([None, num_classes])] * 2
    )
    compute(tf.zeros([2, num_classes]), tf.ones([2, num_classes]))
    teacher_logits = tf.zeros([size, num_classes])
    student_logits = tf.ones([size, num_classes])
    return {"bytes": _taken(lambda: compute(teacher_logits, student_logits))}


def _step(name, arm):
    from kd_keras.benchmarks import steps
    from kd_keras.benchmarks import workloads

    fit = steps.arms(workloads.WORKLOADS[name], only=arm)[arm]
    begin = time.perf_counter()
    fit()
    first = time.perf_counter() - begin
    begin = time.perf_counter()
    fit()
    # Tracing and whatever else is done once.
    once = first - (time.perf_counter() - begin)
    return {"first_step": once, "bytes": _peak()}


def main(argv):
    """Does one thing and prints what it took."""
    _, workload, arm = argv
    taken = _loss(arm) if workload == "loss" else _step(workload, arm)
    print(json.dumps(taken))


if __name__ == "__main__":
    main(sys.argv)
