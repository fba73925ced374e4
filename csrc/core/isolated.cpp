#include "core/isolated.h"

#include <algorithm>
#include <cstdio>
#include <exception>
#include <utility>

namespace bytemlperf {

namespace {

constexpr Nanos kLookAfter = 20'000'000;     // how often a waiting parent asks whether it hangs
constexpr Nanos kOffsetServes = 10'000'000;  // how long a comparison of the clocks is used

std::string in_seconds(Nanos t) {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.3g s", static_cast<double>(t) * 1e-9);
    return text.data();
}

}  // namespace

std::shared_ptr<Histogram> BridgeStats::add_hop() {
    const std::lock_guard lock(mutex_);
    return hops_.emplace_back(std::make_shared<Histogram>());
}

std::unique_ptr<Histogram> BridgeStats::merged_hop() const {
    const std::lock_guard lock(mutex_);
    auto all = std::make_unique<Histogram>();
    for (const auto& hop : hops_) all->merge(*hop);
    return all;
}

void BridgeStats::add_death(const Failure& failure) {
    const std::lock_guard lock(mutex_);
    deaths_.push_back(failure.kind + ": " + failure.message);
}

std::vector<std::string> BridgeStats::deaths() const {
    const std::lock_guard lock(mutex_);
    return deaths_;
}

IsolatedBackend::IsolatedBackend(Clock clock, IsolatedOptions options,
                                 std::unique_ptr<ChildProcess> process,
                                 std::shared_ptr<BridgeStats> stats)
    : clock_(clock),
      options_(std::move(options)),
      process_(std::move(process)),
      stats_(std::move(stats)),
      hop_(stats_->add_hop()) {}

IsolatedBackend::~IsolatedBackend() {
    close();
}

void IsolatedBackend::open() {
    if (state_ == State::kClosed) start();
}

// On the instance's thread, which outlives the child: the kernel ends a child with the thread that
// started it.
void IsolatedBackend::start() {
    const std::uint32_t slots = std::max(1U, options_.max_in_flight);
    bridge_ = std::make_unique<Bridge>(slots, options_.inputs->slot_bytes(), options_.spin);
    for (std::uint32_t i = 0; i < slots; ++i) options_.inputs->prepare(bridge_->input(i));
    pidfd_ = process_->start(bridge_->fds());
    beat_seen_ = clock_.now();
    state_ = State::kAlive;
    if (options_.max_in_flight > 0) reader_ = std::thread([this] { serve_answers(); });
}

// A new child in the place of one that has ended. False where there is none; see failure_.
bool IsolatedBackend::revive() noexcept {
    if (reader_.joinable()) reader_.join();
    if (restarts_ == options_.restarts) return false;
    ++restarts_;
    ++stats_->restarts;
    try {
        start();
        return true;
    } catch (const std::exception& error) {
        last_death_ = {"BackendCrashed", std::string("restart failed: ") + error.what()};
        return false;
    }
}

void IsolatedBackend::close() noexcept {
    closing_ = true;
    if (bridge_ && state_ == State::kAlive) bridge_->ask_to_leave();
    if (reader_.joinable()) reader_.join();
    closing_ = false;
    if (state_.exchange(State::kClosed) != State::kAlive) return;
    const bool busy = std::any_of(flights_.begin(), flights_.end(),
                                  [](const InFlight& flight) { return flight.handle != 0; });
    if (busy) stats_->add_death(process_->end("no answer before the end of the run"));
    process_->stop();
}

bool IsolatedBackend::gather(const Batch& batch) noexcept {
    if (state_ == State::kAlive && flights_[batch.slot].handle.load() != 0) {
        // Of an earlier run, which gave it up: the slot is the child's still.
        interrupt();
        reader_.join();
    }
    // The query that finds the child gone waits for the new one, as it would in production.
    if (state_ == State::kDead && !revive()) return false;
    options_.inputs->gather(batch, bridge_->input(batch.slot));
    return true;
}

void IsolatedBackend::post(const Batch& batch) noexcept {
    InFlight& flight = flights_[batch.slot];
    flight.kept.clear();
    if (batch.keep) flight.kept.assign(batch.queries.begin(), batch.queries.end());
    flight.posted = clock_.now();
    bridge_->post(batch.slot, options_.inputs->layout(batch.queries.front().query), batch.samples,
                  batch.keep);
}

bool IsolatedBackend::predict(const Batch& batch, CallStamps& stamps) noexcept {
    if (state_ != State::kAlive) {
        stamps.completed = stamps.entered = clock_.now();
        failure_ = last_death_;
        return false;
    }
    InFlight& flight = flights_[batch.slot];
    interrupted_ = false;
    post(batch);
    for (;;) {
        const Bridge::Wake wake = bridge_->wait(pidfd_, kLookAfter);
        if (wake == Bridge::Wake::kAnswer) {
            if (const auto answer = bridge_->take(); answer && answer->expected) break;
            continue;
        }
        const std::string hung = wake == Bridge::Wake::kEnded ? "" : hanging(flight.posted);
        if (wake == Bridge::Wake::kTimeout && hung.empty()) continue;
        stamps.completed = clock_.now();
        failure_ = last_death_ = bury(hung);
        state_ = State::kDead;
        return false;
    }
    std::optional<Failure> failure = settle(flight, batch.slot, stamps, stamps.entered);
    if (failure) failure_ = *std::move(failure);
    return !failure;
}

bool IsolatedBackend::submit(const Batch& batch, Handle handle, CallStamps& stamps) noexcept {
    const std::lock_guard lock(mutex_);
    stamps.entered = clock_.now();
    if (state_ != State::kAlive) {
        failure_ = last_death_;
        return false;
    }
    InFlight& flight = flights_[batch.slot];
    flight.sink = sink_;
    flight.handle = handle;
    post(batch);
    return true;
}

// Places the child's stamps on this side's clock, takes the outputs, and returns what went wrong.
std::optional<Failure> IsolatedBackend::settle(InFlight& flight, std::uint32_t index,
                                               CallStamps& stamps, Nanos ready) {
    const BridgeControl::Slot& slot = bridge_->slot(index);
    const Nanos back = clock_.now();
    const Nanos offset = clock_offset();
    stamps.entered = std::clamp(slot.entered + offset, std::min(ready, back), back);
    stamps.completed = std::clamp(slot.completed + offset, stamps.entered, back);
    hop_->record(back - flight.posted - (stamps.completed - stamps.entered));
    try {
        if (slot.failed != 0) return options_.failure_of(bridge_->result(index));
        if (!flight.kept.empty() && options_.keep) keep(flight, index);
    } catch (const std::exception& error) {
        return Failure{"BadOutputs", error.what()};
    }
    return std::nullopt;
}

void IsolatedBackend::keep(const InFlight& flight, std::uint32_t slot) {
    std::vector<std::uint32_t> counts;
    for (const Submission& s : flight.kept) counts.push_back(samples(s.query));
    options_.keep(flight.kept, counts, bridge_->result(slot));
}

// Why the child counts as hanging with a batch that it got at `oldest`; empty where it does not.
std::string IsolatedBackend::hanging(Nanos oldest) noexcept {
    const Nanos now = clock_.now();
    if (interrupted_.exchange(false)) return "no answer within the timeout of its queries";
    if (now - oldest > options_.hang_after) {
        return "no answer within " + in_seconds(options_.hang_after);
    }
    const std::uint32_t beat = bridge_->beat();
    if (beat != beat_) {
        beat_ = beat;
        beat_seen_ = now;
    }
    if (now - std::max(beat_seen_, oldest) <= options_.beat_within) return "";
    return "no sign of life for " + in_seconds(options_.beat_within) +
           ": a call keeps its interpreter";
}

Failure IsolatedBackend::bury(const std::string& hung) noexcept {
    Failure failure = process_->end(hung);
    stats_->add_death(failure);
    return failure;
}

// What to add to CLOCK_MONOTONIC, on which the child stamps. They drift apart by parts in a
// million, so it is taken anew; a comparison that was preempted is wide and is not used.
Nanos IsolatedBackend::clock_offset() noexcept {
    if (!clock_.is_tsc()) return 0;
    for (int tries = 0; clock_.now() >= offset_until_ && tries < 4; ++tries) {
        const Nanos before = clock_.now();
        const Nanos monotonic = read_clock(CLOCK_MONOTONIC);
        const Nanos after = clock_.now();
        if (after - before > 1'000) continue;
        clock_offset_ = before + (after - before) / 2 - monotonic;
        offset_until_ = after + kOffsetServes;
    }
    return clock_offset_;
}

// The thread that waits for the answers of one child of an asynchronous backend.
void IsolatedBackend::serve_answers() noexcept {
    while (!closing_) {
        const Bridge::Wake wake = bridge_->wait(pidfd_, kLookAfter);
        while (const auto answer = bridge_->take()) {
            if (answer->expected) {
                finish(*answer);
            } else if (const auto& last = flights_[answer->slot].last; last.sink) {
                last.sink->complete(last.handle, clock_.now(), std::nullopt);  // it counts them
            }
        }
        Nanos oldest = kNever;
        for (const InFlight& flight : flights_) {
            if (flight.handle.load() != 0) oldest = std::min(oldest, flight.posted.load());
        }
        const std::string hung =
            wake != Bridge::Wake::kTimeout || oldest == kNever ? "" : hanging(oldest);
        if ((wake == Bridge::Wake::kEnded || !hung.empty()) && !closing_) {
            fail_all(bury(hung));
            return;
        }
    }
}

void IsolatedBackend::finish(const Bridge::Answer& answer) noexcept {
    InFlight& flight = flights_[answer.slot];
    CallStamps stamps{0, 0};
    std::optional<Failure> failure = settle(flight, answer.slot, stamps, flight.posted);
    flight.last = {flight.handle, std::move(flight.sink)};
    flight.handle = 0;
    flight.last.sink->complete(flight.last.handle, stamps.completed, std::move(failure),
                               stamps.entered);
}

void IsolatedBackend::fail_all(const Failure& failure) noexcept {
    const std::lock_guard lock(mutex_);
    last_death_ = failure;
    state_ = State::kDead;
    for (InFlight& flight : flights_) {
        const Handle handle = flight.handle.exchange(0);
        if (handle != 0) flight.sink->complete(handle, clock_.now(), failure);
    }
}

}  // namespace bytemlperf
