// A point in a plan, exact to 2^-16 ns however many gaps were added to it.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/clock.h"

namespace bytemlperf {

inline constexpr double kLongestGapNs = 0x1.0p46;  // a mean gap, or a length in a pattern
// Where plans stop growing, 73 years from their start, so that no sum overflows.
inline constexpr Nanos kLatest = Nanos{1} << 61U;

class FixedTime {
  public:
    // A gap of 0 or more, rounded to 2^-16 ns.
    void add(double gap_ns) noexcept {
        if (gap_ns >= kLongestGapNs) {  // scaled below, it would overflow
            const auto whole = static_cast<Nanos>(std::min(gap_ns, static_cast<double>(kLatest)));
            whole_ += whole;
            gap_ns = 0.0;
        }
        fraction_ += static_cast<std::int64_t>(gap_ns * static_cast<double>(kOne) + 0.5);
        whole_ += fraction_ >> kFractionBits;
        fraction_ &= kOne - 1;
        whole_ = std::min(whole_, kLatest);
    }
    void set(Nanos time) noexcept {
        whole_ = time;
        fraction_ = 0;
    }
    [[nodiscard]] Nanos nanos() const noexcept { return whole_; }
    // Since an earlier point, in nanoseconds.
    [[nodiscard]] double since(Nanos earlier) const noexcept {
        return static_cast<double>(whole_ - earlier) +
               static_cast<double>(fraction_) / static_cast<double>(kOne);
    }

  private:
    static constexpr int kFractionBits = 16;
    static constexpr std::int64_t kOne = 1 << kFractionBits;

    Nanos whole_ = 0;
    std::int64_t fraction_ = 0;
};

}  // namespace bytemlperf
