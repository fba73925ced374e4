#include <pybind11/stl.h>

#include "core/device.h"
#include "python/register.h"

namespace bytemlperf {

namespace py = pybind11;

namespace {

Nanos to_nanos(double seconds) {
    return static_cast<Nanos>(seconds * 1e9 + 0.5);
}

DeviceModel make_model(std::shared_ptr<ServiceTime> service, std::uint32_t servers,
                       std::optional<std::pair<double, double>> stall) {
    if (servers == 0) throw std::invalid_argument("a device needs at least one server");
    DeviceModel model{std::move(service), servers, std::nullopt};
    if (stall) model.stall = Stall{to_nanos(stall->first), to_nanos(stall->second)};
    return model;
}

}  // namespace

void register_device(py::module_& m) {
    py::class_<ServiceTime, std::shared_ptr<ServiceTime>>(m, "ServiceTime");
    py::class_<DeterministicService, ServiceTime, std::shared_ptr<DeterministicService>>(
        m, "DeterministicService")
        .def(py::init<double>(), py::arg("seconds"));
    py::class_<ExponentialService, ServiceTime, std::shared_ptr<ExponentialService>>(
        m, "ExponentialService")
        .def(py::init<double>(), py::arg("mean"));
    py::class_<LognormalService, ServiceTime, std::shared_ptr<LognormalService>>(m,
                                                                                 "LognormalService")
        .def(py::init<double, double>(), py::arg("mean"), py::arg("cv"));
    py::class_<TableService, ServiceTime, std::shared_ptr<TableService>>(m, "TableService")
        .def(py::init<const std::map<std::uint32_t, double>&>(), py::arg("seconds"));
    py::class_<DeviceModel>(m, "DeviceModel", "A device with known service times (seconds).")
        .def(py::init(&make_model), py::arg("service"), py::arg("servers") = 1,
             py::arg("stall") = py::none())
        .def_readonly("servers", &DeviceModel::servers);
}

}  // namespace bytemlperf
