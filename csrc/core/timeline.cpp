#include "core/timeline.h"

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

void WindowCounts::spread() {
    blocks_ = std::make_unique<Blocks>();
    for (const std::size_t bucket : few_) ++counter(bucket);
    few_ = {};
}

void WindowCounts::merge(const WindowCounts& other) {
    for (const std::size_t bucket : other.few_) add(bucket);
    if (other.blocks_) {
        for (const auto& [bucket, count] : other.buckets()) add(bucket, count);
    }
}

std::vector<std::pair<std::size_t, std::uint64_t>> WindowCounts::buckets() const {
    std::vector<std::pair<std::size_t, std::uint64_t>> result;
    std::vector<std::uint16_t> few = few_;
    std::sort(few.begin(), few.end());
    for (const std::size_t bucket : few) {
        if (result.empty() || result.back().first != bucket) result.emplace_back(bucket, 0);
        ++result.back().second;
    }
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

}  // namespace bytemlperf
