"""Classifiers in LiteRT and ONNX files, run as clients run them."""

import pathlib

import numpy as np


class FileModel:
    """A classifier in a file of another runtime.

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
        runtime = self._runtime()
        try:
            self.input_dtype = np.dtype(self._open(runtime))
        # The errors of the runtimes have no class in common.
        except Exception as error:
            lines = str(error).strip().splitlines() or [repr(error)]
            raise ValueError(
                f"{path} cannot be run as a classifier with one input of "
                f"images, uint8 or float32: {lines[0]}"
            ) from error


class LiteRTModel(FileModel):
    """A classifier in a `.tflite` file, as `FileModel`."""

    def _runtime(self):
        try:
            from ai_edge_litert import interpreter
        except ImportError as error:
            raise missing(error, "litert") from error
        return interpreter

    def _open(self, runtime):
        # The runner refers to it only weakly.
        self._interpreter = runtime.Interpreter(model_path=str(self.path))
        [(name, signature)] = self._interpreter.get_signature_list().items()
        [self._input] = signature["inputs"]
        self._run = self._interpreter.get_signature_runner(name)
        return self._run.get_input_details()[self._input]["dtype"]

    def __call__(self, images):
        """Returns the outputs by name, a dict of arrays."""
        return self._run(**{self._input: images})


class OnnxModel(FileModel):
    """A classifier in an `.onnx` file, as `FileModel`."""

    _DTYPES = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}

    def _runtime(self):
        try:
            import onnxruntime
        except ImportError as error:
            raise missing(error, "onnx") from error
        return onnxruntime

    def _open(self, runtime):
        self._session = runtime.InferenceSession(
            str(self.path), providers=["CPUExecutionProvider"]
        )
        [self._input] = self._session.get_inputs()
        return self._DTYPES[self._input.type]

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
