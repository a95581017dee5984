"""What writing, reading and training on stored soft targets costs."""

import dataclasses
import io
import pathlib
import tempfile
import uuid

import tensorflow as tf

from kd_keras import datasets
from kd_keras import models
from kd_keras import soft_targets
from kd_keras import training
from kd_keras.benchmarks import rounds
from kd_keras.benchmarks import steps
from kd_keras.benchmarks import workloads
from kd_keras.distiller import Distiller
from kd_keras.soft_targets import opening
from kd_keras.training import fitting

_BATCH_SIZE = 128
# Examples from which on there are limits.
FEWEST = 10_000
NAMES = (
    "writing",
    "reading",
    "reading_default",
    "reading_shifted",
    "mlp_step",
    "convnet_step",
    "default_epoch",
    "paper_epoch",
    "mlp_ensemble",
    "compiled_mlp_ensemble",
    "convnet_ensemble",
)
DEFAULT_NAMES = tuple(name for name in NAMES if name != "mlp_ensemble")


def run(name, source, ensemble_source, *, num_rounds=7, num_epochs=20):
    """Runs a comparison.

    Args:
        name: Of `NAMES`.
        source: `kd_keras.datasets.ImageDataset`. Of one with few examples
            nothing is asked: what an epoch costs anyway is more than half.
        ensemble_source: The same, on which ensembles are distilled: that takes
            long while they are live.
        num_rounds: Rounds; an ensemble takes one. Defaults to 7.
        num_epochs: Epochs for which an ensemble is distilled. Defaults to 20.

    Returns:
        List of one `rounds.Ratio`.
    """
    rounds_of = num_rounds
    if name.endswith("_ensemble"):
        # Minutes for a round: its ratio is far from 1.
        source, rounds_of = ensemble_source, num_epochs
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(source, pathlib.Path(folder))
        ratio = getattr(bench, name)(rounds_of)
    if source.num_examples < FEWEST:
        ratio = dataclasses.replace(ratio, limit="")
    return [ratio]


def _read(dataset):
    for _ in dataset:
        pass


def _units(model):
    """Hidden layers of a perceptron that is named as the programs do."""
    return tuple(map(int, model.removeprefix("mlp:").split(",")))


