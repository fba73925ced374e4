// A backend in a process of its own, behind shared memory: what kills it does not kill the run.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "core/backend.h"
#include "core/bridge.h"
#include "core/histogram.h"
#include "core/staged_inputs.h"

namespace bytemlperf {

// How an instance's child is started and ended; restarts are the same object's.
class ChildProcess {
  public:
    ChildProcess() = default;
    ChildProcess(const ChildProcess&) = delete;
    ChildProcess& operator=(const ChildProcess&) = delete;
    virtual ~ChildProcess() = default;

    // Starts the child on this memory and waits until its backend is loaded. Returns a pidfd, which
    // stays this object's. Throws std::runtime_error with a message for the user.
    virtual int start(const BridgeFds& fds) = 0;
    // Ends what is left of the child, and says why it came to that. `hung`: how it was found to be
    // hanging; empty where it ended by itself.
    virtual Failure end(const std::string& hung) noexcept = 0;
    // The child was asked to leave: waits for it a while, then ends it.
    virtual void stop() noexcept = 0;
};

// What the bridges of all instances of a generator cost and went through since they were loaded.
class BridgeStats {
  public:
    // A histogram of one instance's own: from posting a batch to its answer, less the backend's
    // time.
    [[nodiscard]] std::shared_ptr<Histogram> add_hop();
    [[nodiscard]] std::unique_ptr<Histogram> merged_hop() const;
    void add_death(const Failure& failure);
    [[nodiscard]] std::vector<std::string> deaths() const;

    std::atomic<std::uint64_t> restarts{0};

  private:
    mutable std::mutex mutex_;  // guards the members below
    std::vector<std::shared_ptr<Histogram>> hops_;
    std::vector<std::string> deaths_;
};

struct IsolatedOptions {
    std::shared_ptr<const StagedInputs> inputs;
    std::uint32_t max_in_flight = 0;  // of the backend behind the bridge; 0: it is synchronous
    Nanos spin = 0;                   // how long either side spins for the other before it sleeps
    std::uint32_t restarts = 0;       // of the child, before its failures are final
    Nanos hang_after = 0;             // for a call to return
    Nanos beat_within = 0;            // for a child with a call to show a sign of life
    // Takes the outputs of a batch that are to be kept; called after the stamp. May throw.
    std::function<void(const std::vector<Submission>&, const std::vector<std::uint32_t>& samples,
                       std::span<const std::byte>)>
        keep;
    // The class and message in a failed batch's result.
    std::function<Failure(std::span<const std::byte>)> failure_of;
};

// Synchronous where the backend behind the bridge is, so that a query costs two wake-ups and no
// thread more; asynchronous where that one is, with a thread that waits for answers.
class IsolatedBackend final : public Backend {
  public:
    IsolatedBackend(Clock clock, IsolatedOptions options, std::unique_ptr<ChildProcess> process,
                    std::shared_ptr<BridgeStats> stats);
    ~IsolatedBackend() override;

    void open() override;
    [[nodiscard]] std::uint32_t max_in_flight() const noexcept override {
        return options_.max_in_flight;
    }
    void run_starts(const std::shared_ptr<CompletionSink>& sink, Nanos) noexcept override {
        sink_ = sink;
    }
    bool gather(const Batch& batch) noexcept override;
    bool predict(const Batch& batch, CallStamps& stamps) noexcept override;
    bool submit(const Batch& batch, Handle handle, CallStamps& stamps) noexcept override;
    [[nodiscard]] bool interruptible() const noexcept override { return true; }
    void interrupt() noexcept override { interrupted_.store(true); }
    [[nodiscard]] std::uint32_t samples(std::uint64_t query) const noexcept override {
        return options_.inputs->samples(query);
    }
    [[nodiscard]] Failure failure() const override { return failure_; }
    void close() noexcept override;

  private:
    // A batch that the child has.
    struct InFlight {
        std::atomic<Handle> handle{0};  // of an asynchronous batch; 0: none
        std::atomic<Nanos> posted{0};
        std::shared_ptr<CompletionSink> sink;
        struct {
            Handle handle = 0;
            std::shared_ptr<CompletionSink> sink;
        } last;                        // that was answered
        std::vector<Submission> kept;  // queries whose outputs are wanted
    };
    enum class State : std::uint8_t { kClosed, kAlive, kDead };

    void start();
    bool revive() noexcept;
    void post(const Batch& batch) noexcept;
    [[nodiscard]] std::string hanging(Nanos oldest) noexcept;
    [[nodiscard]] std::optional<Failure> settle(InFlight& flight, std::uint32_t slot,
                                                CallStamps& stamps, Nanos ready);
    void keep(const InFlight& flight, std::uint32_t slot);
    Failure bury(const std::string& hung) noexcept;
    [[nodiscard]] Nanos clock_offset() noexcept;
    void serve_answers() noexcept;
    void finish(const Bridge::Answer& answer) noexcept;
    void fail_all(const Failure& failure) noexcept;

    Clock clock_;
    IsolatedOptions options_;
    std::unique_ptr<ChildProcess> process_;
    std::shared_ptr<BridgeStats> stats_;
    std::shared_ptr<Histogram> hop_;
    std::shared_ptr<CompletionSink> sink_;
    std::unique_ptr<Bridge> bridge_;
    int pidfd_ = -1;
    std::atomic<State> state_{State::kClosed};
    std::atomic<bool> interrupted_{false};  // nobody waits any more for what is in flight
    std::atomic<bool> closing_{false};
    std::array<InFlight, BridgeControl::kSlots> flights_;
    std::thread reader_;  // takes the answers of an asynchronous backend
    std::mutex mutex_;    // of submit() and the reader: no batch goes to a child that was buried
    Failure last_death_;  // guarded by mutex_
    std::uint32_t restarts_ = 0;
    std::uint32_t beat_ = 0;
    Nanos beat_seen_ = 0;
    Nanos clock_offset_ = 0;
    Nanos offset_until_ = 0;
    Failure failure_;
};

}  // namespace bytemlperf
