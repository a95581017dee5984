"""The only place where kd_keras touches names that Keras keeps private.

One is TensorFlow's. Each function says which private name it reads, why no
public one serves, and the versions in which it was seen.
`tests/keras_hooks_test.py` names the function to mend when a new version moves
one of them.
"""

import contextlib
import warnings

import keras
import tensorflow as tf
from tensorflow.python.framework import op_def_registry

# Operations that TensorFlow counts as stateful and that change no result: the
# bodies of the first three are looked into.
_HARMLESS = ("If", "While", "StatefulPartitionedCall", "Assert", "PrintV2")

# Versions of Keras with which every hook below was run.
CHECKED_VERSIONS = ("3.13", "3.14", "3.15")


def warn_if_unchecked():
    """Warns when this Keras is newer than the ones the hooks were run with.

    Example:

    >>> kd_keras.keras_hooks.warn_if_unchecked()
    """
    installed = tuple(int(part) for part in keras.__version__.split(".")[:2])
    newest = tuple(int(part) for part in CHECKED_VERSIONS[-1].split("."))
    if installed > newest:
        warnings.warn(
            f"kd_keras was checked with Keras {', '.join(CHECKED_VERSIONS)}; "
            f"this is Keras {keras.__version__}. It relies on these names, "
            "which are private to Keras: Trainer._compile_loss, "
            "Trainer._compile_metrics, Trainer._compile_config, "
            "Trainer._initial_epoch, Trainer._distribute_strategy, "
            "Trainer._maybe_symbolic_build, Trainer._symbolic_build, "
            "TFEpochIterator._distributed_dataset, "
            "Optimizer._get_variable_index, Adam._momentums, Adam._velocities, "
            "Layer._flatten_layers, Layer._metrics, _keras_mask, "
            "KerasTensor._keras_history, Operation._inbound_nodes."
        )


class BuildFromSpec:
    """Builds what is not built yet from the shapes of the data.

    Overrides `Trainer._maybe_symbolic_build`, calls `Trainer._symbolic_build`
    and reads `Trainer._distribute_strategy` and
    `TFEpochIterator._distributed_dataset` (3.13 to 3.15). Under a strategy
    Keras builds what is not built yet, compiled metrics among it, before the
    first step. For that it takes a batch, so that a data set that is shuffled
    anew in each iteration is one ahead of the same on one device, and then the
    mean of the replicas' shares, which fails if they are not of one size or
    those of several workers; and it reads labels only in their plain form. Only
    shapes and dtypes matter, which are known without.

    Without a strategy Keras leaves all that to the first step. TensorFlow
    traces a step that makes variables a second time, which is most of the time
    that a short training takes. An evaluation stays as it is: it needs no
    optimizer.
    """

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        if self._is_all_built():
            return
        if self._distribute_strategy is not None:
            with self._distribute_strategy.scope():
                self._build_from(iterator, data_batch)
        elif self._is_training() and self._has_built_layers():
            # What is wrong with the data the step knows better.
            with contextlib.suppress(Exception):
                self._build_from(iterator, data_batch)

    def _build_from(self, iterator, data_batch):
        if iterator is not None:
            data_batch = iterator._distributed_dataset.element_spec
        data_batch = keras.tree.map_structure(_symbolic, data_batch)
        x, labels, sample_weight = self._plain_data(data_batch)
        if labels is not None:
            self._symbolic_build(data_batch=(x, labels, sample_weight))
            return
        # Metrics and loss wait for the first labels.
        self(x, training=False)
        if self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    def _has_built_layers(self):
        return all(layer.built for layer in self._flatten_layers())

    def _is_all_built(self):
        return (
            self._has_built_layers()
            and is_compiled_built(self)
            and (self.optimizer is None or self.optimizer.built)
        )


def _symbolic(leaf):
    """A symbolic tensor like a tensor, a spec, or the first of replicas'."""
    if leaf is None:
        return None
    spec = tf.nest.flatten(leaf, expand_composites=True)[0]
    shape = getattr(spec, "shape", None)
    if shape is None:
        # What a data set declares where it has nothing.
        return None
    if tf.TensorShape(shape).rank is None:
        raise ValueError(
            "Under a strategy the data must tell the number of its "
            f"dimensions. Received: {leaf}. Set it: dataset.map(lambda x, y: "
            "(tf.ensure_shape(x, [None, 28, 28, 1]), y))."
        )
    return keras.KerasTensor(shape, keras.backend.standardize_dtype(spec.dtype))


