"""Students outside of Keras, each checked after it was written."""

from kd_keras.export.portable import export_litert
from kd_keras.export.portable import export_onnx
from kd_keras.export.saved_model import export_student
from kd_keras.export.serving import export_for_serving

__all__ = [
    "export_for_serving",
    "export_litert",
    "export_onnx",
    "export_student",
]
