// A Python callable as a backend instance: the one place of the project that takes the GIL on the
// hot path.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/backend.h"
#include "core/sample_pool.h"

namespace bytemlperf {

namespace py = pybind11;

// What each query hands to the callable, built before the run: query k gets item k mod size.
// Created and destroyed with the GIL held.
struct PreparedFeeds {
    std::vector<py::object> feeds;
    std::vector<std::uint32_t> samples;  // of each
};

// One instance's staging slot: the query's rows are copied under arrays that Python has already.
struct StagedFeeds {
    std::shared_ptr<const SamplePool> pool;
    py::object mapping;             // what the callable receives, the same object each time
    std::vector<std::byte*> slots;  // memory behind it, one a column; nullptr for shared columns
};

class PythonBackend final : public Backend {
  public:
    // `make` () -> (predict, close) is called on the instance's thread, close() at the end too.
    // `keep` (query, outputs) takes the outputs of the queries that are to be kept.
    PythonBackend(Clock clock, py::object make, py::object keep,
                  std::shared_ptr<const PreparedFeeds> feeds);
    PythonBackend(Clock clock, py::object make, py::object keep, StagedFeeds feeds);
    ~PythonBackend() override;

    void open() override;
    bool gather(std::uint64_t query) noexcept override;
    bool predict(std::uint64_t query, bool keep, CallStamps& stamps) noexcept override;
    [[nodiscard]] std::uint32_t samples(std::uint64_t query) const noexcept override;
    [[nodiscard]] Failure failure() const override { return failure_; }
    void close() noexcept override;

  private:
    [[nodiscard]] PyObject* feeds_of(std::uint64_t query) const noexcept;
    void note_failure();

    Clock clock_;
    py::object make_;
    py::object keep_;
    std::shared_ptr<const PreparedFeeds> prepared_;
    StagedFeeds staged_;
    py::object predict_;
    py::object close_;
    PyGILState_STATE gil_state_{};
    // Kept between calls: CPython would make and delete one around each of them (8 us).
    PyThreadState* thread_state_ = nullptr;
    Failure failure_;
};

}  // namespace bytemlperf
