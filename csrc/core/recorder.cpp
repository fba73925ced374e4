#include "core/recorder.h"

#include <algorithm>

namespace bytemlperf {

Recorder::Recorder(std::uint32_t instance, std::size_t stamp_bytes, bool closed_loop)
    : instance_(instance), closed_loop_(closed_loop), stamps_(stamp_bytes) {}

void Recorder::post(Nanos window_start, Nanos window_end) noexcept {
    for (std::uint32_t i = 0; i < entries_; ++i) post(journal_[i], window_start, window_end);
    entries_ = 0;
}

void Recorder::post(const Entry& entry, Nanos window_start, Nanos window_end) noexcept {
    const Stamps& s = entry.stamps;
    const Nanos latency = s.completed - s.intended;
    const std::size_t bucket = of(Interval::kLatency).record(latency);
    of(Interval::kServiceTime).record(s.completed - s.entered);
    of(Interval::kScheduleLag).record(s.submitted - s.intended);
    of(Interval::kQueueWait).record(s.ready - s.submitted);
    of(Interval::kGilWait).record(s.entered - s.ready);
    timeline_.complete(s.completed - window_start, latency, bucket);
    if (s.completed <= window_end) {
        ++queries_in_window_;
        samples_in_window_ += entry.samples;
    } else if (closed_loop_ && s.submitted < window_end) {
        const double inside = static_cast<double>(window_end - s.submitted) /
                              static_cast<double>(s.completed - s.submitted);
        queries_cut_ += inside;
        samples_cut_ += inside * entry.samples;
    }
    last_completed_ = std::max(last_completed_, s.completed);
    if (!stamps_.push({entry.query, entry.client, instance_, s})) stamps_complete_ = false;
}

void Recorder::fail(const std::string& kind, const std::string& message, Nanos at,
                    Nanos window_start) {
    ErrorClass& entry = error_classes_[kind];
    if (entry.count++ == 0) entry.first = message;
    errors_.store(errors_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    timeline_.error(at - window_start);
}

}  // namespace bytemlperf
