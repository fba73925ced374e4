#include "python/register.h"

PYBIND11_MODULE(_core, m) {
    m.doc() = "The native load generator. Use it through bytemlperf.LoadGenerator.";
    bytemlperf::register_arrivals(m);
    bytemlperf::register_device(m);
    bytemlperf::register_results(m);
    bytemlperf::register_generator(m);
    bytemlperf::register_isolation(m);
}
