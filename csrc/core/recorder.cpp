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
    for (const auto& [bucket, count] : other.buckets()) add(bucket, count);
}

std::vector<std::pair<std::size_t, std::uint64_t>> WindowCounts::buckets() const {
    std::vector<std::pair<std::size_t, std::uint64_t>> result;
    for (std::size_t b = 0; blocks_ && b < blocks_->size(); ++b) {
        const auto& block = (*blocks_)[b];
        for (std::size_t i = 0; block && i < kBlock; ++i) {
            if ((*block)[i] != 0) result.emplace_back(b * kBlock + i, (*block)[i]);
        }
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
