"""Where the embedded `digits` set is kept, and its preparation there.

The set costs half a second to write and needs no network, so `load` prepares it
by itself, in the first of these places that holds it already, or else that can
be written:

1. `data_dir`, if one is given: then there is no second place.
2. The directory that TFDS uses: the environment variable `TFDS_DATA_DIR`, or
   else `~/tensorflow_datasets`.
3. `kd_keras/datasets` in the user's cache: `$XDG_CACHE_HOME`, or `~/.cache`.
4. A temporary directory, which is removed when the process ends.
"""

import contextlib
import functools
import io
import os
import stat
import tempfile

from absl import logging


def digits_builder(data_dir=None):
    """The TFDS builder of `digits`, with its files in place.

    Several processes may call this at once: each writes to a directory of its
    own, one renames it into place, and the others use that.

    Args:
        data_dir: directory to use, or None for the places listed above.

    Returns:
        `tfds.core.DatasetBuilder`, prepared.

    Raises:
        FileNotFoundError: If the set is in none of the places and none of them
            can be written.

    Example:

    >>> with tempfile.TemporaryDirectory() as data_dir:
    ...     builder = digits_builder(data_dir)
    >>> builder.info.splits["train"].num_examples
    1297
    """
    # The import registers the builder: tfds.builder("digits") works from here.
    from kd_keras.datasets.digits import Digits

    if data_dir is not None:
        builders = [Digits(data_dir=data_dir)]
    else:
        builders = [Digits(data_dir=None)]
        if cache := _user_cache():
            builders.append(Digits(data_dir=cache))
    for builder in builders:
        if builder.data_path.exists():
            return builder

    if data_dir is None:
        builders.append(Digits(data_dir=_temporary_directory().name))
        if builders[-1].data_path.exists():
            return builders[-1]
    problems = []
    for builder in builders:
        root = str(builder.data_dir_root)
        if not _is_writable(root):
            problems.append(f"{root}: not writable")
            continue
        try:
            _prepare(builder)
        except OSError as error:  # A full disk, a quota, a network drive.
            problems.append(f"{root}: {error}")
            continue
        if problems:
            logging.warning(
                "The data set digits is kept in %s (%s).",
                root,
                "; ".join(problems),
            )
        # A new builder: this one describes the files as they are on disk.
        return Digits(data_dir=root)
    raise FileNotFoundError(
        "The data set digits is not prepared, and no directory to prepare it "
        f"in can be written. Tried: {'; '.join(problems)}. Pass a writable "
        "directory as data_dir, or set the environment variable TFDS_DATA_DIR."
    )


def _prepare(builder):
    """Writes the set; another process may do the same meanwhile."""
    import tensorflow_datasets as tfds

    config = tfds.download.DownloadConfig(try_download_gcs=False)
    try:
        # TFDS announces a download on stdout, and there is none.
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare(download_config=config)
    except OSError:
        # The rename at the end fails where another process was faster. Then
        # its files are there, and complete, since it renamed them too.
        if not builder.data_path.exists():
            raise


def _is_writable(path):
    """Whether files may be created in `path`, which need not exist yet."""
    if "://" in path:  # A bucket: only trying tells.
        return True
    path = os.path.abspath(os.path.expanduser(path))
    while not os.path.exists(path):
        path = os.path.dirname(path)
    if not os.path.isdir(path) or not os.access(path, os.W_OK | os.X_OK):
        return False
    # For root, as in most containers, everything passes os.access. A directory
    # that nobody may write was meant to stay as it is.
    return bool(stat.S_IMODE(os.stat(path).st_mode) & 0o222)


def _user_cache():
    """The package's directory in the user's cache, or None without a home."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if not os.path.isabs(cache):
        return None
    return os.path.join(cache, "kd_keras", "datasets")


@functools.cache
def _temporary_directory():
    """One directory for the whole process, removed at its end."""
    return tempfile.TemporaryDirectory(prefix="kd_keras_")
