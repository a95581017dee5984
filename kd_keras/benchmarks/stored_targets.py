"""What writing, reading and training on stored soft targets costs."""

import io
import pathlib
import tempfile

import keras
import tensorflow as tf

from kd_keras import datasets
from kd_keras import models
from kd_keras import soft_targets
from kd_keras.benchmarks import rounds
from kd_keras.distiller import Distiller
from kd_keras.soft_targets import opening

_BATCH_SIZE = 128


def run(
    dataset,
    data_dir,
    split,
    ensemble_split,
    *,
    num_rounds=7,
    num_epochs=20,
    report=print,
):
    """Runs all comparisons.

    Args:
        dataset: Name of a TFDS image-classification set.
        data_dir: Where TFDS keeps it; None for its own default.
        split: Split to use, in TFDS' notation.
        ensemble_split: Split on which the ensemble is distilled, which takes
            long when it is live.
        num_rounds: Rounds of each comparison. Defaults to 7.
        num_epochs: Epochs for which an ensemble is distilled. Defaults to 20.
        report: Called with the name of what is compared next.

    Returns:
        A list of `rounds.Ratio`.
    """
    source, part = (
        datasets.load(dataset, name, data_dir=data_dir)
        for name in (split, ensemble_split)
    )
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(source, pathlib.Path(folder))
        ratios = []
        for name, compare in (
            ("writing", bench.writing),
            ("reading", bench.reading),
            ("a step of an MLP", bench.mlp_step),
            ("a step of a convnet", bench.convnet_step),
        ):
            report(name)
            ratios.append(compare(num_rounds))
    with tempfile.TemporaryDirectory() as folder:
        report("an ensemble")
        bench = _Bench(part, pathlib.Path(folder))
        # Minutes for a round: its ratio is far from the limit or is not.
        ratios.append(bench.ensemble(1, num_epochs))
    return ratios


class _Bench:
    """The comparisons, on one source and one store."""

    def __init__(self, source, folder):
        self._source = source
        self._folder = folder
        self._teacher = self._mlp((1200, 1200), seed=0)
        self._store = self._write("store", self._teacher)
        self._written = 0

    def writing(self, num_rounds):
        """The bare forward pass to writing: how much of it is the teacher."""

        @tf.function(reduce_retracing=True)
        def forward(images):
            return self._teacher(datasets.to_float(images), training=False)

        def bare():
            batches = self._source.dataset.batch(256).prefetch(tf.data.AUTOTUNE)
            for example in batches:
                forward(example["image"])

        def write():
            self._written += 1
            self._write(f"{self._written}", self._teacher)

        return rounds.compare(
            "the teacher's forward pass / writing",
            bare,
            write,
            limit=">= 0.9",
            num_rounds=num_rounds,
        )

    def reading(self, num_rounds):
        """An epoch of training to reading its data without a student."""
        stored = self._stored()
        student = self._compiled(self._mlp((800, 800), seed=1))

        def read():
            for _ in stored:
                pass

        plain = self._plain()
        return rounds.compare(
            "a plain epoch of the MLP / reading it with its targets",
            lambda: student.fit(plain, verbose=0, shuffle=False),
            read,
            limit=">= 10",
            num_rounds=num_rounds,
        )

    def mlp_step(self, num_rounds):
        """A stored epoch of the MLP to a plain one."""
        return self._step(
            "stored epoch / plain epoch, MLP of 800-800",
            lambda: self._mlp((800, 800), seed=1),
            num_rounds,
        )

    def convnet_step(self, num_rounds):
        """A stored epoch of a convnet to a plain one."""
        return self._step(
            "stored epoch / plain epoch, convnet",
            lambda: models.convnet(
                self._source.image_shape, self._source.num_classes, seed=1
            ),
            num_rounds,
        )

    def ensemble(self, num_rounds, num_epochs):
        """Ten members live to writing their logits and distilling those."""
        members = [self._mlp((1200, 1200), seed=10 + i) for i in range(10)]

        def live():
            distiller = Distiller(
                student=self._mlp((800, 800), seed=1), teacher=members
            )
            self._compiled(distiller).fit(
                self._plain(), epochs=num_epochs, verbose=0, shuffle=False
            )

        def stored():
            self._written += 1
            self._write(f"{self._written}", members, temperature=4.0)
            store = opening.open_store(self._folder / f"{self._written}")
            distiller = Distiller(
                student=self._mlp((800, 800), seed=1), teacher=store
            )
            self._compiled(distiller).fit(
                self._stored(store), epochs=num_epochs, verbose=0, shuffle=False
            )

        return rounds.compare(
            f"ten members live / stored, {num_epochs} epochs, writing included",
            live,
            stored,
            limit=">= 5",
            num_rounds=num_rounds,
        )

    def _step(self, name, make, num_rounds):
        plain, stored = self._plain(), self._stored()
        student = self._compiled(make())
        distiller = self._compiled(
            Distiller(student=make(), teacher=self._store)
        )
        return rounds.compare(
            name,
            lambda: distiller.fit(stored, verbose=0, shuffle=False),
            lambda: student.fit(plain, verbose=0, shuffle=False),
            limit="<= 1.05",
            num_rounds=num_rounds,
        )

    def _mlp(self, units, seed):
        return models.mlp(
            self._source.image_shape,
            self._source.num_classes,
            units,
            seed=seed,
        )

    def _compiled(self, model):
        model.compile(
            keras.optimizers.Adam(),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            steps_per_execution=20,
        )
        return model

    def _plain(self):
        return datasets.batches(
            self._source.dataset, _BATCH_SIZE, shuffle_seed=0, epoch=0
        )

    def _stored(self, store=None):
        return (store or self._store).batches(
            self._source, _BATCH_SIZE, shuffle_seed=0, epoch=0
        )

    def _write(self, name, teacher, **kwargs):
        path = self._folder / name
        soft_targets.write(
            path, teacher, self._source, stream=io.StringIO(), **kwargs
        )
        return opening.open_store(path)
