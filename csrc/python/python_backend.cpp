#include "python/python_backend.h"

#include <pybind11/functional.h>

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <utility>

#include "core/fair_lock.h"
#include "python/host_outputs.h"

namespace bytemlperf {

namespace {

// Calls that follow each other at once share one hold of the GIL, at most of this length: letting
// it go wakes threads that wait for it, in vain, since it is taken again at once. After the switch
// interval (5 ms) a waiting thread has asked for it, and then letting it go hands it over.
constexpr Nanos kLongestHold = 10'000'000;
// While another instance waits for it: long beside a hand-over (10 to 50 us), short beside the
// switch interval, after which the call itself would be interrupted and the wait of others would
// stand in its service time. Counted from when the other began to wait: a call that lets the GIL go
// inside, as a model's does, has served it before it ends, and a hand-over more would cost both.
constexpr Nanos kLongestTurn = 500'000;

// CPython gives the GIL to whoever comes first when it is let go, and that is who let it go. So
// instances ask for it one at a time and in turn: the others wait here.
class GilDoor {
  public:
    void take(PyThreadState* state) noexcept {
        turns_.lock();
        waits_since_.store(read_clock(CLOCK_MONOTONIC), std::memory_order_relaxed);
        PyEval_RestoreThread(state);
        waits_since_.store(kNever, std::memory_order_relaxed);
        turns_.unlock();
    }
    // When the one whose turn is next began to wait for the GIL; kNever where nobody does.
    [[nodiscard]] Nanos waits_since() const noexcept {
        return waits_since_.load(std::memory_order_relaxed);
    }

