#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <memory>
#include <tuple>
#include <vector>

#include "core/arrivals.h"
#include "core/bursty.h"
#include "core/composed.h"
#include "python/register.h"

namespace bytemlperf {

namespace py = pybind11;

namespace {

using Process = std::shared_ptr<ArrivalProcess>;

py::array_t<Nanos> offsets(const ArrivalProcess& process, std::uint64_t seed, std::size_t n) {
    py::array_t<Nanos> result(static_cast<py::ssize_t>(n));
    process.stream(seed)->fill({result.mutable_data(), n});
    return result;
}

std::unique_ptr<SegmentedArrivals> segmented(
    const std::vector<std::tuple<double, double, double>>& segments) {
    std::vector<RateSegment> parts;
    for (const auto& [start, stop, seconds] : segments) parts.push_back({start, stop, seconds});
    return std::make_unique<SegmentedArrivals>(std::move(parts));
}

std::unique_ptr<ReplayArrivals> replay(const py::array_t<Nanos, py::array::c_style>& offsets) {
    return std::make_unique<ReplayArrivals>(
        std::vector<Nanos>(offsets.data(), offsets.data() + offsets.size()));
}

template <typename T>
py::class_<T, ArrivalProcess, std::shared_ptr<T>> add(py::module_& m, const char* name) {
    return {m, name};
}

}  // namespace

void register_arrivals(py::module_& m) {
    py::class_<ArrivalProcess, std::shared_ptr<ArrivalProcess>>(
        m, "ArrivalProcess", "When queries are due: the same offsets for the same seed.")
        .def("offsets", &offsets, py::arg("seed"), py::arg("n"),
             "The first n offsets from the start of the window, int64 ns.");
    add<ConstantArrivals>(m, "ConstantArrivals").def(py::init<double>(), py::arg("rate"));
    add<PoissonArrivals>(m, "PoissonArrivals").def(py::init<double>(), py::arg("rate"));
    add<OfflineArrivals>(m, "OfflineArrivals").def(py::init<>());
    add<GammaArrivals>(m, "GammaArrivals")
        .def(py::init<double, double>(), py::arg("rate"), py::arg("cv"));
    add<OnOffArrivals>(m, "OnOffArrivals")
        .def(py::init<double, double, double, double>(), py::arg("rate_on"), py::arg("rate_off"),
             py::arg("mean_on"), py::arg("mean_off"));
    add<SegmentedArrivals>(m, "SegmentedArrivals")
        .def(py::init(&segmented), py::arg("segments"),
             "segments: (rate at start, rate at end, seconds)");
    add<SineArrivals>(m, "SineArrivals")
        .def(py::init<double, double, double>(), py::arg("mean"), py::arg("amplitude"),
             py::arg("period"));
    add<ReplayArrivals>(m, "ReplayArrivals")
        .def(py::init(&replay), py::arg("offsets"), "offsets: ns, ascending");
    add<SuperposedArrivals>(m, "SuperposedArrivals")
        .def(py::init<Process, Process>(), py::arg("a"), py::arg("b"));
    add<SequenceArrivals>(m, "SequenceArrivals")
        .def(py::init<Process, Nanos, Process>(), py::arg("first"), py::arg("length"),
             py::arg("second"));
}

}  // namespace bytemlperf
