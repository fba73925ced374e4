// A simulated device: service times that are known exactly, in wall time or in virtual time.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>

#include "core/backend.h"
#include "core/clock.h"
#include "core/query_rows.h"
#include "core/wait.h"

namespace bytemlperf {

// How long one batch takes: a pure function of (seed, query, samples).
class ServiceTime {
  public:
    virtual ~ServiceTime() = default;
    [[nodiscard]] virtual Nanos draw(std::uint64_t seed, std::uint64_t query,
                                     std::uint32_t samples) const noexcept = 0;
};

class DeterministicService final : public ServiceTime {
  public:
    explicit DeterministicService(double seconds);
    [[nodiscard]] Nanos draw(std::uint64_t, std::uint64_t, std::uint32_t) const noexcept override;

  private:
    Nanos time_;
};

class ExponentialService final : public ServiceTime {
  public:
    explicit ExponentialService(double mean);
    [[nodiscard]] Nanos draw(std::uint64_t, std::uint64_t, std::uint32_t) const noexcept override;

  private:
    double mean_ns_;
};

// Lognormal with the given mean and coefficient of variation.
class LognormalService final : public ServiceTime {
  public:
    LognormalService(double mean, double cv);
    [[nodiscard]] Nanos draw(std::uint64_t, std::uint64_t, std::uint32_t) const noexcept override;

  private:
    double mu_;
    double sigma_;
};

// Seconds by samples in the batch: linear between entries, proportional outside them.
class TableService final : public ServiceTime {
  public:
    explicit TableService(const std::map<std::uint32_t, double>& seconds);
    [[nodiscard]] Nanos draw(std::uint64_t, std::uint64_t, std::uint32_t) const noexcept override;

  private:
    std::map<std::uint32_t, double> ns_;
};

// No service begins within [at, at + length), counted from the start of the window.
struct Stall {
    Nanos at;
    Nanos length;

    [[nodiscard]] Nanos delay(Nanos start) const noexcept {
        return start >= at && start < at + length ? at + length : start;
    }
};

struct DeviceModel {
    std::shared_ptr<const ServiceTime> service;
    std::uint32_t servers = 1;
    std::optional<Stall> stall;
};

// One server of the device in wall time: an instance that waits as long as the model says.
class DeviceServer final : public Backend {
  public:
    // `spin`: hold the deadline by spinning its last microseconds.
    DeviceServer(DeviceModel model, Clock clock, QueryRows queries, std::uint64_t seed, bool spin);

    bool predict(const Batch& batch, CallStamps& stamps) noexcept override;
    [[nodiscard]] std::uint32_t samples(std::uint64_t query) const noexcept override {
        return queries_.samples(query);
    }
    void run_starts(const std::shared_ptr<CompletionSink>& /*sink*/,
                    Nanos window_start) noexcept override {
        window_start_ = window_start;
    }

  private:
    DeviceModel model_;
    Clock clock_;
    QueryRows queries_;
    std::uint64_t seed_;
    Nanos window_start_ = 0;
    bool spin_;
    std::optional<DeadlineWaiter> waiter_;  // made on the instance's thread
    std::atomic<bool> never_{false};
};

}  // namespace bytemlperf
