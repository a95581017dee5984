"""The version of kd_keras."""

__version__ = "0.1.0"
