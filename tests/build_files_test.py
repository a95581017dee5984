"""BUILD says what the sources import, no less and no more."""

import ast
import fnmatch
import pathlib
import re
import sys
import tempfile
from unittest import mock

import tensorflow as tf
from absl.testing import parameterized
from packaging import requirements
from packaging import utils

from tests import sources

# Imported package -> label of the distribution that holds it.
THIRD_PARTY = {
    "absl": "@pypi//absl_py",
    "ai_edge_litert": "@pypi//ai_edge_litert",
    "apache_beam": "@pypi//apache_beam",
    "keras": "@pypi//keras",
    "matplotlib": "@pypi//matplotlib",
    "numpy": "@pypi//numpy",
    "onnx": "@pypi//onnx",
    "onnxruntime": "@pypi//onnxruntime",
    "packaging": "@pypi//packaging",
    "pytest": "@pypi//pytest",
    "scipy": "@pypi//scipy",
    "sklearn": "@pypi//scikit_learn",
    "tensorflow": "@pypi//tensorflow",
    "tensorflow_datasets": "@pypi//tensorflow_datasets",
    "tf2onnx": "@pypi//tf2onnx",
}

# What tests import without an `import` that can be read: in other processes,
# or by name. `package.*` is a package and all of its modules.
UNREAD_IMPORTS = {
    "tests/datasets_loading_test.py": "kd_keras.models",
    "tests/docs_test.py": "kd_keras.*",
    "tests/layering_test.py": "kd_keras",
    "tests/mistakes_test.py": "scripts.*",
    "tests/readme_test.py": "kd_keras",
    "tests/runs_test.py": "kd_keras.runs",
}

RULES = ("py_binary", "py_library", "py_test")


def read_build(text):
    """The Python targets of a BUILD file, as dicts of what is literal."""
    targets = []
    for statement in ast.parse(text).body:
        call = getattr(statement, "value", None)
        if not isinstance(call, ast.Call) or call.func.id not in RULES:
            continue
        target = {"rule": call.func.id, "deps": [], "srcs": []}
        for keyword in call.keywords:
            try:
                target[keyword.arg] = ast.literal_eval(keyword.value)
            except ValueError:
                pass  # A glob: of data, never of sources or dependencies.
        targets.append(target)
    return targets


def rule_for(path):
    """The rule that a file needs."""
    if path.endswith("_test.py"):
        return "py_test"
    is_program = path.startswith("scripts/") and (
        'if __name__ == "__main__"' in (sources.ROOT / path).read_text()
    )
    return "py_binary" if is_program else "py_library"


def default_name(path):
    """The name to propose for a file's target: that of its module."""
    parts = sources.module_name(path).split(".")
    return "_".join(parts[1:] if len(parts) > 1 else parts)


def expected_deps(path, known, labels):
    """The labels that a file's imports ask for, in Buildifier's order.

    Args:
        path: Path of the file.
        known: The repository's modules, `{module: path}`.
        labels: `{path: label}` of the files that have a target.

    Raises:
        KeyError: If the file imports a package that `THIRD_PARTY` lacks.
    """
    wanted = [item.module for item in sources.imports(path, known)]
    pattern = UNREAD_IMPORTS.get(path, "")
    wanted += [
        module
        for module in known
        if module == pattern.removesuffix(".*")
        or fnmatch.fnmatchcase(module, pattern)
    ]
    deps = set()
    for module in wanted:
        top = module.split(".")[0]
        if module in known:
            deps.add(
                labels.get(known[module], f":{default_name(known[module])}")
            )
        elif top in THIRD_PARTY:
            deps.add(THIRD_PARTY[top])
        elif top not in sys.stdlib_module_names:
            raise KeyError(
                f"{path} imports {module}, which is neither a module of the "
                "repository nor in THIRD_PARTY of tests/build_files_test.py: "
                "add it there, to requirements.txt and requirements_lock.txt."
            )
    deps.discard(labels.get(path, f":{default_name(path)}"))
    return sorted(deps, key=lambda label: (label.startswith("@"), label))


def written(deps):
    """Dependencies as BUILD holds them."""
    return "".join(
        ["    deps = [\n", *(f'        "{dep}",\n' for dep in deps), "    ],\n"]
    )


def faults(text, known):
    """What is wrong with a BUILD file, and what to write instead."""
    targets = read_build(text)
    found = []
    labels = {}
    for target in targets:
        for path in target["srcs"]:
            if path in labels:
                found.append(
                    f"{path} is in {labels[path]} and in :{target['name']}: "
                    "every file belongs to one target."
                )
            labels[path] = f":{target['name']}"
            if path not in known.values():
                found.append(f":{target['name']} names {path}: no such file.")
    for path in known.values():
        if path not in labels:
            found.append(
                f"{path} is in no target. Add:\n{rule_for(path)}(\n"
                f'    name = "{default_name(path)}",\n'
                f'    srcs = ["{path}"],\n'
                f"{written(expected_deps(path, known, labels))})"
            )
    for target in targets:
        if len(target["srcs"]) != 1:
            found.append(f":{target['name']} needs one file in `srcs`.")
            continue
        path = target["srcs"][0]
        if path not in known.values():
            continue
        if target["rule"] != rule_for(path):
            found.append(f":{target['name']} must be a {rule_for(path)}.")
        expected = expected_deps(path, known, labels)
        if target["deps"] != expected:
            missing = sorted(set(expected) - set(target["deps"]))
            superfluous = sorted(set(target["deps"]) - set(expected))
            found.append(
                f":{target['name']} has other deps than {path} has imports.\n"
                f"Missing: {missing or 'none'}, superfluous: "
                f"{superfluous or 'none'}. Its deps, sorted, are:\n"
                f"{written(expected)}"
            )
    return found


