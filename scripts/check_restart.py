r"""Kills the main job at random moments and checks that it does not matter.

Runs `scripts.distill` once as it is. Then, again and again, starts it anew,
kills it (SIGKILL) at a random moment, starts it by the same command, and
compares what it wrote with the unbroken run: every weight of the student, bit
for bit, and every number of `metrics.jsonl`. What follows `--` are flags of
`scripts.distill`. Example, some nine minutes on two cores:

  python -m scripts.check_restart --kills=20 -- --seeds=1
"""

import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from absl import app
from absl import flags

_KILLS = flags.DEFINE_integer(
    "kills", 20, "How many runs to kill.", lower_bound=1
)
_MOMENTS_SEED = flags.DEFINE_integer(
    "moments_seed", 0, "Seed of the moments at which they are killed."
)


def main(argv):
    """Runs the check; ends with status 1 if a run came out otherwise."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        arguments = [f"--data_dir={folder / 'data'}", *argv[1:]]
        begin = time.monotonic()
        _wait(_start(folder / "unbroken", arguments))
        duration = time.monotonic() - begin
        print(f"unbroken run: {duration:.1f} s", flush=True)
        moments = random.Random(_MOMENTS_SEED.value)
        num_same = num_killed = 0
        while num_killed < _KILLS.value:
            output_dir = folder / "killed"
            shutil.rmtree(output_dir, ignore_errors=True)
            moment = moments.uniform(0, duration)
            state = _kill(_start(output_dir, arguments), moment)
            if state is None:
                print("A run was done before it was killed: not counted.")
                continue
            _wait(_start(output_dir, arguments))
            num_killed += 1
            same = _is_same(folder / "unbroken", output_dir)
            num_same += same
            print(
                f"{num_killed}: killed after {moment:.1f} s, {state}; started "
                f"again, it ended {'the same' if same else 'OTHERWISE'}",
                flush=True,
            )
    print(f"{num_same} of {_KILLS.value} ended bit for bit the same.")
    sys.exit(num_same < _KILLS.value)


def _start(output_dir, arguments):
    command = [sys.executable, "-m", "scripts.distill"]
    return subprocess.Popen(
        [*command, f"--output_dir={output_dir}", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _wait(process):
    """Waits for a run to end well, or ends the check with its words."""
    said = process.communicate()[1]
    if process.returncode:
        sys.exit(f"check_restart: the job failed:\n{said}")


def _kill(process, moment):
    """Kills a run so many seconds after its start; tells what it was at.

    Returns:
        What it said last, or None if it was done sooner.
    """
    try:
        process.communicate(timeout=moment)
        return None
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        said = process.communicate()[1]
    parts = [line for line in said.splitlines() if "seed" in line]
    return (
        f"killed at {parts[-1].split('(')[0].strip()!r}"
        if parts
        else ("killed before it trained")
    )


def _is_same(one, other):
    # Not above: --help need not wait for TensorFlow.
    import keras

    students = [
        keras.saving.load_model(folder / "student.keras", compile=False)
        for folder in (one, other)
    ]
    weights = [[w.tobytes() for w in s.get_weights()] for s in students]
    metrics = [(f / "metrics.jsonl").read_text() for f in (one, other)]
    return weights[0] == weights[1] and metrics[0] == metrics[1]


if __name__ == "__main__":
    app.run(main)
