#include "core/bursty.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "core/fixed_time.h"
#include "core/random.h"

namespace bytemlperf {

namespace {

// Streams of one seed; 1 is that of service times.
constexpr std::uint64_t kGaps = 0;
constexpr std::uint64_t kStays = 2;

double checked_seconds(double seconds) {
    if (!(seconds >= 1e-6) || !(seconds * 1e9 < kLongestGapNs)) {
        throw std::invalid_argument(
            "a length in a load pattern must lie between 1e-6 and 7e4 seconds");
    }
    return seconds;
}

// Marsaglia and Tsang, A Simple Method for Generating Gamma Variables, ACM TOMS 26 (2000); a shape
// below 1 is lifted by one and scaled by u^(1 / shape).
class GammaStream final : public ArrivalStream {
  public:
    GammaStream(double mean_gap_ns, double shape, std::uint64_t seed)
        : scale_ns_(mean_gap_ns / shape),
          shape_(shape),
          d_((shape < 1.0 ? shape + 1.0 : shape) - 1.0 / 3.0),
          c_(1.0 / std::sqrt(9.0 * d_)),
          random_(seed, kGaps) {}

    void fill(std::span<Nanos> offsets) override {
        for (Nanos& offset : offsets) {
            time_.add(draw() * scale_ns_);
            offset = time_.nanos();
        }
    }

  private:
    double draw() noexcept {
        for (;;) {
            const double x = normal();
            const double root = 1.0 + c_ * x;
            if (root <= 0.0) continue;
            const double v = root * root * root;
            const double u = random_.next();
            if (portable_log(u) >= 0.5 * x * x + d_ - d_ * v + d_ * portable_log(v)) continue;
            if (shape_ >= 1.0) return d_ * v;
            return d_ * v * portable_exp(portable_log(random_.next()) / shape_);
        }
    }
    // Box and Muller's cosine branch.
    double normal() noexcept {
        const double radius = std::sqrt(2.0 * random_.exponential());
        return radius * portable_sin_turns(random_.next() + 0.25);
    }

    double scale_ns_;
    double shape_;
    double d_;
    double c_;
    Uniforms random_;
    FixedTime time_;
};

// The exponential gap is drawn anew at each switch: it has no memory.
class OnOffStream final : public ArrivalStream {
  public:
    OnOffStream(const double (&rates)[2], const double (&stays_ns)[2], std::uint64_t seed)
        : rates_{rates[0], rates[1]},
          stays_ns_{stays_ns[0], stays_ns[1]},
          gaps_(seed, kGaps),
          stays_(seed, kStays),
          left_ns_(stays_.exponential() * stays_ns_[1]) {}

    void fill(std::span<Nanos> offsets) override {
        for (Nanos& offset : offsets) {
            double gap_ns = draw();
            while (gap_ns > left_ns_) {
                time_.add(left_ns_);
                on_ = !on_;
                left_ns_ = stays_.exponential() * stays_ns_[on_ ? 1 : 0];
                gap_ns = draw();
            }
            left_ns_ -= gap_ns;
            time_.add(gap_ns);
            offset = time_.nanos();
        }
    }

  private:
    double draw() noexcept {
        const double rate = rates_[on_ ? 1 : 0];
        return rate > 0.0 ? gaps_.exponential() / rate : HUGE_VAL;
    }

    double rates_[2];
    double stays_ns_[2];
    Uniforms gaps_;
    Uniforms stays_;
    bool on_ = true;
    double left_ns_;
    FixedTime time_;
};

// Inversion: the integral of the rate between two arrivals is exponential of mean 1, and a straight
// line has a quadratic for its integral.
class SegmentedStream final : public ArrivalStream {
  public:
    SegmentedStream(std::vector<RateSegment> segments, std::uint64_t seed)
        : segments_(std::move(segments)), random_(seed, kGaps) {}

    void fill(std::span<Nanos> offsets) override {
        for (Nanos& offset : offsets) offset = next();
    }

