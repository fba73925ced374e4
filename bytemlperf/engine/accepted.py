"""Which differences from the reference a task accepts."""

from __future__ import annotations

from bytemlperf.engine.task import Task
from bytemlperf.tolerance import Tolerance, relative_tolerance, scales_of


def accepted(task: Task) -> Tolerance:
    """Return the task's tolerance at the precision that the compiler chose.

    The card's is absolute and fits the scale of outputs of seeded weights. A user's checkpoint has
    a scale of its own: there it is relative to each output of the reference, where that is known.
    """
    card, precision = task.card, task.compiled.precision
    if task.model.weights.kind in ("seeded", "embedded") or not task.reference:
        return Tolerance(card.tolerance_at(precision), stated=card.states_tolerance(precision))
    value = card.relative_tolerances.get(precision.lower(), relative_tolerance(precision))
    stated = value is not None
    if value is None:
        value = card.relative_tolerances.get(card.precision, relative_tolerance(card.precision))
    return Tolerance(value or 0.0, scales_of(task.reference), stated=stated)
