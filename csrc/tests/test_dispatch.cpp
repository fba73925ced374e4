// Completions, timeouts and shutdown in all orders: nothing is lost, counted twice, or waited for.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "check.h"
#include "core/generator.h"
#include "core/random.h"

using namespace bytemlperf;

namespace {

// Completes on its own thread after a random time, in any order; may forget, repeat, or fail.
class Chaotic final : public Backend {
  public:
    struct Odds {
        double forget = 0;
        double repeat = 0;
        double fail = 0;
        double refuse = 0;
        double inside = 0;  // completes inside submit
    };

    Chaotic(Odds odds, std::uint32_t depth, std::uint64_t seed)
        : odds_(odds), depth_(depth), random_(seed, 7), thread_([this] { work(); }) {}
    ~Chaotic() override {
        {
            const std::lock_guard lock(mutex_);
            ending_ = true;
        }
        changed_.notify_all();
        thread_.join();
    }

    [[nodiscard]] std::uint32_t max_in_flight() const noexcept override { return depth_; }
    void run_starts(const std::shared_ptr<CompletionSink>& sink, Nanos) noexcept override {
        const std::lock_guard lock(mutex_);
        sink_ = sink;
    }
    bool submit(const Batch& batch, Handle handle, CallStamps& stamps) noexcept override {
        stamps.entered = clock_.now();
        samples_ += batch.samples;
        if (chance(odds_.refuse)) return false;
        if (chance(odds_.inside)) {
            sink_->complete(handle, clock_.now(), std::nullopt);
            return true;
        }
        const std::lock_guard lock(mutex_);
        const auto delay = static_cast<Nanos>(uniform() * 200'000);
        pending_.push_back({handle, sink_, clock_.now() + delay});
        changed_.notify_all();
        return true;
    }
    // Sizes that do not add up to full batches, so that many a query has no room and is carried.
    [[nodiscard]] std::uint32_t samples(std::uint64_t query) const noexcept override {
        return 1 + static_cast<std::uint32_t>(query % 3);
    }
    [[nodiscard]] Failure failure() const override { return {"Refused", "as asked"}; }

  private:
    struct Pending {
        Handle handle;
        std::shared_ptr<CompletionSink> sink;
        Nanos due;
    };

    double uniform() { return random_.uniforms(counter_.fetch_add(1))[0]; }
    bool chance(double p) { return p > 0 && uniform() < p; }

    void work() {
        std::unique_lock lock(mutex_);
        while (!ending_ || !pending_.empty()) {
            if (pending_.empty()) {
                changed_.wait(lock);
                continue;
            }
            // From either end: completions come out of order.
            const bool front = uniform() < 0.5;
            const Pending next = front ? pending_.front() : pending_.back();
            if (front) {
                pending_.pop_front();
            } else {
                pending_.pop_back();
            }
            lock.unlock();
            while (clock_.now() < next.due) std::this_thread::yield();
            if (!chance(odds_.forget)) {
                const bool fail = chance(odds_.fail);
                next.sink->complete(next.handle, clock_.now(),
                                    fail ? std::optional(Failure{"Planted", "x"}) : std::nullopt);
                if (chance(odds_.repeat)) next.sink->complete(next.handle, clock_.now(), {});
            }
            lock.lock();
        }
    }

    Odds odds_;
    std::uint32_t depth_;
    Philox random_;
    std::atomic<std::uint64_t> counter_{0};
    std::atomic<std::uint64_t> samples_{0};
    Clock clock_ = Clock::best();
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Pending> pending_;
    std::shared_ptr<CompletionSink> sink_;
    bool ending_ = false;
    std::thread thread_;
};

RunData run(const RunSpec& spec, const Chaotic::Odds& odds, std::uint32_t depth, int instances,
            Nanos stop_after = 0) {
    std::vector<std::unique_ptr<Backend>> backends;
    for (int i = 0; i < instances; ++i) {
        backends.push_back(std::make_unique<Chaotic>(odds, depth, static_cast<std::uint64_t>(i)));
    }
    Generator generator(std::move(backends), Clock::best());
    const auto going = generator.start(spec);
    if (stop_after > 0) {
        std::this_thread::sleep_for(std::chrono::nanoseconds(stop_after));
        going->stop();
    }
    bool ended = false;
    for (int i = 0; i < 30 && !ended; ++i) ended = going->wait(kSecond);
    CHECK(ended);
    return going->finish();
}

bool accounts(const RunData& data) {
    return data.completed() + data.errors() + data.timeouts() <= data.planned;
}

RunSpec base(bool is_open, std::uint32_t clients, std::uint64_t queries) {
    RunSpec spec;
    if (is_open) {
        spec.pattern = OpenLoop{std::make_shared<PoissonArrivals>(10'000.0), clients, false};
    } else {
        spec.pattern = ClosedLoop{clients, 0};
    }
    spec.limit.queries = queries;
    spec.stamp_bytes = 1 << 20;
    return spec;
}

void out_of_order_completions_are_all_recorded() {
    for (const bool is_open : {true, false}) {
        for (const std::uint32_t samples : {0U, 4U}) {
            RunSpec spec = base(is_open, 5, 2000);
            spec.batching = {samples, 100'000, {2}};
            const RunData data = run(spec, {.inside = 0.1}, 8, 2);
            CHECK(data.completed() == 2000 && data.errors() == 0 && data.timeouts() == 0);
            CHECK(samples == 0 ? data.batches() == 2000 : data.batches() <= 2000);
        }
    }
}

void everything_at_once_still_adds_up() {
    const Chaotic::Odds odds{
        .forget = 0.03, .repeat = 0.02, .fail = 0.05, .refuse = 0.02, .inside = 0.1};
    for (const bool is_open : {true, false}) {
        for (const std::uint32_t samples : {0U, 4U}) {
            RunSpec spec = base(is_open, 4, 1500);
            spec.batching = {samples, 100'000, {}};
            spec.timeout = 50'000'000;
            const RunData data = run(spec, odds, 64, 2);
            CHECK(data.completed() + data.errors() + data.timeouts() == 1500);
            CHECK(data.errors() > 0 && data.timeouts() > 0);
            std::vector<int> seen(1500);
            for (const auto& recorder : data.recorders) {
                for (std::size_t i = 0; i < recorder->stamps().count(); ++i) {
                    ++seen.at(recorder->stamps().data()[i].query);
                }
            }
            bool once = true;
            for (const int count : seen) once = once && count <= 1;
            CHECK(once);
        }
    }
}

void a_backend_that_forgets_everything_ends_in_timeouts() {
    RunSpec spec = base(false, 3, 60);
    spec.timeout = 10'000'000;
    const RunData data = run(spec, {.forget = 1.0}, 2, 1);
    CHECK(data.timeouts() == 60 && data.completed() == 0);
    CHECK(data.abandoned == 1);
}

void a_stop_at_any_moment_adds_up() {
    for (Nanos after = 0; after < 20'000'000; after += 3'000'000) {
        RunSpec spec = base(after % 2'000'000 == 0, 3, 1'000'000);
        spec.timeout = 20'000'000;
        const RunData data = run(spec, {.forget = 0.02, .inside = 0.2}, 4, 2, after + 1);
        CHECK(accounts(data));
    }
}

}  // namespace

int main() {
    out_of_order_completions_are_all_recorded();
    everything_at_once_still_adds_up();
    a_backend_that_forgets_everything_ends_in_timeouts();
    a_stop_at_any_moment_adds_up();
    return check::report();
}