  private:
    FairLock turns_;
    std::atomic<Nanos> waits_since_{kNever};
};

GilDoor gil_door;

// Outputs of these types hold no device memory, whatever they are.
bool is_plain(PyObject* object) noexcept {
    return object == Py_None || PyFloat_CheckExact(object) || PyLong_CheckExact(object);
}

bool on_host(PyObject* outputs) noexcept {
    return is_plain(outputs) || check_on_host(outputs);
}

std::string innermost_line(const py::error_already_set& error) {
    py::object frame = error.trace();
    if (!frame) return "";
    while (!frame.attr("tb_next").is_none()) frame = frame.attr("tb_next");
    const auto file = py::str(frame.attr("tb_frame").attr("f_code").attr("co_filename"));
    return " (" + std::string(file) + ":" + std::string(py::str(frame.attr("tb_lineno"))) + ")";
}

Failure describe(const py::error_already_set& error) {
    return {std::string(py::str(error.type().attr("__name__"))),
            std::string(py::str(error.value())) + innermost_line(error)};
}

// Takes the Python error that is set.
Failure take_error() {
    return describe(py::error_already_set());
}

}  // namespace

GilReleased::~GilReleased() {
    gil_door.take(state_);
}

void PythonCompletion::done(const py::object& outputs, const py::object& error) {
    std::optional<Failure> failure;
    if (!error.is_none()) {
        failure = {std::string(py::str(py::type::of(error).attr("__name__"))),
                   std::string(py::str(error))};
    } else if (!on_host(outputs.ptr())) {
        failure = take_error();
    }
    const Nanos at = clock_.now();
    if (!failure && !keep_.is_none()) keep_(outputs);
    if (sink_->complete(handle_, at, std::move(failure)) == Reply::kRepeated) {
        throw std::runtime_error("done() was called twice for one batch");
    }
}

PythonBackend::PythonBackend(Clock clock, PythonHooks hooks,
                             std::shared_ptr<const PreparedFeeds> feeds)
    : clock_(clock), hooks_(std::move(hooks)), prepared_(std::move(feeds)) {
    if (prepared_->feeds.empty() || prepared_->feeds.size() != prepared_->samples.size()) {
        throw std::invalid_argument("prepared feeds need one entry or more, each with its samples");
    }
}

PythonBackend::PythonBackend(Clock clock, PythonHooks hooks, StagedFeeds feeds)
    : clock_(clock), hooks_(std::move(hooks)), staged_(std::move(feeds)) {}

PythonBackend::~PythonBackend() {
    const py::gil_scoped_acquire gil;
    hooks_ = {};
    staged_ = {};
    call_ = unload_ = py::object();
    prepared_.reset();
}

void PythonBackend::open() {
    if (thread_state_ != nullptr) return;
    gil_state_ = PyGILState_Ensure();
    try {
        const py::tuple made = hooks_.make();
        call_ = made[0];
        unload_ = made[1];
    } catch (const py::error_already_set& error) {
        const Failure failure = describe(error);
        PyGILState_Release(gil_state_);
        throw std::runtime_error(failure.kind + ": " + failure.message);
    }
    thread_state_ = PyEval_SaveThread();
}

void PythonBackend::close() noexcept {
    if (thread_state_ == nullptr) return;
    take_gil();
    try {
        unload_();
    } catch (py::error_already_set& error) {
        error.discard_as_unraisable("unloading a backend");
    }
    call_ = unload_ = py::object();
    thread_state_ = nullptr;
    has_gil_ = false;
    PyGILState_Release(gil_state_);
}

void PythonBackend::take_gil() noexcept {
    if (has_gil_) return;
    gil_door.take(thread_state_);
    has_gil_ = true;
    taken_at_ = clock_.now();
}

void PythonBackend::release_gil() noexcept {
    if (!has_gil_) return;
    has_gil_ = false;
    thread_state_ = PyEval_SaveThread();
}

bool PythonBackend::turn_is_over(Nanos now) const noexcept {
    const Nanos since = gil_door.waits_since();
    if (since == kNever) return now - taken_at_ > kLongestHold;
    return now - std::max(taken_at_, since) > kLongestTurn;
}

bool PythonBackend::gather(const Batch& batch) noexcept {
    if (prepared_) return false;
    release_gil();
    const auto& columns = staged_.pool->columns();
    for (std::size_t i = 0; i < columns.size(); ++i) {
        if (columns[i].shared) continue;
        std::byte* slot = staged_.slots[batch.slot][i];
        for (const Submission& s : batch.queries) {
            slot = staged_.pool->gather(columns[i], s.query, slot);
        }
    }
    return true;
}

std::uint32_t PythonBackend::samples(std::uint64_t query) const noexcept {
    return prepared_ ? prepared_->samples[query % prepared_->samples.size()]
                     : staged_.pool->queries().samples(query);
}

PyObject* PythonBackend::feeds_of(const Batch& batch) {
    if (prepared_) {
        return prepared_->feeds[batch.queries.front().query % prepared_->feeds.size()].ptr();
    }
    py::object& mapping = staged_.mappings[batch.slot][batch.samples];
    if (!mapping) mapping = staged_.view(batch.slot, batch.samples);
    return mapping.ptr();
}

// What takes the outputs of a batch that are to be kept, or None.
py::object PythonBackend::keeper(const Batch& batch) const {
    if (!batch.keep) return py::none();
    py::list queries;
    py::list counts;
    for (const Submission& s : batch.queries) {
        if (s.counted) {
            queries.append(s.query);
        } else {
            queries.append(py::none());
        }
        counts.append(samples(s.query));
    }
    const py::object keep = hooks_.keep;
    return py::cpp_function([=](const py::object& outputs) { keep(queries, counts, outputs); });
}

bool PythonBackend::predict(const Batch& batch, CallStamps& stamps) noexcept {
    take_gil();
    stamps.entered = clock_.now();
    PyObject* outputs = nullptr;
    bool ok = false;
    try {
        PyObject* arguments[] = {nullptr, feeds_of(batch)};
        outputs = PyObject_Vectorcall(call_.ptr(), arguments + 1,
                                      1 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr);
        ok = outputs != nullptr && on_host(outputs);
        stamps.completed = clock_.now();
        if (ok && batch.keep) keeper(batch)(py::reinterpret_borrow<py::object>(outputs));
        if (!ok) failure_ = take_error();
    } catch (const py::error_already_set& error) {
        stamps.completed = clock_.now();
        failure_ = describe(error);
        ok = false;
    }
    Py_XDECREF(outputs);
    if (turn_is_over(stamps.completed)) release_gil();
    return ok;
}

bool PythonBackend::submit(const Batch& batch, Handle handle, CallStamps& stamps) noexcept {
    take_gil();
    bool ok = true;
    try {
        const py::object done = py::cast(PythonCompletion(clock_, sink_, handle, keeper(batch)));
        PyObject* feeds = feeds_of(batch);
        stamps.entered = clock_.now();
        PyObject* arguments[] = {nullptr, feeds, done.ptr()};
        PyObject* answer = PyObject_Vectorcall(call_.ptr(), arguments + 1,
                                               2 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr);
        if (answer == nullptr) throw py::error_already_set();
        Py_DECREF(answer);
    } catch (const py::error_already_set& error) {
        failure_ = describe(error);
        ok = false;
    }
    release_gil();
    return ok;
}

}  // namespace bytemlperf
