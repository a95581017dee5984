"""Teachers from disk: `.keras` files and SavedModels."""

import pathlib
import re
import zipfile

import keras
import tensorflow as tf


class SavedModelTeacher:
    """A teacher from a TensorFlow SavedModel, called by its signature.

    Attributes:
        path: `pathlib.Path` of the SavedModel.
        signature: Name of the signature.
        signatures: Names of all of them.

    Args:
        path: Directory of the SavedModel.
        signature: Name of the signature to call. Defaults to
            `"serving_default"`.

    Call arguments:
        x: A batch of inputs: a tensor, or a dict of tensors by the names of
            the signature where it has several inputs.

    Raises:
        ValueError: If there is no such signature, or the inputs do not fit.
    """

    def __init__(self, path, signature="serving_default"):
        self.path = pathlib.Path(path)
        self.signature = signature
        # Kept alive: the signature refers to its variables only weakly.
        self._loaded = tf.saved_model.load(str(path))
        self.signatures = sorted(self._loaded.signatures)
        if signature not in self.signatures:
            raise ValueError(
                f"The SavedModel {path} has no signature {signature!r}. It "
                f"has: {self.signatures}"
            )
        self._signature = self._loaded.signatures[signature]
        _, self._input_specs = self._signature.structured_input_signature

    @property
    def input_dtypes(self):
        """The dtypes of its inputs, a list of `tf.DType`."""
        return [spec.dtype for spec in self._input_specs.values()]

    def __call__(self, x):
        """Returns the outputs of the signature, a dict of tensors."""
        names = sorted(self._input_specs)
        if not isinstance(x, dict):
            if len(names) > 1:
                raise ValueError(
                    f"This SavedModel has the inputs {names}; give a dict "
                    f"with these names. Received: {type(x).__name__}"
                )
            x = {names[0]: x}
        elif len(names) == 1 and len(x) == 1:
            x = {names[0]: next(iter(x.values()))}
        if not set(x) >= set(names):
            raise ValueError(
                f"This SavedModel has the inputs {names}. Received a dict "
                f"with the names {sorted(x)}."
            )
        tensors = {name: tf.convert_to_tensor(x[name]) for name in names}
        for name, tensor in tensors.items():
            spec = self._input_specs[name]
            if tensor.dtype != spec.dtype or not spec.shape.is_compatible_with(
                tensor.shape
            ):
                raise ValueError(
                    f"This SavedModel takes {name!r} as {spec.dtype.name} of "
                    f"shape {spec.shape}. Received: {tensor.dtype.name} of "
                    f"shape {tensor.shape}. Any callable may preprocess: "
                    "teacher=lambda x: saved(prepare(x))."
                )
        return self._signature(**tensors)


def load_keras(path, custom_objects=None):
    """Loads a `.keras` file, not compiled.

    Args:
        path: Path of the file.
        custom_objects: As of `load_teacher`. Defaults to None.

    Returns:
        A `keras.Model`.

    Raises:
        ValueError: If it needs a class or a function that is not known.
    """
    try:
        return keras.saving.load_model(
            path, custom_objects=custom_objects, compile=False
        )
    except TypeError as error:
        missing = re.search(r"not locate (class|function) '(\w+)'", str(error))
        if missing is None:
            raise
        kind, name = missing.groups()
        raise ValueError(
            f"{path} needs the {kind} {name!r}, which is not known here. "
            "Decorate it with @keras.saving.register_keras_serializable() and "
            "import its module first; or give `custom_objects`, where they are "
            "taken. The programs import no module of yours: save it as a "
            "SavedModel for them, model.export(DIR), if it is to teach."
        ) from error


def load_teacher(path, custom_objects=None):
    """Loads a teacher from disk.

    Args:
        path: A `.keras` file (of a model, or of a Distiller, which then
            teaches with its student), or the directory of a SavedModel, whose
            signature `serving_default` is called; or `serve_float`, if it was
            written by `export.export_for_serving`.
        custom_objects: Optional dict of names and classes or functions that
            the `.keras` file needs, as for `keras.saving.load_model`.

    Returns:
        A `keras.Model` or a `SavedModelTeacher`.

    Raises:
        FileNotFoundError: If there is nothing at `path`.
        ValueError: If it is neither a `.keras` file nor a SavedModel.

    Example:

    >>> teacher = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    >>> teacher.save("teacher.keras")
    >>> kd_keras.load_teacher("teacher.keras")(np.ones((1, 2))).shape
    TensorShape([1, 3])
    """
    path = pathlib.Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"There is no saved model at {path}. Accepted: a .keras file or "
            "the directory of a SavedModel."
        )
    if (path / "saved_model.pb").exists():
        teacher = SavedModelTeacher(path)
        if teacher.input_dtypes == [tf.uint8] and "serve_float" in (
            teacher.signatures
        ):
            return SavedModelTeacher(path, "serve_float")
        return teacher
    if path.is_file() and path.suffix == ".keras":
        if not zipfile.is_zipfile(path):
            raise ValueError(
                f"{path} is no .keras file, or is damaged. Was it copied whole?"
            )
        return load_keras(path, custom_objects)
    raise ValueError(
        "A saved model is a .keras file or the directory of a "
        f"SavedModel (which holds a saved_model.pb). Received: {path}"
    )
