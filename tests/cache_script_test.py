"""The program that stores soft targets, as a person runs it."""

import pathlib
import tempfile
import unittest

import numpy as np
import pytest
import tensorflow as tf

import kd_keras
from kd_keras import datasets
from kd_keras import models
from kd_keras import soft_targets
from kd_keras import training
from tests import processes

try:
    import apache_beam
except ImportError:
    apache_beam = None


class CacheScriptTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = pathlib.Path(
            cls.enterClassContext(tempfile.TemporaryDirectory())
        )
        cls.members = [models.mlp((8, 8, 1), 10, (9,), seed=i) for i in (0, 1)]
        cls.flags, cls.paths = [], []
        for number, member in enumerate(cls.members):
            path = cls.folder / f"{number}.keras"
            member.save(path)
            cls.paths.append(path)
            cls.flags.append(f"--teacher={path}")

    def program(self, *args, name="cache_soft_targets"):
        process = processes.start(["-m", f"scripts.{name}", *args], {})
        said = processes.finish(process)
        return process.returncode, said

    @pytest.mark.slow
    def test_an_ensemble(self):
        path = self.folder / "store"
        args = [*self.flags, f"--output_dir={path}", "--dtype=float32"]
        code, said = self.program(*args, "--split=train[:200]")
        self.assertEqual(code, 0, said)
        self.assertIn(f"Written: {path}", said)
        digits = datasets.load("digits", "train[:200]")
        store = soft_targets.open_store(
            path, temperature=3.0, teacher=self.members
        )
        ensemble = kd_keras.EnsembleTeacher(self.members)
        for image, targets in store.batches(digits, 50):
            self.assertAllClose(
                targets["teacher_logits"], ensemble(image, 3.0), atol=1e-5
            )
        audit = training.audit_soft_targets(path, self.paths)
        self.assertTrue(audit.passed, audit)
        code, said = self.program(
            f"--store={path}", *self.flags[::-1], name="audit_soft_targets"
        )
        self.assertEqual(code, 1)
        self.assertIn("ARE NOT", said)

    @pytest.mark.slow
    @unittest.skipIf(apache_beam is None, "apache-beam is not installed")
    def test_views_by_beam(self):
        path = self.folder / "views"
        code, said = self.program(
            self.flags[0],
            f"--output_dir={path}",
            "--split=train[:60]",
            "--num_views=2",
            "--max_shift=1",
            "--runner=FnApiRunner",
            "--direct_num_workers=1",
        )
        self.assertEqual(code, 0, said)
        digits = datasets.load("digits", "train[:60]")
        store = soft_targets.open_store(path, teacher=self.members[0])
        seen = []
        for epoch in (0, 1):
            data = store.batches(
                digits, 60, augment=datasets.random_shift(1), epoch=epoch
            )
            [(image, targets)] = list(data)
            seen.append(image.numpy())
            logits = self.members[0](image).numpy()
            self.assertAllClose(
                targets["teacher_logits"],
                logits - logits.mean(axis=-1, keepdims=True),
                atol=2e-3,
            )
        self.assertGreater(np.abs(seen[0] - seen[1]).max(), 0.5)

    @pytest.mark.slow
    def test_mistakes(self):
        output = f"--output_dir={self.folder / 'nothing'}"
        for args, message in (
            ((output,), "--teacher is missing"),
            ((self.flags[0],), "--output_dir=DIR is missing"),
            ((self.flags[0], output, "--num_rangez=3"), "num_ranges"),
            ((self.flags[0], output, "stray"), "stray"),
            (
                ("--teacher=no.keras", output),
                "There is no saved model at no.keras",
            ),
        ):
            code, said = self.program(*args)
            self.assertEqual(code, 1, said)
            self.assertIn(message, said)
            self.assertNotIn("Traceback", said)
        self.assertFalse((self.folder / "nothing").exists())

    @unittest.skipIf(apache_beam is None, "apache-beam is not installed")
    def test_mistakes_in_options_of_beam(self):
        args = self.flags[0], "--output_dir=nothing", "--runner=FnApiRunner"
        for wrong, message in (
            ("--direct_num_worker=2", "direct_num_workers"),
            ("--num_rangez=2", "num_ranges"),
            ("stray", "stray"),
        ):
            code, said = self.program(*args, wrong)
            self.assertEqual(code, 1, said)
            self.assertIn(message, said)
            self.assertNotIn("Traceback", said)

    def test_plan(self):
        code, said = self.program(*self.flags, "--plan", "--temperature=20")
        self.assertEqual(code, 0, said)
        for text in (
            "| 5 ",
            "| 20 ",
            "KL lost",
            "Measured on 1000 of 1297",
            "Recommended: all logits of 2 members, float16 (0.1 MB)",
        ):
            self.assertIn(text, said)

    def test_help(self):
        _, said = self.program("--help")
        for flag in ("--teacher", "--num_views", "--runner", "--dataset"):
            self.assertIn(flag, said)
        self.assertNotIn("--strategy", said)


if __name__ == "__main__":
    tf.test.main()
