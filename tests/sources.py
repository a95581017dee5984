"""The repository's Python files and what they import, read and never run."""

import ast
import dataclasses
import pathlib

# Not resolved: in Bazel's sandbox the files are links to somewhere else.
ROOT = pathlib.Path(__file__).absolute().parents[1]
PACKAGES = ("kd_keras", "scripts", "tests")


@dataclasses.dataclass(frozen=True)
class Import:
    """One imported module, and the line that asks for it."""

    module: str
    line: int


def python_files(root=ROOT):
    """Every Python file that belongs to the repository, sorted."""
    paths = list(root.glob("*.py"))
    for package in PACKAGES:
        paths += (root / package).rglob("*.py")
    return sorted(path.relative_to(root).as_posix() for path in paths)


def module_name(path):
    """`kd_keras/datasets/__init__.py` is `kd_keras.datasets`."""
    parts = pathlib.PurePosixPath(path).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules(root=ROOT):
    """The repository's modules by name, with their paths."""
    return {module_name(path): path for path in python_files(root)}


def imports(path, known, source=None):
    """What a file imports, anywhere in it.

    Args:
        path: Path of the file from the repository's root.
        known: Names of the repository's modules: they tell whether `name` in
            `from package import name` is a module.
        source: Its text. Read from the file by default.

    Returns:
        A list of `Import`. The names of modules in the `__all__` of a package
        count: it may import them only when they are asked for.
    """
    if source is None:
        source = (ROOT / path).read_text()
    found = []
    for node in ast.walk(ast.parse(source, filename=path)):
        if isinstance(node, ast.Import):
            found += [Import(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = pathlib.PurePosixPath(path).parts[: -node.level]
                base = ".".join(filter(None, [*package, base]))
            for alias in node.names:
                name = f"{base}.{alias.name}"
                found.append(
                    Import(name if name in known else base, node.lineno)
                )
        elif isinstance(node, ast.Assign) and path.endswith("__init__.py"):
            if ast.unparse(node.targets[0]) == "__all__":
                names = ast.literal_eval(node.value)
                package = module_name(path)
                found += [
                    Import(f"{package}.{name}", node.lineno)
                    for name in names
                    if f"{package}.{name}" in known
                ]
    return found
