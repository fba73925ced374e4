// A log-linear histogram of non-negative nanoseconds: the hot path's only statistic.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "core/clock.h"

namespace bytemlperf {

// 2048 buckets of 1 ns, then 1024 an octave: the layout of HdrHistogram at three significant
// digits. A bucket's midpoint is within 2^-11 of every value in it, over the whole of int64.
//
// One thread records; any thread may read while it does and sees each counter whole.
class Histogram {
  public:
    static constexpr unsigned kOctaveBits = 10;
    static constexpr std::size_t kBuckets = std::size_t{64 - kOctaveBits} << kOctaveBits;

    Histogram() : counts_(std::make_unique<Counter[]>(kBuckets)) {}

    static constexpr std::size_t bucket_of(Nanos value) noexcept {
        const auto v = static_cast<std::uint64_t>(value);
        constexpr std::uint64_t kLinear = (std::uint64_t{2} << kOctaveBits) - 1;
        const unsigned shift =
            63U - kOctaveBits - static_cast<unsigned>(std::countl_zero(v | kLinear));
        return (std::size_t{shift} << kOctaveBits) + (v >> shift);
    }
    static constexpr Nanos lowest_in(std::size_t bucket) noexcept {
        const std::size_t shift = shift_of(bucket);
        return static_cast<Nanos>((bucket - (shift << kOctaveBits)) << shift);
    }
    static constexpr Nanos highest_in(std::size_t bucket) noexcept {
        return lowest_in(bucket) + static_cast<Nanos>((std::uint64_t{1} << shift_of(bucket)) - 1);
    }

    // Negative values cannot come from ordered stamps of one clock; they count as 0. Returns the
    // bucket.
    std::size_t record(Nanos value) noexcept {
        if (value < 0) value = 0;
        const std::size_t bucket = bucket_of(value);
        bump(counts_[bucket], 1);
        bump(count_, 1);
        if (value < min_.load(kRelaxed)) min_.store(value, kRelaxed);
        if (value == 0) return bucket;  // often: a query that nobody waits for has empty intervals
        bump(sum_, value);
        const auto v = static_cast<double>(value);
        sum_squares_.store(sum_squares_.load(kRelaxed) + v * v, kRelaxed);
        if (value > max_.load(kRelaxed)) max_.store(value, kRelaxed);
        return bucket;
    }

    void merge(const Histogram& other) noexcept {
        for (std::size_t i = 0; i < kBuckets; ++i) {
            if (const auto n = other.counts_[i].load(kRelaxed)) bump(counts_[i], n);
        }
        bump(count_, other.count());
        bump(sum_, other.sum());
        sum_squares_.store(sum_squares_.load(kRelaxed) + other.sum_squares(), kRelaxed);
        if (other.min_.load(kRelaxed) < min_.load(kRelaxed)) min_.store(other.min_, kRelaxed);
        if (other.max_.load(kRelaxed) > max_.load(kRelaxed)) max_.store(other.max_, kRelaxed);
    }

    [[nodiscard]] std::uint64_t count() const noexcept { return count_.load(kRelaxed); }
    [[nodiscard]] Nanos sum() const noexcept { return sum_.load(kRelaxed); }
    [[nodiscard]] double sum_squares() const noexcept { return sum_squares_.load(kRelaxed); }
    // 0 when empty.
    [[nodiscard]] Nanos min() const noexcept { return count() == 0 ? 0 : min_.load(kRelaxed); }
    [[nodiscard]] Nanos max() const noexcept { return max_.load(kRelaxed); }

    // The value of rank max(1, ceil(q * count - 1e-9)): the smallest x with F(x) >= q, as the
    // midpoint of its bucket within [min, max]. 0 when empty.
    [[nodiscard]] Nanos quantile(double q) const noexcept;

    // Buckets that hold something, ascending: (index, count).
    [[nodiscard]] std::vector<std::pair<std::size_t, std::uint64_t>> buckets() const;

  private:
    using Counter = std::atomic<std::uint64_t>;
    static constexpr auto kRelaxed = std::memory_order_relaxed;

    static constexpr std::size_t shift_of(std::size_t bucket) noexcept {
        const std::size_t octave = bucket >> kOctaveBits;
        return octave < 2 ? 0 : octave - 1;
    }
    // A single writer needs no read-modify-write instruction.
    template <typename T, typename D>
    static void bump(std::atomic<T>& cell, D by) noexcept {
        cell.store(cell.load(kRelaxed) + static_cast<T>(by), kRelaxed);
    }

    std::unique_ptr<Counter[]> counts_;
    std::atomic<std::uint64_t> count_{0};
    std::atomic<Nanos> sum_{0};
    std::atomic<double> sum_squares_{0.0};
    std::atomic<Nanos> min_{kNever};
    std::atomic<Nanos> max_{0};
};

}  // namespace bytemlperf
