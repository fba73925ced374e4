// Waiting: for a deadline on the clock, and for a word of memory to change (futex).
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "core/clock.h"

namespace bytemlperf {

// Sleeps on CLOCK_MONOTONIC's absolute deadlines up to a margin that it learns from how late the
// kernel wakes this thread, and spins the rest. One object a thread.
class DeadlineWaiter {
  public:
    // `spin`: burn the margin on this core; without it the thread sleeps all the way.
    DeadlineWaiter(Clock clock, bool spin);

    // Returns at or shortly after `deadline`, or early when `stop` becomes true.
    void wait_until(Nanos deadline, const std::atomic<bool>& stop) noexcept;

  private:
    static constexpr Nanos kLongestSleep = 50'000'000;  // how late a stop may be noticed

    Clock clock_;
    bool spin_;
    Nanos margin_ = 80'000;
};

inline void relax_cpu() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

// Blocks while `word` equals `expected`, at most `timeout`; may return early for no reason.
void futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                Nanos timeout) noexcept;
void futex_wake(const std::atomic<std::uint32_t>& word, int threads) noexcept;

// Lets this thread's timers fire when they are due: the default slack is 50 us.
void set_timer_slack() noexcept;

// Processors that this process may run on, ascending.
std::vector<unsigned> available_cores();

// Binds the calling thread, and the threads that it will start, to these processors; empty: to all
// that the process may run on, as before.
using CoreSet = std::vector<unsigned>;
void pin_thread(const CoreSet& cores) noexcept;

}  // namespace bytemlperf
