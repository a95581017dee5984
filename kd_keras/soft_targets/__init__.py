"""Stored soft targets: one pass of the teacher, many students.

`write` stores the logits of any teacher over a data set; `open_store` gives
them back as a teacher that need not be called, and as data in which every
example is proven to carry its own. What is stored are logits before
temperature, so that one store serves every temperature.
"""

from kd_keras.soft_targets.auditing import Audit
from kd_keras.soft_targets.auditing import audit
from kd_keras.soft_targets.opening import open_store
from kd_keras.soft_targets.planning import Option
from kd_keras.soft_targets.planning import Plan
from kd_keras.soft_targets.planning import plan
from kd_keras.soft_targets.store import SoftTargets
from kd_keras.soft_targets.writing import write

__all__ = [
    "Audit",
    "Option",
    "Plan",
    "SoftTargets",
    "audit",
    "open_store",
    "plan",
    "write",
]
