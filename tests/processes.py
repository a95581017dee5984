"""Python processes that tests start: alone, or as workers of one cluster."""

import json
import os
import pathlib
import socket
import subprocess
import sys

# How long a process may take, in seconds.
PATIENCE = 240


def environments(num_workers):
    """The variables that make processes the workers of one cluster."""
    if num_workers == 1:
        return [{}]
    cluster = {"worker": [f"localhost:{port}" for port in ports(num_workers)]}
    return [
        {
            "TF_CONFIG": json.dumps(
                {
                    "cluster": cluster,
                    "task": {"type": "worker", "index": index},
                }
            )
        }
        for index in range(num_workers)
    ]


def ports(number):
    """Ports that nobody uses."""
    sockets = [socket.socket() for _ in range(number)]
    try:
        for each in sockets:
            each.bind(("localhost", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def start(args, environment):
    """Starts Python from the project's root."""
    root = pathlib.Path(__file__).resolve().parent.parent
    path = os.pathsep.join([str(root), *sys.path])
    return subprocess.Popen(
        [sys.executable, *args],
        cwd=root,
        env={
            **os.environ,
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "CUDA_VISIBLE_DEVICES": "-1",
            "PYTHONPATH": path,
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    """Waits for a process; returns what it printed."""
    try:
        return process.communicate(timeout=PATIENCE)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()[0] + f"\nkilled after {PATIENCE} s"
