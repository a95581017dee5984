"""Tasks that any number of processes work on, each started the same way.

All share one directory, a `runs.Run` that is not published yet. A process
takes the first task that is not done and that no other one holds. Who holds a
task is a matter of file locks, which the operating system drops when a process
dies, however that comes: then the task is free again, and what was written of
it is taken up. There is no scheduler: more processes are more speed, on other
machines, too, where the file system that they share has locks (as NFS from
version 4 on; object stores have none).
"""

import contextlib

from kd_keras import locks


def work_through(run, names, do):
    """Does all tasks that are not done and that no other process is at.

    Args:
        run: `runs.Run` that has begun and whose lock is free again.
        names: Names of the tasks, which are units of the run.
        do: Function of a name that does the task, and gives what it came to,
            anything of JSON but None. What it writes it writes aside and
            renames, because the process may die at any time.

    Returns:
        Whether all tasks are done. Where not, other processes are at the
        rest, and the last of them will find all of them done. False, too, if
        one has found that, and has published the run.

    Example:

    >>> run = kd_keras.runs.Run("squares", {"upto": 3})
    >>> with run.begin():
    ...     pass
    >>> work_through(run, ["1", "2", "3"], lambda name: int(name) ** 2)
    True
    >>> run.done("3")
    9
    """
    busy = True
    while busy:
        # A task may become free while others are done.
        busy = [name for name in names if _did(run, name, do)]
    return run.is_there() and all(map(run.has_unit, names))


def _did(run, name, do):
    """Does a task if it is to do; returns whether it was."""
    if run.has_unit(name):
        return False
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locks.hold(run.work / name))
        except (FileExistsError, FileNotFoundError):
            # Another process is at it, or has published the run.
            return False
        # Another one may have done it, or all, just before.
        if not run.is_there() or run.has_unit(name):
            return False
        run.finish(name, do(name))
    return True
