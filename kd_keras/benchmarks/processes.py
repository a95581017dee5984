"""What only a process of its own can tell: memory, first steps, imports.

Run as a program, `python -m kd_keras.benchmarks.processes WORKLOAD ARM`, it
does one thing and prints what that took, as JSON.
"""

import json
import resource
import subprocess
import sys
import time

from kd_keras.benchmarks import rounds

NAMES = ("memory", "first_step", "import", "loss_memory")
_MEMORY_WORKLOADS = ("mlp", "32000_classes")
# Classes and two numbers of examples: what grows from one to the other are
# arrays, and nothing that is there anyway.
_LOSS_SIZES = (32000, 1024, 4096)
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
        List of `rounds.Ratio`; of memory their seconds are bytes.
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
        found = _in_turn({"ours": ("", "loss")}, num_rounds)["ours"]
        return [
            rounds.Ratio(
                "temporary memory of the loss, arrays of logits",
                [one["bytes"] / one["array"] for one in found],
                (_middle(found, "bytes"), _middle(found, "array")),
                "<= 2",
            )
        ]
    key, limit, what = {
        "memory": ("bytes", "<= 1", "peak memory"),
        "first_step": ("first_step", "<= 1.5", "first step"),
    }[name]
    ratios = []
    for workload in _MEMORY_WORKLOADS:
        found = _in_turn(
            {arm: (workload, arm) for arm in ("live", "keras_kl")}, num_rounds
        )
        taken = {arm: [one[key] for one in each] for arm, each in found.items()}
        ratios.append(
            rounds.ratio_of(
                f"{workload}: {what}, ours / keras.distillation",
                taken,
                "live",
                "keras_kl",
                limit,
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
        check=True,
    )
    return json.loads(process.stdout.splitlines()[-1])


def _peak():
    """Most bytes that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _held():
    """Bytes that this process holds."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def _loss():
    from kd_keras import losses
    from kd_keras.benchmarks import loss_alone
    from kd_keras.benchmarks import workloads

    compute = loss_alone.with_gradient(
        losses.SoftTargetKLDivergence(workloads.TEMPERATURE)
    )
    num_classes, *sizes = _LOSS_SIZES
    taken = []
    for size in sizes:
        given = loss_alone.logits(size, num_classes)
        before = _held()
        compute(*given)
        taken.append(_peak() - before)
    array = (sizes[1] - sizes[0]) * num_classes * 4
    # The gradient is no temporary.
    return {"bytes": taken[1] - taken[0] - array, "array": array}


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
    print(json.dumps(_loss() if arm == "loss" else _step(workload, arm)))


if __name__ == "__main__":
    main(sys.argv)
