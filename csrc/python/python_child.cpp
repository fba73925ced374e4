#include "python/python_child.h"

#include <stdexcept>
#include <utility>

#include "python/backend_spec.h"

namespace bytemlperf {

namespace py = pybind11;

PythonChild::PythonChild(const py::object& child) : child_(held_without_gil(child)) {}

int PythonChild::start(const BridgeFds& fds) {
    const py::gil_scoped_acquire gil;
    try {
        return child_
            ->attr("start")(fds.control, fds.inputs, fds.results, fds.wake_child, fds.wake_parent)
            .cast<int>();
    } catch (const py::error_already_set& error) {
        // The Python error must not outlive the hold of the GIL.
        throw std::runtime_error(std::string(py::str(error.value())));
    }
}

Failure PythonChild::end(const std::string& hung) noexcept {
    const py::gil_scoped_acquire gil;
    try {
        auto [kind, message] =
            child_->attr("end")(hung).cast<std::pair<std::string, std::string>>();
        return {std::move(kind), std::move(message)};
    } catch (const std::exception& error) {
        return {"BackendCrashed", error.what()};
    }
}

void PythonChild::stop() noexcept {
    const py::gil_scoped_acquire gil;
    try {
        child_->attr("stop")();
    } catch (py::error_already_set& error) {
        error.discard_as_unraisable("ending an isolated backend");
    }
}

}  // namespace bytemlperf
