#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "check.h"
#include "core/fair_lock.h"

using namespace bytemlperf;

namespace {

void one_thread_at_a_time_has_it() {
    FairLock lock;
    long counter = 0;  // no atomic: a second owner would be a data race
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < 5000; ++i) {
                lock.lock();
                ++counter;
                lock.unlock();
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(counter == 20'000);
}

// Whoever lets it go and asks again stands behind those who were waiting.
void it_is_given_in_the_order_of_asking() {
    FairLock lock;
    std::vector<int> order;
    std::atomic<int> asked{0};
    lock.lock();
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) {
        threads.emplace_back([&, t] {
            while (asked.load() != t) std::this_thread::yield();
            ++asked;
            lock.lock();
            order.push_back(t);
            lock.unlock();
        });
        while (asked.load() != t + 1) std::this_thread::yield();
        std::this_thread::sleep_for(std::chrono::milliseconds(20));  // it has its ticket by now
    }
    lock.unlock();
    lock.lock();
    order.push_back(3);
    lock.unlock();
    for (std::thread& thread : threads) thread.join();
    CHECK((order == std::vector<int>{0, 1, 2, 3}));
}

}  // namespace

int main() {
    one_thread_at_a_time_has_it();
    it_is_given_in_the_order_of_asking();
    return check::report();
}
