// The load generator in wall time: client threads, instances, and one run at a time over them.
#pragma once

#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "core/instance.h"
#include "core/run_data.h"
#include "core/submission_queue.h"
#include "core/wait.h"

namespace bytemlperf {

// One measurement. Shared by the threads that take part, so that one which never returns finds it
// alive. start() returns at once; the caller polls wait() and may read live() or stop().
class Run : public std::enable_shared_from_this<Run> {
  public:
    Run(RunSpec spec, Clock clock, std::uint32_t instances);
    ~Run();
    Run(const Run&) = delete;
    Run& operator=(const Run&) = delete;

    void start(std::vector<std::unique_ptr<Instance>>& instances);
    // True when every thread has ended; waits at most `timeout`.
    bool wait(Nanos timeout);
    // Ends the window now: nothing more is submitted, what was submitted is drained.
    void stop() noexcept;
    [[nodiscard]] Live live() const;
    // After wait() returned true. Rethrows what open() of a backend threw.
    RunData finish();
    // Read access to the recorders while the run goes on.
    [[nodiscard]] const std::vector<std::unique_ptr<Recorder>>& recorders() const noexcept {
        return data_.recorders;
    }
    // Whether spinning threads and model threads fit on the cores.
    [[nodiscard]] bool spins() const noexcept { return spin_; }

  private:
    // Where a closed-loop client waits for its answer from another thread.
    struct alignas(64) Mailbox {
        std::atomic<std::uint32_t> answers{0};
        Nanos completed = 0;  // written before `answers` is raised
    };

    [[nodiscard]] const ClosedLoop* closed() const {
        return std::get_if<ClosedLoop>(&spec_.pattern);
    }
    [[nodiscard]] const OpenLoop* open() const { return std::get_if<OpenLoop>(&spec_.pattern); }
    [[nodiscard]] bool stopped() const noexcept { return stop_.load(std::memory_order_relaxed); }

    bool pass_gate();
    void leave();
    void open_backend(Backend& backend);
    // The thread of an instance, in the two ways it can be used.
    void closed_direct(std::uint32_t client, Backend& backend, Recorder& recorder);
    void serve(Backend& backend, Recorder& recorder);
    // A client's thread where another thread answers.
    void closed_client(std::uint32_t client);
    void open_client(const OpenLoop& pattern, std::uint32_t client);
    void submit_plan(PlanCursor cursor, Nanos start, std::uint32_t client, bool counted,
                     DeadlineWaiter& waiter);
    Nanos answer(const Submission& s, bool hand_over, Backend& backend, Recorder& recorder);
    template <typename Ask>
    void closed_loop(std::uint32_t client, Ask ask);
    void end_window(Nanos at) noexcept;

    RunSpec spec_;
    Clock clock_;
    std::uint32_t instances_;
    std::uint32_t clients_;
    bool direct_;  // closed loop with an instance for each client: the client is the instance
    bool spin_;
    RunData data_;
    SubmissionQueue queue_;
    std::vector<Mailbox> mailboxes_;
    std::atomic<std::uint32_t> clients_left_;
    std::atomic<bool> stop_{false};
    std::atomic<Nanos> window_start_{kNever};
    std::atomic<Nanos> window_end_{kNever};  // what completes later is no throughput
    Nanos submit_until_ = kNever;            // set once, before the gate opens

    mutable std::mutex mutex_;  // guards the members below
    std::condition_variable changed_;
    std::uint32_t at_gate_ = 0;
    std::uint32_t left_ = 0;
    std::uint32_t participants_ = 0;
    bool gate_open_ = false;
    std::exception_ptr error_;
    std::vector<std::thread> client_threads_;
};

// Owns the instances; they stay loaded between runs.
class Generator {
  public:
    Generator(std::vector<std::unique_ptr<Backend>> backends, Clock clock);

    [[nodiscard]] std::shared_ptr<Run> start(const RunSpec& spec);
    [[nodiscard]] std::uint32_t instances() const noexcept {
        return static_cast<std::uint32_t>(instances_.size());
    }
    // Runs close() of each backend on its thread; called by the destructor too.
    void close() { instances_.clear(); }
    void abandon() noexcept {
        for (const auto& instance : instances_) instance->abandon();
    }

  private:
    Clock clock_;
    std::vector<std::unique_ptr<Instance>> instances_;
};

}  // namespace bytemlperf
