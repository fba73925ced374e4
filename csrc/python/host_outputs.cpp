#include "python/host_outputs.h"

namespace bytemlperf {

namespace py = pybind11;

namespace {

bool refuse_foreign_array(PyObject* object) noexcept {
    for (const char* protocol : {"__dlpack__", "__cuda_array_interface__"}) {
        if (PyObject_HasAttrString(object, protocol)) {
            PyErr_Format(PyExc_TypeError,
                         "the backend returned a %.200s, which may not have been computed yet or "
                         "may lie on a device; return numpy arrays",
                         Py_TYPE(object)->tp_name);
            return false;
        }
    }
    return true;
}

bool check_items(PyObject* sequence) noexcept {
    const Py_ssize_t n = PySequence_Fast_GET_SIZE(sequence);
    PyObject** items = PySequence_Fast_ITEMS(sequence);
    for (Py_ssize_t i = 0; i < n; ++i) {
        if (!check_on_host(items[i])) return false;
    }
    return true;
}

}  // namespace

bool check_on_host(PyObject* outputs) noexcept {
    if (outputs == Py_None) return true;
    if (py::detail::npy_api::get().PyArray_Check_(outputs)) {
        const auto* array = py::detail::array_proxy(outputs);
        Py_ssize_t elements = 1;
        for (int i = 0; i < array->nd; ++i) elements *= array->dimensions[i];
        if (elements > 0) {
            static_cast<void>(*static_cast<const volatile char*>(static_cast<void*>(array->data)));
        }
        return true;
    }
    if (PyDict_Check(outputs)) {
        PyObject* key = nullptr;
        PyObject* value = nullptr;
        Py_ssize_t position = 0;
        while (PyDict_Next(outputs, &position, &key, &value)) {
            if (!check_on_host(value)) return false;
        }
        return true;
    }
    if (PyList_Check(outputs) || PyTuple_Check(outputs)) return check_items(outputs);
    return refuse_foreign_array(outputs);
}

}  // namespace bytemlperf
