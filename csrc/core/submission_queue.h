// From clients to idle instances: first in, first out, without a bound and without a shared lock.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "core/clock.h"

namespace bytemlperf {

struct Submission {
    std::uint64_t query;
    std::uint32_t client;
    bool counted;  // false during warm-up
    Nanos intended;
    Nanos submitted;
};

// Two counters run over an endless line of slots that is kept in segments: overload makes the line
// longer, it neither blocks a client nor drops a query. A segment is taken from a free list once in
// 16384 submissions; that is the only place with a mutex.
class SubmissionQueue {
  public:
    SubmissionQueue();

    // Called by any client.
    void push(const Submission& submission);
    // Called by any instance. False where nothing waits.
    bool try_pop(Submission& out) noexcept;
    // Blocks until something was pushed, `close` was called or `timeout` passed.
    void wait(Nanos timeout) noexcept;
    // No more will be pushed; wakes everybody.
    void close() noexcept;
    [[nodiscard]] bool closed() const noexcept { return closed_.load(std::memory_order_acquire); }
    [[nodiscard]] std::uint64_t waiting() const noexcept;

  private:
    static constexpr std::uint64_t kSegment = 1U << 14U;
    static constexpr std::uint64_t kDirectory = 1U << 16U;

    struct Slot {
        std::atomic<std::uint64_t> turn{0};  // ticket + 1 once the submission can be read
        Submission submission{};
    };
    struct Segment {
        std::array<Slot, kSegment> slots;
        std::atomic<std::uint64_t> consumed{0};
    };

    Segment& segment_for(std::uint64_t ticket);
    void recycle(std::uint64_t ticket, Segment& segment);

    alignas(64) std::atomic<std::uint64_t> tail_{0};
    alignas(64) std::atomic<std::uint64_t> head_{0};
    alignas(64) std::atomic<std::uint32_t> epoch_{0};
    std::atomic<std::uint32_t> sleepers_{0};
    std::atomic<bool> closed_{false};
    std::unique_ptr<std::atomic<Segment*>[]> directory_;
    std::mutex segments_mutex_;  // guards owned_ and free_
    std::vector<std::unique_ptr<Segment>> owned_;
    std::vector<Segment*> free_;
};

}  // namespace bytemlperf
