"""Students outside of Keras, each checked after it was written."""

from kd_keras.export.saved_model import export_student
from kd_keras.export.serving import export_for_serving

__all__ = ["export_for_serving", "export_student"]
