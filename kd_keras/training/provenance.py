"""With what something was made."""

import platform

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
