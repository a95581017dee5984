"""Imports go down the layers, or sideways without a cycle."""

import os
import subprocess
import sys
import textwrap

import tensorflow as tf
from absl.testing import parameterized

from tests import sources

# From the ground up. A module may import its own layer and those below it.
# The modules of a package are in the layer of the package.
LAYERS = (
    (
        "comparison",
        "distribution",
        "json_files",
        "keras_hooks",
        "locks",
        "ops",
        "pixels",
        "progress",
        "runs",
        "tempered_kl",
        "version",
    ),
    ("batches", "datasets", "losses", "metrics", "models"),
    (
        "diagnostics",
        "export",
        "model_checks",
        "precision",
        "replica_checks",
        "replication",
        "saved_teachers",
        "soft_targets",
        "specialists",
        "stored_teachers",
        "teachers",
        "updates",
        "value_checks",
        "worker_callbacks",
    ),
    (
        *("arguments", "callbacks", "distiller", "loops", "objective"),
        *("together", "together_checks"),
    ),
    ("training",),
    ("benchmarks", "experiments"),
    ("reports",),
)
# Above them all, in this order: the public names, then the programs.
PUBLIC_NAMES = len(LAYERS)
SCRIPTS = PUBLIC_NAMES + 1

# Who must not reach whom, even through others.
UNREACHABLE = {
    "kd_keras.losses": ("kd_keras.distiller",),
    "kd_keras.teachers": ("kd_keras.distiller",),
    "kd_keras.saved_teachers": ("kd_keras.distiller",),
    "kd_keras.export": ("kd_keras.distiller",),
    "kd_keras.soft_targets": ("kd_keras.distiller",),
    "kd_keras.distiller": ("kd_keras.soft_targets", "kd_keras.datasets"),
}
# Only these may import these.
RESERVED = {
    "ai_edge_litert": ("kd_keras.export.runners",),
    "apache_beam": ("kd_keras.soft_targets.pipeline", "scripts.beam_flags"),
    "matplotlib": ("kd_keras.reports",),
    "onnx": ("kd_keras.export.portable",),
    "onnxruntime": ("kd_keras.export.runners",),
    "tf2onnx": ("kd_keras.export.portable",),
}


def layer(module):
    """The layer of a module, or None for one that has none yet."""
    parts = module.split(".")
    if parts[0] == "scripts":
        return SCRIPTS
    if parts == ["kd_keras"]:
        return PUBLIC_NAMES
    for number, names in enumerate(LAYERS):
        if parts[1] in names:
            return number
    return None


def is_within(module, package):
    return module == package or module.startswith(package + ".")


def faults(graph):
    """What is wrong with a graph `{module: [Import]}`, one line for each."""
    found = []
    for module, imported in graph.items():
        if layer(module) is None:
            found.append(
                f"{module} is in no layer: add {module.split('.')[1]!r} to "
                "LAYERS in tests/layering_test.py, as low as its imports let."
            )
            continue
        for item in imported:
            where = f"{module} (line {item.line}) imports {item.module}"
            for package, allowed in RESERVED.items():
                if is_within(item.module, package) and not any(
                    is_within(module, name) for name in allowed
                ):
                    found.append(f"{where}, only {allowed} may.")
            if item.module not in graph or layer(item.module) is None:
                if is_within(item.module, "tests"):
                    found.append(f"{where}: tests are for nobody to import.")
            elif layer(item.module) > layer(module):
                found.append(
                    f"{where}: up from layer {layer(module)} to "
                    f"{layer(item.module)}."
                )
    for source, targets in UNREACHABLE.items():
        for module in graph:
            if not is_within(module, source):
                continue
            for reached in reachable(graph, module):
                if any(is_within(reached, target) for target in targets):
                    found.append(f"{module} reaches {reached}, must not.")
    cycle = find_cycle(graph)
    if cycle:
        found.append("These import each other: " + " -> ".join(cycle))
    return found


def neighbours(graph, module):
    return sorted({i.module for i in graph[module] if i.module in graph})


def reachable(graph, start):
    seen, waiting = set(), [start]
    while waiting:
        for module in neighbours(graph, waiting.pop()):
            if module not in seen:
                seen.add(module)
                waiting.append(module)
    return sorted(seen)


def find_cycle(graph):
    """A list of modules that ends where it began, or None."""
    done = set()

    def visit(module, path):
        if module in path:
            return [*path[path.index(module) :], module]
        if module not in done:
            for following in neighbours(graph, module):
                cycle = visit(following, [*path, module])
                if cycle:
                    return cycle
            done.add(module)
        return None

    for module in graph:
        cycle = visit(module, [])
        if cycle:
            return cycle
    return None


