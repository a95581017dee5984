"""The optimizer's part of a step, compiled where Keras compiles nothing."""

import keras
import tensorflow as tf

from kd_keras import keras_hooks

# Weights of a model from which on the compiler is worth its time.
MANY_WEIGHTS = 500_000


def is_left_to_cpu():
    """Whether there are only CPUs, for which Keras compiles nothing."""
    devices = tf.config.list_physical_devices()
    return all(device.device_type == "CPU" for device in devices)


class CompiledUpdates:
    """Lets XLA compile what the optimizer of a `keras.Model` does.

    An optimizer of Keras is some fifteen operations for each variable, each of
    which goes through all of it. Compiled they are one. A step that is compiled
    as a whole has that anyway, but only one of static shapes should be, and on
    machines without accelerators Keras compiles none unless it is told to. The
    shapes of variables never change.

    It is left alone where there is nothing to gain, below half a million
    weights, and where it could do harm or cannot be: with
    `compile(jit_compile=False)`, run eagerly, under a strategy, with sparse
    gradients, or with an optimizer, a schedule or a constraint that is not one
    of Keras' own and may do what XLA does not know.
    """

    _asks_keras = True

    def compile(self, *args, jit_compile="auto", **kwargs):
        """Configures training, as `keras.Model.compile`.

        Args:
            *args: Those of `keras.Model.compile`.
            jit_compile: The same as there. With `"auto"`, the default, the
                optimizer's update alone is compiled on machines without
                accelerators; with False nothing is.
            **kwargs: Those of `keras.Model.compile`.
        """
        self._asks_keras = jit_compile == "auto"
        super().compile(*args, jit_compile=jit_compile, **kwargs)

    def get_compile_config(self):
        """Returns the arguments of `compile`, what was `"auto"` as such."""
        config = super().get_compile_config()
        if config and self._asks_keras:
            config["jit_compile"] = "auto"
        return config

    def compile_from_config(self, config):
        """Compiles a loaded model by what `get_compile_config` returned."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def _apply_gradients(self, gradients, variables):
        """Updates variables, in a step that is being traced or run."""

        def update():
            self.optimizer.apply_gradients(
                zip(gradients, variables, strict=True)
            )

        if not self._compiles_update(gradients, variables):
            update()
            return
        if not self.optimizer.built:
            # It makes variables, which a function may do only when it is new.
            with tf.init_scope():
                self.optimizer.build(variables)
        tf.function(update, jit_compile=True, autograph=False)()

    def _compiles_update(self, gradients, variables):
        return (
            self._asks_keras
            and not tf.executing_eagerly()
            and not tf.distribute.has_strategy()
            and sum(v.shape.num_elements() for v in variables) >= MANY_WEIGHTS
            and is_left_to_cpu()
            and not any(isinstance(g, tf.IndexedSlices) for g in gradients)
            and all(map(_is_of_keras, _parts(self.optimizer)))
            and all(_is_of_keras(variable.constraint) for variable in variables)
        )


def _parts(optimizer):
    """An optimizer, what is inside it, and its schedule."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return [optimizer, *_parts(optimizer.inner_optimizer)]
    return [optimizer, keras_hooks.learning_rate_of(optimizer)]


def _is_of_keras(thing):
    return thing is None or type(thing).__module__.startswith("keras.")
