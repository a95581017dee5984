"""What the programs share: how they begin and end."""

import errno
import os
import signal
import sys

from absl import flags
from absl import logging

_MENDS = {
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS),
        "{} cannot be written: {}. Choose another directory.",
    ),
    **dict.fromkeys(
        (errno.ENOSPC, errno.EDQUOT),
        "{} cannot be written: {}. Make room; the same command goes on then.",
    ),
    **dict.fromkeys(
        (errno.EEXIST, errno.ENOTDIR),
        "{} is in the way: {}. Choose another directory.",
    ),
    errno.ENOENT: "{} cannot be found or made: {}.",
}
_DEBUG = flags.DEFINE_bool("debug", False, "Show where an error came from.")


def run(name, argv, job):
    """Runs a program's job; what goes wrong ends it in one line.

    Args:
        name: Name of the program.
        argv: What absl left of the command line.
        job: Called without arguments. It imports what it needs: --help need
            not wait for TensorFlow.
    """
    if len(argv) > 1:
        sys.exit(
            f"{name}: what is {' '.join(argv[1:])}? Settings are given as "
            "--name=value. See --help."
        )
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
        sys.exit(f"{name}: {' '.join(text.split())}")
    except KeyboardInterrupt:
        sys.exit(f"{name}: interrupted; start it again by the same command")


def _in_a_line(error):
    """What to tell of an error; None if it is a fault of the program."""
    mend = _MENDS.get(getattr(error, "errno", None))
    if mend is not None:
        return mend.format(error.filename or "A file", error.strerror)
    if isinstance(error, (ValueError, OSError, RuntimeError, ImportError)):
        # Of an error inside of a graph, the end says what it is.
        lines = str(error).strip().splitlines()
        is_wrapped = lines[:1] == ["in user code:"]
        return lines[-1].strip() if is_wrapped else str(error)
    tf = sys.modules.get("tensorflow")
    if tf is not None and isinstance(error, tf.errors.OpError):
        # What follows is where in the graph.
        return error.message.splitlines()[0]
    return None
