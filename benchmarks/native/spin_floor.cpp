// How late a bare spin loop notices Poisson deadlines: the floor for any open-loop client.
// usage: spin_floor RATE SECONDS BUSY
// Prints the p50 and p99 of its lag in ns. BUSY other threads spin beside it, as the thread of a
// backend does.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

#include "core/clock.h"
#include "core/wait.h"

int main(int argc, char** argv) {
    if (argc != 4) return 2;
    const double rate = std::atof(argv[1]);
    const auto queries = static_cast<std::size_t>(rate * std::atof(argv[2]));
    std::mt19937_64 random(7);
    std::exponential_distribution<double> gap(rate * 1e-9);
    std::vector<std::int64_t> due(queries);
    double at = 0;
    for (auto& deadline : due) deadline = static_cast<std::int64_t>(at += gap(random));
    std::vector<std::int64_t> lag(queries);
    const auto clock = bytemlperf::Clock::best();
    std::atomic<bool> over{false};
    std::vector<std::jthread> others;
    for (int i = 0; i < std::atoi(argv[3]); ++i) {
        others.emplace_back([&over] {
            while (!over.load(std::memory_order_relaxed)) bytemlperf::relax_cpu();
        });
    }
    const std::int64_t start = clock.now() + 1'000'000;
    for (std::size_t i = 0; i < queries; ++i) {
        std::int64_t now = clock.now();
        while (now < start + due[i]) now = clock.now();
        lag[i] = now - start - due[i];
    }
    over = true;
    std::sort(lag.begin(), lag.end());
    std::printf("%lld %lld\n", static_cast<long long>(lag[queries / 2]),
                static_cast<long long>(lag[queries * 99 / 100]));
}
