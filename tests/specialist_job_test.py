"""The job that trains specialists, and the program around it."""

import dataclasses
import json
import os
import signal
import time
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized
from scipy import special

import kd_keras
from kd_keras import comparison
from kd_keras import datasets
from kd_keras import reports
from kd_keras import specialists
from kd_keras import training
from kd_keras.soft_targets import fingerprints
from kd_keras.training import cards
from kd_keras.training import curves
from tests import digits_runs
from tests import processes


class JobTest(digits_runs.DigitsTestCase, parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.generalist = cls.trained("generalist", 0)
        # Names that parts of the combined model have, too.
        cls.generalist.name = "combined"
        cls.generalist.save(cls.folder / "generalist.keras")
        cls.config = training.SpecialistsConfig(
            data_dir=cls.data_dir,
            generalist=str(cls.folder / "generalist.keras"),
            num_sets=2,
            set_size=3,
            head_epochs=1,
            epochs=1,
            specialist_learning_rate=0.01,
        )
        cls.path = cls.folder / "run"
        cls.found = training.run_specialists(
            cls.config, cls.path, finish=reports.write_specialists_report
        )

    def parts(self, path):
        return [
            keras.saving.load_model(path / f"specialists/specialist-{n}.keras")
            for n in range(len(self.found["specialists"]))
        ]

    def test_the_combined_model_is_what_its_parts_say_together(self):
        test = datasets.load(split="test", data_dir=self.data_dir)
        images, labels = next(
            datasets.batches(test.dataset, 500).as_numpy_iterator()
        )
        each = self.found["specialists"]
        logits = [part(images).numpy() for part in self.parts(self.path)]
        for one, of in zip(logits, each, strict=True):
            one[:, -1] += of["dustbin_shift"]
        generalist = self.generalist(images).numpy()
        expected = specialists.combine(
            special.softmax(generalist, axis=1),
            [special.softmax(one, axis=1) for one in logits],
            [of["class_numbers"] for of in each],
        )
        teacher = kd_keras.load_teacher(self.path / "combined.keras")
        combined = teacher(images).numpy()
        self.assertAllClose(np.exp(combined), expected, 0, 1e-6)
        before, after = self.found["rows"]
        right = [x.argmax(1) == labels for x in (generalist, combined)]
        self.assertEqual(before["test_errors"], int((~right[0]).sum()))
        self.assertEqual(after["test_errors"], int((~right[1]).sum()))
        self.assertNotEqual(before["test_errors"], after["test_errors"])
        self.assertEqual(self.found["mcnemar_p"], comparison.mcnemar(*right))
        self.assertEqual(
            sum(line["gained"] for line in self.found["coverage"]),
            before["test_errors"] - after["test_errors"],
        )

    def labels(self, split):
        source = datasets.load(split=split, data_dir=self.data_dir)
        return np.array([int(one["label"]) for one in source.dataset])

    def sets(self, num_sets, set_size):
        """What the job clusters."""
        source = datasets.load(data_dir=self.data_dir)
        images = np.stack([one["image"] / 255 for one in source.dataset])
        logits = self.generalist.predict(images, verbose=0).astype(np.float64)
        return specialists.cluster_classes(
            special.softmax(logits / 2.0, axis=1),
            num_sets,
            set_size,
            columns="correlation",
            seed=0,
        )

    def test_what_specialists_were_trained_on(self):
        """Half of the examples of each are of its classes."""
        labels, sets = self.labels("train"), self.sets(2, 3)
        for one, classes in zip(self.found["specialists"], sets, strict=True):
            self.assertEqual(one["class_numbers"], classes)
            self.assertEqual(one["classes"], [str(n) for n in classes])
            special_examples = int(np.isin(labels, classes).sum())
            self.assertEqual(one["examples"], 2 * special_examples)
            self.assertEqual(one["share_when_trained"], 0.5)
            share = special_examples / len(labels)
            self.assertAllClose(one["share_of_all"], share)
            self.assertAllClose(
                one["dustbin_shift"], np.log(1 - share) - np.log(share)
            )

    def test_files(self):
        self.assertContainsSubset(
            ["combined.json", "combined.keras", "config.json", "curves.jsonl"]
            + ["generalist.keras", "metrics.jsonl", "report.md"]
            + ["specialists", "specialists.json", "tensorboard"],
            os.listdir(self.path),
        )
        self.assertNotIn("work", os.listdir(self.path))
        page = (self.path / "report.md").read_text()
        self.assertIn(training.summarise_specialists(self.found), page)
        record = cards.find_record(self.path / "combined.keras")
        combined = keras.saving.load_model(self.path / "combined.keras")
        self.assertEqual(
            record["fingerprint"], fingerprints.fingerprint(combined)
        )
        self.assertEqual(
            cards.of_teacher(self.path / "combined.keras")["test_errors"],
            self.found["rows"][1]["test_errors"],
        )
        # Of the generalist, which was trained elsewhere, nothing is known.
        self.assertNotIn("generalist.json", os.listdir(self.path))
        with self.assertRaisesRegex(ValueError, "trained on 'train'"):
            training.run_distillation(
                training.DistillConfig(
                    data_dir=self.data_dir,
                    teacher=(str(self.path / "combined.keras"),),
                    train_split="test",
                    test_split="train[:10]",
                ),
                self.folder / "leak",
            )
        with self.assertRaisesRegex(ValueError, "SavedModel alone.*=litert"):
            training.run_export(
                training.ExportConfig(
                    str(self.path / "combined.keras"), ("litert",)
                ),
                self.folder / "exported",
            )

    @pytest.mark.slow
    def test_goes_on(self):
        """Broken off in mid-specialist, it ends as the unbroken run does."""
        path = self.folder / "broken"
        whole = curves.Curve.on_epoch_end
        trained = []

        def breaks(callback, epoch, logs=None):
            trained.append(1)
            if len(trained) == 4:
                raise KeyboardInterrupt
            whole(callback, epoch, logs)

        with (
            mock.patch.object(curves.Curve, "on_epoch_end", breaks),
            self.assertRaises(KeyboardInterrupt),
        ):
            training.run_specialists(self.config, path)
        other = dataclasses.replace(self.config, epochs=2)
        with self.assertRaisesRegex(ValueError, "`epochs` is 1 there, and 2"):
            training.run_specialists(other, path)

        def counts(callback, epoch, logs=None):
            trained.append(1)
            whole(callback, epoch, logs)

        with mock.patch.object(curves.Curve, "on_epoch_end", counts):
            found = training.run_specialists(self.config, path)
        # The first specialist is kept, and of the second its head.
        self.assertLen(trained, 5)
        self.assertEqual(found, self.found)
        for one, other in zip(
            self.parts(path), self.parts(self.path), strict=True
        ):
            for a, b in zip(one.weights, other.weights, strict=True):
                self.assertAllEqual(a, b)

    def test_nothing_is_left_for_a_process_that_comes_late(self):
        self.assertIsNone(training.run_specialists(self.config, self.path))
        other = dataclasses.replace(self.config, epochs=2)
        with self.assertRaisesRegex(FileExistsError, "`epochs` is 1 there"):
            training.run_specialists(other, self.path)

    def test_refused_before_anything_is_trained(self):
        broken = keras.models.clone_model(self.generalist)
        broken.set_weights(
            [np.full_like(one, np.nan) for one in broken.get_weights()]
        )
        broken.save(self.folder / "broken.keras")
        for change, says in (
            ({"cluster_split": "train[:1]"}, "two examples.*which has 1"),
            ({"train_split": "train[:8]"}, "is of class .*train.:8"),
            (
                {"generalist": str(self.folder / "broken.keras")},
                "broken.keras has weights that are not numbers",
            ),
        ):
            with self.assertRaisesRegex(ValueError, says):
                training.run_specialists(
                    dataclasses.replace(self.config, **change),
                    self.folder / "refused",
                )
            self.assertEmpty(list(self.folder.glob("refused*")))

    def test_fewer_sets_than_asked_for_are_told(self):
        self.assertNotIn(
            "asked for", training.summarise_specialists(self.found)
        )
        self.assertIn(
            "Of the 7 sets of classes that were asked for 2 differ",
            training.summarise_specialists(
                {**self.found, "num_sets_wanted": 7}
            ),
        )

    @pytest.mark.slow
    def test_what_is_known_of_the_generalist(self):
        """That it has seen the examples that another one would test on."""
        path = self.folder / "trained"
        training.run_specialists(
            dataclasses.replace(
                self.config, generalist=None, generalist_epochs=1
            ),
            path,
        )
        record = cards.find_record(path / "generalist.keras")
        generalist = keras.saving.load_model(path / "generalist.keras")
        self.assertEqual(
            record["fingerprint"], fingerprints.fingerprint(generalist)
        )
        again = dataclasses.replace(
            self.config, generalist=str(path / "generalist.keras")
        )
        with self.assertRaisesRegex(ValueError, "trained on 'train'"):
            training.run_specialists(
                dataclasses.replace(
                    again, train_split="test", test_split="train[:100]"
                ),
                self.folder / "leak",
            )
        training.run_specialists(again, self.folder / "again")
        self.assertEqual(
            cards.find_record(self.folder / "again/generalist.keras"), record
        )

    def test_what_p_says_is_said(self):
        for after, p, says in (
            (20, 0.001, "Specialists help: 20 errors with .*, 30 without"),
            (20, 0.001, "whether it would gain as much from as much training"),
            (40, 0.001, "Specialists do harm: 40"),
            (20, 0.2, "No evidence .*: 20 errors .* p = 0.2"),
        ):
            rows = [dict(row) for row in self.found["rows"]]
            rows[0]["test_errors"], rows[1]["test_errors"] = 30, after
            found = {**self.found, "rows": rows, "mcnemar_p": p}
            self.assertRegex(training.summarise_specialists(found), says)

    def test_no_test_example_of_their_classes(self):
        rows = [
            {**row, "conditional_accuracy": None} for row in self.found["rows"]
        ]
        self.assertRegex(
            training.summarise_specialists({**self.found, "rows": rows}),
            r"\| +- \|",
        )
        ((special_class,),) = self.sets(1, 1)
        labels = self.labels("test")
        number = int(np.flatnonzero(labels != special_class)[0])
        found = training.run_specialists(
            dataclasses.replace(
                self.config,
                num_sets=1,
                set_size=1,
                test_split=f"test[{number}:{number + 1}]",
            ),
            self.folder / "none",
        )
        self.assertIsNone(found["rows"][1]["conditional_accuracy"])

    @parameterized.parameters(
        {"num_sets": 0},
        {"seed": 2**32},
        {"set_size": -1},
        {"columns": "rows"},
        {"head_epochs": -1},
        {"head_epochs": 0, "epochs": 0},
        {"sampled_share": 1.0},
        {"sampled_share": "a"},
        {"epochs": True},
        {"full_softmax": "no"},
        {"temperature": 0.0},
        {"cluster_temperature": -1.0},
        {"soft_weight": 1.0},
        {"dustbin_rule": "guess"},
        {"top_n": 0},
        {"specialist_learning_rate": 0.0},
        {"generalist": 3},
    )
    def test_bad_configuration(self, **fault):
        with self.assertRaisesRegex(ValueError, next(iter(fault))):
            training.SpecialistsConfig(**fault)

    def command(self, output_dir):
        return processes.start(
            [
                "-m",
                "scripts.train_specialists",
                f"--config={self.path}/config.json",
                f"--output_dir={output_dir}",
                "--full_softmax",
                "--num_sets=4",
                "--epochs=40",
            ],
            {},
        )

    @pytest.mark.slow
    def test_two_processes_and_one_that_dies(self):
        """Each specialist is trained once, and the last process writes all."""
        output_dir = self.folder / "shared"
        partial = self.folder / "shared.partial"
        both = [self.command(output_dir) for _ in range(2)]
        # The first that has claimed something dies.
        while not list(partial.glob("work/specialist-*.npz")):
            time.sleep(0.1)
            self.assertIsNone(both[0].poll())
        both[0].send_signal(signal.SIGKILL)
        both.append(self.command(output_dir))
        said = [processes.finish(process) for process in both]
        self.assertEqual(both[0].returncode, -signal.SIGKILL)
        self.assertEqual([p.returncode for p in both[1:]], [0, 0], said)
        written = [f"Written: {output_dir}" in text for text in said]
        self.assertEqual(sum(written), 1, said)
        self.assertFalse(partial.exists())
        found = json.loads((output_dir / "specialists.json").read_text())
        names = [f"specialist-{n}" for n in range(len(found["specialists"]))]
        for name in names:
            curve = [
                line["epoch"]
                for line in map(
                    json.loads,
                    (output_dir / "curves.jsonl").read_text().splitlines(),
                )
                if line["model"] == f"{name}-whole"
            ]
            self.assertEqual(curve, list(range(40)))
            # Of the two that lived; what died may have begun one.
            told = sum(name in text for text in said[1:])
            self.assertBetween(told, 0 if name in said[0] else 1, 1)
        teacher = kd_keras.load_teacher(output_dir / "combined.keras")
        self.assertEqual(teacher.output_shape, (None, 10))

    @pytest.mark.slow
    def test_teaches(self):
        process = processes.start(
            [
                "-m",
                "scripts.distill",
                f"--teacher={self.path}/combined.keras",
                f"--data_dir={self.data_dir}",
                f"--output_dir={self.folder / 'student'}",
                "--temperature=1",
                "--seeds=1",
                "--student_epochs=10",
            ],
            {},
        )
        said = processes.finish(process)
        self.assertEqual(process.returncode, 0, said)
        rows = [
            json.loads(line)
            for line in (self.folder / "student" / "metrics.jsonl")
            .read_text()
            .splitlines()
        ]
        self.assertEqual(
            rows[0]["test_errors"], self.found["rows"][1]["test_errors"]
        )


if __name__ == "__main__":
    tf.test.main()
