#include "core/histogram.h"

#include <algorithm>
#include <cmath>

namespace bytemlperf {

Nanos Histogram::quantile(double q) const noexcept {
    const std::uint64_t n = count();
    if (n == 0) return 0;
    const double exact = std::ceil(q * static_cast<double>(n) - 1e-9);
    const auto rank = static_cast<std::uint64_t>(std::clamp(exact, 1.0, static_cast<double>(n)));
    // The ends are known exactly.
    if (rank == 1) return min();
    if (rank == n) return max();
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < kBuckets; ++i) {
        seen += counts_[i].load(kRelaxed);
        if (seen >= rank) {
            const Nanos low = lowest_in(i);
            return std::clamp(low + (highest_in(i) - low) / 2, min(), max());
        }
    }
    return max();
}

std::vector<std::pair<std::size_t, std::uint64_t>> Histogram::buckets() const {
    std::vector<std::pair<std::size_t, std::uint64_t>> result;
    for (std::size_t i = 0; i < kBuckets; ++i) {
        if (const auto n = counts_[i].load(kRelaxed)) result.emplace_back(i, n);
    }
    return result;
}

}  // namespace bytemlperf
