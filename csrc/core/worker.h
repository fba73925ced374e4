// An instance's side of a run: it takes queries, forms batches, calls the backend, records.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "core/backend.h"
#include "core/completions.h"
#include "core/doorbell.h"
#include "core/run_data.h"
#include "core/submission_queue.h"

namespace bytemlperf {

// Where a closed-loop client waits for its answer from another thread.
struct alignas(64) Mailbox {
    std::atomic<std::uint32_t> answers{0};
    std::atomic<Nanos> completed{0};  // written before `answers` is raised
};

// What all threads of a run share.
struct RunContext {
    RunContext(RunSpec run, Clock run_clock, std::uint32_t mailbox_count);

    RunSpec spec;
    Clock clock;
    bool spin = false;
    bool closed_loop;
    std::shared_ptr<Doorbell> bell = std::make_shared<Doorbell>();
    SubmissionQueue queue;
    std::vector<Mailbox> mailboxes;
    std::atomic_flag forming;  // held by the one idle worker that forms the next batch
    std::atomic<bool> stop{false};
    std::atomic<Nanos> window_start{kNever};
    std::atomic<Nanos> window_end{kNever};  // what completes later is no throughput

    [[nodiscard]] Nanos deadline(const Submission& s) const noexcept {
        return spec.timeout > 0 ? s.intended + spec.timeout : kNever;
    }
    // Lets the client of a query go on, in closed loop.
    void reply(const Submission& s, Nanos completed) noexcept;

    // Queries that came through the queue and that the last batch had no room for: the next one
    // begins with them, whichever worker forms it. Called by who holds `forming`.
    void carry(std::span<const Submission> rest);
    // Those that were meant to be sent by `due`.
    [[nodiscard]] std::vector<Submission> take_carried(Nanos due = kNever);
    // Something is there to form a batch of.
    [[nodiscard]] bool waiting() const noexcept {
        return any_carried_.load(std::memory_order_acquire) || queue.waiting() > 0;
    }

  private:
    std::vector<Submission> carried_;
    std::atomic<bool> any_carried_{false};
};

class Worker {
  public:
    Worker(RunContext& run, Recorder& recorder);

    // The instance's thread, before the first query.
    void begin(Backend& backend);
    // The instance's thread: answers what comes through the queue until nothing more can come.
    void serve();
    // The instance's thread, where it is the client too: answers one query.
    Nanos answer(const Submission& s);
    // The instance's thread, before it waits.
    void pause() noexcept;
    // Any thread, once the instance's has ended or is stuck: nothing is recorded from here on.
    void close_books() noexcept;

    // The watchdog's thread. Counts queries whose deadline has passed; their clients go on.
    void expire(Nanos now, Recorder& watchdog);
    // The watchdog's thread: every batch that this instance could run is lost.
    [[nodiscard]] bool stuck();
    [[nodiscard]] std::uint64_t late() const noexcept {
        return late_.load() + completions_->late();
    }
    [[nodiscard]] std::uint64_t repeated() const noexcept { return completions_->repeated(); }

  private:
    // A batch that the backend has, in its staging slot.
    struct InFlight {
        std::vector<Submission> queries;
        std::vector<bool> expired;  // of each query: the watchdog has counted it
        Nanos ready = 0;
        Nanos entered = 0;
        Handle handle = 0;
        bool busy = false;
        // Every query has expired: the slot is not used again before its batch has come back.
        bool lost = false;
        Nanos lost_at = 0;
    };

    [[nodiscard]] std::unique_lock<std::mutex> guard();
    [[nodiscard]] InFlight* free_slot();
    [[nodiscard]] bool outstanding();
    [[nodiscard]] bool fill();
    [[nodiscard]] bool add(const Submission& s);
    void cut_to_preferred();
    void dispatch(InFlight& flight);
    void start(InFlight& flight, const Batch& batch);
    void settle(InFlight& flight, Nanos completed, const std::optional<Failure>& failure);
    void drain();
    void complete(const Submission& s, const Stamps& stamps, std::uint32_t samples) noexcept;
    void fail(const Failure& failure, Nanos at);
    void post() noexcept;
    void idle(bool can_take);

    RunContext& run_;
    Recorder* recorder_;  // nullptr once the books are closed: who reads them may delete them
    Backend* backend_ = nullptr;
    bool asynchronous_ = false;
    bool interruptible_ = false;
    std::shared_ptr<Completions> completions_;
    std::vector<InFlight> flights_;
    std::vector<Submission> forming_;
    std::uint32_t forming_samples_ = 0;
    bool forming_here_ = false;
    Nanos closes_at_ = kNever;  // when the forming batch closes
    std::mutex mutex_;  // guards flights_ and interruptible_ against the watchdog; unused without a
                        // timeout
    std::atomic<std::uint64_t> late_{0};
};

}  // namespace bytemlperf