def is_compiled_built(model):
    """Whether the compiled loss and metrics have made their variables.

    Reads `Trainer._compile_loss` and `Trainer._compile_metrics` (3.13 to
    3.15): they are built by the first labels, which may come after batches
    without, and TensorFlow lets a step make variables only when it is traced
    for the first time.

    Args:
        model: A compiled `keras.Model`.

    Returns:
        True if there is nothing left to build.
    """
    parts = (model._compile_loss, model._compile_metrics)
    return all(part is None or part.built for part in parts)


def compiled_loss(model):
    """The loss that `compile` was given, resolved, or None.

    Reads `Trainer._compile_loss` (3.13 to 3.15): `Trainer.compute_loss` is
    public but adds the regularisers, which the hard term leaves out.

    Args:
        model: A compiled `keras.Model`.

    Returns:
        A callable `(y, y_pred, sample_weight)` that gives a scalar, or None.
    """
    return model._compile_loss


def loss_weights(model):
    """The `loss_weights` that `compile` was given, or None.

    Reads `Trainer._compile_config` (3.13 to 3.15): `get_compile_config` is
    public but serialises optimizer and losses, which may not be serialisable.

    Args:
        model: A compiled `keras.Model`.

    Returns:
        The argument as it was given.
    """
    return model._compile_config.config["loss_weights"]


def compiled_metrics(model):
    """The metric objects that `compile` was given; of names none.

    Reads `Trainer._compile_config` (3.13 to 3.15): `Trainer.metrics` is public
    but has those objects only once labels have come.

    Args:
        model: A compiled `keras.Model`.

    Returns:
        List of `keras.metrics.Metric`.
    """
    config = model._compile_config.config
    given = keras.tree.flatten(
        [config.get("metrics"), config.get("weighted_metrics")]
    )
    return [one for one in given if isinstance(one, keras.metrics.Metric)]


def update_compiled_metrics(model, y, y_pred, sample_weight, label_weight):
    """Updates the compiled metrics, unweighted ones on labelled examples.

    Reads `Trainer._compile_metrics` and its flat lists (3.13 to 3.15): Keras
    gives the plain `metrics` no weights at all, so that nothing public can
    tell them which examples have no label.

    Args:
        model: A compiled `keras.Model`.
        y: Labels, in the structure that the model's outputs have.
        y_pred: The model's outputs.
        sample_weight: None, or weights in the structure of `y`.
        label_weight: None, or a list with one entry for each leaf of `y`:
            None, or weights 1 and 0 of the labelled and unlabelled.
    """
    metrics = model._compile_metrics
    if metrics is None:
        return
    if not metrics.built:
        metrics.build(y, y_pred)
    if label_weight is None or all(w is None for w in label_weight):
        metrics.update_state(y, y_pred, sample_weight)
        return
    label_weight = keras.tree.pack_sequence_as(y, label_weight)
    none = [None] * len(keras.tree.flatten(y))
    outputs = zip(
        metrics._flatten_y(y),
        metrics._flatten_y(y_pred),
        metrics._flatten_y(label_weight),
        metrics._flatten_y(sample_weight),
        # Keras 3.13 leaves them empty if there are none for several outputs.
        metrics._flat_metrics or none,
        metrics._flat_weighted_metrics or none,
        strict=True,
    )
    for labels, logits, mask, weight, unweighted, weighted in outputs:
        if unweighted:
            unweighted.update_state(labels, logits, sample_weight=mask)
        if weighted:
            weighted.update_state(labels, logits, sample_weight=weight)


def mask_of(tensor):
    """The mask that a layer left on its output, or None.

    Reads `_keras_mask` (3.13 to 3.15), as Keras' own losses and metrics do: a
    mask has no public name outside of a layer's call.

    Args:
        tensor: Output of a model.

    Returns:
        A boolean tensor, or None.
    """
    return getattr(tensor, "_keras_mask", None)


