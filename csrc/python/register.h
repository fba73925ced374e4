// One function for each part of the module.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <memory>
#include <vector>

#include "core/recorder.h"

namespace bytemlperf {

// The stamps published so far by all recorders, as a structured array.
pybind11::array copy_stamps(const std::vector<std::unique_ptr<Recorder>>& recorders);

void register_arrivals(pybind11::module_& m);
void register_device(pybind11::module_& m);
void register_results(pybind11::module_& m);
void register_generator(pybind11::module_& m);
void register_isolation(pybind11::module_& m);

}  // namespace bytemlperf
