// Arrivals whose rate or regularity varies: gamma gaps, bursts, ramps, steps, a sine.
#pragma once

#include <vector>

#include "core/arrivals.h"

namespace bytemlperf {

// Independent gamma gaps of mean 1 / rate and coefficient of variation `cv`: 1 is Poisson, below
// it more regular, above it bursty.
class GammaArrivals final : public ArrivalProcess {
  public:
    GammaArrivals(double rate, double cv);
    [[nodiscard]] std::unique_ptr<ArrivalStream> stream(std::uint64_t seed) const override;

  private:
    double mean_gap_ns_;
    double shape_;
};

// A Poisson process whose rate switches between two values; the stays are exponential. Starts on.
class OnOffArrivals final : public ArrivalProcess {
  public:
    // Rates a second, `rate_off` may be 0; mean stays in seconds.
    OnOffArrivals(double rate_on, double rate_off, double mean_on, double mean_off);
    [[nodiscard]] std::unique_ptr<ArrivalStream> stream(std::uint64_t seed) const override;

  private:
    double rates_[2];     // off, on; a nanosecond
    double stays_ns_[2];  // off, on
};

// A part of a run over which the rate goes from one value to another in a straight line.
struct RateSegment {
    double start_rate;  // a second
    double stop_rate;
    double seconds;
};

// A Poisson process whose rate follows the segments; after the last one nothing comes.
class SegmentedArrivals final : public ArrivalProcess {
  public:
    explicit SegmentedArrivals(std::vector<RateSegment> segments);
    [[nodiscard]] std::unique_ptr<ArrivalStream> stream(std::uint64_t seed) const override;

  private:
    std::vector<RateSegment> segments_;
};

// A Poisson process of rate mean + amplitude sin(2 pi t / period).
class SineArrivals final : public ArrivalProcess {
  public:
    SineArrivals(double mean, double amplitude, double period);
    [[nodiscard]] std::unique_ptr<ArrivalStream> stream(std::uint64_t seed) const override;

  private:
    double mean_;
    double amplitude_;
    double period_ns_;
};

}  // namespace bytemlperf
