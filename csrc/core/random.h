// Reproducible randomness: a counter-based generator and a logarithm that every compiler computes
// to the same bits (only IEEE +, -, *, /; the core is built with -ffp-contract=off).
#pragma once

#include <array>
#include <bit>
#include <cstdint>

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

// Natural logarithm of a positive normal number, within 2 units in the last place:
// x = 2^e m with m in [1/sqrt 2, sqrt 2), ln m = 2 artanh((m - 1) / (m + 1)) by its series.
inline double portable_log(double x) noexcept {
    auto bits = std::bit_cast<std::uint64_t>(x);
    int exponent = static_cast<int>(bits >> 52U) - 1023;
    double m = std::bit_cast<double>((bits & 0x000FFFFFFFFFFFFFU) | 0x3FF0000000000000U);
    if (m > 1.4142135623730951) {
        m *= 0.5;
        ++exponent;
    }
    const double s = (m - 1.0) / (m + 1.0);
    const double z = s * s;
    double series = 1.0 / 21.0;
    for (int odd = 19; odd >= 3; odd -= 2) series = series * z + 1.0 / odd;
    const double fraction = 2.0 * s + 2.0 * s * z * series;
    const auto e = static_cast<double>(exponent);
    constexpr double kLn2High = 0x1.62e42fee00000p-1;  // 33 bits: e * kLn2High is exact
    constexpr double kLn2Low = 0x1.a39ef35793c76p-33;
    return e * kLn2High + (fraction + e * kLn2Low);
}

}  // namespace bytemlperf
