// Elementary functions that every compiler computes to the same bits: only IEEE +, -, *, / and
// sqrt, and the core is built with -ffp-contract=off. Plans and their hashes stand on them.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace bytemlperf {

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

// Exponential of x in [-700, 700] within 4 units in the last place, 0 below: x = n ln 2 + r with
// |r| <= ln 2 / 2, e^r by its series.
inline double portable_exp(double x) noexcept {
    if (x < -700.0) return 0.0;
    const auto n = static_cast<std::int64_t>(x * 1.4426950408889634 + (x < 0 ? -0.5 : 0.5));
    const auto whole = static_cast<double>(n);
    const double r = (x - whole * 0x1.62e42fee00000p-1) - whole * 0x1.a39ef35793c76p-33;
    double series = 1.0;
    for (int k = 14; k >= 1; --k) series = 1.0 + r / k * series;
    return series * std::bit_cast<double>(static_cast<std::uint64_t>(n + 1023) << 52U);
}

// Sine of a whole turn's share, sin(2 pi x), for x >= 0, within 2^-50 of 1.
inline double portable_sin_turns(double x) noexcept {
    double turn = x - static_cast<double>(static_cast<std::int64_t>(x));  // [0, 1)
    const double sign = turn < 0.5 ? 1.0 : -1.0;
    if (turn >= 0.5) turn -= 0.5;
    if (turn > 0.25) turn = 0.5 - turn;  // [0, 1/4]: the angle lies in [0, pi / 2]
    const double angle = 6.283185307179586 * turn;
    const double square = angle * angle;
    double series = 1.0;
    for (int k = 23; k >= 3; k -= 2) series = 1.0 - square / ((k - 1) * k) * series;
    return sign * angle * series;
}

}  // namespace bytemlperf
