#include <pybind11/native_enum.h>
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <cstring>

#include "core/run_data.h"
#include "python/register.h"

namespace bytemlperf {

namespace py = pybind11;

// Stamps are handed to numpy as they lie in memory.
static_assert(sizeof(StampRecord) == 56);

py::array copy_stamps(const std::vector<std::unique_ptr<Recorder>>& recorders) {
    std::vector<std::size_t> counts;
    std::size_t total = 0;
    for (const auto& recorder : recorders) {
        counts.push_back(recorder->stamps().count());
        total += counts.back();
    }
    py::array_t<StampRecord> result(static_cast<py::ssize_t>(total));
    StampRecord* out = result.mutable_data();
    for (std::size_t i = 0; i < recorders.size(); ++i) {
        std::memcpy(out, recorders[i]->stamps().data(), counts[i] * sizeof(StampRecord));
        out += counts[i];
    }
    return result;
}

namespace {

py::tuple bucket_arrays(const Histogram& histogram) {
    const auto buckets = histogram.buckets();
    const auto n = static_cast<py::ssize_t>(buckets.size());
    py::array_t<Nanos> low(n);
    py::array_t<Nanos> high(n);
    py::array_t<std::uint64_t> count(n);
    for (py::ssize_t i = 0; i < n; ++i) {
        const auto [bucket, samples] = buckets[static_cast<std::size_t>(i)];
        low.mutable_at(i) = Histogram::lowest_in(bucket);
        high.mutable_at(i) = Histogram::highest_in(bucket);
        count.mutable_at(i) = samples;
    }
    return py::make_tuple(low, high, count);
}

std::unique_ptr<Histogram> histogram_of(const py::array_t<Nanos, py::array::c_style>& values) {
    auto histogram = std::make_unique<Histogram>();
    for (py::ssize_t i = 0; i < values.size(); ++i) histogram->record(values.data()[i]);
    return histogram;
}

py::list latency_windows(const RunData& data) {
    const Timeline timeline = data.timeline();
    py::list result;
    for (const Timeline::Bin& bin : timeline.bins()) {
        const auto buckets = bin.latencies.buckets();
        if (buckets.empty()) continue;
        const auto n = static_cast<py::ssize_t>(buckets.size());
        py::array_t<Nanos> highest(n);
        py::array_t<std::uint64_t> count(n);
        for (py::ssize_t i = 0; i < n; ++i) {
            const auto [bucket, seen] = buckets[static_cast<std::size_t>(i)];
            highest.mutable_at(i) = Histogram::highest_in(bucket);
            count.mutable_at(i) = seen;
        }
        result.append(py::make_tuple(highest, count));
    }
    return result;
}

py::list timeline_bins(const RunData& data) {
    const Timeline timeline = data.timeline();
    py::list result;
    for (const Timeline::Bin& bin : timeline.bins()) {
        result.append(py::make_tuple(bin.queries, bin.errors, bin.latency_sum, bin.latency_max));
    }
    return result;
}

std::map<std::string, std::pair<std::uint64_t, std::string>> error_classes(const RunData& data) {
    std::map<std::string, std::pair<std::uint64_t, std::string>> result;
    for (const auto& [kind, entry] : data.error_classes())
        result[kind] = {entry.count, entry.first};
    return result;
}

}  // namespace

void register_results(py::module_& m) {
    PYBIND11_NUMPY_DTYPE(Stamps, intended, submitted, ready, entered, completed);
    PYBIND11_NUMPY_DTYPE(StampRecord, query, client, instance, stamps);

    py::native_enum<Interval>(m, "Interval", "enum.Enum", "A difference of two stamps.")
        .value("latency", Interval::kLatency)
        .value("service_time", Interval::kServiceTime)
        .value("schedule_lag", Interval::kScheduleLag)
        .value("queue_wait", Interval::kQueueWait)
        .value("gil_wait", Interval::kGilWait)
        .finalize();

    py::class_<Histogram>(m, "Histogram", "Log-linear, relative error of a bucket <= 2**-11; ns.")
        .def(py::init(&histogram_of), py::arg("values"))
        .def_property_readonly("count", &Histogram::count)
        .def_property_readonly("min", &Histogram::min)
        .def_property_readonly("max", &Histogram::max)
        .def_property_readonly("sum", &Histogram::sum)
        .def_property_readonly("sum_squares", &Histogram::sum_squares)
        .def("quantile", &Histogram::quantile, py::arg("q"))
        .def("merge", &Histogram::merge, py::arg("other"))
        .def("buckets", &bucket_arrays, "(lowest ns, highest ns, count) of the non-empty buckets.");

    py::class_<ThreadUsage>(m, "ThreadUsage", "What one thread of a run cost; times in ns.")
        .def_readonly("client", &ThreadUsage::client)
        .def_readonly("index", &ThreadUsage::index)
        .def_readonly("cpu", &ThreadUsage::cpu)
        .def_readonly("wall", &ThreadUsage::wall)
        .def_readonly("voluntary_switches", &ThreadUsage::voluntary_switches)
        .def_readonly("involuntary_switches", &ThreadUsage::involuntary_switches);

    py::class_<RunData>(m, "RunData", "What a run leaves; times in ns.")
        .def("histogram", &RunData::merged, py::arg("interval"))
        .def("stamps", [](const RunData& data) { return copy_stamps(data.recorders); })
        .def("latency_windows", &latency_windows,
             "Latencies of each window in which there were any: (highest ns, count) arrays.")
        .def_readonly("threads", &RunData::threads)
        .def("timeline", &timeline_bins, "(queries, errors, latency sum, latency max) a bin")
        .def_property_readonly("timeline_bin_ns",
                               [](const RunData& data) { return data.timeline().bin_width(); })
        .def_property_readonly("stamps_complete", &RunData::stamps_complete)
        .def_property_readonly("error_classes", &error_classes)
        .def_property_readonly("completed", &RunData::completed)
        .def_property_readonly("errors", &RunData::errors)
        .def_property_readonly("timeouts", &RunData::timeouts)
        .def_property_readonly("batches", &RunData::batches)
        .def_property_readonly("queries_in_window", &RunData::queries_in_window)
        .def_property_readonly("samples_in_window", &RunData::samples_in_window)
        .def_readonly("planned", &RunData::planned)
        .def_readonly("plan_hash", &RunData::plan_hash)
        .def_readonly("window_start", &RunData::window_start)
        .def_readonly("window_end", &RunData::window_end)
        .def_readonly("late", &RunData::late)
        .def_readonly("repeated", &RunData::repeated)
        .def_readonly("abandoned", &RunData::abandoned)
        .def_readonly("spinning", &RunData::spinning)
        .def_readonly("clock_drift_ppm", &RunData::clock_drift_ppm);
}

}  // namespace bytemlperf
