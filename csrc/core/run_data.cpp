#include "core/run_data.h"

#include <algorithm>

namespace bytemlperf {

namespace {

template <typename Get>
auto total(const RunData& data, Get get) {
    decltype(get(*data.recorders.front())) sum = 0;
    for (const auto& recorder : data.recorders) sum += get(*recorder);
    return sum;
}

}  // namespace

bool Pinning::overlaps() const {
    std::vector<unsigned> seen;
    for (const auto* sets : {&clients, &instances}) {
        for (const CoreSet& set : *sets) seen.insert(seen.end(), set.begin(), set.end());
    }
    std::sort(seen.begin(), seen.end());
    return std::adjacent_find(seen.begin(), seen.end()) != seen.end();
}

std::unique_ptr<Histogram> RunData::merged(Interval interval) const {
    auto all = std::make_unique<Histogram>();
    for (const auto& recorder : recorders) all->merge(recorder->histogram(interval));
    return all;
}

Timeline RunData::timeline() const {
    Timeline all;
    for (const auto& recorder : recorders) all.merge(recorder->timeline());
    return all;
}

std::map<std::string, ErrorClass> RunData::error_classes() const {
    std::map<std::string, ErrorClass> all;
    for (const auto& recorder : recorders) {
        for (const auto& [kind, entry] : recorder->error_classes()) {
            ErrorClass& into = all[kind];
            if (into.count == 0) into.first = entry.first;
            into.count += entry.count;
        }
    }
    return all;
}

std::uint64_t RunData::completed() const {
    return total(*this, [](const Recorder& r) { return r.completed(); });
}
std::uint64_t RunData::errors() const {
    return total(*this, [](const Recorder& r) { return r.errors(); });
}
std::uint64_t RunData::timeouts() const {
    return total(*this, [](const Recorder& r) { return r.timeouts(); });
}
std::uint64_t RunData::batches() const {
    return total(*this, [](const Recorder& r) { return r.batches(); });
}
double RunData::queries_in_window() const {
    return total(*this, [](const Recorder& r) { return r.queries_in_window(); });
}
double RunData::samples_in_window() const {
    return total(*this, [](const Recorder& r) { return r.samples_in_window(); });
}

Nanos RunData::last_completed() const {
    Nanos last = 0;
    for (const auto& recorder : recorders) last = std::max(last, recorder->last_completed());
    return last;
}

bool RunData::stamps_complete() const {
    return std::all_of(recorders.begin(), recorders.end(),
                       [](const auto& recorder) { return recorder->stamps_complete(); });
}

}  // namespace bytemlperf
