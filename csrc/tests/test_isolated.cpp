// The bridge and the backend behind it, with a thread in the place of the child's process: answers
// in any order, twice, never, with nonsense in them; deaths and restarts. Nothing is lost.
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include "check.h"
#include "core/generator.h"
#include "core/isolated.h"
#include "core/random.h"

using namespace bytemlperf;

namespace {

constexpr std::size_t kSlotBytes = 64;
constexpr std::uint32_t kSlotMask = 0xFF;

struct Odds {
    double die = 0;
    double forget = 0;  // never answers
    double fail = 0;
    double repeat = 0;
    double lie = 0;  // names a slot that there is not, or a result that is not there
    bool ordered = true;
};

struct Seen {
    std::atomic<std::uint64_t> wrong_inputs{0};
    std::atomic<std::uint64_t> starts{0};
};

// Speaks the child's side of the protocol of csrc/core/bridge.h.
class FakeChild final : public ChildProcess {
  public:
    FakeChild(Odds odds, Seen& seen, std::uint64_t seed)
        : odds_(odds), seen_(seen), random_(seed, 3) {}
    ~FakeChild() override { join(); }

    int start(const BridgeFds& fds) override {
        join();
        ++seen_.starts;
        // A pidfd is readable when its process has ended; so is this when the thread has.
        ended_.reset(eventfd(0, EFD_CLOEXEC));
        control_ = static_cast<BridgeControl*>(map(fds.control, sizeof(BridgeControl)));
        inputs_ = static_cast<const std::byte*>(map(fds.inputs, kSlotBytes * 4));
        fds_ = fds;
        killed_ = false;
        taken_ = 0;
        thread_ = std::thread([this] { work(); });
        return ended_.get();
    }
    Failure end(const std::string& hung) noexcept override {
        join();
        return {hung.empty() ? "BackendCrashed" : "BackendHung", hung};
    }
    void stop() noexcept override { join(); }

  private:
    static void* map(int fd, std::size_t bytes) {
        void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (memory == MAP_FAILED) throw std::runtime_error("no mapping");
        return memory;
    }
    bool chance(double p) { return p > 0 && random_.uniforms(draws_++)[0] < p; }

    void join() noexcept {
        killed_ = true;
        if (!thread_.joinable()) return;
        thread_.join();
        munmap(control_, sizeof(BridgeControl));
        munmap(const_cast<std::byte*>(inputs_), kSlotBytes * 4);
    }

    // The next ticket, 0 when this is to end.
    std::uint32_t next() {
        while (control_->requests.load(std::memory_order_seq_cst) == taken_) {
            if (killed_ || control_->leave.load() != 0) return 0;
            control_->child_sleeps.store(1, std::memory_order_seq_cst);
            pollfd fd{fds_.wake_child, POLLIN, 0};
            std::uint64_t count = 0;
            if (control_->requests.load(std::memory_order_seq_cst) == taken_ &&
                poll(&fd, 1, 5) > 0) {
                static_cast<void>(read(fds_.wake_child, &count, sizeof count));
            }
            control_->child_sleeps.store(0);
        }
        return control_->request_ring[taken_++ % BridgeControl::kSlots];
    }

    void announce(std::uint32_t ticket) {
        const std::uint32_t answers = control_->answers.load();
        control_->answer_ring[answers % BridgeControl::kSlots] = ticket;
        control_->answers.store(answers + 1, std::memory_order_seq_cst);
        const std::uint64_t one = 1;
        if (control_->parent_sleeps.load(std::memory_order_seq_cst) != 0) {
            static_cast<void>(write(fds_.wake_parent, &one, sizeof one));
        }
    }

    void answer(std::uint32_t ticket) {
        BridgeControl::Slot& slot = control_->slots[ticket & kSlotMask];
        slot.entered = read_clock(CLOCK_MONOTONIC);
        std::uint64_t row = 0;
        std::memcpy(&row, inputs_ + (ticket & kSlotMask) * kSlotBytes, sizeof row);
        if (row % 7 != slot.layout) ++seen_.wrong_inputs;
        slot.failed = chance(odds_.fail) ? 1 : 0;
        slot.completed = read_clock(CLOCK_MONOTONIC);
        slot.result_offset = 0;
        slot.result_bytes = 0;
        if (chance(odds_.lie)) slot.result_offset = UINT64_MAX - 3;
        if (chance(odds_.lie)) announce(200);  // no slot of this bridge
        announce(ticket);
        if (chance(odds_.repeat)) announce(ticket);
    }

    void work() {
        std::vector<std::uint32_t> held;  // one batch waits for the next, to come after it
        while (const std::uint32_t ticket = next()) {
            if (chance(odds_.die)) break;
            if (chance(odds_.forget)) continue;
            const bool hold = !odds_.ordered && held.empty() && chance(0.3);
            if (hold && control_->requests.load() != taken_) {
                held.push_back(ticket);
                continue;
            }
            answer(ticket);
            for (const std::uint32_t late : std::exchange(held, {})) answer(late);
        }
        const std::uint64_t one = 1;
        static_cast<void>(write(ended_.get(), &one, sizeof one));
    }

