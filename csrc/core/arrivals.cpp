#include "core/arrivals.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "core/fixed_time.h"
#include "core/random.h"

namespace bytemlperf {

double checked_rate(double rate) {
    if (!(rate > 0.0) || !(rate <= 1e9) || !(1e9 / rate < kLongestGapNs)) {
        throw std::invalid_argument("rate must lie between 2e-5 and 1e9 queries a second");
    }
    return rate;
}

namespace {

class ConstantStream final : public ArrivalStream {
  public:
    explicit ConstantStream(double period_ns) : period_ns_(period_ns) {}

    void fill(std::span<Nanos> offsets) override {
        for (Nanos& offset : offsets) {
            const double at = static_cast<double>(n_++) * period_ns_ + 0.5;
            offset = static_cast<Nanos>(std::min(at, static_cast<double>(kLatest)));
        }
    }

  private:
    double period_ns_;
    std::uint64_t n_ = 0;
};

class PoissonStream final : public ArrivalStream {
  public:
    PoissonStream(double mean_gap_ns, std::uint64_t seed)
        : mean_gap_ns_(mean_gap_ns), random_(seed, 0) {}

    void fill(std::span<Nanos> offsets) override {
        for (Nanos& offset : offsets) {
            time_.add(random_.exponential() * mean_gap_ns_);
            offset = time_.nanos();
        }
    }

  private:
    double mean_gap_ns_;
    Uniforms random_;
    FixedTime time_;
};

class OfflineStream final : public ArrivalStream {
  public:
    void fill(std::span<Nanos> offsets) override {
        for (Nanos& offset : offsets) offset = 0;
    }
};

}  // namespace

ConstantArrivals::ConstantArrivals(double rate) : period_ns_(1e9 / checked_rate(rate)) {}

std::unique_ptr<ArrivalStream> ConstantArrivals::stream(std::uint64_t /*seed*/) const {
    return std::make_unique<ConstantStream>(period_ns_);
}

PoissonArrivals::PoissonArrivals(double rate) : mean_gap_ns_(1e9 / checked_rate(rate)) {}

std::unique_ptr<ArrivalStream> PoissonArrivals::stream(std::uint64_t seed) const {
    return std::make_unique<PoissonStream>(mean_gap_ns_, seed);
}

std::unique_ptr<ArrivalStream> OfflineArrivals::stream(std::uint64_t /*seed*/) const {
    return std::make_unique<OfflineStream>();
}

PlanCursor::PlanCursor(std::unique_ptr<ArrivalStream> stream, PlanLimit limit,
                       std::uint32_t clients, std::uint32_t client)
    : stream_(std::move(stream)), limit_(limit), stride_(clients), index_(client) {}

std::optional<PlannedQuery> PlanCursor::next() {
    if (limit_.queries && index_ >= *limit_.queries) return std::nullopt;
    while (index_ >= chunk_start_ + chunk_size_) {
        chunk_start_ += chunk_size_;
        chunk_size_ = kChunk;
        stream_->fill(chunk_);
    }
    const PlannedQuery query{index_, chunk_[index_ - chunk_start_]};
    if (query.offset == kNever) return std::nullopt;
    if (limit_.duration && query.offset >= *limit_.duration) return std::nullopt;
    index_ += stride_;
    return query;
}

PlanSummary summarize_plan(const ArrivalProcess& process, std::uint64_t seed, PlanLimit limit) {
    PlanCursor cursor(process.stream(seed), limit);
    PlanSummary summary;
    summary.hash = 0xCBF29CE484222325U;
    while (const auto query = cursor.next()) {
        // FNV-1a over whole 64-bit offsets, finished by a shift so that high bits reach low ones.
        summary.hash = (summary.hash ^ static_cast<std::uint64_t>(query->offset)) * 0x100000001B3U;
        summary.hash ^= summary.hash >> 29U;
        summary.last_offset = query->offset;
        ++summary.queries;
    }
    return summary;
}

}  // namespace bytemlperf
