// The last resort: a call that holds Python's GIL for ever leaves nothing but native threads.
#pragma once

#include <string>

#include "core/run_data.h"

namespace bytemlperf {

// Writes counts and latencies as JSON to `path`, says so on standard error and ends the process
// with status 1. Quantiles in seconds.
[[noreturn]] void save_and_exit(const std::string& path, const RunData& data);

}  // namespace bytemlperf
