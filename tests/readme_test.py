"""What README.md tells people to run, run."""

import os
import re
import subprocess
import sys
import tempfile

import tensorflow as tf
from absl.testing import parameterized

from tests import sources


def blocks(text, language):
    """The contents of the fenced blocks of a language, in order."""
    pattern = rf"^```{language}\n(.*?)^```$"
    return re.findall(pattern, text, re.MULTILINE | re.DOTALL)


def program(text):
    """The README's Python blocks as one program, each at its own lines.

    Blank lines take the place of the rest, so that a traceback names the line
    of the README.
    """
    lines, inside = [], False
    for line in text.splitlines():
        if line.startswith("```"):
            inside = line == "```python" and not inside
            lines.append("")
        else:
            lines.append(line if inside else "")
    return "\n".join(lines) + "\n"


def run_program(source, folder):
    """Runs a program in a process of its own, in a folder of its own."""
    path = os.path.join(folder, "README.py")
    with open(path, "w") as file:
        file.write(source)
    import_path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    return subprocess.run(
        [sys.executable, path],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": import_path,
            "TF_CPP_MIN_LOG_LEVEL": "3",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


class ReadmeTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        readme = sources.ROOT / "README.md"
        self.assertTrue(
            readme.is_file(),
            "README.md is missing. It needs ```python blocks, and the "
            "commands of a first result and of the tests as its first two "
            "```bash blocks.",
        )
        self.text = readme.read_text()

    def test_python_blocks_run(self):
        self.assertNotEmpty(
            blocks(self.text, "python"), "README.md has no ```python block."
        )
        with tempfile.TemporaryDirectory() as folder:
            done = run_program(program(self.text), folder)
        self.assertEqual(
            done.returncode, 0, f"README.md failed:\n{done.stderr[-3000:]}"
        )

    def test_commands_are_self_contained(self):
        commands = blocks(self.text, "bash")
        self.assertGreaterEqual(len(commands), 2, "README.md needs two.")
        for command in commands[:2]:
            with self.subTest(command):
                # Pasted into a shell at the root of the checkout, by somebody
                # who has done nothing before.
                self.assertIn("python3 -m venv ", command)
                self.assertNotRegex(command, r"git clone|(^|[\s;&])cd\s")
                checked = subprocess.run(
                    ["bash", "-n", "-c", command], capture_output=True
                )
                self.assertEqual(checked.returncode, 0, checked.stderr)
        self.assertIn("python -m pytest", commands[1])

    def test_ci_runs_the_test_command(self):
        shown = subprocess.run(
            ["bash", sources.ROOT / ".ci/run", "--print-test-command"],
            capture_output=True,
            text=True,
        )
        self.assertEqual(shown.returncode, 0, shown.stderr)
        self.assertEqual(shown.stdout, blocks(self.text, "bash")[1])


class ExtractionTest(parameterized.TestCase):
    """The checks above, on small READMEs."""

    def test_blocks_share_a_namespace_and_keep_their_lines(self):
        text = (
            "# Title\n```bash\nnot python\n```\n```python\na = 1\n```\n"
            "text\n```python\nassert a == 1\nraise ValueError\n```\n"
        )
        self.assertEqual(blocks(text, "bash"), ["not python\n"])
        self.assertLen(blocks(text, "python"), 2)
        with tempfile.TemporaryDirectory() as folder:
            done = run_program(program(text), folder)
            self.assertEqual(done.returncode, 1)
            self.assertIn("line 11, in <module>", done.stderr)
            done = run_program(
                program(text.replace("raise ValueError", "")), folder
            )
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_ci_reads_the_second_bash_block(self):
        script = (sources.ROOT / ".ci/run").read_text()
        show = ["bash", ".ci/run", "--print-test-command"]
        with tempfile.TemporaryDirectory() as folder:
            os.mkdir(os.path.join(folder, ".ci"))
            with open(os.path.join(folder, ".ci/run"), "w") as file:
                file.write(script)
            readme = os.path.join(folder, "README.md")
            with open(readme, "w") as file:
                file.write(
                    "```bash\none\n```\n```python\nx\n```\n"
                    "```bash\ntwo \\\n  three\n```\n```bash\nfour\n```\n"
                )
            shown = subprocess.run(
                show, cwd=folder, capture_output=True, text=True
            )
            self.assertEqual(shown.stdout, "two \\\n  three\n")
            with open(readme, "w") as file:
                file.write("```bash\none\n```\n")
            shown = subprocess.run(
                show, cwd=folder, capture_output=True, text=True
            )
            self.assertEqual(shown.returncode, 1)
            self.assertIn("no second bash block", shown.stderr)

    @parameterized.parameters(
        ("mkdir .venv && false && true", 1), ("exit 5", 5)
    )
    def test_ci_fails_as_the_test_command_does(self, command, status):
        # pytest's status is 5 when it has collected nothing.
        with tempfile.TemporaryDirectory() as folder:
            os.mkdir(os.path.join(folder, ".ci"))
            with open(os.path.join(folder, ".ci/run"), "w") as file:
                file.write((sources.ROOT / ".ci/run").read_text())
            with open(os.path.join(folder, "README.md"), "w") as file:
                file.write(f"```bash\none\n```\n```bash\n{command}\n```\n")
            done = subprocess.run(
                ["bash", os.path.join(folder, ".ci/run")], capture_output=True
            )
            self.assertEqual(done.returncode, status, done.stderr)


if __name__ == "__main__":
    tf.test.main()
