#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include "core/arrivals.h"
#include "python/register.h"

namespace bytemlperf {

namespace py = pybind11;

namespace {

py::array_t<Nanos> offsets(const ArrivalProcess& process, std::uint64_t seed, std::size_t n) {
    py::array_t<Nanos> result(static_cast<py::ssize_t>(n));
    process.stream(seed)->fill({result.mutable_data(), n});
    return result;
}

}  // namespace

void register_arrivals(py::module_& m) {
    py::class_<ArrivalProcess, std::shared_ptr<ArrivalProcess>>(
        m, "ArrivalProcess", "When queries are due: the same offsets for the same seed.")
        .def("offsets", &offsets, py::arg("seed"), py::arg("n"),
             "The first n offsets from the start of the window, int64 ns.");
    py::class_<ConstantArrivals, ArrivalProcess, std::shared_ptr<ConstantArrivals>>(
        m, "ConstantArrivals")
        .def(py::init<double>(), py::arg("rate"));
    py::class_<PoissonArrivals, ArrivalProcess, std::shared_ptr<PoissonArrivals>>(m,
                                                                                  "PoissonArrivals")
        .def(py::init<double>(), py::arg("rate"));
    py::class_<OfflineArrivals, ArrivalProcess, std::shared_ptr<OfflineArrivals>>(m,
                                                                                  "OfflineArrivals")
        .def(py::init<>());
}

}  // namespace bytemlperf
