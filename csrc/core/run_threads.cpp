// What each thread of a run does: those of instances, those of clients, and the watchdog's.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>

#include "core/generator.h"
#include "core/partial.h"

namespace bytemlperf {

namespace {

constexpr Nanos kIdleWait = 20'000'000;   // how long a waiting client sleeps before it looks again
constexpr Nanos kWatchEvery = 1'000'000;  // how late a timeout may be counted
constexpr Nanos kGrace = 500'000'000;     // for a call that outlived every deadline to return
// A run is over, but its owner, who asks every few milliseconds, has not asked for so long.
constexpr Nanos kOwnerGone = 10 * kSecond;

// Of the calling thread, since it began.
ThreadUsage usage_now(bool client, std::uint32_t index) {
    rusage usage{};
    getrusage(RUSAGE_THREAD, &usage);
    return {client,         index,          thread_cpu_time(), read_clock(CLOCK_MONOTONIC),
            usage.ru_nvcsw, usage.ru_nivcsw};
}

}  // namespace

// The thread of an instance.
void Run::work(std::uint32_t index, Backend& backend) {
    try {
        backend.open();
    } catch (...) {
        const std::lock_guard lock(mutex_);
        if (!error_) error_ = std::current_exception();
    }
    if (pass_gate()) {
        const ThreadUsage before = usage_now(direct_, index);
        Worker& worker = *workers_[index];
        worker.begin(backend);
        if (direct_) {
            closed_loop(index, [&](const Submission& s) { return worker.answer(s); });
        } else {
            worker.serve();
        }
        worker.pause();
        note_usage(before);
    }
    leave(index);
}

// The thread of a client that is not an instance.
void Run::client(std::uint32_t index) {
    pin_thread(Pinning::of(run_.spec.pinning.clients, index));
    if (pass_gate()) {
        const ThreadUsage before = usage_now(true, index);
        if (const OpenLoop* pattern = open()) {
            open_client(*pattern, index);
        } else {
            closed_client(index);
        }
        note_usage(before);
    }
    if (clients_left_.fetch_sub(1) == 1) run_.queue.close();
    leave();
}

void Run::note_usage(const ThreadUsage& before) {
    ThreadUsage usage = usage_now(before.client, before.index);
    usage.cpu -= before.cpu;
    usage.wall -= before.wall;
    usage.voluntary_switches -= before.voluntary_switches;
    usage.involuntary_switches -= before.involuntary_switches;
    const std::lock_guard lock(mutex_);
    usage_.push_back(usage);
}

// The closed loop of one client; `ask` submits a query and returns when it is answered.
template <typename Ask>
void Run::closed_loop(std::uint32_t client, Ask ask) {
    DeadlineWaiter waiter(run_.clock, run_.spin);
    const Nanos start = run_.window_start;
    waiter.wait_until(start - run_.spec.warmup, run_.stop);
    std::uint64_t query = client;
    // The warm-up hands over without draining: each client's next query is simply counted.
    for (Nanos now = run_.clock.now(); now < start && !stopped(); now = run_.clock.now()) {
        const Nanos completed = ask({query, client, false, now, now});
        think(client, query, completed, waiter);
        query += clients_;
    }
    const std::uint64_t end = run_.spec.limit.queries.value_or(UINT64_MAX);
    Nanos completed = start;
    for (query = client; query < end; query += clients_) {
        if (stopped()) return;
        const Nanos now = run_.clock.now();
        // A bound in time is never so tight that a client measures nothing.
        if (now >= submit_until_ && query != client) return;
        completed = ask({query, client, true, now, now});
        think(client, query, completed, waiter);
    }
    // The first client to run out ends the window, unless it never had a query. The others go on.
    if (query != client) end_window(completed);
}

void Run::think(std::uint32_t client, std::uint64_t query, Nanos since, DeadlineWaiter& waiter) {
    const ServiceTime* const time = closed()->think_time.get();
    if (time == nullptr) return;
    if (direct_) workers_[client]->pause();
    const Nanos until = since + time->draw(run_.spec.think_seed(), query, 1);
    waiter.wait_until(std::min(until, submit_until_), run_.stop);
}

void Run::closed_client(std::uint32_t client) {
    Mailbox& box = run_.mailboxes[client];
    closed_loop(client, [&](const Submission& s) {
        const std::uint32_t before = box.answers.load(std::memory_order_relaxed);
        run_.queue.push(s);
        while (box.answers.load(std::memory_order_acquire) == before) {
            if (run_.spin) {
                relax_cpu();
            } else {
                futex_wait(box.answers, before, kIdleWait);
            }
        }
        return box.completed.load(std::memory_order_relaxed);
    });
}

void Run::open_client(const OpenLoop& pattern, std::uint32_t client) {
    DeadlineWaiter waiter(run_.clock, run_.spin);
    const RunSpec& spec = run_.spec;
    const Nanos start = run_.window_start;
    if (spec.warmup > 0 && !pattern.window_is_drain) {
        submit_plan({pattern.process->stream(spec.warmup_seed()),
                     {std::nullopt, spec.warmup},
                     clients_,
                     client},
                    start - spec.warmup, client, false, waiter);
    }
    submit_plan({pattern.process->stream(spec.seed), spec.limit, clients_, client}, start, client,
                true, waiter);
}

void Run::submit_plan(PlanCursor cursor, Nanos start, std::uint32_t client, bool counted,
                      DeadlineWaiter& waiter) {
    while (const auto planned = cursor.next()) {
        const Nanos intended = start + planned->offset;
        waiter.wait_until(intended, run_.stop);
        if (stopped()) return;
        run_.queue.push({planned->index, client, counted, intended, run_.clock.now()});
    }
}

// The watchdog's thread: counts queries at their deadlines, whatever their instances do, and in the
// end leaves on behalf of an instance whose call does not return.
void Run::watch() {
    Nanos drained_at = kNever;
    while (!over_) {
        std::this_thread::sleep_for(std::chrono::nanoseconds(kWatchEvery));
        const Nanos now = run_.clock.now();
        for (const auto& worker : workers_) worker->expire(now, *watchdog_);
        const bool all_stuck = std::all_of(workers_.begin(), workers_.end(),
                                           [](const auto& worker) { return worker->stuck(); });
        if (all_stuck) expire_waiting(now);
        const bool drained = run_.queue.closed() && !run_.waiting();
        if (!drained) {
            drained_at = kNever;
        } else if (drained_at == kNever) {
            drained_at = now;
        } else if (now - drained_at > kGrace) {
            for (std::uint32_t i = 0; i < workers_.size(); ++i) {
                if (workers_[i]->stuck()) leave(i);
            }
            if (now - drained_at > kOwnerGone) give_up_process();
        }
    }
}

// Counts what has waited past its deadline while no instance could take it. What may still be
// answered in time stays where it is: an instance may only have been held up.
void Run::expire_waiting(Nanos now) {
    const Nanos due = now - run_.spec.timeout;
    const auto time_out = [this](const Submission& s) {
        if (s.counted) watchdog_->time_out();
        run_.reply(s, run_.deadline(s));
    };
    if (!run_.forming.test_and_set(std::memory_order_acquire)) {
        for (const Submission& s : run_.take_carried(due)) time_out(s);
        run_.forming.clear(std::memory_order_release);
        run_.bell->ring_all();  // one that came back may form now
    }
    Submission s{};
    while (run_.queue.try_pop(s, due)) time_out(s);
}

// A call that never returns may hold what the owner needs to go on: Python's GIL.
void Run::give_up_process() const {
    {
        const std::lock_guard lock(mutex_);
        const bool ended = left_ == participants_;
        if (!ended || run_.clock.now() - asked_at_ < kOwnerGone) return;
    }
    if (run_.spec.partial_path.empty()) return;
    for (const auto& worker : workers_) worker->close_books();
    save_and_exit(run_.spec.partial_path, data_);
}

}  // namespace bytemlperf
