#include "python/python_backend.h"

#include <stdexcept>
#include <utility>

#include "python/host_outputs.h"

namespace bytemlperf {

namespace {

// Outputs of these types hold no device memory, whatever they are.
bool is_plain(PyObject* object) noexcept {
    return object == Py_None || PyFloat_CheckExact(object) || PyLong_CheckExact(object);
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

}  // namespace

PythonBackend::PythonBackend(Clock clock, py::object make, py::object keep,
                             std::shared_ptr<const PreparedFeeds> feeds)
    : clock_(clock), make_(std::move(make)), keep_(std::move(keep)), prepared_(std::move(feeds)) {
    if (prepared_->feeds.empty() || prepared_->feeds.size() != prepared_->samples.size()) {
        throw std::invalid_argument("prepared feeds need one entry or more, each with its samples");
    }
}

PythonBackend::PythonBackend(Clock clock, py::object make, py::object keep, StagedFeeds feeds)
    : clock_(clock), make_(std::move(make)), keep_(std::move(keep)), staged_(std::move(feeds)) {}

PythonBackend::~PythonBackend() {
    const py::gil_scoped_acquire gil;
    make_ = keep_ = predict_ = close_ = staged_.mapping = py::object();
    prepared_.reset();
}

void PythonBackend::open() {
    if (thread_state_ != nullptr) return;
    gil_state_ = PyGILState_Ensure();
    try {
        const py::tuple made = make_();
        predict_ = made[0];
        close_ = made[1];
    } catch (const py::error_already_set& error) {
        const Failure failure = describe(error);
        PyGILState_Release(gil_state_);
        throw std::runtime_error(failure.kind + ": " + failure.message);
    }
    thread_state_ = PyEval_SaveThread();
}

void PythonBackend::close() noexcept {
    if (thread_state_ == nullptr) return;
    PyEval_RestoreThread(thread_state_);
    try {
        close_();
    } catch (py::error_already_set& error) {
        error.discard_as_unraisable("unloading a backend");
    }
    predict_ = close_ = py::object();
    thread_state_ = nullptr;
    PyGILState_Release(gil_state_);
}

bool PythonBackend::gather(std::uint64_t query) noexcept {
    if (prepared_) return false;
    const auto& columns = staged_.pool->columns();
    for (std::size_t i = 0; i < columns.size(); ++i) {
        if (!columns[i].shared) staged_.pool->gather(columns[i], query, staged_.slots[i]);
    }
    return true;
}

std::uint32_t PythonBackend::samples(std::uint64_t query) const noexcept {
    return prepared_ ? prepared_->samples[query % prepared_->samples.size()]
                     : staged_.pool->batch();
}

PyObject* PythonBackend::feeds_of(std::uint64_t query) const noexcept {
    return prepared_ ? prepared_->feeds[query % prepared_->feeds.size()].ptr()
                     : staged_.mapping.ptr();
}

bool PythonBackend::predict(std::uint64_t query, bool keep, CallStamps& stamps) noexcept {
    PyObject* arguments[] = {nullptr, feeds_of(query)};
    PyEval_RestoreThread(thread_state_);
    stamps.entered = clock_.now();
    PyObject* outputs = PyObject_Vectorcall(predict_.ptr(), arguments + 1,
                                            1 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr);
    bool ok = outputs != nullptr && (is_plain(outputs) || check_on_host(outputs));
    stamps.completed = clock_.now();
    if (ok && keep) {
        PyObject* kept = PyObject_CallFunction(keep_.ptr(), "KO",
                                               static_cast<unsigned long long>(query), outputs);
        ok = kept != nullptr;
        Py_XDECREF(kept);
    }
    if (!ok) note_failure();
    Py_XDECREF(outputs);
    thread_state_ = PyEval_SaveThread();
    return ok;
}

void PythonBackend::note_failure() {
    failure_ = describe(py::error_already_set());
}

}  // namespace bytemlperf
