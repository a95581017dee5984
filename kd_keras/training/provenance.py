"""With what something was made."""

import functools
import hashlib
import pathlib
import platform
import subprocess
import zipfile

import keras
import tensorflow as tf

from kd_keras import version


def versions():
    """The versions that numbers may depend on, a dict."""
    return {
        "kd_keras": version.__version__,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "python": platform.python_version(),
    }


@functools.cache
def commit():
    """The state of this code, as Git knows it.

    Returns:
        The short name of the commit, followed by `+` if files of the package
        were changed since; None if the package is not in a repository of its
        own code, as when it is installed.
    """
    package = pathlib.Path(version.__file__).parent

    def git(*args):
        return subprocess.run(
            ["git", "-C", package, *args],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    try:
        # In somebody else's repository an environment may lie, but no file of
        # it belongs to that.
        git("ls-files", "--error-unmatch", version.__file__)
        name = git("rev-parse", "--short=10", "HEAD")
        return name + ("+" if git("status", "--porcelain", ".") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def contents(paths):
    """What tells the content of files and directories from another.

    The same model, saved again as a `.keras` file, has the same: when it was
    saved does not count.

    Args:
        paths: Paths; what is None or not there is left out.

    Returns:
        A dict of paths to short hexadecimal digests.
    """
    return {
        str(path): _digest(pathlib.Path(path))
        for path in paths
        if path is not None and pathlib.Path(path).exists()
    }


def _digest(path):
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    for file in files:
        if not file.is_file():
            continue
        digest.update(str(file.relative_to(path)).encode())
        if file.suffix == ".keras" and zipfile.is_zipfile(file):
            _digest_model(digest, file)
            continue
        with open(file, "rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()[:16]


def _digest_model(digest, file):
    """Takes in all parts of a `.keras` file but the time of its saving."""
    with zipfile.ZipFile(file) as archive:
        for name in sorted(archive.namelist()):
            if name != "metadata.json":
                digest.update(name.encode())
                with archive.open(name) as content:
                    digest.update(
                        hashlib.file_digest(content, "sha256").digest()
                    )
