#include "core/submission_queue.h"

#include <utility>

namespace bytemlperf {

SubmissionQueue::SubmissionQueue(std::shared_ptr<Doorbell> bell, bool wake_all)
    : bell_(std::move(bell)),
      wake_all_(wake_all),
      directory_(std::make_unique<std::atomic<Segment*>[]>(kDirectory)) {}

SubmissionQueue::Segment& SubmissionQueue::segment_for(std::uint64_t ticket) {
    std::atomic<Segment*>& entry = directory_[ticket / kSegment % kDirectory];
    if (Segment* segment = entry.load(std::memory_order_acquire)) return *segment;
    const std::lock_guard lock(segments_mutex_);
    if (Segment* segment = entry.load(std::memory_order_relaxed)) return *segment;
    if (free_.empty()) {
        owned_.push_back(std::make_unique<Segment>());
        free_.push_back(owned_.back().get());
    }
    Segment* segment = free_.back();
    free_.pop_back();
    entry.store(segment, std::memory_order_release);
    return *segment;
}

void SubmissionQueue::push(const Submission& submission) {
    const std::uint64_t ticket = tail_.fetch_add(1, std::memory_order_seq_cst);
    Slot& slot = segment_for(ticket).slots[ticket % kSegment];
    slot.intended.store(submission.intended, std::memory_order_release);
    slot.submission = submission;
    slot.turn.store(ticket + 1, std::memory_order_release);
    if (wake_all_) {
        bell_->ring_all();
    } else {
        bell_->ring_one();
    }
}

bool SubmissionQueue::try_pop(Submission& out, Nanos due) noexcept {
    std::uint64_t ticket = head_.load(std::memory_order_acquire);
    for (;;) {
        Segment* segment =
            directory_[ticket / kSegment % kDirectory].load(std::memory_order_acquire);
        if (segment == nullptr) return false;
        Slot& slot = segment->slots[ticket % kSegment];
        if (slot.turn.load(std::memory_order_acquire) != ticket + 1) {
            // Empty, or another instance took it and the segment went round: then head moved.
            const std::uint64_t moved = head_.load(std::memory_order_acquire);
            if (moved == ticket) return false;
            ticket = moved;
            continue;
        }
        // Where the slot has meanwhile gone to another submission, head has moved too.
        const bool early = slot.intended.load(std::memory_order_acquire) > due;
        if (early && head_.load(std::memory_order_acquire) == ticket) return false;
        if (head_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel)) {
            out = slot.submission;
            if (segment->consumed.fetch_add(1, std::memory_order_acq_rel) + 1 == kSegment) {
                recycle(ticket, *segment);
            }
            return true;
        }
    }
}

// Turns are tickets, never used twice, so a segment needs no cleaning before its next use.
void SubmissionQueue::recycle(std::uint64_t ticket, Segment& segment) {
    segment.consumed.store(0, std::memory_order_relaxed);
    const std::lock_guard lock(segments_mutex_);
    directory_[ticket / kSegment % kDirectory].store(nullptr, std::memory_order_release);
    free_.push_back(&segment);
}

void SubmissionQueue::close() noexcept {
    closed_.store(true);
    bell_->ring_all();
}

std::uint64_t SubmissionQueue::waiting() const noexcept {
    const std::uint64_t head = head_.load(std::memory_order_acquire);
    const std::uint64_t tail = tail_.load(std::memory_order_seq_cst);
    return tail > head ? tail - head : 0;
}

}  // namespace bytemlperf