  private:
    Nanos next() noexcept {
        double due = random_.exponential();
        for (; segment_ < segments_.size(); ++segment_) {
            const RateSegment& s = segments_[segment_];
            const double slope = (s.stop_rate - s.start_rate) / s.seconds;
            const double at = time_.since(start_) * 1e-9;
            const double rate = s.start_rate + slope * at;
            const double left = s.seconds - at;
            const double until_end = left * (rate + s.stop_rate) / 2.0;
            if (due < until_end) {
                // Of a rate that falls to 0 the square is 0 at the end, or just below by rounding.
                const double square = std::max(0.0, rate * rate + 2.0 * slope * due);
                time_.add(2.0 * due / (rate + std::sqrt(square)) * 1e9);
                return time_.nanos();
            }
            due -= until_end > 0.0 ? until_end : 0.0;
            start_ += static_cast<Nanos>(s.seconds * 1e9 + 0.5);
            time_.set(start_);
        }
        return kNever;
    }

    std::vector<RateSegment> segments_;
    Uniforms random_;
    std::size_t segment_ = 0;
    Nanos start_ = 0;  // of the segment
    FixedTime time_;
};

// Thinning (Lewis and Shedler, 1979): candidates at the highest rate, kept with the present share.
class SineStream final : public ArrivalStream {
  public:
    SineStream(double mean, double amplitude, double period_ns, std::uint64_t seed)
        : mean_(mean),
          amplitude_(amplitude),
          period_ns_(period_ns),
          gaps_(seed, kGaps),
          kept_(seed, kStays) {}

    void fill(std::span<Nanos> offsets) override {
        const double highest = mean_ + amplitude_;
        for (Nanos& offset : offsets) {
            double rate = 0.0;
            do {
                time_.add(gaps_.exponential() * 1e9 / highest);
                rate = mean_ + amplitude_ * portable_sin_turns(time_.since(0) / period_ns_);
            } while (kept_.next() * highest > rate);
            offset = time_.nanos();
        }
    }

  private:
    double mean_;
    double amplitude_;
    double period_ns_;
    Uniforms gaps_;
    Uniforms kept_;
    FixedTime time_;
};

}  // namespace

GammaArrivals::GammaArrivals(double rate, double cv)
    : mean_gap_ns_(1e9 / checked_rate(rate)), shape_(1.0 / (cv * cv)) {
    if (!(cv >= 0.01) || !(cv <= 30.0)) {
        throw std::invalid_argument("cv must lie between 0.01 and 30");
    }
}

std::unique_ptr<ArrivalStream> GammaArrivals::stream(std::uint64_t seed) const {
    return std::make_unique<GammaStream>(mean_gap_ns_, shape_, seed);
}

OnOffArrivals::OnOffArrivals(double rate_on, double rate_off, double mean_on, double mean_off)
    : rates_{rate_off == 0.0 ? 0.0 : checked_rate(rate_off) * 1e-9, checked_rate(rate_on) * 1e-9},
      stays_ns_{checked_seconds(mean_off) * 1e9, checked_seconds(mean_on) * 1e9} {
    // Each query would take as many draws as there are stays before it.
    if (!(rates_[0] * stays_ns_[0] + rates_[1] * stays_ns_[1] >= 1e-3)) {
        throw std::invalid_argument("on/off needs one query in a thousand cycles at least");
    }
}

std::unique_ptr<ArrivalStream> OnOffArrivals::stream(std::uint64_t seed) const {
    return std::make_unique<OnOffStream>(rates_, stays_ns_, seed);
}

SegmentedArrivals::SegmentedArrivals(std::vector<RateSegment> segments)
    : segments_(std::move(segments)) {
    if (segments_.empty()) throw std::invalid_argument("a pattern of segments needs one at least");
    bool any = false;
    for (const RateSegment& s : segments_) {
        checked_seconds(s.seconds);
        for (const double rate : {s.start_rate, s.stop_rate}) {
            if (rate != 0.0) checked_rate(rate);
            any = any || rate > 0.0;
        }
    }
    if (!any) throw std::invalid_argument("a pattern of segments needs a rate above 0");
}

std::unique_ptr<ArrivalStream> SegmentedArrivals::stream(std::uint64_t seed) const {
    return std::make_unique<SegmentedStream>(segments_, seed);
}

SineArrivals::SineArrivals(double mean, double amplitude, double period)
    : mean_(checked_rate(mean)), amplitude_(amplitude), period_ns_(checked_seconds(period) * 1e9) {
    if (!(amplitude >= 0.0) || !(amplitude <= mean)) {
        throw std::invalid_argument("amplitude must lie between 0 and the mean rate");
    }
}

std::unique_ptr<ArrivalStream> SineArrivals::stream(std::uint64_t seed) const {
    return std::make_unique<SineStream>(mean_, amplitude_, period_ns_, seed);
}

}  // namespace bytemlperf
