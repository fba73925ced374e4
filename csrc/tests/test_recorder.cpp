#include <cstring>
#include <vector>

#include "check.h"
#include "core/recorder.h"
#include "core/sample_pool.h"

using namespace bytemlperf;

namespace {

Nanos sum_of(const Recorder& recorder, Interval interval) {
    return recorder.histogram(interval).sum();
}

void intervals_sum_to_the_latency() {
    Recorder recorder(0, 1 << 20, false);
    for (Nanos i = 0; i < 1000; ++i) {
        recorder.complete(static_cast<std::uint64_t>(i), 0,
                          {i, i + 3, i + 10, i + 11, i + 100 + i % 7}, 4);
        if (recorder.due()) recorder.post(0, 600);
    }
    CHECK(!recorder.empty() && recorder.completed() == 1000 - 1000 % 64);
    recorder.post(0, 600);
    CHECK(sum_of(recorder, Interval::kScheduleLag) == 3000);
    CHECK(sum_of(recorder, Interval::kQueueWait) == 7000);
    CHECK(sum_of(recorder, Interval::kGilWait) == 1000);
    CHECK(sum_of(recorder, Interval::kLatency) ==
          sum_of(recorder, Interval::kScheduleLag) + sum_of(recorder, Interval::kQueueWait) +
              sum_of(recorder, Interval::kGilWait) + sum_of(recorder, Interval::kServiceTime));
    // Only what was completed by the window's end is throughput.
    CHECK(recorder.completed() == 1000);
    CHECK(recorder.queries_in_window() < 510 && recorder.queries_in_window() > 490);
    CHECK(recorder.samples_in_window() == 4 * recorder.queries_in_window());
}

// A busy client counts up to the end of the window, also in the middle of a query.
void in_closed_loop_the_end_of_the_window_cuts_a_query() {
    Recorder recorder(0, 0, true);
    recorder.complete(0, 0, {0, 0, 0, 0, 80}, 4);
    recorder.complete(1, 0, {80, 80, 80, 80, 160}, 4);
    recorder.complete(2, 0, {160, 160, 160, 160, 240}, 4);
    recorder.post(0, 100);
    CHECK(recorder.completed() == 3);
    CHECK(recorder.queries_in_window() == 1.25);
    CHECK(recorder.samples_in_window() == 5.0);
}

// Whoever looks at the books of a slow model sees each query.
void no_entry_grows_old_in_the_journal() {
    Recorder recorder(0, 0, true);
    recorder.complete(0, 0, {0, 0, 0, 0, 5'000'000}, 1);
    CHECK(!recorder.due());
    recorder.complete(1, 0, {0, 0, 0, 5'000'000, 25'000'000}, 1);
    CHECK(recorder.due());
    recorder.post(0, kNever);
    CHECK(recorder.empty() && recorder.completed() == 2);
    recorder.complete(2, 0, {0, 0, 0, 25'000'000, 50'000'000}, 1);
    CHECK(recorder.due());
}

void stamps_stop_at_their_budget() {
    Recorder recorder(5, 10 * sizeof(StampRecord), false);
    for (std::uint64_t i = 0; i < 10; ++i) recorder.complete(i, 2, {1, 2, 3, 4, 5}, 1);
    recorder.post(0, kNever);
    CHECK(recorder.stamps().count() == 10 && recorder.stamps_complete());
    recorder.complete(10, 2, {1, 2, 3, 4, 5}, 1);
    recorder.post(0, kNever);
    CHECK(recorder.stamps().count() == 10 && !recorder.stamps_complete());
    CHECK(recorder.stamps().data()[9].query == 9 && recorder.stamps().data()[9].client == 2);
    CHECK(recorder.stamps().data()[9].instance == 5 &&
          recorder.stamps().data()[9].stamps.completed == 5);
}

void errors_are_counted_by_class_with_the_first_message() {
    Recorder recorder(0, 0, false);
    recorder.fail("ValueError", "first", 10, 0);
    recorder.fail("ValueError", "second", 20, 0);
    recorder.fail("OSError", "other", 30, 0);
    CHECK(recorder.errors() == 3 && recorder.completed() == 0);
    CHECK(recorder.error_classes().at("ValueError").count == 2);
    CHECK(recorder.error_classes().at("ValueError").first == "first");
}

void a_gather_wraps_around_the_pool() {
    const std::vector<std::uint16_t> rows{0, 1, 2, 3, 4};
    const SamplePool pool({{"x", reinterpret_cast<const std::byte*>(rows.data()), 2, false}},
                          QueryRows(3, 5));
    CHECK(pool.queries().period() == 5);
    std::vector<std::uint16_t> slot(3);
    for (std::uint64_t k = 0; k < 12; ++k) {
        pool.gather(pool.columns()[0], k, reinterpret_cast<std::byte*>(slot.data()));
        for (std::uint64_t i = 0; i < 3; ++i) CHECK(slot[i] == (k * 3 + i) % 5);
        CHECK(pool.queries().contiguous(k) == (pool.queries().first(k) <= 2));
    }
    const SamplePool larger({{"x", reinterpret_cast<const std::byte*>(rows.data()), 2, false}},
                            QueryRows(12, 5));
    std::vector<std::uint16_t> big(12);
    larger.gather(larger.columns()[0], 1, reinterpret_cast<std::byte*>(big.data()));
    for (std::uint64_t i = 0; i < 12; ++i) CHECK(big[i] == (12 + i) % 5);
}

void queries_of_a_mix_take_their_ranges_in_turn() {
    const std::vector<std::uint16_t> rows{0, 1, 2, 3, 4};
    const QueryRows mix({{4, 3}, {0, 1}, {2, 2}}, 5);
    CHECK(mix.period() == 3 && mix.largest() == 3);
    const SamplePool pool({{"x", reinterpret_cast<const std::byte*>(rows.data()), 2, false}}, mix);
    std::vector<std::uint16_t> slot(6);
    auto* end = reinterpret_cast<std::byte*>(slot.data());
    for (std::uint64_t k = 3; k < 6; ++k) end = pool.gather(pool.columns()[0], k, end);
    CHECK(slot == (std::vector<std::uint16_t>{4, 0, 1, 0, 2, 3}));
    CHECK(!mix.contiguous(0) && mix.contiguous(1) && mix.contiguous(2));
}

}  // namespace

int main() {
    intervals_sum_to_the_latency();
    in_closed_loop_the_end_of_the_window_cuts_a_query();
    no_entry_grows_old_in_the_journal();
    stamps_stop_at_their_budget();
    errors_are_counted_by_class_with_the_first_message();
    a_gather_wraps_around_the_pool();
    queries_of_a_mix_take_their_ranges_in_turn();
    return check::report();
}
