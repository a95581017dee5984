"""The nets of the experiment with specialists, and what they are worth."""

import dataclasses
import functools
import math

import numpy as np
from scipy import special

from kd_keras import comparison
from kd_keras import datasets
from kd_keras import models
from kd_keras import specialists
from kd_keras.experiments import laboratory
from kd_keras.experiments import per_example
from kd_keras.training import specialist_training

# Seeds of initial weights apart from those of generalists.
_STUDENT_SEEDS = 2_000_000
# The generalist that learns anew, for longer.
_ANEW_SEEDS = 3_000_000


class Work:
    """What the arms of one seed have in common, made once and kept.

    Args:
        of: `specialists.Plan`.
        seed: int.
        lab: `laboratory.Laboratory`.
    """

    def __init__(self, of, seed, lab):
        self._of, self._seed, self._lab = of, seed, lab
        self._shifts = {"augment": datasets.random_shift(of.max_shift)}
        self._begins = "-".join(
            [
                laboratory.digest(
                    of.filters,
                    of.dense_units,
                    of.dropout,
                    of.max_shift,
                    dataclasses.asdict(of.generalist),
                ),
                str(seed),
            ]
        )

    @functools.cached_property
    def generalist(self):
        """The generalist of the seed."""
        return self._lab.kept(
            f"generalist-{self._begins}",
            lambda: self._lab.fit(
                "generalist",
                lambda: self._net(self._seed),
                self._of.generalist,
                self._seed,
                **self._shifts,
            ),
        )

    def measured(self, model):
        """How good a model is, and on which test examples it is right."""
        test = self._lab.test
        return per_example.quality(test, test.logits(model))

    def system(self, arm):
        """What a generalist and the specialists of an arm are worth."""
        class_sets, trained, combined = self._combined(arm)
        test, names = self._lab.test, self._lab.train.class_names
        logits = [test.logits(one) for one in (self.generalist, combined)]
        right = [test.labels == one.argmax(axis=1) for one in logits]
        asked = specialists.active_specialists(
            special.softmax(logits[0], axis=1), class_sets
        )
        alone = ~np.any(asked, axis=1)
        return {
            **self.measured(combined),
            "mcnemar_p": comparison.mcnemar(*right),
            "conditional_accuracy": [
                specialists.conditional_accuracy(test.labels, one, class_sets)
                for one in logits
            ],
            "coverage": [
                dataclasses.asdict(line)
                for line in specialists.coverage(
                    test.labels, *logits, class_sets
                )
            ],
            "none_asked": int(alone.sum()),
            "none_asked_and_changed": int((right[0] != right[1])[alone].sum()),
            "classes": [[names[one] for one in s] for s in class_sets],
            "examples_shown": self._shown(arm, trained),
        }

    def longer(self, anew):
        """The generalist with as many more examples as specialists saw.

        Whole epochs, so that it sees rather more than they did. It goes on
        with their learning rate, or is trained anew with a schedule that is
        as much longer.
        """
        of, lab = self._of, self._lab
        trained = self._trained("clusters", self._class_sets("clusters"))
        shown = self._shown("clusters", trained)
        epochs = math.ceil(shown / lab.train.num_examples)
        more = dataclasses.replace(
            of.generalist,
            epochs=epochs,
            learning_rate=of.specialist.learning_rate,
        )
        build = self._copy_of_generalist
        if anew:
            more = dataclasses.replace(
                of.generalist, epochs=of.generalist.epochs + epochs
            )
            build = functools.partial(self._net, _ANEW_SEEDS + self._seed)
        model = lab.fit(
            "anew" if anew else "longer",
            build,
            more,
            self._seed,
            **self._shifts,
        )
        return {
            **self.measured(model),
            "examples_shown": epochs * lab.train.num_examples,
            "examples_shown_to_specialists": shown,
        }

    def student(self, of_whom):
        """One net distilled from the generalist, or from all together."""
        of, name = self._of, f"{of_whom}-{self._begins}"
        teacher = self.generalist
        if of_whom == "combined":
            *_, teacher = self._combined("clusters")
            # What specialists say depends on how they were trained.
            name += f"-{self._recipe_digest('clusters')}"
        views = {
            **self._shifts,
            "augment_seed": self._seed,
            "num_views": of.num_views,
        }
        store = self._lab.store(
            f"{name}-targets-{of.num_views}", teacher, **views
        )
        return self._lab.fit(
            f"student-{of_whom}",
            lambda: self._net(_STUDENT_SEEDS + self._seed),
            of.student,
            self._seed,
            store=store,
            temperature=of.temperature,
            soft_weight=of.soft_weight,
            **self._shifts,
        )

    def _class_sets(self, arm):
        """The classes of each specialist of an arm."""
        of = self._of
        columns = specialists.clusters.CORRELATION
        if arm.startswith("covariance"):
            columns = specialists.clusters.COVARIANCE
        logits = self._train_logits.astype(np.float64)
        class_sets = specialists.cluster_classes(
            special.softmax(logits, axis=1),
            of.num_sets,
            of.set_size,
            columns=columns,
            seed=self._seed,
        )
        if arm.endswith("random"):
            # As many classes in all, and shared as often, as of those sets.
            return specialists.random_classes(
                class_sets, self._lab.train.num_classes, self._seed
            )
        return class_sets

    @functools.cached_property
    def _train_logits(self):
        return self._lab.probe.logits(self.generalist)

    def _trained(self, arm, class_sets):
        """The training of each specialist of an arm."""
        recipe, dataset = self._recipe(arm), self._lab.train.dataset
        return [
            specialist_training.SpecialistTraining(
                classes, recipe, dataset, self._seed, f"specialist-{number}"
            )
            for number, classes in enumerate(class_sets)
        ]

    def _recipe(self, arm):
        return dataclasses.replace(
            self._of.specialist, full_softmax=arm == "full-softmax"
        )

    def _recipe_digest(self, arm):
        of = self._of
        return laboratory.digest(
            dataclasses.asdict(self._recipe(arm)), of.num_sets, of.set_size
        )

    def _shown(self, arm, trained):
        """How many examples specialists learnt from, all epochs together."""
        recipe = self._recipe(arm)
        epochs = recipe.head_epochs + recipe.epochs
        return epochs * sum(int(one.dataset.cardinality()) for one in trained)

    def _combined(self, arm):
        """Sets of classes, how each was trained, and all as one model."""
        class_sets = self._class_sets(arm)
        trained = self._trained(arm, class_sets)
        combined = specialists.combined_model(
            self.generalist,
            [self._specialist(arm, n, one) for n, one in enumerate(trained)],
            class_sets,
            [one.shift(_rule(arm)) for one in trained],
            full_softmax=arm == "full-softmax",
        )
        return class_sets, trained, combined

    def _specialist(self, arm, number, training):
        # They differ in nothing but their use.
        kind = "clusters" if arm == "uncorrected" else arm

        def fit(part, build, epochs, learning_rate, **objective):
            return self._lab.fit(
                f"{kind}-{number}-{part}",
                build,
                dataclasses.replace(
                    self._of.generalist,
                    epochs=epochs,
                    learning_rate=learning_rate,
                ),
                self._seed,
                transform=lambda _: training.dataset,
                **self._shifts,
                **objective,
            )

        return self._lab.kept(
            f"{kind}-{self._begins}-{self._recipe_digest(kind)}-{number}",
            lambda: training.train(self._copy_of_generalist, fit),
        )

    def _net(self, seed):
        return models.convnet(
            self._lab.train.image_shape,
            self._lab.train.num_classes,
            self._of.filters,
            dense_units=self._of.dense_units,
            dropout=self._of.dropout,
            seed=seed,
        )

    def _copy_of_generalist(self):
        """In the precision in which it is called, as nets are built."""
        net = self._net(self._seed)
        net.set_weights(self.generalist.get_weights())
        return net


def _rule(arm):
    """How the dustbins of an arm's specialists are corrected."""
    if arm == "uncorrected":
        return specialists.dustbin.NONE
    return specialists.dustbin.BAYES
