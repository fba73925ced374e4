// The memory between the generator and an isolated backend's process, and this side's use of it.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "core/clock.h"
#include "core/shared_memory.h"

namespace bytemlperf {

// Both rings hold tickets: a slot's number in the lowest 8 bits, above it a count that tells a
// batch from the one before it in its slot. The child knows these offsets by heart
// (bytemlperf/isolation/bytemlperf_child/bridge.py); a change of them raises kBridgeVersion.
struct BridgeControl {
    static constexpr std::uint32_t kSlots = 64;

    struct Slot {
        std::uint32_t layout;
        std::uint32_t samples;
        std::uint32_t keep;    // outputs are wanted
        std::uint32_t failed;  // the result is a JSON list: class and message of the error
        std::int64_t entered;  // CLOCK_MONOTONIC, ns
        std::int64_t completed;
        std::uint64_t result_offset;
        std::uint64_t result_bytes;
        std::array<std::byte, 16> reserved;
    };

    std::uint32_t version;
    std::uint32_t spin_ns;  // how long the child may spin before it sleeps
    std::array<std::uint32_t, 14> reserved;

    alignas(64) std::atomic<std::uint32_t> requests;  // posted so far, modulo 2^32
    std::atomic<std::uint32_t> child_sleeps;
    std::atomic<std::uint32_t> leave;  // the child is asked to unload and end

    alignas(64) std::atomic<std::uint32_t> answers;  // given so far, modulo 2^32
    std::atomic<std::uint32_t> parent_sleeps;
    std::atomic<std::uint32_t> beat;  // rises while the child's interpreter runs

    alignas(64) std::array<std::uint32_t, kSlots> request_ring;
    std::array<std::uint32_t, kSlots> answer_ring;
    alignas(64) std::array<Slot, kSlots> slots;
};

inline constexpr std::uint32_t kBridgeVersion = 1;
static_assert(sizeof(BridgeControl::Slot) == 64);
static_assert(offsetof(BridgeControl, requests) == 64);
static_assert(offsetof(BridgeControl, answers) == 128);
static_assert(offsetof(BridgeControl, request_ring) == 192);
static_assert(offsetof(BridgeControl, answer_ring) == 448);
static_assert(offsetof(BridgeControl, slots) == 704);
static_assert(std::atomic<std::uint32_t>::is_always_lock_free);

// What the child's process inherits.
struct BridgeFds {
    int control;
    int inputs;
    int results;
    int wake_child;
    int wake_parent;
};

// One child's memory: a new child gets a new one. post() is one thread's, wait() and take() are one
// thread's.
class Bridge {
  public:
    enum class Wake : std::uint8_t { kAnswer, kEnded, kTimeout };

    // Throws std::system_error.
    Bridge(std::uint32_t slots, std::size_t slot_bytes, Nanos spin);

    [[nodiscard]] BridgeFds fds() const noexcept;
    [[nodiscard]] std::byte* input(std::uint32_t slot) const noexcept {
        return inputs_.data() + slot * slot_bytes_;
    }
    [[nodiscard]] const BridgeControl::Slot& slot(std::uint32_t index) const noexcept {
        return control().slots[index];
    }

    // The slot's inputs are there: the child may run them.
    void post(std::uint32_t slot, std::uint32_t layout, std::uint32_t samples, bool keep) noexcept;
    // Asks the child to unload and end.
    void ask_to_leave() noexcept;
    // Until an answer may be taken, the child has ended (`process`: a pidfd), or `timeout`. Spins
    // first, unless that was in vain of late.
    Wake wait(int process, Nanos timeout) noexcept;
    struct Answer {
        std::uint32_t slot;
        bool expected;  // false: its batch was answered before
    };
    std::optional<Answer> take() noexcept;
    // The result of a slot that was taken; empty where the child's numbers make no sense.
    [[nodiscard]] std::span<const std::byte> result(std::uint32_t slot) noexcept;
    [[nodiscard]] std::uint32_t beat() const noexcept {
        return control().beat.load(std::memory_order_relaxed);
    }

  private:
    [[nodiscard]] BridgeControl& control() const noexcept {
        return *reinterpret_cast<BridgeControl*>(control_.data());
    }
    [[nodiscard]] bool answered() const noexcept {
        return control().answers.load(std::memory_order_acquire) != taken_;
    }
    [[nodiscard]] bool spin() noexcept;
    void wake_child() noexcept;

    std::uint32_t slots_;
    std::size_t slot_bytes_;
    Nanos spin_;
    SharedMemory control_;
    SharedMemory inputs_;
    SharedMemory results_;
    OwnedFd wake_child_;
    OwnedFd wake_parent_;
    std::array<std::atomic<std::uint32_t>, BridgeControl::kSlots> tickets_{};  // 0: answered
    std::uint32_t taken_ = 0;
    std::uint32_t spins_to_skip_ = 0;
    std::uint32_t skip_next_ = 0;
};

}  // namespace bytemlperf
