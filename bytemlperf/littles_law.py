"""Little's law as an identity of a run's own record, checked to the nanosecond in every run."""

from __future__ import annotations

from bytemlperf import _core
from bytemlperf.backend import Array
from bytemlperf.distribution import Distribution
from bytemlperf.result import Verdict


def littles_law(
    data: _core.RunData, latency: Distribution, stamps: Array | None, *, sent_all: bool
) -> Verdict:
    """Hold the records of one run's answered queries against each other.

    With N(t) queries in flight, the integral of N(t) dt is the sum of the latencies: divided by
    the run's length that is L = lambda W, on each path and not only on average (J. D. C. Little,
    1961). A query is entered on three accounts: the histogram (count and W), the time series (by
    when it was completed), and its own stamps. Each is kept by itself, so their sums agree
    exactly, unless a query is missing from one of them or stands in it with another time.

    Args:
        latency: the histogram's.
        stamps: of every answered query, or None where they are incomplete.
        sent_all: the plan was submitted whole, so each of its queries has come back in some way.
    """
    accounts = {"histogram": (latency.count, latency.total_ns)}
    bins = data.timeline()
    accounts["time series"] = (sum(b[0] for b in bins), sum(b[2] for b in bins))
    if stamps is not None:
        times = stamps["stamps"]
        accounts["stamps"] = (len(stamps), int((times["completed"] - times["intended"]).sum()))
    told = "; ".join(f"{name}: {n:,} queries, {ns:,} ns" for name, (n, ns) in accounts.items())
    faults = [] if len(set(accounts.values())) == 1 else [f"the records disagree ({told})"]
    missing = data.planned - data.completed - data.errors - data.timeouts
    if sent_all and missing:
        faults.append(f"{missing:,} of {data.planned:,} queries were submitted and never came back")
    if faults:
        return Verdict(
            "littles_law",
            False,
            f"L = lambda W does not hold to 0 ns: {' and '.join(faults)}: a completion was lost, "
            "counted twice or stamped wrongly",
            "this is a fault of the load generator itself, and no figure of the run can be "
            "trusted: run `bytemlperf selftest` and report both",
        )
    seconds = (data.window_end - data.window_start) * 1e-9
    in_flight = latency.total_ns * 1e-9 / seconds if seconds > 0 else 0.0
    return Verdict(
        "littles_law",
        True,
        f"L = lambda W holds to 0 ns over {latency.count:,} queries ({', '.join(accounts)}): "
        f"{in_flight:.4g} in flight on average",
    )