class BuildTest(parameterized.TestCase):
    def test_build_matches_the_sources(self):
        text = (sources.ROOT / "BUILD").read_text()
        self.assertEqual("", "\n".join(faults(text, sources.modules())))

    def test_only_the_package_is_public(self):
        text = (sources.ROOT / "BUILD").read_text()
        self.assertIn(
            'package(default_visibility = ["//visibility:private"])', text
        )
        public = [
            target["name"]
            for target in read_build(text)
            if "visibility" in target
        ]
        self.assertEqual(public, ["kd_keras"])

    def test_tests_run_as_programs(self):
        # As Bazel runs them: without this line a test passes by doing nothing.
        for path in sources.python_files():
            if path.endswith("_test.py"):
                with self.subTest(path):
                    self.assertEndsWith(
                        (sources.ROOT / path).read_text(),
                        '\n\nif __name__ == "__main__":\n    tf.test.main()\n',
                    )

    def test_lock_holds_what_is_required(self):
        lock = {}
        for line in lines_of("requirements_lock.txt"):
            name, version = line.split("==")
            lock[utils.canonicalize_name(name)] = version
        for line in lines_of("requirements.txt"):
            wanted = requirements.Requirement(line)
            name = utils.canonicalize_name(wanted.name)
            self.assertIn(name, lock)
            self.assertIn(lock[name], wanted.specifier, name)
        module = (sources.ROOT / "MODULE.bazel").read_text()
        self.assertIn('"//:requirements_lock.txt"', module)
        used = re.findall(
            "@pypi//([a-z0-9_]+)", (sources.ROOT / "BUILD").read_text()
        )
        self.assertContainsSubset(
            {utils.canonicalize_name(name) for name in used}, set(lock)
        )


def lines_of(path):
    """The lines of a requirements file without comments."""
    lines = (sources.ROOT / path).read_text().splitlines()
    lines = [line.split("#")[0].strip() for line in lines]
    return [line for line in lines if line]


KNOWN = {
    "kd_keras.losses": "kd_keras/losses.py",
    "kd_keras.ops": "kd_keras/ops.py",
}
GOOD = """
py_library(
    name = "ops",
    srcs = ["kd_keras/ops.py"],
    deps = ["@pypi//tensorflow"],
)

py_library(
    name = "losses",
    srcs = ["kd_keras/losses.py"],
    data = glob(["*.md"]),
    deps = [":ops", "@pypi//keras", "@pypi//tensorflow"],
)
"""


class FaultsTest(parameterized.TestCase):
    """The checks above, on BUILD files that are wrong."""

    def setUp(self):
        super().setUp()
        root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        (root / "kd_keras").mkdir()
        (root / "kd_keras/ops.py").write_text("import math\nimport tensorflow")
        (root / "kd_keras/losses.py").write_text(
            "import keras\nimport tensorflow as tf\nfrom kd_keras import ops\n"
        )
        self.enterContext(mock.patch.object(sources, "ROOT", root))

    def test_accepts(self):
        self.assertEqual(faults(GOOD, KNOWN), [])

    @parameterized.parameters(
        ('":ops", ', "", r"Missing: \[':ops'\], superfluous: none"),
        ('"@pypi//keras", ', "", r"Missing: \['@pypi//keras'\]"),
        (":ops", ":opps", r"Missing: \[':ops'\], superfluous: \[':opps'\]"),
        ('":ops", ', '":ops", ":x", ', r"Missing: none, superfluous: \[':x'\]"),
        ('["@pypi//t', '["@pypi//numpy", "@pypi//t', "superfluous.*numpy"),
        ('":ops", "@pypi//keras"', '"@pypi//keras", ":ops"', "sorted"),
        ('s/ops.py"', 's/opps.py"', "ops.py is in no target. Add:\npy_library"),
        ('s/ops.py"', 's/losses.py"', "losses.py is in :ops and in :losses"),
        ('s/ops.py"', 's/ops.py", "kd_keras/x.py"', "needs one file"),
        ("py_library", "py_binary", ":ops must be a py_library"),
        ('srcs = ["kd_keras/ops.py"]', "srcs = []", "needs one file"),
    )
    def test_finds(self, old, new, expected):
        self.assertIn(old, GOOD)
        text = GOOD.replace(old, new, 1)
        self.assertRegex("\n".join(faults(text, KNOWN)), expected)

    def test_message_can_be_copied(self):
        (message,) = faults(GOOD.replace('":ops", ', ""), KNOWN)
        self.assertEndsWith(
            message,
            '    deps = [\n        ":ops",\n        "@pypi//keras",\n'
            '        "@pypi//tensorflow",\n    ],\n',
        )

    def test_unknown_package(self):
        (sources.ROOT / "kd_keras/ops.py").write_text("import numppy")
        with self.assertRaisesRegex(KeyError, "numppy.*THIRD_PARTY"):
            faults(GOOD, KNOWN)


if __name__ == "__main__":
    tf.test.main()
