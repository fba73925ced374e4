// Completions by time: where intervals come from once raw stamps no longer fit.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "core/histogram.h"

namespace bytemlperf {

// The latencies of one window as bare bucket counts. A window of few queries lists them; one of
// many has counters in small blocks, allocated when the first latency falls into them. A table of
// all blocks for each window of a slow model would cost more than the rest of the books.
class WindowCounts {
  public:
    void add(std::size_t bucket, std::uint64_t count = 1) {
        if (!blocks_) {
            if (count == 1 && few_.size() < kFew) {
                few_.push_back(static_cast<std::uint16_t>(bucket));
                return;
            }
            spread();
        }
        counter(bucket) += count;
    }
    void merge(const WindowCounts& other);
    // Non-empty ones, ascending.
    [[nodiscard]] std::vector<std::pair<std::size_t, std::uint64_t>> buckets() const;

  private:
    static constexpr std::size_t kFew = 256;
    static constexpr std::size_t kBlock = 64;
    static_assert(Histogram::kBuckets <= std::size_t{1} << 16);
    using Block = std::array<std::uint64_t, kBlock>;
    using Blocks = std::array<std::unique_ptr<Block>, (Histogram::kBuckets + kBlock - 1) / kBlock>;

    void spread();  // from the list to counters
    std::uint64_t& counter(std::size_t bucket) {
        std::unique_ptr<Block>& block = (*blocks_)[bucket / kBlock];
        if (!block) block = std::make_unique<Block>();
        return (*block)[bucket % kBlock];
    }

    std::vector<std::uint16_t> few_;  // a bucket for each latency, in order of arrival
    std::unique_ptr<Blocks> blocks_;
};

// 128 windows whose width doubles, by merging pairs, when the run outgrows them.
class Timeline {
  public:
    struct Bin {
        std::uint64_t queries = 0;
        std::uint64_t errors = 0;
        Nanos latency_sum = 0;
        Nanos latency_max = 0;
        WindowCounts latencies;
    };
    static constexpr std::size_t kBins = 128;

    // `bucket` is the latency's in a Histogram.
    void complete(Nanos since_start, Nanos latency, std::size_t bucket) noexcept {
        Bin& bin = at(since_start);
        ++bin.queries;
        bin.latency_sum += latency;
        if (latency > bin.latency_max) bin.latency_max = latency;
        bin.latencies.add(bucket);
    }
    void error(Nanos since_start) noexcept { ++at(since_start).errors; }
    void merge(const Timeline& other);

    [[nodiscard]] Nanos bin_width() const noexcept { return Nanos{1} << shift_; }
    [[nodiscard]] const std::array<Bin, kBins>& bins() const noexcept { return bins_; }

  private:
    Bin& at(Nanos since_start) noexcept {
        const Nanos t = since_start > 0 ? since_start : 0;
        while ((t >> shift_) >= static_cast<Nanos>(kBins)) halve();
        return bins_[static_cast<std::size_t>(t >> shift_)];
    }
    void halve() noexcept;

    unsigned shift_ = 20;  // about 1 ms
    std::array<Bin, kBins> bins_{};
};

}  // namespace bytemlperf
