"""Locks of directories and files, held by one process at a time."""

import contextlib
import fcntl
import os
import sys
import time

# Seconds after which who waits says so.
_PATIENCE = 2.0


@contextlib.contextmanager
def hold(path, wait=False):
    """Holds a directory for this process alone.

    Args:
        path: `pathlib.Path` of the directory, which may be removed and renamed
            meanwhile: the lock is beside it.
        wait: Whether to wait until no other process holds it, which is said
            on standard error if it takes long. Defaults to False.

    Raises:
        FileExistsError: If another process holds it, and `wait` is not given.
    """
    begin, said = time.monotonic(), False
    while (lock := _lock(path)) is None:
        if not wait:
            raise FileExistsError(
                f"Another process is at work on {path}. Wait for it, or choose "
                "another output directory."
            )
        if not said and time.monotonic() - begin > _PATIENCE:
            print(f"Waiting: another process holds {path}.", file=sys.stderr)
            said = True
        time.sleep(0.5)
    with lock:
        try:
            yield
        finally:
            # Or its directory was renamed meanwhile.
            with contextlib.suppress(FileNotFoundError):
                os.remove(lock.name)


def is_held(path):
    """Whether a process holds the file of a lock.

    Args:
        path: `pathlib.Path` of the file, `NAME.lock`. One that a process left
            which was killed is held by nobody.
    """
    try:
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _lock(path):
    """The open file whose lock is held; None if another process holds it."""
    file = open(path.with_name(path.name + ".lock"), "w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Who held it before may have removed the file that was opened, and a
        # third have made another one.
        if os.path.samestat(os.fstat(file.fileno()), os.stat(file.name)):
            return file
    except OSError:
        pass
    file.close()
    return None
