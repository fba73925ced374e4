#include <cstdint>
#include <map>
#include <random>
#include <utility>
#include <vector>

#include "check.h"
#include "core/timeline.h"

using namespace bytemlperf;

namespace {

using Counts = std::map<std::size_t, std::uint64_t>;

std::vector<std::pair<std::size_t, std::uint64_t>> sorted(const Counts& counts) {
    return {counts.begin(), counts.end()};
}

// From windows of few latencies to many, within one bucket and over a histogram's whole range.
void window_counts_are_those_of_a_map() {
    std::mt19937_64 random(1);
    for (const std::size_t range : {std::size_t{1}, std::size_t{30}, Histogram::kBuckets}) {
        for (const int latencies : {0, 1, 255, 256, 257, 5000}) {
            WindowCounts windows[2];
            Counts expected;
            for (int i = 0; i < latencies; ++i) {
                const std::size_t bucket = Histogram::kBuckets - 1 - random() % range;
                const std::uint64_t count = i < 1000 ? 1 : 1 + random() % 3;
                windows[random() % 10 == 0].add(bucket, count);
                expected[bucket] += count;
            }
            WindowCounts sum;
            sum.merge(windows[1]);
            sum.merge(windows[0]);
            windows[0].merge(windows[1]);
            CHECK(sum.buckets() == sorted(expected));
            CHECK(windows[0].buckets() == sorted(expected));
        }
    }
}

void a_count_may_pass_four_thousand_million() {
    WindowCounts window;
    for (int i = 0; i < 3; ++i) window.add(7, std::uint64_t{1} << 40);
    CHECK(window.buckets() == sorted({{7, std::uint64_t{3} << 40}}));
}

void a_timeline_keeps_every_query_as_it_widens() {
    Timeline fine;
    Timeline coarse;
    for (Nanos t = 0; t < kSecond; t += 1'000'000) fine.complete(t, 10, 10);
    for (Nanos t = 0; t < 100 * kSecond; t += 100'000'000) coarse.complete(t, 20, 20);
    fine.merge(coarse);
    std::uint64_t queries = 0;
    Nanos latencies = 0;
    for (const auto& bin : fine.bins()) {
        queries += bin.queries;
        latencies += bin.latency_sum;
    }
    CHECK(queries == 2000 && latencies == 1000 * 10 + 1000 * 20);
    CHECK(fine.bin_width() == coarse.bin_width());
    CHECK(fine.bins()[0].latency_max == 20);
    std::uint64_t tens = 0;
    std::uint64_t twenties = 0;
    for (const auto& bin : fine.bins()) {
        for (const auto& [bucket, count] : bin.latencies.buckets()) {
            (bucket == 10 ? tens : twenties) += count;
            CHECK(bucket == 10 || bucket == 20);
        }
    }
    CHECK(tens == 1000 && twenties == 1000);
}

}  // namespace

int main() {
    window_counts_are_those_of_a_map();
    a_count_may_pass_four_thousand_million();
    a_timeline_keeps_every_query_as_it_widens();
    return check::report();
}