class _Bench:
    """The comparisons, on one source."""

    def __init__(self, source, folder):
        self._source = source
        self._folder = folder

    def writing(self, num_rounds):
        """The bare forward pass to writing: how much of it is the teacher."""
        teacher = self._mlp((1200, 1200), seed=0)

        @tf.function(reduce_retracing=True)
        def forward(images):
            return teacher(datasets.to_float(images), training=False)

        def bare():
            batches = self._source.dataset.batch(256).prefetch(tf.data.AUTOTUNE)
            for example in batches:
                forward(example["image"])

        return rounds.compare(
            "the teacher's forward pass / writing",
            bare,
            lambda: self._write(teacher),
            limit=">= 0.9",
            num_rounds=num_rounds,
        )

    def reading(self, num_rounds):
        """An epoch of training to reading its data without a student."""
        return self._reading(
            "a plain epoch of the MLP / reading it with its targets",
            self._compiled(self._mlp((800, 800), seed=1)),
            self._plain(),
            self._stored(self._store()),
            ">= 10",
            num_rounds,
        )

    def reading_default(self, num_rounds):
        """The same of the programs' default student and batches."""
        default = training.DistillConfig()
        student = self._mlp(_units(default.student_model), seed=1)
        stored = self._stored(self._store(), default.batch_size)
        return self._reading(
            "an epoch of the programs' default student / reading it with its "
            "targets",
            workloads.compiled(
                Distiller(student=student),
                fitting.steps_per_execution(
                    student, tf.distribute.get_strategy()
                ),
            ),
            stored,
            stored,
            ">= 1",
            num_rounds,
        )

    def reading_shifted(self, num_rounds):
        """An epoch on shifted images to making these without a student."""
        shifted = datasets.batches(
            self._source.dataset,
            _BATCH_SIZE,
            shuffle_seed=0,
            epoch=0,
            augment=datasets.random_shift(2),
        )
        return self._reading(
            "a plain epoch of the MLP on shifted images / reading these",
            self._compiled(self._mlp((800, 800), seed=1)),
            shifted,
            shifted,
            ">= 1",
            num_rounds,
        )

    def _reading(self, name, model, trained_on, read, limit, num_rounds):
        return rounds.compare(
            name,
            lambda: model.fit(trained_on, verbose=0, shuffle=False),
            lambda: _read(read),
            limit=limit,
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
            lambda: self._convnet(seed=1),
            num_rounds,
        )

    def default_epoch(self, num_rounds):
        """Keras' own distillation to `scripts.distill`'s default, an epoch."""
        default = training.DistillConfig()
        return self._epoch(
            _units(default.teacher_model),
            _units(default.student_model),
            default.batch_size,
            num_rounds,
        )

    def paper_epoch(self, num_rounds):
        """The same of the paper's nets."""
        return self._epoch((1200, 1200), (800, 800), _BATCH_SIZE, num_rounds)

    def _epoch(self, of_teacher, of_student, batch_size, num_rounds):
        """Keras' own distillation to what the programs do, an epoch."""
        teacher = self._mlp(of_teacher, seed=0)
        store = opening.open_store(self._write(teacher))
        plain = self._plain(batch_size)
        stored = self._stored(store, batch_size)
        theirs = workloads.compiled(
            steps.theirs(
                teacher, lambda: self._mlp(of_student, seed=1), "kl_divergence"
            )
        )
        student = self._mlp(of_student, seed=1)
        strategy = tf.distribute.get_strategy()
        ours = workloads.compiled(
            Distiller(student=student, teacher=store),
            fitting.steps_per_execution(student, strategy),
            # As long as the program trains.
            fitting.compiling_pays(
                student,
                strategy,
                training.DistillConfig().student_epochs
                * int(stored.cardinality()),
            )
            or "auto",
        )
        return rounds.compare(
            "an epoch of keras.distillation as it comes / of the programs, "
            f"MLP of {workloads.dashed(of_teacher)} to "
            f"{workloads.dashed(of_student)}, batches of {batch_size}",
            lambda: theirs.fit(plain, verbose=0, shuffle=False),
            lambda: ours.fit(stored, verbose=0, shuffle=False),
            limit=">= 2",
            num_rounds=num_rounds,
        )

    def mlp_ensemble(self, num_epochs):
        """Ten members live to writing their logits and distilling those."""
        return self._ensemble("MLPs", self._mlps(), num_epochs)

    def compiled_mlp_ensemble(self, num_epochs):
        """The same, both compiled by XLA."""
        return self._ensemble(
            "MLPs compiled", self._mlps(), num_epochs, jit_compile=True
        )

    def convnet_ensemble(self, num_epochs):
        """The same with convnets."""
        members = [self._convnet(seed=10 + i) for i in range(10)]
        return self._ensemble("convnets", members, num_epochs)

    def _mlps(self):
        return [self._mlp((1200, 1200), seed=10 + i) for i in range(10)]

    def _ensemble(self, name, members, num_epochs, jit_compile="auto"):
        def distill(teacher, data):
            distiller = Distiller(
                student=self._mlp((800, 800), seed=1), teacher=teacher
            )
            self._compiled(distiller, jit_compile).fit(
                data, epochs=num_epochs, verbose=0, shuffle=False
            )

        def stored():
            store = self._store(members, temperature=4.0)
            distill(store, self._stored(store))

        return rounds.compare(
            f"ten {name} live / stored, {num_epochs} epochs, writing included",
            lambda: distill(members, self._plain()),
            stored,
            limit=">= 5",
            num_rounds=1,
            warm_up=False,
        )

    def _step(self, name, make, num_rounds):
        store = self._store()
        plain, stored = self._plain(), self._stored(store)

        def arms():
            student = self._compiled(make())
            distiller = self._compiled(Distiller(student=make(), teacher=store))
            return {
                "stored": lambda: distiller.fit(
                    stored, verbose=0, shuffle=False
                ),
                "plain": lambda: student.fit(plain, verbose=0, shuffle=False),
            }

        taken = rounds.time_instances(
            arms, num_instances=num_rounds, num_rounds=num_rounds
        )
        return rounds.ratio_of(name, taken, "stored", "plain", "<= 1.05")

    def _mlp(self, units, seed):
        return models.mlp(
            self._source.image_shape,
            self._source.num_classes,
            units,
            seed=seed,
        )

    def _convnet(self, seed):
        return models.convnet(
            self._source.image_shape, self._source.num_classes, seed=seed
        )

    def _compiled(self, model, jit_compile="auto"):
        return workloads.compiled(
            model, workloads.STEPS_PER_EXECUTION, jit_compile
        )

    def _plain(self, batch_size=_BATCH_SIZE):
        return datasets.batches(
            self._source.dataset, batch_size, shuffle_seed=0, epoch=0
        )

    def _stored(self, store, batch_size=_BATCH_SIZE):
        return store.batches(self._source, batch_size, shuffle_seed=0, epoch=0)

    def _store(self, teacher=None, **kwargs):
        if teacher is None:
            teacher = self._mlp((1200, 1200), seed=0)
        return opening.open_store(self._write(teacher, **kwargs))

    def _write(self, teacher, **kwargs):
        path = self._folder / uuid.uuid4().hex
        soft_targets.write(
            path, teacher, self._source, stream=io.StringIO(), **kwargs
        )
        return path
