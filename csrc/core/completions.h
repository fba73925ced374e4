// Where batches of an asynchronous backend complete: from any thread, once, or too late.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>

#include "core/backend.h"
#include "core/doorbell.h"

namespace bytemlperf {

// The batches in flight of one instance. Shared with the backend, so that a reply after the run's
// end finds it alive. A foreign thread stamps and hands over; it never writes a recorder.
class Completions final : public CompletionSink {
  public:
    static constexpr std::uint32_t kSlots = 64;

    explicit Completions(std::shared_ptr<Doorbell> bell);

    struct Done {
        Nanos at;
        std::optional<Failure> failure;
        Nanos entered;  // 0: as submit() stamped it
    };

    // The instance's thread: a batch is about to be submitted from this slot.
    Handle open(std::uint32_t slot) noexcept;
    // The instance's thread: no reply is expected any more. False where it came already.
    bool give_up(Handle handle) noexcept;
    // The instance's thread: calls `settle(slot, done)` for each batch that has completed.
    template <typename Settle>
    void drain(Settle settle) {
        std::uint64_t ready = ready_.exchange(0, std::memory_order_acquire);
        while (ready != 0) {
            const auto slot = static_cast<std::uint32_t>(std::countr_zero(ready));
            ready &= ready - 1;
            settle(slot, slots_[slot].done);
        }
    }
    [[nodiscard]] bool any() const noexcept { return ready_.load(std::memory_order_acquire) != 0; }

    Reply complete(Handle handle, Nanos at, std::optional<Failure> failure,
                   Nanos entered = 0) noexcept override;

    [[nodiscard]] std::uint64_t late() const noexcept { return late_.load(); }
    [[nodiscard]] std::uint64_t repeated() const noexcept { return repeated_.load(); }

  private:
    // A handle's lowest bits name its slot, the rest are never used twice in the process.
    static constexpr Handle kAnswered = Handle{1} << 63U;
    static constexpr Handle kGivenUp = Handle{1} << 62U;

    struct Slot {
        std::atomic<Handle> state{0};
        Done done{};
    };

    std::shared_ptr<Doorbell> bell_;
    const Handle first_;  // handles below it are an earlier run's
    std::array<Slot, kSlots> slots_;
    std::atomic<std::uint64_t> ready_{0};
    std::atomic<std::uint64_t> late_{0};
    std::atomic<std::uint64_t> repeated_{0};
};

}  // namespace bytemlperf
