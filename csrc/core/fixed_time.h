// A point in a plan, exact to 2^-16 ns however many gaps were added to it.
#pragma once

#include <cstdint>

#include "core/clock.h"

namespace bytemlperf {

inline constexpr double kLongestGapNs = 0x1.0p46;  // what one gap may be

class FixedTime {
  public:
    // A gap of 0 to kLongestGapNs, rounded to 2^-16 ns.
    void add(double gap_ns) noexcept {
        fraction_ += static_cast<std::int64_t>(gap_ns * static_cast<double>(kOne) + 0.5);
        whole_ += fraction_ >> kFractionBits;
        fraction_ &= kOne - 1;
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
