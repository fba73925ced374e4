#include "core/clock.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <string>

namespace bytemlperf {

namespace {

#if defined(__x86_64__)

struct Reading {
    std::uint64_t ticks;
    Nanos raw;
};

// The tightest of several brackets: a preempted reading is wide and loses.
Reading read_pair() {
    Reading best{};
    std::uint64_t best_width = UINT64_MAX;
    for (int i = 0; i < 16; ++i) {
        const std::uint64_t before = __rdtsc();
        const Nanos raw = read_clock(CLOCK_MONOTONIC_RAW);
        const std::uint64_t after = __rdtsc();
        if (after - before < best_width) {
            best_width = after - before;
            best = {before + (after - before) / 2, raw};
        }
    }
    return best;
}

double nanos_per_tick(const Reading& a, const Reading& b) {
    return static_cast<double>(b.raw - a.raw) / static_cast<double>(b.ticks - a.ticks);
}

void spin_for(Nanos duration) {
    const Nanos end = read_clock(CLOCK_MONOTONIC_RAW) + duration;
    while (read_clock(CLOCK_MONOTONIC_RAW) < end) {
    }
}

bool kernel_trusts_tsc() {
    std::ifstream file("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    std::string name;
    return static_cast<bool>(file >> name) && name == "tsc";
}

#endif

}  // namespace

std::optional<Clock> Clock::tsc() {
#if defined(__x86_64__)
    if (!kernel_trusts_tsc()) return std::nullopt;
    constexpr Nanos kCalibration = 10'000'000;
    const Reading first = read_pair();
    spin_for(kCalibration);
    const Reading middle = read_pair();
    spin_for(kCalibration);
    const Reading last = read_pair();
    const double whole = nanos_per_tick(first, last);
    // Both halves must agree: 50 ppm, the bound that is asked of the clock at the end of a run.
    if (std::abs(nanos_per_tick(first, middle) / nanos_per_tick(middle, last) - 1.0) > 50e-6) {
        return std::nullopt;
    }
    Clock clock;
    clock.multiplier_ = static_cast<std::uint64_t>(std::llround(whole * 4294967296.0));
    const Reading base = read_pair();
    clock.base_ticks_ = base.ticks;
    clock.base_raw_ns_ = base.raw;
    clock.base_ns_ = base.raw + (read_clock(CLOCK_MONOTONIC) - read_clock(CLOCK_MONOTONIC_RAW));
    return clock;
#else
    return std::nullopt;
#endif
}

Clock Clock::best() {
    static const Clock chosen = tsc().value_or(monotonic());
    return chosen;
}

double Clock::drift_ppm() const noexcept {
#if defined(__x86_64__)
    if (multiplier_ != 0) {
        const Reading reading = read_pair();
        const Nanos raw = reading.raw - base_raw_ns_;
        if (raw <= 0) return 0.0;
        const Nanos own = scale(reading.ticks - base_ticks_);
        return 1e6 * static_cast<double>(own - raw) / static_cast<double>(raw);
    }
#endif
    return 0.0;
}

double Clock::cost_ns() const noexcept {
    constexpr int kReads = 256;
    std::array<double, 15> rounds{};
    for (double& round : rounds) {
        const Nanos start = now();
        for (int i = 0; i < kReads - 1; ++i) static_cast<void>(now());
        round = static_cast<double>(now() - start) / kReads;
    }
    std::nth_element(rounds.begin(), rounds.begin() + rounds.size() / 2, rounds.end());
    return rounds[rounds.size() / 2];
}

}  // namespace bytemlperf
