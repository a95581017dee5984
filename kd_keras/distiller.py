"""The Distiller: a Keras model that trains a student on a teacher."""

import types
import warnings

import keras
import tensorflow as tf

from kd_keras import arguments
from kd_keras import batches
from kd_keras import export as export_lib
from kd_keras import keras_hooks
from kd_keras import loops
from kd_keras import losses
from kd_keras import model_checks
from kd_keras import objective
from kd_keras import precision
from kd_keras import replica_checks
from kd_keras import replication
from kd_keras import stored_teachers
from kd_keras import teachers
from kd_keras import updates

# An object of its own, so that a temperature given next to a `soft_loss` can
# be told from none given, whatever its value.
_DEFAULT_TEMPERATURE = float("4.0")


@keras.saving.register_keras_serializable(package="kd_keras")
class Distiller(
    loops.CheckedLoops,
    replication.ReplicatedSteps,
    keras_hooks.BuildFromSpec,
    keras.Model,
):
    """Trains a student on the soft targets of a teacher and on hard labels.

    The objective, with `T` the temperature, `v` the logits of the teacher and
    `z` those of the student, is that of Hinton et al. (2015), section 2:

        (1 - soft_weight) * hard_loss(y, z)
        + soft_weight * T**2 * KL(softmax(v / T) || softmax(z / T))
        + sum(student.losses)

    `hard_loss` is the loss given to `compile`, on the same logits at T = 1.
    Each term is the sum of the weighted values of the examples divided by the
    number of all examples. `soft_weight=0` is plain `fit`; `soft_weight=1`
    needs no labels.

    The teacher is called once a step in inference mode, outside the gradient
    tape. It is never changed and not tracked: parameters, checkpoints, saved
    files and exports hold the student only. A Distiller that was loaded
    evaluates and predicts at once; to train it on, attach the teacher with
    `distiller.teacher = teacher`.

    Args:
        student: `keras.Model` that gives logits, shape
            `[batch, ..., num_classes]`, or a structure of such outputs.
        teacher: `keras.Model`, any callable that gives logits of the same
            shape for the same inputs, a list of these (an arithmetic
            ensemble), `kd_keras.EnsembleTeacher`,
            `kd_keras.ProbabilityTeacher`, what `kd_keras.load_teacher` gives,
            or None if the data brings the teacher's logits. Defaults to
            `None`.
        temperature: Positive float, dimensionless, of the default soft loss.
            Defaults to `4.0`.
        soft_weight: Weight of the soft term, from 0 to 1; the hard term gets
            the rest. Defaults to `0.9`.
        soft_loss: A `keras.losses.Loss` called `(teacher_logits,
            student_logits)`, instead of `temperature`. For several outputs
            also a structure of these, with None where an output is not
            distilled. Defaults to
            `kd_keras.losses.SoftTargetKLDivergence(temperature)`.
        fidelity_metrics: Keras metrics called `(teacher_logits,
            student_logits)`, without sample weights; for several outputs a
            dict of lists by the output's name. They make evaluation run the
            teacher.
        teacher_dtype: `"bfloat16"`, `"float16"` or `"mixed_..."` of these:
            the teacher is replaced by a copy that computes in it, see
            `kd_keras.precision.low_precision`. Defaults to `None`: as it was
            built.
        name: Name of the model.

    Data: `(x, y)`, `(x, y, sample_weight)`, `x` alone at `soft_weight=1`, or
    `(x, {"label": y, "teacher_logits": v})`, where the teacher is not called.
    A negative label means "no label"; one-hot labels have no such mark, use
    `sample_weight`. `sample_weight` and `class_weight` weigh both terms, and
    a mask of the student's logits applies to both as Keras applies it to one.
    With several outputs there is one soft term for each, and `loss_weights`
    weigh both terms of their output.

    Logs: `loss`, the whole objective; `hard_loss` and `soft_loss`, its terms
    before `soft_weight`, the latter with `T**2`; the compiled metrics. In
    evaluation `loss` is what plain Keras reports for the student, or the soft
    loss if `compile` was given no loss.

    Raises:
        TypeError: If student, teacher or soft loss is not what it has to be.
        ValueError: If temperature or weight are out of range, the outputs are
            seen to be no logits, or teacher and student are seen not to fit.

    Example:

    >>> teacher = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    >>> student = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    >>> distiller = kd_keras.Distiller(
    ...     student=student, teacher=teacher, temperature=2.0)
    >>> distiller.compile(
    ...     "sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    >>> history = distiller.fit(np.eye(2), np.array([0, 2]), verbose=0)
    >>> sorted(history.history)
    ['hard_loss', 'loss', 'soft_loss']
    """

    def __init__(
        self,
        *,
        student,
        teacher=None,
        temperature=_DEFAULT_TEMPERATURE,
        soft_weight=0.9,
        soft_loss=None,
        fidelity_metrics=(),
        teacher_dtype=None,
        name=None,
    ):
        if not isinstance(student, keras.Model):
            raise TypeError(
                "`student` must be a keras.Model that gives logits. "
                f"Received: {student!r} of type {type(student).__name__}"
            )
        replica_checks.check_student(student)
        # Inputs are cast by the student, and the policy only decides whether
        # `compile` adds loss scaling: as the student's layers need it.
        super().__init__(
            name=name, dtype=model_checks.policy(student), autocast=False
        )
        if teacher_dtype is not None:
            teacher_dtype = precision.checked_policy(teacher_dtype).name
        # Keras does not look into a namespace, so it tracks nothing of this.
        self._untracked = types.SimpleNamespace(
            teacher=None, teacher_dtype=teacher_dtype, input_spec=None
        )
        self.student = student
        self.soft_weight = soft_weight
        self._untracked.soft_loss = _soft_loss(soft_loss, temperature)
        self._given_soft_loss = soft_loss is not None
        self.fidelity_metrics = arguments.checked_metrics(fidelity_metrics)
        self._check_student()
        self.teacher = teacher
        # Whoever asks whether it is built, as BackupAndRestore does before
        # the first step, means the student.
        self.built = student.built

    def __setattr__(self, name, value):
        # Keras tracks what is assigned, even through a property's setter.
        if name == "teacher":
            return object.__setattr__(self, name, value)
        if name == "student" and name in self.__dict__:
            raise AttributeError(
                "A Distiller keeps its student, whose variables its optimizer "
                "knows. Make a new one: Distiller(student=...)."
            )
        return super().__setattr__(name, value)

    def __dir__(self):
        # Keras saves the weights of all models that `dir` leads to.
        return [name for name in super().__dir__() if name != "teacher"]

    @property
    def teacher(self):
        """The teacher, or None. Assigning one checks it and attaches it."""
        return self._untracked.teacher

    @teacher.setter
    def teacher(self, teacher):
        if teacher is not None:
            teacher = teachers.as_teacher(teacher)
            if self.teacher_dtype is not None:
                with self.distribute_strategy.scope():
                    teacher = precision.low_precision(
                        teacher, self.teacher_dtype
                    )
            self._check_teacher(teacher)
        self._untracked.teacher = teacher
        self._trace_anew()

    @property
    def teacher_dtype(self):
        """The dtype in which teachers are made to compute, or None."""
        return self._untracked.teacher_dtype

    @property
    def soft_weight(self):
        """Weight of the soft term, from 0 to 1."""
        return self._untracked.soft_weight

    @soft_weight.setter
    def soft_weight(self, soft_weight):
        self._untracked.soft_weight = arguments.checked_weight(soft_weight)
        self._trace_anew()

    @property
    def soft_loss(self):
        """The soft loss, or the structure of soft losses."""
        return self._untracked.soft_loss

    @property
    def temperature(self):
        """Temperature of the soft loss; None if there is no single one."""
        return getattr(self.soft_loss, "temperature", None)

    @temperature.setter
    def temperature(self, temperature):
        if self._given_soft_loss:
            raise AttributeError(
                "The `soft_loss` that was given holds its own temperature."
            )
        soft_loss = losses.SoftTargetKLDivergence(temperature)
        self._check_stored(self.teacher, soft_loss)
        self._untracked.soft_loss = soft_loss
        self._trace_anew()

    @property
    def output_names(self):
        """Names of the student's outputs, by which Keras names its logs."""
        return self.student.output_names

    def call(self, inputs, training=None):
        """Returns the student's logits."""
        logits = self.student(inputs, training=training)
        self._note_inputs(inputs)
        return logits

    def train_step(self, data):
        """One step of training on one batch.

        Args:
            data: A batch in one of the forms that `fit` takes.

        Returns:
            A dict of logs.
        """
        return self._train_on(batches.unpack(data))

    def _train_on(self, batch, forward=teachers.forward):
        """One step on a batch; what runs the teacher may be shared."""
        with tf.GradientTape() as tape:
            logits = self.student(batch.x, training=True)
            with tape.stop_recording():
                soft_targets = objective.find_soft_targets(
                    self, batch, logits, forward
                )
            terms = objective.terms(self, batch, logits, soft_targets)
            loss = self.optimizer.scale_loss(terms.minimised)
        self._note_inputs(batch.x)
        variables = self.trainable_variables
        if variables:
            gradients = replication.summed_as_one(
                self.optimizer, tape.gradient(loss, variables)
            )
            updates.apply_gradients(self.optimizer, gradients, variables)
        else:
            warnings.warn("The student does not have any trainable weights.")
        return self._update_metrics("training", batch, logits, terms)

    def test_step(self, data):
        """One step of evaluation on one batch.

        Args:
            data: A batch in one of the forms that `evaluate` takes.

        Returns:
            A dict of logs.
        """
        return self._test_on(batches.unpack(data))

    def _test_on(self, batch, forward=teachers.forward):
        """One step of evaluation on a batch; see `_train_on`."""
        logits = self.student(batch.x, training=False)
        soft_targets = objective.find_soft_targets(
            self, batch, logits, forward, training=False
        )
        terms = objective.terms(
            self, batch, logits, soft_targets, training=False
        )
        self._note_inputs(batch.x)
        return self._update_metrics("evaluation", batch, logits, terms)

    def export(self, filepath, format="tf_saved_model", **kwargs):
        """Writes the student for serving: nothing of the teacher.

        Args:
            filepath: Directory to write.
            format: `"tf_saved_model"`, or another one of
                `keras.Model.export`. Defaults to `"tf_saved_model"`.
            **kwargs: For a SavedModel those of
                `kd_keras.export.export_student`, else those of
                `keras.Model.export`.

        Raises:
            FileExistsError: If there is something where a SavedModel is to
                be written, unless with `overwrite=True`.
        """
        if format != "tf_saved_model":
            return self.student.export(filepath, format=format, **kwargs)
        if model_checks.inputs(self.student) is None:
            # A subclassed model does not know them.
            kwargs.setdefault("input_signature", self._untracked.input_spec)
        return export_lib.export_student(self.student, filepath, **kwargs)

    def get_config(self):
        """Returns the configuration: the student and all but the teacher."""
        serialize = keras.saving.serialize_keras_object
        return {
            "name": self.name,
            "student": serialize(self.student),
            "temperature": None if self._given_soft_loss else self.temperature,
            "soft_weight": self.soft_weight,
            "soft_loss": (
                serialize(self.soft_loss) if self._given_soft_loss else None
            ),
            "fidelity_metrics": serialize(self.fidelity_metrics),
            "teacher_dtype": self.teacher_dtype,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Makes a Distiller without teacher of a configuration."""
        config = dict(config)
        for key in ("student", "soft_loss", "fidelity_metrics"):
            config[key] = keras.saving.deserialize_keras_object(
                config[key], custom_objects=custom_objects
            )
        return cls(**config)

    def _check_student(self):
        """Raises what can be told of the student before it is called."""
        outputs = model_checks.outputs(self.student)
        distilled = None
        if outputs is not None:
            soft_losses = objective.soft_losses(self, outputs)
            distilled = [loss is not None for loss in soft_losses]
            for output, matters in zip(
                keras.tree.flatten(outputs), distilled, strict=True
            ):
                if matters:
                    model_checks.check_classes(output.shape)
        model_checks.check_gives_logits(self.student, "student", distilled)

    def _check_teacher(self, teacher):
        """Raises what can be told of a teacher before it is called."""
        shared = {id(variable) for variable in self.student.variables}
        for model in teachers.models_of(teacher):
            model_checks.check_fits(self.student, model)
            if any(id(variable) in shared for variable in model.variables):
                raise ValueError(
                    "Teacher and student share variables, so that training "
                    "would change the teacher. Teach with a copy: "
                    "keras.models.clone_model, then set_weights."
                )
        teachers.check_gives_logits(teacher)
        arguments.check_temperatures(self.soft_loss, teacher)
        self._check_stored(teacher, self.soft_loss)

    def _check_stored(self, teacher, soft_loss):
        stored_teachers.check_declared(
            teacher, self.student, soft_loss, self.fidelity_metrics
        )

    def _note_inputs(self, x):
        """Remembers the inputs' shapes, for what is done after training."""
        self.built = True
        if all(tf.TensorShape(t.shape).rank for t in keras.tree.flatten(x)):
            self._untracked.input_spec = keras.tree.map_structure(
                lambda t: tf.TensorSpec([None, *t.shape[1:]], t.dtype), x
            )


def _soft_loss(soft_loss, temperature):
    if soft_loss is None:
        return losses.SoftTargetKLDivergence(temperature)
    if temperature is not _DEFAULT_TEMPERATURE and temperature is not None:
        raise ValueError(
            "Give either `temperature` or `soft_loss`, which holds its own "
            f"temperature. Received: temperature={temperature}, "
            f"soft_loss={soft_loss}"
        )
    return arguments.checked_soft_loss(soft_loss)
