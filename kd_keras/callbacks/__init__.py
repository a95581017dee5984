"""Callbacks for runs that may be broken off and started again.

`EpochCounter` tells the data which epoch it is, so that its order is a function
of seed and epoch. `TrainingState` saves all that training needs to go on, and
takes it up again. With both, a run that was killed at any moment and started
again by the same command ends where the unbroken run ends, bit for bit on CPU.
"""

from kd_keras.callbacks.epoch_counter import EpochCounter
from kd_keras.callbacks.training_state import TrainingState

__all__ = ["EpochCounter", "TrainingState"]
