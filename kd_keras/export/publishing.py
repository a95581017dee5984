"""Outputs that appear whole: written beside, checked, renamed."""

import contextlib
import os
import shutil
import uuid


@contextlib.contextmanager
def aside(path, *, overwrite=False):
    """Where to write what is published at a path if nothing fails.

    Args:
        path: Local path to be made, a `str` or `os.PathLike`.
        overwrite: Whether to replace what is there. Defaults to `False`.

    Yields:
        str, a path beside, where a file or directory is to be made. At the
        end one rename publishes it; after an exception it is removed, and
        `path` is as it was.

    Raises:
        ValueError: If `path` is not local.
        FileExistsError: If there is something at `path`, other than an empty
            directory, and `overwrite` is `False`.
    """
    path = _checked_path(path, overwrite)
    # A sibling, so that publishing is a rename within one file system. Not by
    # `tempfile`, whose directories nobody else may read.
    written = _sibling(path, "partial")
    try:
        yield written
        _publish(written, path)
    finally:
        _remove(written)


def _checked_path(path, overwrite):
    """`path` as an absolute one, if something may be written there."""
    path = os.fspath(path)
    if "://" in path:
        raise ValueError(
            "`path` must be a local directory, because a SavedModel is "
            "published by a rename: export to one, then copy it with "
            f"`tf.io.gfile` or your storage's own tool. Received: path={path}"
        )
    path = os.path.abspath(path)
    is_empty = os.path.isdir(path) and not os.listdir(path)
    if os.path.lexists(path) and not is_empty and not overwrite:
        raise FileExistsError(
            f"There is something at `path` already: {path}. Pass "
            "`overwrite=True` to replace it, or give another path."
        )
    return path


def _publish(written, path):
    """Moves a complete SavedModel to `path`, in place of what is there."""
    if not os.path.lexists(path):
        os.rename(written, path)
        return
    # A directory cannot be renamed onto one that is not empty. What was there
    # is moved aside, and removed once the new one is in its place.
    replaced = _sibling(path, "replaced")
    os.rename(path, replaced)
    try:
        os.rename(written, path)
    except BaseException:
        os.rename(replaced, path)
        raise
    _remove(replaced)


def _sibling(path, purpose):
    """A hidden name in the directory of `path`, which is made if need be."""
    parent, name = os.path.split(path)
    os.makedirs(parent, exist_ok=True)
    return os.path.join(parent, f".{name}.{purpose}-{uuid.uuid4().hex[:8]}")


def _remove(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.lexists(path):
        os.remove(path)
