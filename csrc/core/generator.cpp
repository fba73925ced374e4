#include "core/generator.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "core/partial.h"

namespace bytemlperf {

namespace {

constexpr Nanos kStartDelay = 500'000;    // between the gate and the first query
constexpr Nanos kIdleWait = 20'000'000;   // how long a waiting client sleeps before it looks again
constexpr Nanos kWatchEvery = 1'000'000;  // how late a timeout may be counted
constexpr Nanos kGrace = 500'000'000;     // for a call that outlived every deadline to return
constexpr std::size_t kStampsAhead = 1U << 18U;  // 14 MiB
// A run is over, but its owner, who asks every few milliseconds, has not asked for so long.
constexpr Nanos kOwnerGone = 10 * kSecond;

std::uint32_t client_count(const RunSpec& spec) {
    return std::visit([](const auto& pattern) { return pattern.clients; }, spec.pattern);
}

// Of the calling thread, since it began.
ThreadUsage usage_now(bool client, std::uint32_t index) {
    rusage usage{};
    getrusage(RUSAGE_THREAD, &usage);
    return {client,         index,          thread_cpu_time(), read_clock(CLOCK_MONOTONIC),
            usage.ru_nvcsw, usage.ru_nivcsw};
}

// A client can be its own instance where nothing has to happen beside the call: no batching, no
// watchdog that lets it go on without its answer.
bool is_direct(const RunSpec& spec, std::uint32_t instances) {
    return std::holds_alternative<ClosedLoop>(spec.pattern) && instances >= client_count(spec) &&
           !spec.batching.dynamic() && spec.timeout == 0 && !spec.asynchronous;
}

}  // namespace

Run::Run(RunSpec spec, Clock clock, std::uint32_t instances)
    : clients_(client_count(spec)),
      direct_(is_direct(spec, instances)),
      run_(std::move(spec), clock, direct_ ? 0 : clients_),
      clients_left_(clients_) {
    const std::uint32_t used = direct_ ? clients_ : instances;
    const std::uint32_t threads = std::max(1U, run_.spec.threads_per_instance);
    run_.spin = (direct_ ? 0 : clients_) + used * threads <= available_cores().size() &&
                !run_.spec.pinning.overlaps();
    for (std::uint32_t i = 0; i < used; ++i) {
        data_.recorders.push_back(
            std::make_unique<Recorder>(i, run_.spec.stamp_bytes / used, run_.closed_loop));
        workers_.push_back(std::make_unique<Worker>(run_, *data_.recorders.back()));
    }
    if (run_.spec.timeout > 0) {
        data_.recorders.push_back(std::make_unique<Recorder>(used, 0, run_.closed_loop));
        watchdog_ = data_.recorders.back().get();
    }
    worker_left_.resize(used);
    plan();
}

void Run::plan() {
    if (const OpenLoop* pattern = open()) {
        const PlanSummary plan = summarize_plan(*pattern->process, run_.spec.seed, run_.spec.limit);
        data_.planned = plan.queries;
        data_.plan_hash = plan.hash;
        if (!run_.spec.limit.duration && !pattern->window_is_drain) {
            run_.spec.limit.duration = plan.last_offset + 1;
        }
    } else if (run_.spec.limit.queries) {
        data_.planned = *run_.spec.limit.queries;
    }
}

Run::~Run() {
    for (std::thread& thread : threads_) {
        if (thread.joinable()) thread.detach();  // finish() has joined, unless the run was given up
    }
}

void Run::start(std::vector<std::unique_ptr<Instance>>& instances) {
    const auto self = shared_from_this();
    const auto used = static_cast<std::uint32_t>(workers_.size());
    participants_ = used + (direct_ ? 0 : clients_);
    const std::uint64_t stamps = data_.planned > 0 ? data_.planned : kStampsAhead;
    for (const auto& recorder : data_.recorders) {
        recorder->stamps().prepare(std::min<std::uint64_t>(stamps, kStampsAhead));
    }
    for (std::uint32_t i = 0; i < used; ++i) {
        instances[i]->post([self, i](Backend& backend) { self->work(i, backend); });
    }
    if (watchdog_ != nullptr) threads_.emplace_back([self] { self->watch(); });
    if (direct_) return;
    for (std::uint32_t c = 0; c < clients_; ++c) {
        threads_.emplace_back([self, c] { self->client(c); });
    }
}

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

// Everybody waits until the last backend is loaded; that thread sets the time at which all begin.
// False where the run is not to take place.
bool Run::pass_gate() {
    std::unique_lock lock(mutex_);
    if (++at_gate_ == participants_) {
        gate_open_ = true;
        const Nanos start = run_.clock.now() + kStartDelay + run_.spec.warmup;
        if (run_.spec.limit.duration) {
            submit_until_ = start + *run_.spec.limit.duration;
            run_.window_end = submit_until_;
        }
        run_.window_start = start;
        changed_.notify_all();
    } else {
        changed_.wait(lock, [this] { return gate_open_; });
    }
    return error_ == nullptr && !stopped();
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

void Run::leave() {
    const std::lock_guard lock(mutex_);
    ++left_;
    changed_.notify_all();
}

// A worker leaves once: by itself, or the watchdog on its behalf.
void Run::leave(std::uint32_t worker) {
    const std::lock_guard lock(mutex_);
    if (worker_left_[worker]) return;
    worker_left_[worker] = true;
    ++left_;
    changed_.notify_all();
}

bool Run::wait(Nanos timeout) {
    const Nanos asked_at = run_.clock.now();
    asked_at_ = asked_at;
    for (;;) {
        const Nanos enough_for = prepare_stamps();
        const Nanos left = asked_at + timeout - run_.clock.now();
        std::unique_lock lock(mutex_);
        const bool ended = changed_.wait_for(
            lock, std::chrono::nanoseconds(std::clamp<Nanos>(left, 0, enough_for)),
            [this] { return left_ == participants_; });
        if (ended || left <= enough_for) return ended;
    }
}

// The thread that waits for the run keeps memory for stamps ready ahead of those who write them.
// Returns how long it will last.
Nanos Run::prepare_stamps() {
    const Nanos elapsed = std::max<Nanos>(1, run_.clock.now() - run_.window_start);
    Nanos lasts = kSecond;
    for (const auto& recorder : data_.recorders) {
        StampBuffer& stamps = recorder->stamps();
        const std::size_t count = stamps.count();
        if (count == stamps.capacity()) continue;
        stamps.prepare(kStampsAhead);
        const double per_second = 1e9 * static_cast<double>(count) / static_cast<double>(elapsed);
        const double seconds = kStampsAhead / 2.0 / std::max(per_second, 1.0);
        lasts = std::min(lasts, static_cast<Nanos>(1e9 * std::min(seconds, 1.0)));
    }
    return std::max<Nanos>(lasts, 1'000'000);
}

void Run::stop() noexcept {
    end_window(run_.clock.now());
    run_.stop.store(true);
}

void Run::end_window(Nanos at) noexcept {
    Nanos current = run_.window_end.load();
    while (at < current && !run_.window_end.compare_exchange_weak(current, at)) {
    }
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
    std::vector<Submission> orphans;  // taken from the queue when no instance was left to take them
    Nanos drained_at = kNever;
    while (!over_) {
        std::this_thread::sleep_for(std::chrono::nanoseconds(kWatchEvery));
        const Nanos now = run_.clock.now();
        for (const auto& worker : workers_) worker->expire(now, *watchdog_);
        const bool all_stuck = std::all_of(workers_.begin(), workers_.end(),
                                           [](const auto& worker) { return worker->stuck(); });
        Submission s{};
        if (all_stuck && !run_.forming.test_and_set(std::memory_order_acquire)) {
            const std::vector<Submission> carried = run_.take_carried();
            orphans.insert(orphans.end(), carried.begin(), carried.end());
            run_.forming.clear(std::memory_order_release);
        }
        while (all_stuck && run_.queue.try_pop(s)) orphans.push_back(s);
        std::erase_if(orphans, [&](const Submission& orphan) {
            if (now < run_.deadline(orphan)) return false;
            if (orphan.counted) watchdog_->time_out();
            run_.reply(orphan, run_.deadline(orphan));
            return true;
        });
        const bool drained = run_.queue.closed() && !run_.waiting() && orphans.empty();
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

// A call that never returns may hold what the owner needs to go on: Python's GIL.
void Run::give_up_process() const {
    {
        const std::lock_guard lock(mutex_);
        const bool ended = left_ == participants_;
        if (!ended || run_.clock.now() - asked_at_ < kOwnerGone) return;
    }
    if (!run_.spec.partial_path.empty()) save_and_exit(run_.spec.partial_path, data_);
}

Live Run::live() const {
    Live live;
    const Nanos start = run_.window_start;
    {
        const std::lock_guard lock(mutex_);
        if (left_ == participants_) {
            live.phase = Phase::kDone;
        } else if (gate_open_) {
            const Nanos now = run_.clock.now();
            live.elapsed = std::max<Nanos>(0, now - start);
            live.phase = now < start ? Phase::kWarmup
                                     : (now < run_.window_end ? Phase::kMeasure : Phase::kDrain);
        }
    }
    Histogram latency;
    for (const auto& recorder : data_.recorders) {
        latency.merge(recorder->histogram(Interval::kLatency));
        live.errors += recorder->errors() + recorder->timeouts();
    }
    live.completed = latency.count();
    live.p99 = latency.quantile(0.99);
    return live;
}

RunData Run::finish() {
    over_ = true;
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    if (error_) std::rethrow_exception(error_);
    data_.window_start = run_.window_start;
    data_.window_end = run_.window_end;
    const OpenLoop* pattern = open();
    if (pattern != nullptr && pattern->window_is_drain) data_.window_end = data_.last_completed();
    data_.window_end = std::max(data_.window_end, data_.window_start);
    if (data_.planned == 0) {
        data_.planned = data_.completed() + data_.errors() + data_.timeouts();
    }
    for (const auto& worker : workers_) {
        data_.late += worker->late();
        data_.repeated += worker->repeated();
        data_.abandoned += watchdog_ != nullptr && worker->stuck() ? 1 : 0;
    }
    {
        const std::lock_guard lock(mutex_);
        data_.threads = usage_;
    }
    data_.spinning = run_.spin;
    data_.clock_drift_ppm = run_.clock.drift_ppm();
    return std::move(data_);
}

Generator::Generator(std::vector<std::unique_ptr<Backend>> backends, Clock clock, Pinning pinning)
    : clock_(clock), pinning_(std::move(pinning)) {
    for (auto& backend : backends) {
        asynchronous_ = asynchronous_ || backend->max_in_flight() > 0;
        instances_.push_back(std::make_unique<Instance>(
            std::move(backend), Pinning::of(pinning_.instances, instances_.size())));
    }
}

std::shared_ptr<Run> Generator::start(RunSpec spec) {
    spec.asynchronous = asynchronous_;
    spec.pinning = pinning_;
    auto run = std::make_shared<Run>(std::move(spec), clock_, instances());
    run->start(instances_);
    return run;
}

}  // namespace bytemlperf
