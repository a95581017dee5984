"""How a specialist is trained: its head first, then the whole net."""

import dataclasses
import functools

from kd_keras import datasets
from kd_keras import specialists
from kd_keras.training import specialist_losses
from kd_keras.training import specialist_nets

HEAD, WHOLE = "head", "whole"


@dataclasses.dataclass(frozen=True)
class SpecialistRecipe:
    """How each specialist is trained, from the weights of the generalist.

    Attributes:
        head_epochs: Passes over its data in which nothing but its last layer
            learns, so that a new head does not spoil what is below; 0 for
            none.
        epochs: Passes after that in which all of it learns; 0 to leave the
            rest as it is in the generalist.
        head_learning_rate: Of Adam in the first part, at its start.
        learning_rate: The same of the second part.
        sampled_share: Share of its own classes in its data; the rest is drawn
            from the other classes.
        full_softmax: Whether it tells all classes, see `specialist_losses`.
        temperature: Of the generalist's soft targets, with `full_softmax`.
        soft_weight: Weight of these, in (0, 1), with `full_softmax`.
    """

    head_epochs: int
    epochs: int
    head_learning_rate: float
    learning_rate: float
    sampled_share: float = 0.5
    full_softmax: bool = False
    temperature: float = 2.0
    soft_weight: float = 0.5


class SpecialistTraining:
    """One specialist: its data, its beginning, its objective.

    Attributes:
        dataset: Unbatched `tf.data.Dataset` of its examples.
        special_share: Share of its classes among all examples.
        sampled_share: Their share in `dataset`.

    Args:
        classes: List of int, its classes.
        recipe: `SpecialistRecipe`.
        dataset: Unbatched `tf.data.Dataset` of all examples, as
            `datasets.dustbin_set` takes it.
        seed: int, of the choice among the other classes.
        name: Name of the model; in one system each has its own. Defaults to
            None.
    """

    def __init__(self, classes, recipe, dataset, seed, name=None):
        self._classes, self._recipe = list(classes), recipe
        self._name = name
        self.dataset, self.special_share, self.sampled_share = (
            datasets.dustbin_set(
                dataset,
                classes,
                seed=seed,
                share=recipe.sampled_share,
                keep_labels=recipe.full_softmax,
            )
        )

    def shift(self, rule=specialists.dustbin.BAYES):
        """What is added to its dustbin, see `specialists.dustbin_shift`."""
        return specialists.dustbin_shift(
            self.special_share, self.sampled_share, rule
        )

    def train(self, copy_generalist, fit):
        """Trains it.

        Args:
            copy_generalist: Function that makes the generalist with its
                weights, the same each time it is called.
            fit: Function `(part, build, epochs, learning_rate, **objective)`
                that trains what `build` makes on batches of `dataset`, with a
                learning rate that begins so, and gives the trained model.
                `part` is `"head"` or `"whole"`, and `objective` what
                `fitting.Fitter.fit` takes.

        Returns:
            The trained `keras.Model`, all of it trainable.
        """
        recipe, weights = self._recipe, None
        for part, epochs, learning_rate in (
            (HEAD, recipe.head_epochs, recipe.head_learning_rate),
            (WHOLE, recipe.epochs, recipe.learning_rate),
        ):
            if epochs:
                weights = fit(
                    part,
                    functools.partial(
                        self.build, copy_generalist, weights, part == HEAD
                    ),
                    epochs,
                    learning_rate,
                    **self._objective(copy_generalist),
                ).get_weights()
        return self.build(copy_generalist, weights)

    def build(self, copy_generalist, weights=None, frozen=False):
        """The specialist, not trained yet.

        Args:
            copy_generalist: As of `train`.
            weights: Its weights. Defaults to None: those that it begins with.
            frozen: Whether nothing but its head is trainable; then statistics
                of batch normalization stay, too. Defaults to False.

        Returns:
            `keras.Model`.
        """
        model = specialist_nets.specialist_of(
            copy_generalist(),
            self._classes,
            self._name,
            full_softmax=self._recipe.full_softmax,
        )
        if weights is not None:
            model.set_weights(weights)
        for layer in model.layers[:-1]:
            layer.trainable = not frozen
        return model

    def _objective(self, copy_generalist):
        """What is trained on besides labels and cross-entropy."""
        if not self._recipe.full_softmax:
            return {}
        generalist = copy_generalist()
        of = self._classes, generalist.output_shape[-1]
        return {
            "loss": specialist_losses.SpecialClassesCrossentropy(*of),
            "soft_loss": specialist_losses.OtherClassesKLDivergence(
                *of, self._recipe.temperature
            ),
            "soft_weight": self._recipe.soft_weight,
            "teacher": generalist,
        }
