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

// Staging slots of one instance: a batch's rows are copied under arrays that Python has already.
struct StagedFeeds {
    std::shared_ptr<const SamplePool> pool;
    // (slot, samples) -> the mapping that the callable receives; each is made once.
    py::object view;
    std::vector<std::vector<std::byte*>> slots;     // memory by slot and column; nullptr: shared
    std::vector<std::vector<py::object>> mappings;  // by slot and samples
};

// The functions that an instance is made of, given by Python.
struct PythonHooks {
    py::object make;  // () -> (predict or submit, unload), called on the instance's thread
    py::object keep;  // (queries, samples of each, outputs): takes what is to be kept
    std::uint32_t max_in_flight = 0;  // 0: synchronous
};

// Lets the GIL go for a scope, and takes it again in turn with the instances.
class GilReleased {
  public:
    GilReleased() : state_(PyEval_SaveThread()) {}
    ~GilReleased();
    GilReleased(const GilReleased&) = delete;
    GilReleased& operator=(const GilReleased&) = delete;

  private:
    PyThreadState* state_;
};

// `done` of an asynchronous backend: called once for each batch, from any thread.
class PythonCompletion {
  public:
    PythonCompletion(Clock clock, std::shared_ptr<CompletionSink> sink, Handle handle,
                     py::object keep)
        : clock_(clock), sink_(std::move(sink)), handle_(handle), keep_(std::move(keep)) {}

    // Raises RuntimeError for a second call. An `error` makes the batch a failure.
    void done(const py::object& outputs, const py::object& error);

  private:
    Clock clock_;
    std::shared_ptr<CompletionSink> sink_;
    Handle handle_;
    py::object keep_;  // (outputs), or None
};

class PythonBackend final : public Backend {
  public:
    PythonBackend(Clock clock, PythonHooks hooks, std::shared_ptr<const PreparedFeeds> feeds);
    PythonBackend(Clock clock, PythonHooks hooks, StagedFeeds feeds);
    ~PythonBackend() override;

    void open() override;
    [[nodiscard]] std::uint32_t max_in_flight() const noexcept override {
        return hooks_.max_in_flight;
    }
    void run_starts(const std::shared_ptr<CompletionSink>& sink, Nanos) noexcept override {
        sink_ = sink;
    }
    void pause() noexcept override { release_gil(); }
    bool gather(const Batch& batch) noexcept override;
    bool predict(const Batch& batch, CallStamps& stamps) noexcept override;
    bool submit(const Batch& batch, Handle handle, CallStamps& stamps) noexcept override;
    [[nodiscard]] std::uint32_t samples(std::uint64_t query) const noexcept override;
    [[nodiscard]] Failure failure() const override { return failure_; }
    void close() noexcept override;

  private:
    void take_gil() noexcept;
    void release_gil() noexcept;
    [[nodiscard]] bool turn_is_over(Nanos now) const noexcept;
    [[nodiscard]] PyObject* feeds_of(const Batch& batch);
    [[nodiscard]] py::object keeper(const Batch& batch) const;

    Clock clock_;
    PythonHooks hooks_;
    std::shared_ptr<const PreparedFeeds> prepared_;
    StagedFeeds staged_;
    std::shared_ptr<CompletionSink> sink_;
    py::object call_;  // predict or submit
    py::object unload_;
    PyGILState_STATE gil_state_{};
    // Kept between calls: CPython would make and delete one around each of them (8 us).
    PyThreadState* thread_state_ = nullptr;
    bool has_gil_ = false;
    Nanos taken_at_ = 0;
    Failure failure_;
};

}  // namespace bytemlperf
