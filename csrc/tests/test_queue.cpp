#include <atomic>
#include <thread>
#include <vector>

#include "check.h"
#include "core/submission_queue.h"

using namespace bytemlperf;

namespace {

void one_producer_is_first_in_first_out_over_many_segments() {
    SubmissionQueue queue(std::make_shared<Doorbell>(), false);
    Submission out{};
    CHECK(!queue.try_pop(out));
    std::uint64_t next = 0;
    for (std::uint64_t i = 0; i < 100'000; ++i) {
        queue.push({i, 0, true, 0, 0});
        if (i % 3 != 0 && queue.try_pop(out)) {
            if (out.query != next++) CHECK(!"out of order");
        }
    }
    while (queue.try_pop(out)) {
        if (out.query != next++) CHECK(!"out of order");
    }
    CHECK(next == 100'000 && queue.waiting() == 0);
}

void what_was_meant_for_later_stays() {
    SubmissionQueue queue(std::make_shared<Doorbell>(), false);
    for (Nanos intended : {10, 20, 30}) queue.push({0, 0, true, intended, 0});
    Submission out{};
    CHECK(!queue.try_pop(out, 9));
    CHECK(queue.try_pop(out, 20) && out.intended == 10);
    CHECK(queue.try_pop(out, 20) && out.intended == 20);
    CHECK(!queue.try_pop(out, 20) && queue.waiting() == 1);
    CHECK(queue.try_pop(out) && out.intended == 30);
    CHECK(!queue.try_pop(out, 100));
}

// Every query comes out once, whoever pushed and whoever popped, with sleepers among them.
void many_producers_and_consumers_lose_and_double_nothing() {
    constexpr std::uint64_t kEach = 60'000;
    constexpr unsigned kProducers = 3;
    const auto bell = std::make_shared<Doorbell>();
    SubmissionQueue queue(bell, false);
    std::vector<std::atomic<int>> seen(kEach * kProducers);
    std::vector<std::thread> consumers;
    for (int c = 0; c < 3; ++c) {
        consumers.emplace_back([&] {
            Submission out{};
            for (;;) {
                // Now and then as the watchdog asks; half of the submissions are due.
                if (queue.try_pop(out, out.query % 4 == 0 ? 0 : kNever) || queue.try_pop(out)) {
                    seen[out.query].fetch_add(1);
                } else if (queue.closed()) {
                    if (!queue.try_pop(out)) return;
                    seen[out.query].fetch_add(1);
                } else {
                    const std::uint32_t heard = bell->listen();
                    if (queue.waiting() > 0 || queue.closed()) {
                        bell->ignore();
                    } else {
                        bell->sleep(heard, kSecond);
                    }
                }
            }
        });
    }
    std::vector<std::thread> producers;
    for (unsigned p = 0; p < kProducers; ++p) {
        producers.emplace_back([&, p] {
            for (std::uint64_t i = 0; i < kEach; ++i) {
                queue.push({p * kEach + i, p, true, static_cast<Nanos>(i % 2), 0});
                if (i % 1000 == 0) std::this_thread::yield();
            }
        });
    }
    for (auto& thread : producers) thread.join();
    queue.close();
    for (auto& thread : consumers) thread.join();
    bool once = true;
    for (const auto& count : seen) once = once && count == 1;
    CHECK(once);
}

}  // namespace

int main() {
    one_producer_is_first_in_first_out_over_many_segments();
    what_was_meant_for_later_stays();
    many_producers_and_consumers_lose_and_double_nothing();
    return check::report();
}
