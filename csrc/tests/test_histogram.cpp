#include <algorithm>
#include <cmath>
#include <vector>

#include "check.h"
#include "core/histogram.h"
#include "core/random.h"

using namespace bytemlperf;

namespace {

void buckets_tile_the_integers() {
    CHECK(Histogram::bucket_of(0) == 0);
    CHECK(Histogram::lowest_in(0) == 0);
    for (std::size_t b = 1; b < Histogram::kBuckets; ++b) {
        if (Histogram::lowest_in(b) != Histogram::highest_in(b - 1) + 1) {
            CHECK(!"buckets leave a gap or overlap");
            return;
        }
    }
    CHECK(Histogram::highest_in(Histogram::kBuckets - 1) == INT64_MAX);
    for (const Nanos v : {Nanos{2047}, Nanos{2048}, Nanos{4095}, Nanos{4096}, INT64_MAX - 1}) {
        const std::size_t b = Histogram::bucket_of(v);
        CHECK(Histogram::lowest_in(b) <= v && v <= Histogram::highest_in(b));
    }
}

void quantiles_are_nearest_ranks_within_the_bucket_error() {
    Histogram histogram;
    std::vector<Nanos> values;
    const Philox random(3, 0);
    for (std::uint64_t i = 0; i < 20'000; ++i) {
        const auto v = static_cast<Nanos>(-portable_log(random.uniforms(i)[0]) * 1e7);
        values.push_back(v);
        histogram.record(v);
    }
    std::sort(values.begin(), values.end());
    for (const double q : {0.0, 0.001, 0.5, 0.9, 0.99, 0.9999, 1.0}) {
        const auto rank = std::max(1.0, std::ceil(q * 20'000 - 1e-9));
        const auto exact = static_cast<double>(values[static_cast<std::size_t>(rank) - 1]);
        CHECK(std::abs(static_cast<double>(histogram.quantile(q)) - exact) <= exact * 0x1p-11 + 1);
    }
    CHECK(histogram.min() == values.front() && histogram.max() == values.back());
}

void p99_of_a_hundred_is_the_99th_not_the_largest() {
    Histogram histogram;
    for (Nanos v = 1; v <= 100; ++v) histogram.record(v);
    CHECK(histogram.quantile(0.99) == 99);
    CHECK(histogram.quantile(1.0) == 100);
    CHECK(histogram.quantile(0.0) == 1);
}

void a_merge_equals_recording_everything() {
    Histogram all;
    Histogram first;
    Histogram second;
    for (Nanos v = 0; v < 100'000; v += 7) {
        all.record(v * v);
        (v % 2 == 0 ? first : second).record(v * v);
    }
    first.merge(second);
    CHECK(first.buckets() == all.buckets());
    CHECK(first.sum() == all.sum() && first.count() == all.count());
    CHECK(first.min() == all.min() && first.max() == all.max());
}

void an_empty_histogram_has_no_extremes() {
    const Histogram histogram;
    CHECK(histogram.count() == 0 && histogram.min() == 0 && histogram.max() == 0);
    CHECK(histogram.quantile(0.5) == 0);
}

}  // namespace

int main() {
    buckets_tile_the_integers();
    quantiles_are_nearest_ranks_within_the_bucket_error();
    p99_of_a_hundred_is_the_99th_not_the_largest();
    a_merge_equals_recording_everything();
    an_empty_histogram_has_no_extremes();
    return check::report();
}
