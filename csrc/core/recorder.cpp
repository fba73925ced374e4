#include "core/recorder.h"

#include <algorithm>

namespace bytemlperf {

namespace {

void add(Timeline::Bin& into, const Timeline::Bin& from) {
    into.queries += from.queries;
    into.errors += from.errors;
    into.latency_sum += from.latency_sum;
    into.latency_max = std::max(into.latency_max, from.latency_max);
    into.latencies.merge(from.latencies);
}

}  // namespace

void WindowCounts::merge(const WindowCounts& other) {
    for (std::size_t i = other.low_; i <= other.high_ && other.counts_; ++i) {
        if (const std::uint64_t n = other.counts_[i]) {
            add(i);
            counts_[i] += n - 1;
        }
    }
}

std::vector<std::pair<std::size_t, std::uint64_t>> WindowCounts::buckets() const {
    std::vector<std::pair<std::size_t, std::uint64_t>> result;
    for (std::size_t i = low_; i <= high_ && counts_; ++i) {
        if (counts_[i] != 0) result.emplace_back(i, counts_[i]);
    }
    return result;
}

void Timeline::halve() noexcept {
    for (std::size_t i = 0; i < kBins / 2; ++i) {
        Bin merged = std::move(bins_[2 * i]);
        add(merged, bins_[2 * i + 1]);
        bins_[i] = std::move(merged);
    }
    for (std::size_t i = kBins / 2; i < kBins; ++i) bins_[i] = Bin{};
    ++shift_;
}

void Timeline::merge(const Timeline& other) {
    while (shift_ < other.shift_) halve();
    const unsigned finer = shift_ - other.shift_;  // other's bins are narrower or equal
    for (std::size_t i = 0; i < kBins; ++i) add(bins_[i >> finer], other.bins_[i]);
}

Recorder::Recorder(std::uint32_t instance, std::size_t stamp_bytes)
    : instance_(instance),
      stamp_capacity_(stamp_bytes / sizeof(StampRecord)),
      stamps_(new StampRecord[stamp_capacity_]) {}

void Recorder::fail(const std::string& kind, const std::string& message, Nanos at,
                    Nanos window_start) {
    ErrorClass& entry = error_classes_[kind];
    if (entry.count++ == 0) entry.first = message;
    errors_.store(errors_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    timeline_.error(at - window_start);
}

}  // namespace bytemlperf
