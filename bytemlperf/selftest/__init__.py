"""Proof on this host that the figures mean what they say: each line a claim that can fail.

The lines on the virtual clock compute the same on every host; those in wall time are about the
host as well.
"""

from __future__ import annotations

from bytemlperf.selftest.intervals import intervals_cover
from bytemlperf.selftest.line import Check, Line
from bytemlperf.selftest.little import littles_law_holds
from bytemlperf.selftest.plans import any_number_of_clients, gaps_have_their_law, plans_are_golden
from bytemlperf.selftest.queueing import QUEUES, nothing_waits_below_capacity, overload_adds_up
from bytemlperf.selftest.stalls import a_stall_at_the_end_is_charged, a_stall_is_charged
from bytemlperf.selftest.wall import clock_is_sound, entries_follow_lindley, generator_costs_little

__all__ = ["CHECKS", "Check", "Line"]

CHECKS: tuple[Check, ...] = (
    clock_is_sound,
    generator_costs_little,
    entries_follow_lindley,
    any_number_of_clients,
    plans_are_golden,
    gaps_have_their_law,
    nothing_waits_below_capacity,
    overload_adds_up,
    *QUEUES,
    a_stall_is_charged,
    a_stall_at_the_end_is_charged,
    littles_law_holds,
    intervals_cover,
)
