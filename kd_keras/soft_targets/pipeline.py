"""The writer as an Apache Beam pipeline: a range is an element.

Beam is imported here and nowhere else, and this module is imported by who uses
it: `pip install "kd_keras[beam]"`.
"""

import contextlib
import os
import pathlib
import threading

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.utils import shared

from kd_keras import progress
from kd_keras import runs
from kd_keras.soft_targets import range_writer

# Beam tells nothing before it ends; what is done shows in the folder.
_SECONDS_BETWEEN_LOOKS = 1.0


class WriteRange(beam.DoFn):
    """Writes ranges; each of its processes opens teacher and data once.

    A range that is written twice, because a worker failed after it had written
    it or Beam started it a second time, is the same file again.

    Args:
        make_job: Picklable function without arguments that makes the
            `jobs.Job`.
        folder: str, the partial directory of the store.
        work: str, its directory for what is not of the store.
        identity: What the store depends on, for a worker to compare.
        noted: What `Job.start` returned.
    """

    def __init__(self, make_job, folder, work, identity, noted):
        self._make_job = make_job
        self._identity = identity
        self._noted = noted
        self._folder = folder
        self._work = work
        self._shared = shared.Shared()

    def setup(self):
        """Opens teacher and data, or takes those of another thread."""
        self._job = self._shared.acquire(self._make_job)
        found = self._job.identity
        for name, value in self._identity.items():
            if found[name] != value:
                raise ValueError(
                    f"This worker's `{name}` is {found[name]!r}, and that of "
                    f"the program that started it {value!r}."
                )
        self._job.join(pathlib.Path(self._folder), self._noted)

    def process(self, number):
        """Writes the range of this number, and notes that it is done."""
        job = self._job
        part = job.ranges[number]
        work = pathlib.Path(self._work)
        writer = job.writer(pathlib.Path(self._folder), work)
        batches = range_writer.batches(job.source, [part], job.batch_size)
        result = writer.write(part, iter(batches), lambda count: None)
        runs.write_unit(work, part.name, result)
        yield number


def write(path, make_job, options, *, overwrite=False, stream=None):
    """Does what `soft_targets.write` does, by the workers of a Beam runner.

    They all must see the directory of the store, the data and the teacher.
    When a worker fails, the runner starts its ranges again, if it is one that
    does; if all fails, the same call goes on after the ranges that are done.

    Args:
        path: Directory to make.
        make_job: Picklable function without arguments that makes the
            `jobs.Job`, here and in each worker process.
        options: List of str, Beam's options: `["--runner=FnApiRunner"]`.
        overwrite: As for `soft_targets.write`.
        stream: Where to tell of progress. Defaults to standard error.

    Raises:
        FileExistsError: As `soft_targets.write`.
        RuntimeError: If the pipeline ended without all ranges.
        ValueError: As `soft_targets.write`.
    """
    job = make_job()
    run = job.run(path, overwrite)
    with run.begin(), job.leaving_nothing(run):
        noted = job.start(run, overwrite)
        with progress.Report(job.source.num_examples, stream) as report:
            for part in job.ranges:
                if part not in job.to_do:
                    report.skip(part.stop - part.start)
            report.start("writing soft targets")
            with _watched(run, job.to_do, report):
                if job.to_do:
                    _run(make_job, job, noted, run, options)
        missing = [p.name for p in job.ranges if run.done(p.name) is None]
        if missing:
            raise RuntimeError(
                f"The pipeline ended without {len(missing)} of "
                f"{len(job.ranges)} ranges: {', '.join(missing[:3])}. Its "
                "workers must write to the same directory. The same command "
                "goes on here."
            )
        job.finish(run)


def _run(make_job, job, noted, run, options):
    """Runs the pipeline over the ranges that are to be done."""
    # Local workers are new processes, which know only what is in here.
    root = str(pathlib.Path(__file__).resolve().parents[2])
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if root not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join(
            [root, *(path for path in paths if path)]
        )
    do_fn = WriteRange(
        make_job,
        str(run.path.resolve()),
        str(run.work.resolve()),
        job.identity,
        noted,
    )
    with beam.Pipeline(options=PipelineOptions(options)) as pipeline:
        (
            pipeline
            | "Ranges" >> beam.Create([part.number for part in job.to_do])
            | "Spread" >> beam.Reshuffle()
            | "Write" >> beam.ParDo(do_fn)
            # FnApiRunner notices that a worker died only where it waits for
            # what comes out of a stage.
            | "Done" >> beam.Reshuffle()
        )


@contextlib.contextmanager
def _watched(run, to_do, report):
    """Tells of ranges as they come to be done."""
    ended = threading.Event()

    def watch():
        waiting = list(to_do)
        while waiting:
            stop = ended.wait(_SECONDS_BETWEEN_LOOKS)
            for part in list(waiting):
                if run.has_unit(part.name):
                    waiting.remove(part)
                    report.advance(part.stop - part.start)
            if stop:
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
