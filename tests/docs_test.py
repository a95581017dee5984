"""The docstrings: there, with examples, and their examples are right."""

import ast
import contextlib
import doctest
import importlib
import inspect
import os
import re
import tempfile

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import kd_keras
from tests import sources

MAX_LINES = 400
# Not required to use the package: modules that import them are skipped where
# they are not installed.
OPTIONAL = ("apache_beam", "matplotlib")
# Whose public functions and classes need an example each.
WITH_EXAMPLES = ("kd_keras.losses", "kd_keras.metrics", "kd_keras.ops")

MODULES = sorted(
    name for name in sources.modules() if name.split(".")[0] == "kd_keras"
)
NUMBER = re.compile(
    r"(?<![\w.])[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?(?![\w.]*\w)", re.I
)


class NumberChecker(doctest.OutputChecker):
    """Compares numbers up to 1e-4, and the text around them as doctest does.

    A printed array pads its numbers to the longest, so that white space is
    not compared next to a bracket.
    """

    def check_output(self, want, got, optionflags):
        if super().check_output(want, got, optionflags):
            return True
        wanted, found = NUMBER.findall(want), NUMBER.findall(got)
        if "..." in want or len(wanted) != len(found):
            return False
        if not np.allclose(
            [float(number) for number in found],
            [float(number) for number in wanted],
            rtol=1e-4,
            atol=1e-4,
        ):
            return False
        texts = []
        for text in (want, got):
            text = NUMBER.sub("#", text)
            texts.append(re.sub(r"\s*([\[\](),])\s*", r"\1", text))
        return super().check_output(*texts, optionflags)


def load(name):
    """A module, or None if it needs an optional package that is missing."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in OPTIONAL:
            return None
        raise


def public_members(module):
    """Public functions and classes that a module defines itself."""
    return {
        name: member
        for name, member in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(member) or inspect.isfunction(member))
        and member.__module__ == module.__name__
    }


def public_methods(cls):
    """Public methods and properties that a class defines itself."""
    return {
        name: member
        for name, member in vars(cls).items()
        if not name.startswith("_")
        and (
            inspect.isfunction(member)
            or isinstance(member, (property, classmethod, staticmethod))
        )
    }


def undocumented(module):
    """Dotted names of a module that have no docstring."""
    found = [] if inspect.getdoc(module) else [module.__name__]
    for name, member in public_members(module).items():
        if not member.__doc__:
            found.append(f"{module.__name__}.{name}")
        if inspect.isclass(member):
            # Inherited documentation is documentation.
            found += [
                f"{module.__name__}.{name}.{method}"
                for method in public_methods(member)
                if not inspect.getdoc(getattr(member, method))
            ]
    return found


def has_example(member):
    doc = inspect.getdoc(member) or ""
    return ">>>" in doc or re.search(r"^Examples?:", doc, re.M) is not None


@contextlib.contextmanager
def clean_state():
    """A folder to write in, and Keras as it was, for one module's examples."""
    folder = os.getcwd()
    with tempfile.TemporaryDirectory() as temporary:
        os.chdir(temporary)
        keras.utils.set_random_seed(0)
        try:
            yield
        finally:
            os.chdir(folder)


def failed_examples(module):
    """Runs the examples of a module and returns the report on the failed."""
    names = {"keras": keras, "kd_keras": kd_keras, "np": np, "tf": tf}
    runner = doctest.DocTestRunner(
        checker=NumberChecker(),
        verbose=False,
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE,
    )
    report = []
    finder = doctest.DocTestFinder(exclude_empty=True)
    with clean_state():
        for test in finder.find(module, extraglobs=names):
            runner.run(test, out=report.append)
    return "".join(report)


class DocsTest(parameterized.TestCase):
    @parameterized.parameters(*MODULES)
    def test_module(self, name):
        path = sources.modules()[name]
        source = (sources.ROOT / path).read_text()
        self.assertLessEqual(
            len(source.splitlines()),
            MAX_LINES,
            f"{path} has become two things: make it two modules.",
        )
        self.assertTrue(ast.get_docstring(ast.parse(source)), path)
        module = load(name)
        if module is None:
            self.skipTest(f"one of {OPTIONAL} is not installed")
        self.assertEqual([], undocumented(module))
        self.assertEqual("", failed_examples(module))

    def test_public_names(self):
        for name in kd_keras.__all__:
            with self.subTest(name):
                member = getattr(kd_keras, name)
                self.assertTrue(inspect.getdoc(member))
                if not inspect.ismodule(member):
                    self.assertTrue(has_example(member), "needs an example")
        for module in map(importlib.import_module, WITH_EXAMPLES):
            for name, member in public_members(module).items():
                with self.subTest(f"{module.__name__}.{name}"):
                    self.assertTrue(has_example(member), "needs an example")


class CheckerTest(parameterized.TestCase):
    """The comparison of what an example prints."""

    @parameterized.parameters(
        ("0.3202", "0.32016712", True),
        ("0.3202", "0.3204", False),
        ("1000.0", "1000.05", True),
        ("[0.4192, 0.3265]", "[0.41922, 0.32652]", True),
        ("[0.4192, 0.3265]", "[0.41922, 0.32652, 0.0]", False),
        ("array([1.5, 0.5])", "array([1.49999, 0.5    ])", True),
        ("array([ 0., -200.])", "array([   0., -200.])", True),
        ("shape=(3,), numpy=1.5", "shape=(3,), numpy=1.50001", True),
        ("shape=(3,), numpy=1.5", "shape=(4,), numpy=1.5", False),
        ("1e-3", "0.001", True),
        ("float32 1.0", "float64 1.0", False),
        ("True", "False", False),
        ("'a 1'", "'b 1'", False),
        ("-0.5", "0.5", False),
        ("2", "2", True),
    )
    def test_numbers(self, want, got, accepted):
        checker = NumberChecker()
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        self.assertEqual(
            checker.check_output(want + "\n", got + "\n", flags), accepted
        )

    def test_failures_are_reported(self):
        module = type(doctest)("kd_keras.made_up", "Doc.\n\n>>> 1 + 1\n3\n")
        self.assertRegex(failed_examples(module), "Expected:\n.*3\nGot:\n.*2")
        module.__doc__ = (
            "Doc.\n\n>>> kd_keras.ops and keras and tf and np.pi\n3.14159\n"
        )
        self.assertEqual(failed_examples(module), "")

    def test_undocumented_names_are_reported(self):
        module = type(doctest)("kd_keras.made_up")

        class Thing:
            """Documented."""

            def method(self):
                pass

            def _private(self):
                pass

        Thing.__module__ = module.__name__
        module.Thing = Thing
        self.assertEqual(
            undocumented(module),
            ["kd_keras.made_up", "kd_keras.made_up.Thing.method"],
        )
        self.assertFalse(has_example(Thing))


if __name__ == "__main__":
    tf.test.main()