def repository():
    known = sources.modules()
    return {
        module: sources.imports(path, known)
        for module, path in known.items()
        if is_within(module, "kd_keras") or is_within(module, "scripts")
    }


def graph_of(edges):
    """A graph from `"losses > kd_keras.ops keras; ..."`."""
    graph = {}
    for edge in edges.split("; "):
        module, imported = edge.split(" > ")
        graph[f"kd_keras.{module}"] = [
            sources.Import(name, 7) for name in imported.split()
        ]
        for name in imported.split():
            if name.startswith(("kd_keras", "scripts")):
                graph.setdefault(name, [])
    return graph


class LayeringTest(parameterized.TestCase):
    def test_repository(self):
        graph = repository()
        self.assertGreater(len(graph), 5)
        self.assertIn(
            "kd_keras.ops", [i.module for i in graph["kd_keras.losses"]]
        )
        self.assertEqual("", "\n".join(faults(graph)))

    @parameterized.parameters(
        ("ops > kd_keras.losses", r"ops \(line 7\).*up from layer 0 to 1"),
        ("losses > kd_keras", "up from layer 1 to 7"),
        ("training > scripts.distill", "up from layer 4 to 8"),
        ("metrics > tests.reference", "tests are for nobody"),
        ("gadgets > keras", "gadgets is in no layer: add 'gadgets'"),
        ("training > matplotlib.pyplot", "only .*reports.* may"),
        (
            "losses > kd_keras.metrics; metrics > kd_keras.losses",
            "losses -> kd_keras.metrics -> kd_keras.losses",
        ),
        (
            "datasets.a > kd_keras.datasets; datasets > kd_keras.datasets.a",
            "import each other",
        ),
        (
            "distiller > kd_keras.loops; loops > kd_keras.datasets.a",
            "distiller reaches kd_keras.datasets.a",
        ),
        (
            "distiller > kd_keras.teachers; teachers > kd_keras.soft_targets",
            "distiller reaches kd_keras.soft_targets",
        ),
        (
            "soft_targets.a > kd_keras.loops; loops > kd_keras.distiller",
            "soft_targets.a reaches kd_keras.distiller",
        ),
    )
    def test_finds(self, edges, expected):
        self.assertRegex("\n".join(faults(graph_of(edges))), expected)

    @parameterized.parameters(
        "losses > kd_keras.ops keras; metrics > kd_keras.losses",
        "reports > matplotlib.pyplot kd_keras.experiments.digits",
        "datasets.a > kd_keras.datasets.b; datasets > kd_keras.datasets.a",
    )
    def test_accepts(self, edges):
        self.assertEqual(faults(graph_of(edges)), [])

    def test_reads_every_kind_of_import(self):
        source = textwrap.dedent("""
            import os, kd_keras.ops
            from kd_keras import losses, Distiller
            from . import near
            from ..above import thing
            def function():
                from kd_keras.datasets import loading as renamed
            if TYPE_CHECKING:
                import numpy as np
        """)
        known = {
            "kd_keras.losses", "kd_keras.datasets.loading",
            "kd_keras.datasets.near", "kd_keras.above",
        }  # fmt: skip
        found = sources.imports("kd_keras/datasets/a.py", known, source)
        self.assertCountEqual(
            [(item.module, item.line) for item in found],
            [
                ("os", 2), ("kd_keras.ops", 2), ("kd_keras.losses", 3),
                ("kd_keras", 3), ("kd_keras.datasets.near", 4),
                ("kd_keras.above", 5), ("kd_keras.datasets.loading", 7),
                ("numpy", 9),
            ],
        )  # fmt: skip
        found = sources.imports(
            "kd_keras/__init__.py", known, '__all__ = ["losses", "Distiller"]'
        )
        self.assertEqual(found, [sources.Import("kd_keras.losses", 1)])


class ImportTest(parameterized.TestCase):
    def test_importing_is_light_and_touches_no_device(self):
        code = """
            import sys
            import keras
            import tensorflow as tf

            heavy = ("tensorflow_datasets", "apache_beam", "matplotlib",
                     "sklearn")
            # Keras imports scikit-learn by itself where it is installed.
            for name in list(sys.modules):
                if name.split(".")[0] in heavy:
                    del sys.modules[name]
            import kd_keras.datasets
            import kd_keras.models
            print("file:", kd_keras.__file__)
            print("heavy:", [name for name in heavy if name in sys.modules])
            # Both raise once any operation has run.
            cpu = tf.config.list_physical_devices("CPU")[0]
            tf.config.set_logical_device_configuration(
                cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
            tf.config.set_visible_devices([cpu])
            print("devices:", len(tf.config.list_logical_devices("CPU")))
        """
        path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("__init__.py\nheavy: []\ndevices: 2\n", done.stdout)


if __name__ == "__main__":
    tf.test.main()
