// Arrivals made of given times, or of other processes.
#pragma once

#include <vector>

#include "core/arrivals.h"

namespace bytemlperf {

// Given offsets, ascending; then nothing comes.
class ReplayArrivals final : public ArrivalProcess {
  public:
    explicit ReplayArrivals(std::vector<Nanos> offsets);
    [[nodiscard]] std::unique_ptr<ArrivalStream> stream(std::uint64_t seed) const override;

  private:
    std::shared_ptr<const std::vector<Nanos>> offsets_;
};

// The arrivals of both, which do not know of each other.
class SuperposedArrivals final : public ArrivalProcess {
  public:
    SuperposedArrivals(std::shared_ptr<const ArrivalProcess> a,
                       std::shared_ptr<const ArrivalProcess> b)
        : a_(std::move(a)), b_(std::move(b)) {}
    [[nodiscard]] std::unique_ptr<ArrivalStream> stream(std::uint64_t seed) const override;

  private:
    std::shared_ptr<const ArrivalProcess> a_;
    std::shared_ptr<const ArrivalProcess> b_;
};

// The first for `length`, then the second from its beginning.
class SequenceArrivals final : public ArrivalProcess {
  public:
    SequenceArrivals(std::shared_ptr<const ArrivalProcess> first, Nanos length,
                     std::shared_ptr<const ArrivalProcess> second)
        : first_(std::move(first)), length_(length), second_(std::move(second)) {}
    [[nodiscard]] std::unique_ptr<ArrivalStream> stream(std::uint64_t seed) const override;

  private:
    std::shared_ptr<const ArrivalProcess> first_;
    Nanos length_;
    std::shared_ptr<const ArrivalProcess> second_;
};

}  // namespace bytemlperf
