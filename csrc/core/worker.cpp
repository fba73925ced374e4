#include "core/worker.h"

#include <algorithm>
#include <utility>

#include "core/wait.h"

namespace bytemlperf {

namespace {

constexpr Nanos kIdleWait = 20'000'000;  // how long an idle worker sleeps before it looks again
// A call that is merely late is left alone; the run's own grace at its end is longer.
constexpr Nanos kInterruptAfter = 200'000'000;

}  // namespace

RunContext::RunContext(RunSpec run, Clock run_clock, std::uint32_t mailbox_count)
    : spec(std::move(run)),
      clock(run_clock),
      closed_loop(std::holds_alternative<ClosedLoop>(spec.pattern)),
      queue(bell, spec.batching.dynamic()),
      mailboxes(mailbox_count) {}

void RunContext::reply(const Submission& s, Nanos completed) noexcept {
    if (!closed_loop) return;
    Mailbox& box = mailboxes[s.client];
    box.completed.store(completed, std::memory_order_relaxed);
    box.answers.fetch_add(1, std::memory_order_release);
    if (!spin) futex_wake(box.answers, 1);
}

void RunContext::carry(std::span<const Submission> rest) {
    carried_.assign(rest.begin(), rest.end());
    any_carried_.store(!carried_.empty(), std::memory_order_release);
}

std::vector<Submission> RunContext::take_carried(Nanos due) {
    std::vector<Submission> taken;
    std::erase_if(carried_, [&](const Submission& s) {
        if (s.intended <= due) taken.push_back(s);
        return s.intended <= due;
    });
    any_carried_.store(!carried_.empty(), std::memory_order_release);
    return taken;
}

Worker::Worker(RunContext& run, Recorder& recorder)
    : run_(run), recorder_(&recorder), completions_(std::make_shared<Completions>(run.bell)) {}

void Worker::begin(Backend& backend) {
    backend_ = &backend;
    const std::uint32_t in_flight = std::min(backend.max_in_flight(), Completions::kSlots);
    asynchronous_ = in_flight > 0;
    {
        const auto lock = guard();
        interruptible_ = backend.interruptible();
        flights_.resize(std::max(1U, in_flight));
    }
    const std::size_t queries = std::max(1U, run_.spec.batching.max_samples);
    for (InFlight& flight : flights_) flight.queries.reserve(queries);
    forming_.reserve(queries);
    set_timer_slack();
    backend.run_starts(completions_, run_.window_start);
}

// Without a timeout there is no watchdog, and nothing to guard against.
std::unique_lock<std::mutex> Worker::guard() {
    std::unique_lock lock(mutex_, std::defer_lock);
    if (run_.spec.timeout > 0) lock.lock();
    return lock;
}

// The hot path of a client that is its own instance: no queue, no batcher, no watchdog.
Nanos Worker::answer(const Submission& s) {
    const std::uint32_t samples = backend_->samples(s.query);
    const Batch batch{{&s, 1}, samples, 0, s.counted && run_.spec.keeps(s.query)};
    const Nanos ready = backend_->gather(batch) ? run_.clock.now() : s.submitted;
    CallStamps call{ready, 0};
    const bool ok = backend_->predict(batch, call);
    if (s.counted) {
        recorder_->batch();
        if (ok) {
            complete(s, {s.intended, s.submitted, ready, call.entered, call.completed}, samples);
        } else {
            fail(backend_->failure(), call.completed);
        }
    }
    return call.completed;
}

void Worker::complete(const Submission& s, const Stamps& stamps, std::uint32_t samples) noexcept {
    recorder_->complete(s.query, s.client, stamps, samples);
    if (recorder_->due()) post();
}

void Worker::fail(const Failure& failure, Nanos at) {
    recorder_->fail(failure.kind, failure.message, at, run_.window_start);
}

void Worker::pause() noexcept {
    {
        const auto lock = guard();
        if (recorder_ != nullptr && !recorder_->empty()) post();
    }
    backend_->pause();
}

void Worker::post() noexcept {
    recorder_->post(run_.window_start, run_.window_end);
}

void Worker::close_books() noexcept {
    const auto lock = guard();
    post();
    recorder_ = nullptr;
}

void Worker::serve() {
    for (;;) {
        if (asynchronous_) drain();
        InFlight* const slot = free_slot();
        if (slot != nullptr && fill()) {
            dispatch(*slot);
            continue;
        }
        // closed() is read before the last look at the queue: a push before close() is not missed.
        if (run_.queue.closed() && forming_.empty() && !outstanding() && !run_.waiting()) {
            return;
        }
        idle(slot != nullptr);
    }
}

Worker::InFlight* Worker::free_slot() {
    const auto lock = guard();
    for (InFlight& flight : flights_) {
        if (!flight.busy) return &flight;
    }
    return nullptr;
}

bool Worker::outstanding() {
    const auto lock = guard();
    return std::any_of(flights_.begin(), flights_.end(),
                       [](const InFlight& flight) { return flight.busy && !flight.lost; });
}

// Takes queries for the next batch. True when it is closed and may be dispatched.
bool Worker::fill() {
    const Batching& policy = run_.spec.batching;
    Submission s{};
    if (!policy.dynamic()) {
        while (forming_.empty() && run_.queue.try_pop(s)) {
            if (add(s)) break;
        }
        return !forming_.empty();
    }
    if (!forming_here_) {
        if (!run_.waiting() || run_.forming.test_and_set(std::memory_order_acquire)) return false;
        forming_here_ = true;
        for (const Submission& carried : run_.take_carried()) static_cast<void>(add(carried));
    }
    while (forming_samples_ < policy.max_samples && run_.queue.try_pop(s)) {
        if (forming_samples_ + backend_->samples(s.query) > policy.max_samples &&
            !forming_.empty()) {
            run_.carry({&s, 1});
            return true;
        }
        static_cast<void>(add(s));
    }
    if (forming_.empty()) {
        forming_here_ = false;
        run_.forming.clear(std::memory_order_release);
        return false;
    }
    if (forming_samples_ >= policy.max_samples) return true;
    const bool no_more = run_.queue.closed() && run_.queue.waiting() == 0;
    if (!no_more && run_.clock.now() < closes_at_) return false;
    cut_to_preferred();
    return true;
}

// Adds a query to the forming batch, unless it has timed out already.
bool Worker::add(const Submission& s) {
    const Nanos deadline = run_.deadline(s);
    if (deadline != kNever && run_.clock.now() >= deadline) {
        if (s.counted) recorder_->time_out();
        run_.reply(s, deadline);
        return false;
    }
    if (forming_.empty()) closes_at_ = s.submitted + run_.spec.batching.max_delay;
    forming_.push_back(s);
    forming_samples_ += backend_->samples(s.query);
    return true;
}

// The largest preferred size that the batch reaches; the rest begins the next batch.
void Worker::cut_to_preferred() {
    const std::size_t kept = run_.spec.batching.cut(
        forming_.size(), forming_samples_,
        [this](std::size_t i) { return backend_->samples(forming_[i].query); });
    const std::span<const Submission> rest = std::span(forming_).subspan(kept);
    if (rest.empty()) return;
    for (const Submission& s : rest) forming_samples_ -= backend_->samples(s.query);
    run_.carry(rest);
    forming_.resize(kept);
}

void Worker::dispatch(InFlight& flight) {
    const auto slot = static_cast<std::uint32_t>(&flight - flights_.data());
    {
        const auto lock = guard();
        flight.queries.swap(forming_);
        flight.expired.assign(flight.queries.size(), false);
        flight.busy = true;
    }
    const bool keep =
        std::any_of(flight.queries.begin(), flight.queries.end(),
                    [this](const Submission& s) { return s.counted && run_.spec.keeps(s.query); });
    const Batch batch{flight.queries, forming_samples_, slot, keep};
    forming_.clear();
    forming_samples_ = 0;
    closes_at_ = kNever;
    if (forming_here_) {
        forming_here_ = false;
        run_.forming.clear(std::memory_order_release);
        run_.bell->ring_all();  // another worker may form now
    }
    start(flight, batch);
}

void Worker::start(InFlight& flight, const Batch& batch) {
    backend_->gather(batch);
    const Nanos ready = run_.clock.now();
    CallStamps call{ready, 0};
    flight.ready = flight.entered = ready;
    if (!asynchronous_) {
        const bool ok = backend_->predict(batch, call);
        flight.entered = call.entered;
        settle(flight, call.completed, ok ? std::nullopt : std::optional(backend_->failure()));
        return;
    }
    const Handle handle = completions_->open(batch.slot);
    {
        const auto lock = guard();
        flight.handle = handle;
    }
    const bool ok = backend_->submit(batch, handle, call);
    flight.entered = call.entered;
    // A batch that could not be started gets no reply; one that was answered all the same is
    // settled by its answer.
    if (!ok && completions_->give_up(handle)) {
        settle(flight, run_.clock.now(), backend_->failure());
    }
}

void Worker::drain() {
    completions_->drain([this](std::uint32_t slot, const Completions::Done& done) {
        if (done.entered != 0) flights_[slot].entered = done.entered;
        settle(flights_[slot], done.at, done.failure);
    });
}

// Records each query of a batch that has come back, and frees its slot.
void Worker::settle(InFlight& flight, Nanos completed, const std::optional<Failure>& failure) {
    const auto lock = guard();
    bool counted = false;
    for (std::size_t i = 0; i < flight.queries.size(); ++i) {
        const Submission& s = flight.queries[i];
        if (flight.expired[i]) {
            late_.fetch_add(1);
            continue;
        }
        if (s.counted && !failure) {
            complete(s, {s.intended, s.submitted, flight.ready, flight.entered, completed},
                     backend_->samples(s.query));
        } else if (s.counted) {
            fail(*failure, completed);
        }
        counted = counted || s.counted;
        run_.reply(s, completed);
    }
    if (counted) recorder_->batch();
    flight.queries.clear();
    flight.busy = false;
    flight.lost = false;
}

// Waits until a query, a completion or the close of the forming batch may have come.
void Worker::idle(bool can_take) {
    pause();
    if (run_.spin) {
        relax_cpu();
        return;
    }
    const std::uint32_t seen = run_.bell->listen();
    const bool may_form = can_take && (forming_here_ || !run_.spec.batching.dynamic() ||
                                       !run_.forming.test(std::memory_order_acquire));
    const bool ended = run_.queue.closed() && forming_.empty() && !outstanding();
    if (completions_->any() || (may_form && run_.waiting()) || ended) {
        run_.bell->ignore();
        return;
    }
    const Nanos until_close = closes_at_ == kNever ? kNever : closes_at_ - run_.clock.now();
    run_.bell->sleep(seen, std::min(kIdleWait, until_close));
}

void Worker::expire(Nanos now, Recorder& watchdog) {
    const std::lock_guard lock(mutex_);
    for (InFlight& flight : flights_) {
        if (!flight.busy || flight.lost) continue;
        bool all = true;
        for (std::size_t i = 0; i < flight.queries.size(); ++i) {
            const Submission& s = flight.queries[i];
            if (!flight.expired[i] && now >= run_.deadline(s)) {
                flight.expired[i] = true;
                if (s.counted) watchdog.time_out();
                run_.reply(s, run_.deadline(s));
            }
            all = all && flight.expired[i];
        }
        if (!all) continue;
        flight.lost = true;
        flight.lost_at = now;
        if (asynchronous_ && !interruptible_) completions_->give_up(flight.handle);
        run_.bell->ring_all();  // its instance may have nothing left to wait for
    }
    const auto overdue = [now](const InFlight& flight) {
        return flight.lost && now - flight.lost_at > kInterruptAfter;
    };
    if (interruptible_ && !flights_.empty() &&
        std::all_of(flights_.begin(), flights_.end(), overdue)) {
        backend_->interrupt();
    }
}

bool Worker::stuck() {
    const std::lock_guard lock(mutex_);
    return !flights_.empty() && std::all_of(flights_.begin(), flights_.end(),
                                            [](const InFlight& flight) { return flight.lost; });
}

}  // namespace bytemlperf
