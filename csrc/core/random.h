// Reproducible randomness: a counter-based generator.
#pragma once

#include <array>
#include <cstdint>

#include "core/portable_math.h"

namespace bytemlperf {

// Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2, 3, SC11).
class Philox {
  public:
    // `stream` separates independent uses of one seed.
    Philox(std::uint64_t seed, std::uint64_t stream) noexcept : seed_(seed), stream_(stream) {}

    // Two uniform numbers in the open interval (0, 1); a pure function of (seed, stream, counter).
    [[nodiscard]] std::array<double, 2> uniforms(std::uint64_t counter) const noexcept {
        const auto words = block(counter);
        return {to_unit(words[0], words[1]), to_unit(words[2], words[3])};
    }

    [[nodiscard]] std::array<std::uint32_t, 4> block(std::uint64_t counter) const noexcept {
        std::array<std::uint32_t, 4> c{low(counter), high(counter), low(stream_), high(stream_)};
        std::uint32_t k0 = low(seed_);
        std::uint32_t k1 = high(seed_);
        for (int round = 0; round < 10; ++round) {
            const std::uint64_t a = std::uint64_t{0xD2511F53U} * c[0];
            const std::uint64_t b = std::uint64_t{0xCD9E8D57U} * c[2];
            c = {high(b) ^ c[1] ^ k0, low(b), high(a) ^ c[3] ^ k1, low(a)};
            k0 += 0x9E3779B9U;
            k1 += 0xBB67AE85U;
        }
        return c;
    }

  private:
    static std::uint32_t low(std::uint64_t x) noexcept { return static_cast<std::uint32_t>(x); }
    static std::uint32_t high(std::uint64_t x) noexcept {
        return static_cast<std::uint32_t>(x >> 32U);
    }
    static double to_unit(std::uint32_t a, std::uint32_t b) noexcept {
        const std::uint64_t bits = (std::uint64_t{a} << 32U | b) >> 11U;
        // 2^-54 away from both ends, so that a logarithm is always finite and never zero.
        return (static_cast<double>(bits) + 0.5) * 0x1.0p-53;
    }

    std::uint64_t seed_;
    std::uint64_t stream_;
};

// One stream of a seed, number after number.
class Uniforms {
  public:
    Uniforms(std::uint64_t seed, std::uint64_t stream) noexcept : random_(seed, stream) {}

    [[nodiscard]] double next() noexcept {
        if ((n_ & 1U) == 0) pair_ = random_.uniforms(n_ / 2);
        return pair_[n_++ & 1U];
    }
    // Of mean 1.
    [[nodiscard]] double exponential() noexcept { return -portable_log(next()); }

  private:
    Philox random_;
    std::uint64_t n_ = 0;
    std::array<double, 2> pair_{};
};

}  // namespace bytemlperf
