#include "core/generator.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace bytemlperf {

namespace {

constexpr Nanos kStartDelay = 500'000;           // between the gate and the first query
constexpr std::size_t kStampsAhead = 1U << 18U;  // 14 MiB

std::uint32_t client_count(const RunSpec& spec) {
    return std::visit([](const auto& pattern) { return pattern.clients; }, spec.pattern);
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
    for (const auto& worker : workers_) worker->close_books();
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
