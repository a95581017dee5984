"""What the programs share: flags, and how they begin and end."""

import os
import signal
import sys

from absl import app
from absl import flags
from absl import logging

DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Where TFDS keeps its data sets. Default: its own."
)


def units(flag):
    """The value of a list flag as numbers of units.

    Args:
        flag: Holder of a list flag.

    Returns:
        A tuple of ints.

    Raises:
        ValueError: If it is something else.
    """
    try:
        return tuple(int(number) for number in flag.value)
    except ValueError:
        raise ValueError(f"--{flag.name} takes numbers, as 100,100") from None


def run(name, argv, job):
    """Runs a program's job; what goes wrong ends it in one line.

    Args:
        name: Name of the program.
        argv: What absl left of the command line.
        job: Called without arguments. It imports what it needs: --help need
            not wait for TensorFlow.
    """
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {argv[1:]}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.set_verbosity(logging.ERROR)
    # Ended like Ctrl-C: in a line.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        job()
    except (ValueError, OSError) as error:
        sys.exit(f"{name}: {error}")
    except KeyboardInterrupt:
        sys.exit(f"{name}: interrupted; the same command goes on from here")
