// What a generator makes its instances from, and how they call back into Python.
#pragma once

#include <pybind11/pybind11.h>

#include <functional>
#include <memory>
#include <span>

#include "core/backend.h"

namespace bytemlperf {

// Python passes one of these; the generator owns what it makes.
struct BackendSpec {
    std::function<std::unique_ptr<Backend>(Clock)> make;
};

// A Python object that threads without the GIL may let go of.
inline std::shared_ptr<pybind11::object> held_without_gil(const pybind11::object& object) {
    return {new pybind11::object(object), [](pybind11::object* held) {
                const pybind11::gil_scoped_acquire gil;
                delete held;
            }};
}

// An object that reads the memory of Python objects, and keeps them.
template <typename T>
std::shared_ptr<T> keeping(std::unique_ptr<T> object, const pybind11::object& kept) {
    T* const bare = object.release();
    return {bare, [held = held_without_gil(kept)](T* last) { delete last; }};
}

// Numbers of the queries; None for one of the warm-up.
inline pybind11::list counted_queries(std::span<const Submission> queries) {
    namespace py = pybind11;
    py::list numbers;
    for (const Submission& s : queries) {
        numbers.append(s.counted ? py::object(py::int_(s.query)) : py::object(py::none()));
    }
    return numbers;
}

}  // namespace bytemlperf
