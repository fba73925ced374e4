"""A backend of any kind as the core drives it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from bytemlperf import _core
from bytemlperf.device import NativeBackend, NullBackend, SimulatedDevice
from bytemlperf.instances import in_flight, instance_maker
from bytemlperf.isolation import Isolated
from bytemlperf.samples import Samples, backend_spec, native_spec, query_sizes

if TYPE_CHECKING:
    from bytemlperf.isolation.children import Isolation

Keep = Callable[[list[int | None], list[int], Any], None]


class CoreBackend(NamedTuple):
    """What the core builds its instances from.

    Attributes:
        threads: instances that the core runs; a simulated device has one for each server.
        isolation: the children of an isolated backend, to be closed by who asked for it.
    """

    spec: _core.BackendSpec
    threads: int
    isolation: Isolation | None = None


def core_backend(
    backend: Any,
    samples: Samples,
    *,
    batch_size: int,
    capacity: int | None,
    instances: int,
    keep: Keep,
    seed: int,
) -> CoreBackend:
    """Return ``backend`` with its samples, ready for the core.

    Args:
        capacity: samples of the largest merged batch; None where queries are not merged.
        keep: takes the outputs that are to be kept.
        seed: of simulated service times.
    """
    sizes = query_sizes(samples, batch_size)
    if isinstance(backend, NullBackend):
        return CoreBackend(_core.BackendSpec.null(sizes), instances)
    if isinstance(backend, SimulatedDevice):
        servers = instances * backend.servers
        spin = servers < len(_core.available_cores())
        return CoreBackend(_core.BackendSpec.device(backend.to_core(), sizes, seed, spin), servers)
    if isinstance(backend, Isolated):
        from bytemlperf.isolation.children import Isolation  # asked for by few

        children = Isolation(backend, samples, batch_size, capacity, instances, keep)
        return CoreBackend(children.spec, instances, children)
    if isinstance(backend, NativeBackend):
        path, config = backend.as_text()
        spec = native_spec(path, config, samples, batch_size, capacity, keep)
        return CoreBackend(spec, instances)
    depth = in_flight(backend)
    hooks = _core.PythonHooks(instance_maker(backend, capacity or sizes.largest), keep, depth)
    return CoreBackend(backend_spec(samples, batch_size, hooks, max(1, depth), capacity), instances)
