// Time: integer nanoseconds on the scale of CLOCK_MONOTONIC, read as cheaply as the host allows.
#pragma once

#include <cstdint>
#include <ctime>
#include <optional>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace bytemlperf {

using Nanos = std::int64_t;

inline constexpr Nanos kSecond = 1'000'000'000;
inline constexpr Nanos kNever = INT64_MAX;

inline Nanos read_clock(clockid_t id) noexcept {
    timespec ts{};
    clock_gettime(id, &ts);
    return static_cast<Nanos>(ts.tv_sec) * kSecond + ts.tv_nsec;
}

// A value: copies read the same time. `tsc()` is offered only where the kernel itself trusts the
// counter and a calibration against CLOCK_MONOTONIC_RAW repeats.
class Clock {
  public:
    static Clock monotonic() noexcept { return Clock{}; }
    static std::optional<Clock> tsc();
    // tsc() where it is offered, else monotonic(). Calibrated once a process.
    static Clock best();

    [[nodiscard]] bool is_tsc() const noexcept { return multiplier_ != 0; }

    [[nodiscard]] Nanos now() const noexcept {
#if defined(__x86_64__)
        // Not serialising: a few tens of cycles of reordering cost less than a fence in each read.
        if (multiplier_ != 0) return base_ns_ + scale(__rdtsc() - base_ticks_);
#endif
        return read_clock(CLOCK_MONOTONIC);
    }

    // Parts in a million by which this clock ran away from CLOCK_MONOTONIC_RAW since calibration.
    [[nodiscard]] double drift_ppm() const noexcept;
    // Median cost of now(), in nanoseconds.
    [[nodiscard]] double cost_ns() const noexcept;

  private:
    __extension__ using Wide = unsigned __int128;

    [[nodiscard]] Nanos scale(std::uint64_t ticks) const noexcept {
        return static_cast<Nanos>((static_cast<Wide>(ticks) * multiplier_) >> 32U);
    }

    std::uint64_t multiplier_ = 0;  // nanoseconds a tick, 32 fractional bits; 0: clock_gettime
    std::uint64_t base_ticks_ = 0;
    Nanos base_ns_ = 0;
    Nanos base_raw_ns_ = 0;
};

// Reads CLOCK_THREAD_CPUTIME_ID: processor time of the calling thread.
inline Nanos thread_cpu_time() noexcept {
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

}  // namespace bytemlperf
