#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "core/device.h"
#include "core/generator.h"

using namespace bytemlperf;

namespace {

// Notes which thread calls it, fails every tenth query, can refuse to open.
class Probe final : public Backend {
  public:
    struct Shared {
        std::atomic<int> opened{0};
        std::atomic<int> closed{0};
        std::atomic<int> wrong_thread{0};
        bool refuse = false;
        bool fail = false;
    };
    explicit Probe(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}

    void open() override {
        if (shared_->refuse) throw std::runtime_error("no device");
        if (thread_ == std::thread::id{}) ++shared_->opened;
        thread_ = std::this_thread::get_id();
    }
    bool predict(const Batch& batch, CallStamps& stamps) noexcept override {
        if (std::this_thread::get_id() != thread_) ++shared_->wrong_thread;
        stamps.completed = clock_.now();
        return !(shared_->fail && batch.queries.front().query % 10 == 0);
    }
    [[nodiscard]] std::uint32_t samples(std::uint64_t) const noexcept override { return 2; }
    [[nodiscard]] Failure failure() const override { return {"Planted", "as asked"}; }
    void close() noexcept override { ++shared_->closed; }

  private:
    std::shared_ptr<Shared> shared_;
    Clock clock_ = Clock::best();
    std::thread::id thread_;
};

Generator probes(const std::shared_ptr<Probe::Shared>& shared, int instances) {
    std::vector<std::unique_ptr<Backend>> backends;
    for (int i = 0; i < instances; ++i) backends.push_back(std::make_unique<Probe>(shared));
    return {std::move(backends), Clock::best()};
}

RunData finish(const std::shared_ptr<Run>& run) {
    while (!run->wait(kSecond)) {
    }
    return run->finish();
}

RunSpec closed(std::uint32_t clients, std::uint64_t queries) {
    RunSpec spec;
    spec.pattern = ClosedLoop{clients, 0};
    spec.limit.queries = queries;
    spec.stamp_bytes = 1 << 20;
    return spec;
}

RunSpec open(double rate, std::uint64_t queries, std::uint32_t clients) {
    RunSpec spec;
    spec.pattern = OpenLoop{std::make_shared<PoissonArrivals>(rate), clients, false};
    spec.limit.queries = queries;
    spec.stamp_bytes = 1 << 20;
    return spec;
}

void every_query_is_answered_once(std::uint32_t clients, int instances) {
    const auto shared = std::make_shared<Probe::Shared>();
    {
        Generator generator = probes(shared, instances);
        for (const RunSpec& spec : {closed(clients, 1001), open(20'000, 1001, clients)}) {
            const RunData data = finish(generator.start(spec));
            CHECK(data.planned == 1001 && data.completed() == 1001 && data.errors() == 0);
            std::vector<int> seen(1001);
            for (const auto& recorder : data.recorders) {
                for (std::size_t i = 0; i < recorder->stamps().count(); ++i) {
                    const StampRecord& r = recorder->stamps().data()[i];
                    ++seen.at(r.query);
                    const Stamps& s = r.stamps;
                    CHECK(r.query % clients == r.client);
                    CHECK(s.intended <= s.submitted && s.submitted <= s.ready);
                    CHECK(s.ready <= s.entered && s.entered <= s.completed);
                }
            }
            for (const int count : seen) CHECK(count == 1);
        }
    }
    CHECK(shared->opened == instances || shared->opened == static_cast<int>(clients));
    CHECK(shared->closed == instances);
    CHECK(shared->wrong_thread == 0);
}

void failures_are_counted_apart() {
    const auto shared = std::make_shared<Probe::Shared>();
    shared->fail = true;
    Generator generator = probes(shared, 1);
    const RunData data = finish(generator.start(closed(2, 1000)));
    CHECK(data.errors() == 100 && data.completed() == 900);
    CHECK(data.error_classes().at("Planted").count == 100);
    CHECK(data.merged(Interval::kLatency)->count() == 900);
}

void a_backend_that_does_not_load_ends_the_run() {
    const auto shared = std::make_shared<Probe::Shared>();
    shared->refuse = true;
    Generator generator = probes(shared, 2);
    const auto run = generator.start(closed(4, 1000));
    bool thrown = false;
    try {
        finish(run);
    } catch (const std::runtime_error& error) {
        thrown = std::string(error.what()) == "no device";
    }
    CHECK(thrown);
}

void stop_drains_and_accounts_for_every_query(const RunSpec& spec) {
    const auto shared = std::make_shared<Probe::Shared>();
    Generator generator = probes(shared, 1);
    const auto run = generator.start(spec);
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    static_cast<void>(run->live());
    run->stop();
    const RunData data = finish(run);
    CHECK(data.completed() <= data.planned);
    CHECK(data.window_end >= data.window_start);
}

void a_time_bound_leaves_each_client_one_query() {
    const auto model = DeviceModel{std::make_shared<DeterministicService>(0.05), 1, std::nullopt};
    std::vector<std::unique_ptr<Backend>> backends;
    backends.push_back(
        std::make_unique<DeviceServer>(model, Clock::best(), QueryRows(1), 0, false));
    Generator generator(std::move(backends), Clock::best());
    RunSpec spec = closed(3, 300);
    spec.limit.duration = 1'000'000;
    const RunData data = finish(generator.start(spec));
    CHECK(data.completed() == 3);
}

void a_device_serves_for_its_service_time() {
    const auto model = DeviceModel{std::make_shared<DeterministicService>(0.002), 1, std::nullopt};
    std::vector<std::unique_ptr<Backend>> backends;
    backends.push_back(
        std::make_unique<DeviceServer>(model, Clock::best(), QueryRows(1), 0, false));
    Generator generator(std::move(backends), Clock::best());
    const RunData data = finish(generator.start(closed(1, 50)));
    CHECK(data.merged(Interval::kServiceTime)->min() >= 2'000'000);
}

void the_clock_runs_with_the_kernels() {
    const Clock clock = Clock::best();
    const Nanos a = clock.now();
    const Nanos kernel = read_clock(CLOCK_MONOTONIC);
    const Nanos b = clock.now();
    CHECK(b >= a);
    CHECK(kernel >= a - 100'000 && kernel <= b + 100'000);
}

}  // namespace

int main() {
    every_query_is_answered_once(1, 1);
    every_query_is_answered_once(3, 3);
    every_query_is_answered_once(3, 1);
    every_query_is_answered_once(2, 3);
    failures_are_counted_apart();
    a_backend_that_does_not_load_ends_the_run();
    stop_drains_and_accounts_for_every_query(closed(3, 1'000'000'000));
    stop_drains_and_accounts_for_every_query(open(100'000, 1'000'000, 2));
    a_time_bound_leaves_each_client_one_query();
    a_device_serves_for_its_service_time();
    the_clock_runs_with_the_kernels();
    return check::report();
}
