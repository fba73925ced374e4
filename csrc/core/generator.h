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
#include "core/wait.h"
#include "core/worker.h"

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
    // True when every thread has ended or was given up; waits at most `timeout`.
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

  private:
    [[nodiscard]] const ClosedLoop* closed() const {
        return std::get_if<ClosedLoop>(&run_.spec.pattern);
    }
    [[nodiscard]] const OpenLoop* open() const { return std::get_if<OpenLoop>(&run_.spec.pattern); }
    [[nodiscard]] bool stopped() const noexcept {
        return run_.stop.load(std::memory_order_relaxed);
    }

    void plan();
    Nanos prepare_stamps();
    bool pass_gate();
    void note_usage(const ThreadUsage& before);
    void leave();
    void leave(std::uint32_t worker);
    void work(std::uint32_t index, Backend& backend);
    void client(std::uint32_t index);
    void closed_client(std::uint32_t client);
    void open_client(const OpenLoop& pattern, std::uint32_t client);
    void submit_plan(PlanCursor cursor, Nanos start, std::uint32_t client, bool counted,
                     DeadlineWaiter& waiter);
    template <typename Ask>
    void closed_loop(std::uint32_t client, Ask ask);
    void think(std::uint32_t client, std::uint64_t query, Nanos since, DeadlineWaiter& waiter);
    void end_window(Nanos at) noexcept;
    void watch();
    void expire_waiting(Nanos now);
    void give_up_process() const;

    std::uint32_t clients_;
    bool direct_;  // closed loop with an instance for each client: the client is the instance
    RunContext run_;
    RunData data_;
    Recorder* watchdog_ = nullptr;  // the last of the recorders, where there is a timeout
    std::vector<std::unique_ptr<Worker>> workers_;
    std::atomic<std::uint32_t> clients_left_;
    std::atomic<bool> over_{false};        // ends the watchdog
    std::atomic<Nanos> asked_at_{kNever};  // when wait() was last called
    Nanos submit_until_ = kNever;          // set once, before the gate opens

    mutable std::mutex mutex_;  // guards the members below
    std::condition_variable changed_;
    std::uint32_t at_gate_ = 0;
    std::uint32_t left_ = 0;
    std::uint32_t participants_ = 0;
    bool gate_open_ = false;
    std::exception_ptr error_;
    std::vector<bool> worker_left_;
    std::vector<ThreadUsage> usage_;
    std::vector<std::thread> threads_;  // clients and the watchdog
};

// Owns the instances; they stay loaded between runs.
class Generator {
  public:
    Generator(std::vector<std::unique_ptr<Backend>> backends, Clock clock, Pinning pinning = {});

    [[nodiscard]] std::shared_ptr<Run> start(RunSpec spec);
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
    Pinning pinning_;
    bool asynchronous_ = false;
    std::vector<std::unique_ptr<Instance>> instances_;
};

}  // namespace bytemlperf
