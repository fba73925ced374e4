// From clients to idle instances: first in, first out, without a bound and without a shared lock.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "core/doorbell.h"
#include "core/submission.h"

namespace bytemlperf {

// Two counters run over an endless line of slots that is kept in segments: overload makes the line
// longer, it neither blocks a client nor drops a query. A segment is taken from a free list once in
// 16384 submissions; that is the only place with a mutex.
class SubmissionQueue {
  public:
    // `bell` is rung for whatever is pushed; `wake_all` where only one of the sleepers can take it.
    SubmissionQueue(std::shared_ptr<Doorbell> bell, bool wake_all);

    // Called by any client.
    void push(const Submission& submission);
    // Called by any instance. False where nothing waits, or where what has waited longest was meant
    // to be sent after `due`.
    bool try_pop(Submission& out, Nanos due = kNever) noexcept;
    // No more will be pushed; wakes everybody.
    void close() noexcept;
    [[nodiscard]] bool closed() const noexcept { return closed_.load(); }
    [[nodiscard]] std::uint64_t waiting() const noexcept;

  private:
    static constexpr std::uint64_t kSegment = 1U << 14U;
    static constexpr std::uint64_t kDirectory = 1U << 16U;

    struct Slot {
        std::atomic<std::uint64_t> turn{0};  // ticket + 1 once the submission can be read
        std::atomic<Nanos> intended{0};      // read before the submission is anybody's
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
    alignas(64) std::atomic<bool> closed_{false};
    std::shared_ptr<Doorbell> bell_;
    bool wake_all_;
    std::unique_ptr<std::atomic<Segment*>[]> directory_;
    std::mutex segments_mutex_;  // guards owned_ and free_
    std::vector<std::unique_ptr<Segment>> owned_;
    std::vector<Segment*> free_;
};

}  // namespace bytemlperf
