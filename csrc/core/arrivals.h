// When queries are due: arrival processes as immutable specifications, and cursors over their plan.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/clock.h"

namespace bytemlperf {

// One pass over the arrivals of a process: offsets from the start of the window, non-decreasing,
// kNever from the end on.
class ArrivalStream {
  public:
    virtual ~ArrivalStream() = default;
    virtual void fill(std::span<Nanos> offsets) = 0;
};

// Throws std::invalid_argument for a rate that a plan cannot hold; returns it.
double checked_rate(double rate);

// A process is a value without state: every stream of one seed gives the same offsets, so each
// client thread walks its own copy of the plan and nothing is shared.
class ArrivalProcess {
  public:
    virtual ~ArrivalProcess() = default;
    [[nodiscard]] virtual std::unique_ptr<ArrivalStream> stream(std::uint64_t seed) const = 0;
};

// Query n is due at n / rate.
class ConstantArrivals final : public ArrivalProcess {
  public:
    explicit ConstantArrivals(double rate);
    [[nodiscard]] std::unique_ptr<ArrivalStream> stream(std::uint64_t seed) const override;

  private:
    double period_ns_;
};

// Independent exponential gaps of mean 1 / rate.
class PoissonArrivals final : public ArrivalProcess {
  public:
    explicit PoissonArrivals(double rate);
    [[nodiscard]] std::unique_ptr<ArrivalStream> stream(std::uint64_t seed) const override;

  private:
    double mean_gap_ns_;
};

// Every query is due at once.
class OfflineArrivals final : public ArrivalProcess {
  public:
    [[nodiscard]] std::unique_ptr<ArrivalStream> stream(std::uint64_t seed) const override;
};

// Where a plan ends: after `queries`, or before the first offset at or after `duration`.
struct PlanLimit {
    std::optional<std::uint64_t> queries;
    std::optional<Nanos> duration;
};

struct PlannedQuery {
    std::uint64_t index;  // position in the whole plan
    Nanos offset;
};

// The part of a plan that one of `clients` client threads submits: every clients-th query.
class PlanCursor {
  public:
    PlanCursor(std::unique_ptr<ArrivalStream> stream, PlanLimit limit, std::uint32_t clients = 1,
               std::uint32_t client = 0);

    // The next query, or nothing when the plan has ended.
    [[nodiscard]] std::optional<PlannedQuery> next();

  private:
    static constexpr std::size_t kChunk = 64;

    std::unique_ptr<ArrivalStream> stream_;
    PlanLimit limit_;
    std::uint32_t stride_;
    std::uint64_t index_;
    std::uint64_t chunk_start_ = 0;
    std::size_t chunk_size_ = 0;
    std::array<Nanos, kChunk> chunk_{};
};

// Length and fingerprint of a plan, equal on every compiler and for any number of clients.
struct PlanSummary {
    std::uint64_t queries = 0;
    std::uint64_t hash = 0;
    Nanos last_offset = 0;
};

PlanSummary summarize_plan(const ArrivalProcess& process, std::uint64_t seed, PlanLimit limit);

}  // namespace bytemlperf
