#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "core/isolated.h"
#include "python/backend_spec.h"
#include "python/python_child.h"
#include "python/register.h"

namespace bytemlperf {

namespace py = pybind11;

namespace {

using ReadyArrays =
    std::vector<std::pair<std::vector<std::pair<py::array, std::size_t>>, std::uint32_t>>;

std::shared_ptr<StagedInputs> ready_inputs(const ReadyArrays& queries, std::size_t slot_bytes) {
    std::vector<StagedInputs::ReadyQuery> ready;
    py::list kept;
    for (const auto& [arrays, samples] : queries) {
        StagedInputs::ReadyQuery query{{}, samples};
        for (const auto& [array, offset] : arrays) {
            kept.append(array);
            query.pieces.push_back({static_cast<const std::byte*>(array.data()),
                                    static_cast<std::size_t>(array.nbytes()), offset});
        }
        ready.push_back(std::move(query));
    }
    return keeping(std::make_unique<StagedInputs>(std::move(ready), slot_bytes), kept);
}

py::memoryview view_of(std::span<const std::byte> bytes) {
    return py::memoryview::from_memory(bytes.data(), static_cast<py::ssize_t>(bytes.size()));
}

// `children` makes the process of each instance: an object as PythonChild takes it.
// `keep`(queries, samples of each, result), `failure_of`(result) -> (class, message).
BackendSpec isolated_backend(const std::shared_ptr<const StagedInputs>& inputs,
                             const py::object& children, const py::object& keep,
                             const py::object& failure_of, std::shared_ptr<BridgeStats> stats,
                             std::uint32_t max_in_flight, Nanos spin, std::uint32_t restarts,
                             Nanos hang_after, Nanos beat_within) {
    IsolatedOptions options{inputs, max_in_flight, spin, restarts, hang_after, beat_within, {}, {}};
    options.keep = [held = held_without_gil(keep)](const std::vector<Submission>& queries,
                                                   const std::vector<std::uint32_t>& samples,
                                                   std::span<const std::byte> result) {
        const py::gil_scoped_acquire gil;
        try {
            (*held)(counted_queries(queries), samples, view_of(result));
        } catch (const py::error_already_set& error) {
            throw std::runtime_error(std::string(py::str(error.value())));
        }
    };
    options.failure_of = [held = held_without_gil(failure_of)](std::span<const std::byte> result) {
        const py::gil_scoped_acquire gil;
        try {
            auto [kind, message] =
                (*held)(view_of(result)).cast<std::pair<std::string, std::string>>();
            return Failure{std::move(kind), std::move(message)};
        } catch (const py::error_already_set& error) {
            throw std::runtime_error(std::string(py::str(error.value())));
        }
    };
    auto factory = held_without_gil(children);
    return {[=](Clock clock) -> std::unique_ptr<Backend> {
        auto process = std::make_unique<PythonChild>((*factory)());
        return std::make_unique<IsolatedBackend>(clock, options, std::move(process), stats);
    }};
}

}  // namespace

void register_isolation(py::module_& m) {
    py::class_<StagedInputs, std::shared_ptr<StagedInputs>>(
        m, "StagedInputs", "What isolated backends are fed, and where in a slot it goes.")
        .def_static(
            "columns",
            [](const std::shared_ptr<SamplePool>& pool, std::vector<std::size_t> offsets,
               std::size_t slot_bytes) {
                return std::make_shared<StagedInputs>(pool, std::move(offsets), slot_bytes);
            },
            py::arg("pool"), py::arg("offsets"), py::arg("slot_bytes"),
            "offsets in the order of the columns' names")
        .def_static("ready", &ready_inputs, py::arg("queries"), py::arg("slot_bytes"),
                    "queries: ([(array, offset)], samples) of each");

    py::class_<BridgeStats, std::shared_ptr<BridgeStats>>(
        m, "BridgeStats", "What the bridges of a generator's instances cost and went through.")
        .def(py::init<>())
        .def("hop", &BridgeStats::merged_hop,
             "ns from posting a batch to its answer, less the backend's own time.")
        .def_property_readonly("restarts",
                               [](const BridgeStats& stats) { return stats.restarts.load(); })
        .def_property_readonly("deaths", &BridgeStats::deaths);

    m.def("isolated_backend", &isolated_backend, py::kw_only(), py::arg("inputs"),
          py::arg("children"), py::arg("keep"), py::arg("failure_of"), py::arg("stats"),
          py::arg("max_in_flight"), py::arg("spin"), py::arg("restarts"), py::arg("hang_after"),
          py::arg("beat_within"), "A BackendSpec of instances in processes of their own; ns.");
}

}  // namespace bytemlperf
