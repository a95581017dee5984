"""Progress of long work, on a terminal and in a log."""

import sys
import time

import keras


class Report:
    """Tells of steps done, with the time left.

    On a terminal it keeps one line up to date; elsewhere it prints a line
    for each part of the work, and one each minute.

    Args:
        total_steps: Steps of the whole work.
        stream: Where to write. Defaults to standard error.
    """

    def __init__(self, total_steps, stream=None):
        self._total = total_steps
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty()
        # In seconds.
        self._interval = 0.2 if self._is_terminal else 60.0
        self._done = 0
        self._part = ""
        self._begin = time.monotonic()
        self._last_shown = 0.0

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if error is None:
            self.close()
        elif self._is_terminal:
            # What is said of the error begins a line.
            self._stream.write("\n")

    def start(self, part):
        """Names the part of the work that begins."""
        self._part = part
        if not self._is_terminal:
            self._show()

    def advance(self, steps):
        """Counts steps that were done."""
        self._done += steps
        if time.monotonic() - self._last_shown > self._interval:
            self._show()

    def skip(self, steps):
        """Takes steps out of the work that were done before."""
        self._total -= steps

    def close(self):
        """Says that all is done."""
        if self._is_terminal:
            self._stream.write("\r\x1b[K")
        elapsed = time.monotonic() - self._begin
        self._stream.write(f"Done in {elapsed:.0f} s.\n")
        self._stream.flush()

    def callback(self, num_models=1):
        """A Keras callback that counts the steps of a `fit`.

        Args:
            num_models: For how many models each step counts. Defaults to 1.
        """
        return _Advance(self, num_models)

    def _show(self):
        self._last_shown = time.monotonic()
        before, after = ("\r\x1b[K", "") if self._is_terminal else ("", "\n")
        self._stream.write(f"{before}{self._status()}{after}")
        self._stream.flush()

    def _status(self):
        share = self._done / max(self._total, 1)
        text = f"{100 * share:3.0f}%  {self._part}"
        if self._done:
            elapsed = time.monotonic() - self._begin
            text += f"  ({elapsed / share - elapsed:.0f} s left)"
        return text


class _Advance(keras.callbacks.Callback):
    """Counts steps, several of which may come as one."""

    def __init__(self, report, num_models):
        super().__init__()
        self._report, self._num_models = report, num_models
        self._next_epoch = 0
        self._seen = 0

    def on_epoch_begin(self, epoch, logs=None):
        self._skip(epoch)
        self._next_epoch = epoch + 1
        self._seen = 0

    def on_train_batch_end(self, batch, logs=None):
        # The last execution of an epoch may hold fewer steps than it counts.
        done = min(batch + 1, self.params.get("steps") or batch + 1)
        self._report.advance((done - self._seen) * self._num_models)
        self._seen = done

    def on_train_end(self, logs=None):
        self._skip(self.params.get("epochs", 0))

    def _skip(self, epoch):
        """Leaves out epochs that this `fit` does not train."""
        steps = self.params.get("steps") or 0
        left_out = (epoch - self._next_epoch) * steps
        self._report.skip(left_out * self._num_models)
