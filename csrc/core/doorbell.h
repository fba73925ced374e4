// How threads of a run sleep until something concerns them: work was pushed, a batch completed.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/clock.h"
#include "core/wait.h"

namespace bytemlperf {

// Use: `const auto seen = bell.listen(); if (nothing to do) bell.sleep(seen, timeout);
// else bell.ignore();`. A ring after listen() is never missed; one without sleepers costs a load.
class Doorbell {
  public:
    [[nodiscard]] std::uint32_t listen() noexcept {
        const std::uint32_t seen = rings_.load(std::memory_order_acquire);
        // In one order with ring(): either the ringer sees this sleeper or the sleeper its work.
        sleepers_.fetch_add(1, std::memory_order_seq_cst);
        return seen;
    }
    void ignore() noexcept { sleepers_.fetch_sub(1, std::memory_order_relaxed); }
    void sleep(std::uint32_t seen, Nanos timeout) noexcept {
        if (timeout > 0) futex_wait(rings_, seen, timeout);
        ignore();
    }

    void ring_one() noexcept { ring(1); }
    void ring_all() noexcept { ring(INT32_MAX); }

  private:
    void ring(int threads) noexcept {
        if (sleepers_.load(std::memory_order_seq_cst) == 0) return;
        rings_.fetch_add(1, std::memory_order_release);
        futex_wake(rings_, threads);
    }

    alignas(64) std::atomic<std::uint32_t> rings_{0};
    std::atomic<std::uint32_t> sleepers_{0};
};

}  // namespace bytemlperf
