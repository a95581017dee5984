"""What a Distiller does around the training loop of Keras."""

import contextlib
import types

import keras
import tensorflow as tf

from kd_keras import arguments
from kd_keras import batches
from kd_keras import callbacks as callbacks_lib
from kd_keras import distribution
from kd_keras import keras_hooks
from kd_keras import objective
from kd_keras import replica_checks
from kd_keras import value_checks
from kd_keras import worker_callbacks


class CheckedLoops:
    """`fit`, `evaluate` and their logs: the outer loops of the Distiller.

    Passes class weights to the step, raises for bad values before anything
    can be made of a spoilt model, and reports of each phase ("training" or
    "evaluation") what it measured and nothing else.

    Each phase has its `ValueChecks`. They are reset when a loop begins and
    read when it ends: those of training at the end of each epoch, by a
    callback in front of all others, or before the validation of that epoch.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        # Keras does not look into a namespace, so it tracks nothing of this.
        self._loop = types.SimpleNamespace(
            class_weight=None,
            phase="training",
            reported={},
            checks={
                phase: value_checks.ValueChecks(phase)
                for phase in ("training", "evaluation")
            },
        )
        self._hard_loss_tracker = keras.metrics.Mean(name="hard_loss")
        self._soft_loss_tracker = keras.metrics.Mean(name="soft_loss")

    @property
    def class_weight(self):
        """The class weights of the last `fit`, or None."""
        return self._loop.class_weight

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        validation_split=0.0,
        validation_data=None,
        shuffle=True,
        class_weight=None,
        sample_weight=None,
        **kwargs,
    ):
        """Trains the student, as `keras.Model.fit`.

        Args:
            x: As for `keras.Model.fit`, like all other arguments.
            y: Labels, or stored targets `{"label": ..., "teacher_logits":
                ...}`.
            batch_size: Examples per step.
            epochs: Number of the last epoch.
            verbose: `"auto"`, 0, 1 or 2.
            callbacks: Keras callbacks.
            validation_split: Share of the arrays to hold out.
            validation_data: Data that is evaluated after each epoch.
            shuffle: Whether to shuffle arrays.
            class_weight: Dict of classes and weights of both terms; an
                example without label weighs 1.
            sample_weight: Weights of the examples, for both terms.
            **kwargs: The further arguments of `keras.Model.fit`.

        Returns:
            A `keras.callbacks.History`.

        Raises:
            ValueError: If there is no teacher where one is needed, no labels
                where they are, the data does not fit, or, at the end of an
                epoch, values turn out to be bad.
        """
        x, validation_data, callbacks = self._prepare_fit(
            x,
            validation_data,
            callbacks,
            shuffle,
            class_weight,
            sample_weight,
            kwargs.get("steps_per_epoch"),
        )
        with (
            worker_callbacks.only_chief_writes(
                self.distribute_strategy, callbacks
            ),
            self._fitting(callbacks) as callbacks,
        ):
            return super().fit(
                x,
                y,
                batch_size=batch_size,
                epochs=epochs,
                verbose=verbose,
                callbacks=callbacks,
                validation_split=validation_split,
                validation_data=validation_data,
                shuffle=shuffle,
                sample_weight=batches.weights_like_targets(y, sample_weight),
                **kwargs,
            )

    def evaluate(
        self,
        x=None,
        y=None,
        batch_size=None,
        verbose="auto",
        sample_weight=None,
        **kwargs,
    ):
        """Evaluates the student, as `keras.Model.evaluate`.

        The teacher runs only for `fidelity_metrics`, or if `compile` was
        given no loss: then `loss` is the soft loss.

        Args:
            x: As for `keras.Model.evaluate`, like all other arguments.
            y: Labels, or stored targets.
            batch_size: Examples per step.
            verbose: `"auto"`, 0, 1 or 2.
            sample_weight: Weights of the examples.
            **kwargs: The further arguments of `keras.Model.evaluate`.

        Returns:
            What `keras.Model.evaluate` returns.

        Raises:
            ValueError: If labels are at or above the number of classes, or
                the data does not fit.
        """
        # Before its own: an epoch may end in a validation.
        self._loop.checks["training"].raise_if_bad()
        arguments.check_data(x, "evaluate")
        x = self._prepared(x)
        with self._checked("evaluation"):
            return super().evaluate(
                x,
                y,
                batch_size=batch_size,
                verbose=verbose,
                sample_weight=batches.weights_like_targets(y, sample_weight),
                **kwargs,
            )

    def predict(self, x, *args, **kwargs):
        """Predicts with the student, as `keras.Model.predict`."""
        arguments.check_data(x, "predict")
        return super().predict(self._prepared(x), *args, **kwargs)

    def train_on_batch(
        self,
        x,
        y=None,
        sample_weight=None,
        class_weight=None,
        return_dict=False,
    ):
        """Trains on one batch, as `keras.Model.train_on_batch`."""
        self._prepared(x)
        if self.compiled:
            arguments.check_compiled(self)
        self._set_class_weight(class_weight, sample_weight)
        with self._checked("training", batches.has_labels(y)):
            return super().train_on_batch(
                x, y, sample_weight, return_dict=return_dict
            )

    def test_on_batch(self, x, y=None, sample_weight=None, return_dict=False):
        """Evaluates one batch, as `keras.Model.test_on_batch`."""
        self._prepared(x)
        with self._checked("evaluation", batches.has_labels(y)):
            return super().test_on_batch(
                x, y, sample_weight, return_dict=return_dict
            )

    @property
    def metrics(self):
        """Keras' metrics, and those that the student updates by itself."""
        # Keras leaves out those of a model inside another.
        found = {id(metric): metric for metric in super().metrics}
        for metric in keras_hooks.own_metrics(self.student):
            found.setdefault(id(metric), metric)
        return list(found.values())

    def get_metrics_result(self):
        """Returns the logs: what the current phase measures, by name."""
        reported = self._loop.reported.get(self._loop.phase)
        students = {id(m) for m in keras_hooks.own_metrics(self.student)}
        results = {}
        for metric in self.metrics:
            is_silent = reported is not None and metric.name not in reported
            if is_silent and id(metric) not in students:
                continue
            result = metric.result()
            if not isinstance(result, dict):
                result = {metric.name: result}
            twice = set(result) & set(results)
            if twice and metric in keras.tree.flatten(self.fidelity_metrics):
                raise ValueError(
                    f"Two metrics are called {metric.name!r}. Give the "
                    "fidelity metric another name."
                )
            results.update(result)
        return results

    def _update_metrics(self, phase, batch, logits, terms):
        """Updates every metric of a phase; returns the logs."""
        self._loop.checks[phase].record(**terms.seen)
        size = batches.size(batch.x)
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        reported = set()
        for tracker, value in (
            # Keras' own, which is always the first.
            (self.metrics[0], terms.loss),
            (self._hard_loss_tracker, terms.hard_loss),
            (self._soft_loss_tracker, terms.soft_loss),
        ):
            if value is not None:
                if replicas > 1:
                    # Losses come divided by the number of replicas. That of
                    # one without examples may be 0 / 0.
                    value = tf.where(size > 0, value * replicas, 0.0)
                tracker.update_state(value, sample_weight=size)
                reported.add(tracker.name)
        reported |= objective.update_metrics(self, logits, terms)
        # Known when the step is traced. Where it was traced for other data
        # since, Keras finds that the names differ and takes the step's logs.
        self._loop.reported[phase] = reported
        with self._phase(phase):
            return self.get_metrics_result()

    def _prepare_fit(
        self,
        x,
        validation_data,
        callbacks,
        shuffle=True,
        class_weight=None,
        sample_weight=None,
        steps_per_epoch=None,
    ):
        """Checks what `fit` was given; returns the first three, made ready."""
        arguments.check_data(x, "fit")
        x = self._prepared(x)
        if self.compiled:
            arguments.check_compiled(self)
        arguments.check_shuffle(self, x, shuffle)
        validation_data = self._prepared(validation_data)
        callbacks = _prepared_callbacks(callbacks, steps_per_epoch)
        self._set_class_weight(class_weight, sample_weight)
        if isinstance(validation_data, tuple) and len(validation_data) == 3:
            val_x, val_y, weight = validation_data
            weight = batches.weights_like_targets(val_y, weight)
            validation_data = (val_x, val_y, weight)
        return x, validation_data, callbacks

    def _prepared(self, data):
        """Data that is ready for the strategy, if the Distiller is."""
        replica_checks.check_ready(self, data)
        return distribution.prepare_input(data, self.distribute_strategy)

    def _is_training(self):
        """Whether what goes on, if anything, is a training."""
        return self._loop.phase == "training"

    def _plain_data(self, data):
        """A batch as Keras knows it, for the models that it builds."""
        batch = batches.unpack(data)
        return batch.x, batch.labels, batch.sample_weight

    def _set_class_weight(self, class_weight, sample_weight):
        if class_weight is not None:
            arguments.check_class_weight(self, class_weight, sample_weight)
            class_weight = dict(class_weight)
        if class_weight != self._loop.class_weight:
            self._loop.class_weight = class_weight
            self._trace_anew()

    def _trace_anew(self):
        """Drops compiled steps, which hold what was true at their tracing."""
        if not getattr(self, "compiled", False):
            return
        self._loop.reported.clear()
        # Replaced rather than dropped: a callback may ask for it while `fit`
        # holds on to the step.
        if self.train_function is not None:
            self.make_train_function(force=True)
        if self.test_function is not None:
            self.make_test_function(force=True)

    def _let_build(self, phase):
        """Drops a step that labels, coming later, could not build upon."""
        if self.compiled and not keras_hooks.is_compiled_built(self):
            if phase == "training":
                self.train_function = None
            else:
                self.test_function = None

    @contextlib.contextmanager
    def _phase(self, phase):
        """Makes the logs those of a phase; `fit` calls `evaluate`."""
        before, self._loop.phase = self._loop.phase, phase
        try:
            yield
        finally:
            self._loop.phase = before

    @contextlib.contextmanager
    def _fitting(self, callbacks):
        """Is in training; yields callbacks that first look at bad values."""
        checks = self._loop.checks["training"]
        checks.reset()
        self._let_build("training")
        with (
            self._phase("training"),
            value_checks.checked_first(callbacks, checks) as callbacks,
        ):
            yield callbacks

    @contextlib.contextmanager
    def _checked(self, phase, may_have_labels=True):
        """Raises for bad values that were met inside."""
        checks = self._loop.checks[phase]
        checks.reset()
        if may_have_labels:
            self._let_build(phase)
        # Keras 3.13 does not before a single batch, newer ones do.
        self.reset_metrics()
        with self._phase(phase):
            yield
        checks.raise_if_bad()


def _prepared_callbacks(callbacks, steps_per_epoch):
    """Callbacks of which those of kd_keras know what they must of a `fit`."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        found = callbacks.callbacks
    else:
        found = callbacks = keras.tree.flatten(callbacks or [])
    for callback in found:
        if isinstance(callback, callbacks_lib.TrainingState):
            callback.watch(found)
        if isinstance(callback, callbacks_lib.EpochCounter):
            callback.check_steps(steps_per_epoch)
    # At the start of an epoch it saves what is before others, such as
    # LearningRateScheduler, change it.
    found.sort(
        key=lambda callback: (
            not isinstance(callback, callbacks_lib.TrainingState)
        )
    )
    return callbacks