def own_metrics(model):
    """The metrics that a model and its layers update by themselves.

    Reads `Layer._metrics` (3.13 to 3.15): `Trainer.metrics` is public but
    adds what `compile` was given.

    Args:
        model: A `keras.Model`.

    Returns:
        A list of `keras.Metric`, as plain Keras would report them.
    """
    found = list(model._metrics)
    for layer in model._flatten_layers(include_self=False):
        if not isinstance(layer, keras.Model):
            found.extend(layer.metrics)
    return list({id(metric): metric for metric in found}.values())


def start_at_epoch(model, epoch):
    """Makes the `fit` that is about to begin start at a later epoch.

    Sets `Trainer._initial_epoch` (3.13 to 3.15), as Keras' own
    BackupAndRestore does: `initial_epoch` is public but an argument of `fit`,
    which has begun when a callback finds out where to start. Keras never resets
    it, so that the next `fit` would start there as well.

    Args:
        model: A compiled `keras.Model`, in `on_train_begin` of a callback.
        epoch: Number of the first epoch, or None for what `fit` was given.
    """
    model._initial_epoch = epoch


def slots_of(optimizer, variable):
    """What an optimizer keeps for a variable besides its value.

    Reads `Optimizer._get_variable_index`, `Adam._momentums` and
    `Adam._velocities` (3.13 to 3.15): the public list `Optimizer.variables`
    does not say which of them belong to which.

    Args:
        optimizer: A built `Adam`, `AdamW` or `SGD` of Keras.
        variable: One of those it was built for.

    Returns:
        A tuple of `keras.Variable`: momentum and velocity, of SGD the
        momentum, if it has any.
    """
    if isinstance(optimizer, keras.optimizers.SGD):
        slots = (optimizer.momentums,) if optimizer.momentum else ()
    else:
        slots = optimizer._momentums, optimizer._velocities
    index = optimizer._get_variable_index(variable)
    return tuple(each[index] for each in slots)


def layers_of(model):
    """Every layer of a model, at every depth, itself included.

    Calls `Layer._flatten_layers` (3.13 to 3.15): `Model.layers` is public but
    stops at the first level, and other layers have no such attribute.

    Args:
        model: A `keras.Layer`.

    Returns:
        A list of `keras.Layer`.
    """
    return list(model._flatten_layers())


def producer(keras_tensor):
    """The operation that made a symbolic tensor, and its own inputs.

    Reads `KerasTensor._keras_history` and `Operation._inbound_nodes` (3.13 to
    3.15): no public name leads from an output of a functional model to the
    operation behind it.

    Args:
        keras_tensor: A `keras.KerasTensor` of a functional model.

    Returns:
        A tuple of the `keras.Operation`, the position of the tensor among its
        outputs, and the list of its input tensors.
    """
    history = keras_tensor._keras_history
    nodes = history.operation._inbound_nodes
    node = nodes[history.node_index] if nodes else None
    inputs = list(node.input_tensors) if node else []
    return history.operation, history.tensor_index, inputs


def stateful_operations(function):
    """The operations whose results do not follow from their inputs alone.

    Calls `tensorflow.python.framework.op_def_registry.get` (TensorFlow 2.20 and
    2.21): publicly an operation tells whether it is stateful only where it is
    in a graph, and those in the branches of a condition are in a library.

    Args:
        function: `tf.types.experimental.ConcreteFunction`.

    Returns:
        Sorted list of kinds, as `"RandomUniform"`, `"PyFunc"`.

    Example:

    >>> draw = tf.function(lambda: tf.random.uniform([]))
    >>> stateful_operations(draw.get_concrete_function())
    ['RandomUniform']
    """
    definition = function.graph.as_graph_def()
    nodes = list(definition.node)
    for inner in definition.library.function:
        nodes.extend(inner.node_def)
    kinds = {node.op for node in nodes} - set(_HARMLESS)
    found = {kind: op_def_registry.get(kind) for kind in kinds}
    return sorted(k for k, op in found.items() if op and op.is_stateful)
