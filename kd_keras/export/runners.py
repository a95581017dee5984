"""Classifiers in LiteRT and ONNX files, run as clients run them."""

import pathlib

import numpy as np


class LiteRTModel:
    """A classifier in a `.tflite` file.

    Attributes:
        path: `pathlib.Path` of the file.
        input_dtype: `np.dtype` of the images that it takes.

    Args:
        path: As above.

    Call arguments:
        images: Array of that dtype, shape `[batch, height, width, channels]`.

    Raises:
        ImportError: If the runtime is not installed.
        ValueError: If it is no such model.
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)
        try:
            from ai_edge_litert import interpreter as litert
        except ImportError as error:
            raise missing(error, "litert") from error
        try:
            interpreter = litert.Interpreter(model_path=str(path))
            [(name, signature)] = interpreter.get_signature_list().items()
            [self._input] = signature["inputs"]
            self._run = interpreter.get_signature_runner(name)
            details = self._run.get_input_details()[self._input]
        except (RuntimeError, ValueError) as error:
            raise _not_a_model(path, error) from error
        self.input_dtype = np.dtype(details["dtype"])
        # The runner refers to it only weakly.
        self._interpreter = interpreter

    def __call__(self, images):
        """Returns the outputs by name, a dict of arrays."""
        return self._run(**{self._input: images})


class OnnxModel:
    """A classifier in an `.onnx` file.

    Attributes:
        path: `pathlib.Path` of the file.
        input_dtype: `np.dtype` of the images that it takes.

    Args:
        path: As above.

    Call arguments:
        images: Array of that dtype, shape `[batch, height, width, channels]`.

    Raises:
        ImportError: If the runtime is not installed.
        ValueError: If it is no such model.
    """

    _DTYPES = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}

    def __init__(self, path):
        self.path = pathlib.Path(path)
        try:
            import onnxruntime as runtime
        except ImportError as error:
            raise missing(error, "onnx") from error
        try:
            self._session = runtime.InferenceSession(
                str(path), providers=["CPUExecutionProvider"]
            )
            [self._input] = self._session.get_inputs()
            self.input_dtype = np.dtype(self._DTYPES[self._input.type])
        # Its errors have no class of their own.
        except Exception as error:
            raise _not_a_model(path, error) from error

    def __call__(self, images):
        """Returns the outputs by name, a dict of arrays."""
        names = [output.name for output in self._session.get_outputs()]
        found = self._session.run(names, {self._input.name: images})
        return dict(zip(names, found, strict=True))


def missing(error, extra):
    """The error of a runtime that is not installed.

    Args:
        error: `ImportError`.
        extra: Name of what of kd_keras needs it.

    Returns:
        `ImportError`.
    """
    return ImportError(
        f'{error.name or error} is missing: pip install "kd_keras[{extra}]".'
    )


def _not_a_model(path, error):
    lines = str(error).strip().splitlines() or [repr(error)]
    return ValueError(
        f"{path} cannot be run as a classifier with one input of images, uint8 "
        f"or float32: {lines[0]}"
    )
