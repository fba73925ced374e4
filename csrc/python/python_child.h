// A child process that Python starts and ends.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <string>

#include "core/isolated.h"

namespace bytemlperf {

// `child` has start(control, inputs, results, wake_child, wake_parent) -> pidfd,
// end(hung) -> (class, message) and stop(): see bytemlperf/isolation/process.py.
class PythonChild final : public ChildProcess {
  public:
    explicit PythonChild(const pybind11::object& child);

    int start(const BridgeFds& fds) override;
    Failure end(const std::string& hung) noexcept override;
    void stop() noexcept override;

  private:
    std::shared_ptr<pybind11::object> child_;
};

}  // namespace bytemlperf
