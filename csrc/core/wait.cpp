#include "core/wait.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <thread>

namespace bytemlperf {

namespace {

timespec to_timespec(Nanos t) noexcept {
    return {t / kSecond, t % kSecond};
}

}  // namespace

DeadlineWaiter::DeadlineWaiter(Clock clock, bool spin) : clock_(clock), spin_(spin) {
    set_timer_slack();
}

void DeadlineWaiter::wait_until(Nanos deadline, const std::atomic<bool>& stop) noexcept {
    while (!stop.load(std::memory_order_relaxed)) {
        const Nanos now = clock_.now();
        const Nanos left = deadline - now;
        if (left <= 0) return;
        const Nanos margin = spin_ ? margin_ : 0;
        if (left <= margin) break;
        const Nanos nap = std::min(left - margin, kLongestSleep);
        const timespec wake = to_timespec(read_clock(CLOCK_MONOTONIC) + nap);
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wake, nullptr);
        // Follow a late wake-up at once, forget it slowly: the margin stays above most of them.
        const Nanos late = std::clamp<Nanos>(clock_.now() - now - nap, 0, 1'000'000);
        margin_ = std::max<Nanos>(20'000, late > margin_ ? (margin_ + late) / 2 + late / 4
                                                         : margin_ - (margin_ - late) / 64);
    }
    while (clock_.now() < deadline && !stop.load(std::memory_order_relaxed)) relax_cpu();
}

void futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                Nanos timeout) noexcept {
    static_assert(sizeof(word) == sizeof(std::uint32_t));
    const timespec limit = to_timespec(timeout);
    syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, expected, &limit, nullptr, 0);
}

void futex_wake(const std::atomic<std::uint32_t>& word, int threads) noexcept {
    syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, threads, nullptr, nullptr, 0);
}

void set_timer_slack() noexcept {
    prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0);
}

std::vector<unsigned> available_cores() {
    cpu_set_t set;
    CPU_ZERO(&set);
    std::vector<unsigned> cores;
    if (sched_getaffinity(0, sizeof(set), &set) == 0) {
        for (unsigned core = 0; core < CPU_SETSIZE; ++core) {
            if (CPU_ISSET(core, &set)) cores.push_back(core);
        }
    } else {
        for (unsigned core = 0; core < std::max(1U, std::thread::hardware_concurrency()); ++core) {
            cores.push_back(core);
        }
    }
    return cores;
}

void pin_thread(const CoreSet& cores) noexcept {
    if (cores.empty()) return;
    cpu_set_t set;
    CPU_ZERO(&set);
    for (const unsigned core : cores) CPU_SET(core, &set);
    sched_setaffinity(0, sizeof(set), &set);
}

}  // namespace bytemlperf
