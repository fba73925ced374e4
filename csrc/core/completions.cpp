#include "core/completions.h"

#include <bit>
#include <utility>

namespace bytemlperf {

namespace {

std::atomic<Handle> next_handle{1};  // without the slot's bits

}  // namespace

Completions::Completions(std::shared_ptr<Doorbell> bell)
    : bell_(std::move(bell)), first_(next_handle.load(std::memory_order_relaxed) * kSlots) {}

Handle Completions::open(std::uint32_t slot) noexcept {
    const Handle handle = next_handle.fetch_add(1, std::memory_order_relaxed) * kSlots + slot;
    slots_[slot].state.store(handle, std::memory_order_release);
    return handle;
}

bool Completions::give_up(Handle handle) noexcept {
    Handle expected = handle;
    return slots_[handle % kSlots].state.compare_exchange_strong(expected, handle | kGivenUp);
}

Reply Completions::complete(Handle handle, Nanos at, std::optional<Failure> failure,
                            Nanos entered) noexcept {
    Slot& slot = slots_[handle % kSlots];
    Handle seen = handle;
    if (!slot.state.compare_exchange_strong(seen, handle | kAnswered)) {
        // Given up keeps its slot: one whose slot has another batch by now had been answered.
        if (seen == (handle | kGivenUp) || handle < first_) {
            late_.fetch_add(1);
            return Reply::kLate;
        }
        repeated_.fetch_add(1);
        return Reply::kRepeated;
    }
    slot.done = {at, std::move(failure), entered};
    ready_.fetch_or(std::uint64_t{1} << (handle % kSlots), std::memory_order_release);
    bell_->ring_all();
    return Reply::kTaken;
}

}  // namespace bytemlperf
