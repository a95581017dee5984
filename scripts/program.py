"""What the programs share: how they take up settings, begin and end."""

import errno
import json
import os
import pathlib
import signal
import sys

from absl import app
from absl import flags
from absl import logging

_CONFIG = flags.DEFINE_string(
    "config",
    None,
    "A config.json that this program wrote; flags that are given win over it.",
)
_DEBUG = flags.DEFINE_bool("debug", False, "Show where an error came from.")

# What config.json holds besides settings.
_PROVENANCE = {
    "dataset_version",
    "num_train_examples",
    "replicas",
    "started",
    "versions",
}


def parse(argv):
    """Parses a command line for `app.run`, with a configuration if any.

    Args:
        argv: The command line.

    Returns:
        The name of the program and what is no flag.
    """
    take_up_config(argv)
    return app.parse_flags_with_usage(argv)


def take_up_config(argv):
    """Makes the settings of `--config` the defaults of the flags."""
    paths = [
        argument.partition("=")[2]
        for argument in argv[1:]
        if argument.startswith(("--config=", "-config="))
    ]
    if not paths:
        return
    try:
        config = json.loads(pathlib.Path(paths[-1]).read_text("utf-8"))
        for name in config.keys() - _PROVENANCE:
            if name not in flags.FLAGS:
                raise ValueError(f"this program has no flag --{name}")
            flags.FLAGS.set_default(name, config[name])
    except (OSError, ValueError, AttributeError, flags.Error) as error:
        sys.exit(
            f"--config={paths[-1]} is no config.json of this program: {error}"
        )


def units(flag):
    """The value of a list flag as numbers.

    Args:
        flag: Holder of a list flag.

    Returns:
        A tuple of ints, or None.

    Raises:
        ValueError: If it is something else.
    """
    if flag.value is None:
        return None
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
    except Exception as error:
        text = None if _DEBUG.value else _in_a_line(error)
        if text is None:
            raise
        sys.exit(f"{name}: {text}")
    except KeyboardInterrupt:
        sys.exit(f"{name}: interrupted; the same command goes on from here")


def _in_a_line(error):
    """What to tell of an error; None if it is a fault of the program."""
    if getattr(error, "errno", None) in (errno.EACCES, errno.EROFS):
        return (
            f"{error.filename} cannot be written: {error.strerror}. Choose "
            "another directory."
        )
    if isinstance(error, (ValueError, OSError, RuntimeError, ImportError)):
        return str(error)
    tf = sys.modules.get("tensorflow")
    if tf is not None and isinstance(error, tf.errors.OpError):
        # What follows is where in the graph.
        return error.message.splitlines()[0]
    return None
