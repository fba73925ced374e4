#include "core/partial.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>

namespace bytemlperf {

namespace {

bool write(const std::string& path, const RunData& data) {
    const auto close = [](std::FILE* file) { std::fclose(file); };
    const std::unique_ptr<std::FILE, decltype(close)> file(std::fopen(path.c_str(), "w"), close);
    if (!file) return false;
    const auto latency = data.merged(Interval::kLatency);
    const auto lost = data.errors() + data.timeouts();
    const auto count = [&](const char* name, std::uint64_t n) {
        std::fprintf(file.get(), " \"%s\": %llu,\n", name, static_cast<unsigned long long>(n));
    };
    std::fprintf(file.get(), "{\"schema\": \"bytemlperf.partial/1\",\n");
    count("planned", data.planned);
    count("completed", data.completed());
    count("errors", data.errors());
    count("timeouts", data.timeouts());
    count("unsent", data.planned - std::min(data.planned, data.completed() + lost));
    std::fprintf(file.get(), " \"latency_s\": {");
    for (const double q : {0.5, 0.9, 0.99, 0.999}) {
        std::fprintf(file.get(), "\"%g\": %.9f, ", q,
                     static_cast<double>(latency->quantile(q)) * 1e-9);
    }
    std::fprintf(file.get(), "\"max\": %.9f}}\n", static_cast<double>(latency->max()) * 1e-9);
    return true;
}

}  // namespace

void save_and_exit(const std::string& path, const RunData& data) {
    const bool written = write(path, data);
    std::fprintf(stderr,
                 "bytemlperf: a call into the backend holds Python's GIL and does not return, so "
                 "this process cannot go on.\n%s %s\n",
                 written ? "What was measured is in" : "What was measured could not be written to",
                 path.c_str());
    std::fflush(stderr);
    _exit(1);
}

}  // namespace bytemlperf
