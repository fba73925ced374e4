#include <pybind11/native_enum.h>
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <bit>
#include <cstdint>
#include <functional>
#include <vector>

#include "core/device.h"
#include "core/generator.h"
#include "core/plugin.h"
#include "core/virtual_run.h"
#include "python/backend_spec.h"
#include "python/python_backend.h"
#include "python/register.h"

namespace bytemlperf {

namespace py = pybind11;

namespace {

BackendSpec null_backend(const QueryRows& queries) {
    return {[queries](Clock clock) { return std::make_unique<NullBackend>(clock, queries); }};
}

BackendSpec device_backend(const DeviceModel& model, const QueryRows& queries, std::uint64_t seed,
                           bool spin) {
    return {[=](Clock clock) {
        return std::make_unique<DeviceServer>(model, clock, queries, seed, spin);
    }};
}

BackendSpec prepared_backend(const PythonHooks& hooks, const py::list& feeds,
                             const std::vector<std::uint32_t>& samples) {
    auto prepared = std::make_shared<PreparedFeeds>();
    for (const auto& item : feeds) {
        prepared->feeds.push_back(py::reinterpret_borrow<py::object>(item));
    }
    prepared->samples = samples;
    return {[hooks, prepared](Clock clock) -> std::unique_ptr<Backend> {
        return std::make_unique<PythonBackend>(clock, hooks, prepared);
    }};
}

QueryRows mixed_rows(const std::vector<std::pair<std::uint64_t, std::uint32_t>>& ranges,
                     std::uint64_t rows) {
    std::vector<QueryRows::Range> mix;
    for (const auto& [first, count] : ranges) mix.push_back({first, count});
    return {std::move(mix), rows};
}

// `make_slots` () -> (list of {name: writable array}, view) is called for each instance; the arrays
// have room for `capacity` samples, view(slot, samples) gives what the callable receives.
BackendSpec staged_backend(const PythonHooks& hooks, std::shared_ptr<const SamplePool> pool,
                           const py::object& make_slots, std::uint32_t capacity) {
    return {[=](Clock clock) -> std::unique_ptr<Backend> {
        const py::tuple made = make_slots();
        StagedFeeds staged{pool, made[1], {}, {}};
        for (const auto& item : py::list(made[0])) {
            const auto arrays = item.cast<py::dict>();
            std::vector<std::byte*> slot;
            for (const Column& column : pool->columns()) {
                const py::str name(column.name);
                slot.push_back(column.shared ? nullptr
                                             : static_cast<std::byte*>(
                                                   arrays[name].cast<py::array>().mutable_data()));
            }
            staged.slots.push_back(std::move(slot));
            staged.mappings.emplace_back(capacity + 1);
        }
        return std::make_unique<PythonBackend>(clock, hooks, std::move(staged));
    }};
}

// numpy's name of a dtype that the C interface has.
const std::map<std::string, bytemlperf_dtype>& native_dtypes() {
    static const std::map<std::string, bytemlperf_dtype> names{
        {"bool", BYTEMLPERF_BOOL},       {"uint8", BYTEMLPERF_UINT8},
        {"int8", BYTEMLPERF_INT8},       {"int32", BYTEMLPERF_INT32},
        {"int64", BYTEMLPERF_INT64},     {"float16", BYTEMLPERF_FLOAT16},
        {"float32", BYTEMLPERF_FLOAT32}, {"float64", BYTEMLPERF_FLOAT64}};
    return names;
}

std::shared_ptr<SamplePool> make_pool(
    const std::map<std::string, std::pair<py::array, bool>>& arrays, const QueryRows& queries) {
    std::vector<Column> columns;
    py::list kept;
    for (const auto& [name, entry] : arrays) {
        const auto& [array, shared] = entry;
        kept.append(array);
        const auto bytes = static_cast<std::size_t>(array.nbytes());
        Column column{name,
                      static_cast<const std::byte*>(array.data()),
                      shared ? bytes : bytes / queries.rows(),
                      shared,
                      BYTEMLPERF_UINT8,
                      {}};
        const auto dtype = native_dtypes().find(std::string(py::str(array.dtype().attr("name"))));
        if (dtype != native_dtypes().end()) column.dtype = dtype->second;
        column.shape.assign(array.shape() + (shared ? 0 : 1), array.shape() + array.ndim());
        columns.push_back(std::move(column));
    }
    return keeping(std::make_unique<SamplePool>(std::move(columns), queries), kept);
}

// numpy has no bfloat16, whose bits are the upper half of a float32's.
py::array widened(const bytemlperf_tensor& tensor, const std::vector<py::ssize_t>& shape) {
    py::array_t<float> array(shape);
    const auto* halves = static_cast<const std::uint16_t*>(tensor.data);
    float* into = array.mutable_data();
    for (py::ssize_t i = 0; i < array.size(); ++i) {
        into[i] = std::bit_cast<float>(std::uint32_t{halves[i]} << 16U);
    }
    return std::move(array);
}

py::dict to_arrays(const bytemlperf_outputs& outputs) {
    py::dict result;
    for (std::uint32_t i = 0; i < outputs.count; ++i) {
        const bytemlperf_tensor& tensor = outputs.tensors[i];
        const std::vector<py::ssize_t> shape(tensor.shape, tensor.shape + tensor.rank);
        if (tensor.dtype == BYTEMLPERF_BFLOAT16) result[tensor.name] = widened(tensor, shape);
        for (const auto& [name, dtype] : native_dtypes()) {
            if (dtype != tensor.dtype) continue;
            result[tensor.name] = py::array(py::dtype(name), shape, tensor.data);  // a copy
        }
    }
    return result;
}

// `pool` may be None. `keep` as in PythonHooks; it is the only Python in a native backend.
BackendSpec native_backend(const std::string& path, const std::string& config,
                           std::optional<std::shared_ptr<const SamplePool>> pool,
                           const QueryRows& queries, std::uint32_t capacity,
                           const py::object& keep) {
    auto library = std::make_shared<const PluginLibrary>(path);
    PluginOptions options{config, pool.value_or(nullptr), queries, capacity, {}};
    options.keep = [queries, keeper = held_without_gil(keep)](std::span<const Submission> batch,
                                                              const bytemlperf_outputs& outputs) {
        const py::gil_scoped_acquire gil;
        py::list samples;
        for (const Submission& s : batch) samples.append(queries.samples(s.query));
        (*keeper)(counted_queries(batch), samples, to_arrays(outputs));
    };
    return {[library, options](Clock clock) -> std::unique_ptr<Backend> {
        return std::make_unique<PluginBackend>(clock, library, options);
    }};
}

RunSpec make_spec(const py::object& pattern, std::optional<std::uint64_t> queries,
                  std::optional<Nanos> duration, Nanos warmup, std::uint64_t seed,
                  std::size_t stamp_bytes, double keep_share, std::uint32_t threads_per_instance,
                  const std::optional<Batching>& batching, Nanos timeout,
                  const std::string& partial_path) {
    RunSpec spec;
    if (py::isinstance<ClosedLoop>(pattern)) {
        spec.pattern = pattern.cast<ClosedLoop>();
    } else {
        spec.pattern = pattern.cast<OpenLoop>();
    }
    spec.limit = {queries, duration};
    spec.warmup = warmup;
    spec.seed = seed;
    spec.stamp_bytes = stamp_bytes;
    spec.keep_share = keep_share;
    spec.threads_per_instance = threads_per_instance;
    spec.batching = batching.value_or(Batching{});
    spec.timeout = timeout;
    spec.partial_path = partial_path;
    return spec;
}

// A generator is torn down without the GIL: its threads need it to unload.
struct ReleaseAndDelete {
    void operator()(Generator* generator) const {
        const py::gil_scoped_release release;
        delete generator;
    }
};

std::unique_ptr<Generator, ReleaseAndDelete> make_generator(const BackendSpec& backend,
                                                            std::uint32_t instances, Clock clock,
                                                            const Pinning& pinning) {
    std::vector<std::unique_ptr<Backend>> backends;
    for (std::uint32_t i = 0; i < instances; ++i) backends.push_back(backend.make(clock));
    return std::unique_ptr<Generator, ReleaseAndDelete>(
        new Generator(std::move(backends), clock, pinning));
}

// Signals are seen by Python while a virtual run computes; an exception ends the window.
bool no_signal() {
    const py::gil_scoped_acquire gil;
    return PyErr_CheckSignals() == 0;
}

RunData virtual_run(const RunSpec& spec, const DeviceModel& device, const QueryRows& queries) {
    const py::gil_scoped_release release;
    return run_virtual(spec, device, queries, &no_signal);
}

}  // namespace

void register_generator(py::module_& m) {
    py::class_<Clock>(m, "Clock", "Integer ns on the scale of CLOCK_MONOTONIC.")
        .def_static("monotonic", &Clock::monotonic)
        .def_static("tsc", &Clock::tsc, "None where the kernel does not trust the TSC.")
        .def_static("best", &Clock::best)
        .def("now", &Clock::now)
        .def_property_readonly("is_tsc", &Clock::is_tsc)
        .def_property_readonly("cost_ns", &Clock::cost_ns)
        .def_property_readonly("drift_ppm", &Clock::drift_ppm);

    py::class_<QueryRows>(m, "QueryRows", "Samples of each query, and the rows that it takes.")
        .def(py::init<std::uint32_t, std::uint64_t>(), py::arg("batch"), py::arg("rows") = 1)
        .def_static("mix", &mixed_rows, py::arg("ranges"), py::arg("rows"),
                    "ranges: (first row, samples) of each query, walked again and again.")
        .def("samples", &QueryRows::samples, py::arg("query"))
        .def("first", &QueryRows::first, py::arg("query"))
        .def_property_readonly("period", &QueryRows::period)
        .def_property_readonly("largest", &QueryRows::largest);
    py::class_<SamplePool, std::shared_ptr<SamplePool>>(m, "SamplePool")
        .def(py::init(&make_pool), py::arg("arrays"), py::arg("queries"));

    py::class_<PythonHooks>(m, "PythonHooks", "The functions that a Python instance is made of.")
        .def(py::init([](py::object make, py::object keep, std::uint32_t max_in_flight) {
                 return PythonHooks{std::move(make), std::move(keep), max_in_flight};
             }),
             py::arg("make"), py::arg("keep"), py::arg("max_in_flight"));
    py::class_<PythonCompletion>(m, "Completion", "done(outputs=None, error=None) of one batch.")
        .def("__call__", &PythonCompletion::done, py::arg("outputs") = py::none(),
             py::arg("error") = py::none());
    py::class_<Batching>(m, "Batching", "When a batch closes; max_delay in ns.")
        .def(py::init<std::uint32_t, Nanos, std::vector<std::uint32_t>>(), py::arg("max_samples"),
             py::arg("max_delay"), py::arg("preferred"));
    py::class_<BackendSpec>(m, "BackendSpec", "How the instances of a generator are made.")
        .def_static("null", &null_backend, py::arg("queries"))
        .def_static("device", &device_backend, py::arg("model"), py::arg("queries"),
                    py::arg("seed"), py::arg("spin"))
        .def_static("prepared", &prepared_backend, py::arg("hooks"), py::arg("feeds"),
                    py::arg("samples"))
        .def_static("native", &native_backend, py::arg("path"), py::arg("config"), py::arg("pool"),
                    py::arg("queries"), py::arg("capacity"), py::arg("keep"))
        .def_static("staged", &staged_backend, py::arg("hooks"), py::arg("pool"),
                    py::arg("make_slots"), py::arg("capacity"));

    py::class_<ClosedLoop>(m, "ClosedLoop")
        .def(py::init([](std::uint32_t clients,
                         const std::optional<std::shared_ptr<ServiceTime>>& think_time) {
                 return ClosedLoop{clients, think_time.value_or(nullptr)};
             }),
             py::arg("clients"), py::arg("think_time"));
    py::class_<OpenLoop>(m, "OpenLoop")
        .def(py::init([](std::shared_ptr<ArrivalProcess> process, std::uint32_t clients,
                         bool window_is_drain) {
                 return OpenLoop{std::move(process), clients, window_is_drain};
             }),
             py::arg("process"), py::arg("clients"), py::arg("window_is_drain"));
    py::class_<RunSpec>(m, "RunSpec", "One run; times in ns.")
        .def(py::init(&make_spec), py::kw_only(), py::arg("pattern"), py::arg("queries"),
             py::arg("duration"), py::arg("warmup"), py::arg("seed"), py::arg("stamp_bytes"),
             py::arg("keep_share"), py::arg("threads_per_instance"), py::arg("batching"),
             py::arg("timeout"), py::arg("partial_path"));

    py::native_enum<Phase>(m, "Phase", "enum.Enum")
        .value("load", Phase::kLoad)
        .value("warmup", Phase::kWarmup)
        .value("measure", Phase::kMeasure)
        .value("drain", Phase::kDrain)
        .value("done", Phase::kDone)
        .finalize();
    py::class_<Live>(m, "Live", "Figures of a run that goes on; times in ns.")
        .def_readonly("phase", &Live::phase)
        .def_readonly("elapsed", &Live::elapsed)
        .def_readonly("completed", &Live::completed)
        .def_readonly("errors", &Live::errors)
        .def_readonly("p99", &Live::p99);
    py::class_<Run, std::shared_ptr<Run>>(m, "Run")
        .def("wait", &Run::wait, py::arg("timeout"), py::call_guard<GilReleased>(),
             "True when the run has ended; waits at most timeout ns.")
        .def("stop", &Run::stop, "End the window now and drain.")
        .def("live", &Run::live, py::call_guard<py::gil_scoped_release>())
        .def(
            "stamps", [](const Run& run) { return copy_stamps(run.recorders()); },
            "The stamps recorded so far.")
        .def("finish", &Run::finish, py::call_guard<py::gil_scoped_release>());

    py::class_<Pinning>(m, "Pinning", "Processors of the i-th client and instance thread.")
        .def(py::init<std::vector<CoreSet>, std::vector<CoreSet>>(), py::arg("clients"),
             py::arg("instances"));
    py::class_<Generator, std::unique_ptr<Generator, ReleaseAndDelete>>(m, "Generator")
        .def(py::init(&make_generator), py::arg("backend"), py::arg("instances"), py::arg("clock"),
             py::arg("pinning"))
        .def("start", &Generator::start, py::arg("spec"), py::call_guard<py::gil_scoped_release>())
        .def("close", &Generator::close, py::call_guard<py::gil_scoped_release>(),
             "Unload every instance on its thread.")
        .def("abandon", &Generator::abandon, "Leave behind the calls that do not return.");

    m.def("run_virtual", &virtual_run, py::arg("spec"), py::arg("device"), py::arg("queries"),
          "Run on a virtual clock.");
    m.def("available_cores", &available_cores, "Processors that this process may run on.");
}

}  // namespace bytemlperf
