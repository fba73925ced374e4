#include "core/generator.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace bytemlperf {

namespace {

constexpr Nanos kStartDelay = 500'000;   // between the gate and the first query
constexpr Nanos kIdleWait = 20'000'000;  // how long an idle thread sleeps before it looks again

std::uint32_t client_count(const RunSpec& spec) {
    return std::visit([](const auto& pattern) { return pattern.clients; }, spec.pattern);
}

}  // namespace

Run::Run(RunSpec spec, Clock clock, std::uint32_t instances)
    : spec_(std::move(spec)),
      clock_(clock),
      instances_(instances),
      clients_(client_count(spec_)),
      direct_(closed() != nullptr && instances >= clients_),
      mailboxes_(direct_ ? 0 : clients_),
      clients_left_(clients_) {
    const std::uint32_t used = direct_ ? clients_ : instances_;
    const std::uint32_t threads = std::max(1U, spec_.threads_per_instance);
    spin_ = (direct_ ? 0 : clients_) + used * threads <= available_cores();
    for (std::uint32_t i = 0; i < used; ++i) {
        data_.recorders.push_back(std::make_unique<Recorder>(i, spec_.stamp_bytes / used));
    }
    if (const OpenLoop* pattern = open()) {
        const PlanSummary plan = summarize_plan(*pattern->process, spec_.seed, spec_.limit);
        data_.planned = plan.queries;
        data_.plan_hash = plan.hash;
        if (!spec_.limit.duration && !pattern->window_is_drain) {
            spec_.limit.duration = plan.last_offset + 1;
        }
    } else if (spec_.limit.queries) {
        data_.planned = *spec_.limit.queries;
    }
}

Run::~Run() {
    for (std::thread& thread : client_threads_) {
        if (thread.joinable()) thread.detach();  // finish() has joined, unless the run was given up
    }
}

void Run::start(std::vector<std::unique_ptr<Instance>>& instances) {
    const auto self = shared_from_this();
    const auto used = static_cast<std::uint32_t>(data_.recorders.size());
    participants_ = used + (direct_ ? 0 : clients_);
    for (std::uint32_t i = 0; i < used; ++i) {
        instances[i]->post([self, i](Backend& backend) {
            self->open_backend(backend);
            if (self->pass_gate()) {
                backend.window_starts(self->window_start_);
                Recorder& recorder = *self->data_.recorders[i];
                if (self->direct_) {
                    self->closed_direct(i, backend, recorder);
                } else {
                    self->serve(backend, recorder);
                }
            }
            self->leave();
        });
    }
    if (direct_) return;
    for (std::uint32_t c = 0; c < clients_; ++c) {
        client_threads_.emplace_back([self, c] {
            if (self->pass_gate()) {
                if (const OpenLoop* pattern = self->open()) {
                    self->open_client(*pattern, c);
                } else {
                    self->closed_client(c);
                }
            }
            if (self->clients_left_.fetch_sub(1) == 1) self->queue_.close();
            self->leave();
        });
    }
}

void Run::open_backend(Backend& backend) {
    try {
        backend.open();
    } catch (...) {
        const std::lock_guard lock(mutex_);
        if (!error_) error_ = std::current_exception();
    }
}

// Everybody waits until the last backend is loaded; that thread sets the time at which all begin.
// False where the run is not to take place.
bool Run::pass_gate() {
    std::unique_lock lock(mutex_);
    if (++at_gate_ == participants_) {
        gate_open_ = true;
        const Nanos start = clock_.now() + kStartDelay + spec_.warmup;
        if (spec_.limit.duration) submit_until_ = window_end_ = start + *spec_.limit.duration;
        window_start_ = start;
        changed_.notify_all();
    } else {
        changed_.wait(lock, [this] { return gate_open_; });
    }
    return error_ == nullptr && !stopped();
}

void Run::leave() {
    const std::lock_guard lock(mutex_);
    ++left_;
    changed_.notify_all();
}

bool Run::wait(Nanos timeout) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::nanoseconds(timeout),
                             [this] { return left_ == participants_; });
}

void Run::stop() noexcept {
    end_window(clock_.now());
    stop_.store(true);
}

void Run::end_window(Nanos at) noexcept {
    Nanos current = window_end_.load();
    while (at < current && !window_end_.compare_exchange_weak(current, at)) {
    }
}

// Answers one query on the calling thread: the whole hot path behind the submission.
// `hand_over`: it came from another thread, so time has passed since it was submitted.
inline Nanos Run::answer(const Submission& s, bool hand_over, Backend& backend,
                         Recorder& recorder) {
    const bool gathered = backend.gather(s.query);
    const Nanos ready = gathered || hand_over ? clock_.now() : s.submitted;
    CallStamps call{ready, 0};
    const bool ok = backend.predict(s.query, s.counted && spec_.keep_outputs, call);
    if (s.counted) {
        const Nanos window_start = window_start_.load(std::memory_order_relaxed);
        if (ok) {
            recorder.complete(s.query, s.client,
                              {s.intended, s.submitted, ready, call.entered, call.completed},
                              backend.samples(s.query), window_start,
                              window_end_.load(std::memory_order_relaxed));
        } else {
            const Failure failure = backend.failure();
            recorder.fail(failure.kind, failure.message, call.completed, window_start);
        }
    }
    return call.completed;
}

