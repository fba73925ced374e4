#include "core/bridge.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

#include "core/wait.h"

namespace bytemlperf {

namespace {

int make_eventfd() {
    const int fd = eventfd(0, EFD_CLOEXEC);
    if (fd < 0) throw std::system_error(errno, std::generic_category(), "no eventfd");
    return fd;
}

constexpr std::uint32_t kSlotBits = 8;
constexpr std::uint32_t kMostSkipped = 1023;

// An interpreter cannot order its accesses to memory. x86 does it for stores and for loads, and the
// child's lock does the rest; elsewhere every hand-over goes through the kernel, which orders all.
#if defined(__x86_64__)
constexpr bool kOrderedByProcessor = true;
#else
constexpr bool kOrderedByProcessor = false;
#endif

}  // namespace

Bridge::Bridge(std::uint32_t slots, std::size_t slot_bytes, Nanos spin)
    : slots_(slots),
      slot_bytes_(slot_bytes),
      spin_(kOrderedByProcessor ? spin : 0),
      control_("bytemlperf control", sizeof(BridgeControl)),
      inputs_("bytemlperf inputs", slots * slot_bytes),
      results_("bytemlperf results", 1),
      wake_child_(make_eventfd()),
      wake_parent_(make_eventfd()) {
    control().version = kBridgeVersion;
    control().spin_ns = static_cast<std::uint32_t>(spin_);
    if (!kOrderedByProcessor) control().parent_sleeps = control().child_sleeps = 1;
}

BridgeFds Bridge::fds() const noexcept {
    return {control_.fd(), inputs_.fd(), results_.fd(), wake_child_.get(), wake_parent_.get()};
}

void Bridge::post(std::uint32_t slot, std::uint32_t layout, std::uint32_t samples,
                  bool keep) noexcept {
    BridgeControl& shared = control();
    BridgeControl::Slot& given = shared.slots[slot];
    given.layout = layout;
    given.samples = samples;
    given.keep = keep ? 1 : 0;
    const std::uint32_t posted = shared.requests.load(std::memory_order_relaxed);
    const std::uint32_t ticket = (posted + 1) << kSlotBits | slot;
    tickets_[slot].store(ticket, std::memory_order_relaxed);
    shared.request_ring[posted % BridgeControl::kSlots] = ticket;
    // In one order with the child's note that it sleeps: it sees the request, or this the note.
    shared.requests.store(posted + 1, std::memory_order_seq_cst);
    if (shared.child_sleeps.load(std::memory_order_seq_cst) != 0) wake_child();
}

void Bridge::ask_to_leave() noexcept {
    control().leave.store(1, std::memory_order_seq_cst);
    wake_child();
}

void Bridge::wake_child() noexcept {
    const std::uint64_t one = 1;
    static_cast<void>(write(wake_child_.get(), &one, sizeof one));
}

// A spin in vain costs its whole length: the child needs longer, or this very core. So each one
// makes this skip twice as many, and one that was worth it ends that.
bool Bridge::spin() noexcept {
    if (spin_ <= 0) return false;
    if (spins_to_skip_ > 0) {
        --spins_to_skip_;
        return false;
    }
    const Nanos end = read_clock(CLOCK_MONOTONIC) + spin_;
    for (int i = 0; !answered(); ++i) {
        relax_cpu();
        if (i % 16 == 0 && read_clock(CLOCK_MONOTONIC) >= end) {
            skip_next_ = std::min(2 * skip_next_ + 1, kMostSkipped);
            spins_to_skip_ = skip_next_;
            return false;
        }
    }
    skip_next_ = 0;
    return true;
}

Bridge::Wake Bridge::wait(int process, Nanos timeout) noexcept {
    Wake wake = Wake::kAnswer;
    if (!spin()) {
        control().parent_sleeps.store(1, std::memory_order_seq_cst);
        if (control().answers.load(std::memory_order_seq_cst) == taken_) {
            std::array<pollfd, 2> fds{{{wake_parent_.get(), POLLIN, 0}, {process, POLLIN, 0}}};
            const timespec limit{timeout / kSecond, timeout % kSecond};
            ppoll(fds.data(), fds.size(), &limit, nullptr);
            std::uint64_t count = 0;
            if (fds[0].revents != 0) {
                static_cast<void>(read(wake_parent_.get(), &count, sizeof count));
            }
            wake = fds[1].revents != 0 ? Wake::kEnded : Wake::kTimeout;
        }
        if (kOrderedByProcessor) control().parent_sleeps.store(0, std::memory_order_relaxed);
        // What a child answered before it ended is an answer.
        if (answered()) wake = Wake::kAnswer;
    }
    return wake;
}

std::optional<Bridge::Answer> Bridge::take() noexcept {
    while (answered()) {
        std::uint32_t ticket = control().answer_ring[taken_++ % BridgeControl::kSlots];
        const std::uint32_t slot = ticket & ((1U << kSlotBits) - 1);
        if (slot >= slots_) continue;  // no number of ours
        return Answer{slot, tickets_[slot].compare_exchange_strong(ticket, 0)};
    }
    return std::nullopt;
}

std::span<const std::byte> Bridge::result(std::uint32_t index) noexcept {
    const BridgeControl::Slot& from = slot(index);
    return results_.range(from.result_offset, from.result_bytes);
}

}  // namespace bytemlperf