    Odds odds_;
    Seen& seen_;
    Philox random_;
    std::uint64_t draws_ = 0;
    OwnedFd ended_;
    BridgeFds fds_{};
    BridgeControl* control_ = nullptr;
    const std::byte* inputs_ = nullptr;
    std::uint32_t taken_ = 0;
    std::atomic<bool> killed_{false};
    std::thread thread_;
};

struct Outcome {
    RunData data;
    std::uint64_t restarts;
    std::uint64_t hops;
    std::uint64_t wrong_inputs;
};

// Seven ready queries: query k carries k mod 7, which is its layout too.
Outcome run(RunSpec spec, const Odds& odds, std::uint32_t depth, Nanos spin = 0) {
    static std::vector<std::uint64_t> rows{0, 1, 2, 3, 4, 5, 6};
    std::vector<StagedInputs::ReadyQuery> queries;
    for (std::uint64_t& row : rows) {
        queries.push_back({{{reinterpret_cast<std::byte*>(&row), sizeof row, 0}}, 1});
    }
    Seen seen;
    auto stats = std::make_shared<BridgeStats>();
    RunData data;
    {
        std::vector<std::unique_ptr<Backend>> backends;
        for (std::uint64_t i = 0; i < 2; ++i) {
            IsolatedOptions options;
            options.inputs = std::make_shared<StagedInputs>(queries, kSlotBytes);
            options.max_in_flight = depth;
            options.spin = spin;
            options.restarts = 1'000;
            options.hang_after = 60 * kSecond;
            options.beat_within = 60 * kSecond;
            options.failure_of = [](std::span<const std::byte>) { return Failure{"Planted", ""}; };
            options.keep = [](const auto&, const auto&, std::span<const std::byte> result) {
                if (result.data() == nullptr) throw std::runtime_error("no result");
            };
            backends.push_back(std::make_unique<IsolatedBackend>(
                Clock::best(), std::move(options), std::make_unique<FakeChild>(odds, seen, i),
                stats));
        }
        Generator generator(std::move(backends), Clock::best());
        const auto going = generator.start(std::move(spec));
        bool ended = false;
        for (int i = 0; i < 60 && !ended; ++i) ended = going->wait(kSecond);
        CHECK(ended);
        data = going->finish();
    }
    return {std::move(data), stats->restarts.load(), stats->merged_hop()->count(),
            seen.wrong_inputs.load()};
}

RunSpec closed_loop(std::uint32_t clients, std::uint64_t queries) {
    RunSpec spec;
    spec.pattern = ClosedLoop{clients, 0};
    spec.limit.queries = queries;
    return spec;
}

void every_query_is_answered_with_its_own_inputs() {
    for (const std::uint32_t depth : {0U, 4U}) {
        for (const Nanos spin : {Nanos{0}, Nanos{20'000}}) {
            const Outcome found = run(closed_loop(2, 2'000), {.ordered = false}, depth, spin);
            CHECK(found.data.completed() == 2'000 && found.data.errors() == 0);
            CHECK(found.hops == 2'000 && found.wrong_inputs == 0 && found.restarts == 0);
        }
    }
}

void deaths_fail_what_was_in_them_and_nothing_else() {
    for (const std::uint32_t depth : {0U, 4U}) {
        const Outcome found = run(closed_loop(6, 2'000), {.die = 0.01, .fail = 0.05}, depth);
        CHECK(found.data.completed() + found.data.errors() == 2'000);
        CHECK(found.restarts > 0 && found.wrong_inputs == 0);
        const auto classes = found.data.error_classes();
        CHECK(classes.contains("BackendCrashed") && classes.contains("Planted"));
        if (depth == 0) CHECK(classes.at("BackendCrashed").count >= found.restarts);
    }
}

void a_batch_that_is_forgotten_ends_with_its_timeout() {
    for (const std::uint32_t depth : {0U, 2U}) {
        RunSpec spec = closed_loop(4, 400);
        spec.timeout = 20'000'000;
        const Outcome found = run(std::move(spec), {.forget = 0.03}, depth);
        CHECK(found.data.completed() + found.data.timeouts() + found.data.errors() == 400);
        CHECK(found.data.timeouts() > 0 && found.data.completed() > 0);
    }
}

void repeats_and_nonsense_are_not_believed() {
    RunSpec spec = closed_loop(4, 2'000);
    spec.keep_share = 1.0;
    const Outcome found = run(std::move(spec), {.repeat = 0.05, .lie = 0.02}, 4);
    CHECK(found.data.completed() + found.data.errors() == 2'000);
    CHECK(found.data.repeated + found.data.late > 0);
    CHECK(found.data.error_classes().contains("BadOutputs") &&
          found.data.error_classes().size() == 1);
}

}  // namespace

int main() {
    every_query_is_answered_with_its_own_inputs();
    deaths_fail_what_was_in_them_and_nothing_else();
    a_batch_that_is_forgotten_ends_with_its_timeout();
    repeats_and_nonsense_are_not_believed();
    return check::report();
}