// The closed loop of one client; `ask` submits a query and returns when it is answered.
template <typename Ask>
void Run::closed_loop(std::uint32_t client, Ask ask) {
    DeadlineWaiter waiter(clock_, spin_);
    const Nanos think = closed()->think_time;
    const Nanos start = window_start_;
    waiter.wait_until(start - spec_.warmup, stop_);
    std::uint64_t query = client;
    // The warm-up hands over without draining: each client's next query is simply counted.
    for (Nanos now = clock_.now(); now < start && !stopped(); now = clock_.now()) {
        const Nanos completed = ask({query, client, false, now, now});
        query += clients_;
        if (think > 0) waiter.wait_until(completed + think, stop_);
    }
    const std::uint64_t end = spec_.limit.queries.value_or(UINT64_MAX);
    Nanos completed = start;
    for (query = client; query < end; query += clients_) {
        if (stopped()) return;
        const Nanos now = clock_.now();
        // A bound in time is never so tight that a client measures nothing.
        if (now >= submit_until_ && query != client) return;
        completed = ask({query, client, true, now, now});
        if (think > 0) waiter.wait_until(completed + think, stop_);
    }
    // The first client to run out ends the window, unless it never had a query. The others go on.
    if (query != client) end_window(completed);
}

void Run::closed_direct(std::uint32_t client, Backend& backend, Recorder& recorder) {
    closed_loop(client, [&](const Submission& s) { return answer(s, false, backend, recorder); });
}

void Run::closed_client(std::uint32_t client) {
    Mailbox& box = mailboxes_[client];
    closed_loop(client, [&](const Submission& s) {
        const std::uint32_t before = box.answers.load(std::memory_order_relaxed);
        queue_.push(s);
        while (box.answers.load(std::memory_order_acquire) == before) {
            if (spin_) {
                relax_cpu();
            } else {
                futex_wait(box.answers, before, kIdleWait);
            }
        }
        return box.completed;
    });
}

void Run::serve(Backend& backend, Recorder& recorder) {
    const bool reply = closed() != nullptr;
    for (;;) {
        Submission s{};
        if (!queue_.try_pop(s)) {
            // closed() is read before the last look: a push before close() is never missed.
            if (queue_.closed()) {
                if (!queue_.try_pop(s)) return;
            } else {
                if (spin_) {
                    relax_cpu();
                } else {
                    queue_.wait(kIdleWait);
                }
                continue;
            }
        }
        const Nanos completed = answer(s, true, backend, recorder);
        if (reply) {
            Mailbox& box = mailboxes_[s.client];
            box.completed = completed;
            box.answers.fetch_add(1, std::memory_order_release);
            if (!spin_) futex_wake(box.answers, 1);
        }
    }
}

void Run::open_client(const OpenLoop& pattern, std::uint32_t client) {
    DeadlineWaiter waiter(clock_, spin_);
    const Nanos start = window_start_;
    if (spec_.warmup > 0 && !pattern.window_is_drain) {
        submit_plan({pattern.process->stream(spec_.warmup_seed()),
                     {std::nullopt, spec_.warmup},
                     clients_,
                     client},
                    start - spec_.warmup, client, false, waiter);
    }
    submit_plan({pattern.process->stream(spec_.seed), spec_.limit, clients_, client}, start, client,
                true, waiter);
}

void Run::submit_plan(PlanCursor cursor, Nanos start, std::uint32_t client, bool counted,
                      DeadlineWaiter& waiter) {
    while (const auto planned = cursor.next()) {
        const Nanos intended = start + planned->offset;
        waiter.wait_until(intended, stop_);
        if (stopped()) return;
        queue_.push({planned->index, client, counted, intended, clock_.now()});
    }
}

Live Run::live() const {
    Live live;
    const Nanos start = window_start_;
    {
        const std::lock_guard lock(mutex_);
        if (left_ == participants_) {
            live.phase = Phase::kDone;
        } else if (gate_open_) {
            const Nanos now = clock_.now();
            live.elapsed = std::max<Nanos>(0, now - start);
            live.phase = now < start ? Phase::kWarmup
                                     : (now < window_end_ ? Phase::kMeasure : Phase::kDrain);
        }
    }
    Histogram latency;
    for (const auto& recorder : data_.recorders) {
        latency.merge(recorder->histogram(Interval::kLatency));
        live.errors += recorder->errors();
    }
    live.completed = latency.count();
    live.p99 = latency.quantile(0.99);
    return live;
}

RunData Run::finish() {
    for (std::thread& thread : client_threads_) thread.join();
    client_threads_.clear();
    if (error_) std::rethrow_exception(error_);
    data_.window_start = window_start_;
    data_.window_end = window_end_;
    const OpenLoop* pattern = open();
    if (pattern != nullptr && pattern->window_is_drain) data_.window_end = data_.last_completed();
    data_.window_end = std::max(data_.window_end, data_.window_start);
    if (data_.planned == 0) data_.planned = data_.completed() + data_.errors();
    data_.spinning = spin_;
    data_.clock_drift_ppm = clock_.drift_ppm();
    return std::move(data_);
}

Generator::Generator(std::vector<std::unique_ptr<Backend>> backends, Clock clock) : clock_(clock) {
    for (auto& backend : backends)
        instances_.push_back(std::make_unique<Instance>(std::move(backend)));
}

std::shared_ptr<Run> Generator::start(const RunSpec& spec) {
    auto run = std::make_shared<Run>(spec, clock_, instances());
    run->start(instances_);
    return run;
}

}  // namespace bytemlperf
