// The same plan, device and recorder on a virtual clock: no threads, no noise, millions of queries
// a second. It proves the arithmetic; hand-off and waiting are proven in wall time.
#pragma once

#include "core/device.h"
#include "core/run_data.h"

namespace bytemlperf {

// First come, first served over the device's servers. Times start at 0 = start of the window;
// warm-up queries come before it and load the device without being counted.
// `keep_going` is asked now and then; false ends the window there.
RunData run_virtual(const RunSpec& spec, const DeviceModel& device, const QueryRows& queries,
                    bool (*keep_going)());

}  // namespace bytemlperf
