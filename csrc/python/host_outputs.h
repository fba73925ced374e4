// Outputs must lie in host memory when the backend returns, or its times would be false.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

namespace bytemlperf {

// Walks dicts, lists and tuples; reads a byte of each numpy array. Returns false with a Python
// TypeError set for an array that is not numpy's: it may still be on its device, or not computed.
bool check_on_host(PyObject* outputs) noexcept;

}  // namespace bytemlperf
