// A mutex that is given in the order in which it was asked for.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/clock.h"
#include "core/wait.h"

namespace bytemlperf {

// A ticket lock that sleeps. For a handful of threads: an unlock wakes all that wait.
class FairLock {
  public:
    void lock() noexcept {
        const std::uint32_t ticket = next_.fetch_add(1, std::memory_order_seq_cst);
        for (;;) {
            const std::uint32_t serving = serving_.load(std::memory_order_seq_cst);
            if (serving == ticket) return;
            futex_wait(serving_, serving, kSecond);
        }
    }
    void unlock() noexcept {
        // In one order with lock(): either a new ticket is seen here or the new turn is seen there.
        const std::uint32_t turn = serving_.fetch_add(1, std::memory_order_seq_cst) + 1;
        if (next_.load(std::memory_order_seq_cst) != turn) futex_wake(serving_, INT32_MAX);
    }

  private:
    std::atomic<std::uint32_t> next_{0};
    std::atomic<std::uint32_t> serving_{0};
};

}  // namespace bytemlperf
