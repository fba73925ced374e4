#include <cmath>

#include "check.h"
#include "core/virtual_run.h"

using namespace bytemlperf;

namespace {

bool always() {
    return true;
}

RunSpec open_spec(std::shared_ptr<const ArrivalProcess> process, std::uint64_t queries) {
    RunSpec spec;
    spec.pattern = OpenLoop{std::move(process), 1, false};
    spec.limit.queries = queries;
    return spec;
}

double mean_ns(const Histogram& histogram) {
    return static_cast<double>(histogram.sum()) / static_cast<double>(histogram.count());
}

void constant_arrivals_below_capacity_are_served_at_once() {
    const DeviceModel device{std::make_shared<DeterministicService>(1e-3), 1, std::nullopt};
    const RunData data = run_virtual(open_spec(std::make_shared<ConstantArrivals>(500.0), 10'000),
                                     device, QueryRows(1), &always);
    const auto latency = data.merged(Interval::kLatency);
    CHECK(latency->min() == 1'000'000 && latency->max() == 1'000'000);
    CHECK(data.completed() == 10'000);
}

// rho 0.8: the mean time in system is S (1 + rho / (2 (1 - rho))) = 3 S.
void poisson_arrivals_wait_as_the_formula_says() {
    const DeviceModel device{std::make_shared<DeterministicService>(1e-3), 1, std::nullopt};
    const RunData data = run_virtual(open_spec(std::make_shared<PoissonArrivals>(800.0), 2'000'000),
                                     device, QueryRows(1), &always);
    CHECK(std::abs(mean_ns(*data.merged(Interval::kLatency)) / 1e6 - 3.0) < 0.05);
}

// N clients without think time on one server: the latency is N S for any service distribution.
void a_closed_loop_of_four_waits_for_four() {
    RunSpec spec;
    spec.pattern = ClosedLoop{4, 0};
    spec.limit.queries = 100'000;
    spec.warmup = kSecond;
    const DeviceModel device{std::make_shared<ExponentialService>(1e-3), 1, std::nullopt};
    const RunData data = run_virtual(spec, device, QueryRows(1), &always);
    CHECK(std::abs(mean_ns(*data.merged(Interval::kLatency)) / 1e6 - 4.0) < 0.06);
    CHECK(data.completed() == 100'000);
}

// Rate L, service s, rho = L s, one stall of S in T seconds: the quantile p of the latency is
// S - (1 - p) T (1 - rho).
void a_stall_is_charged_to_every_query_that_it_delays() {
    const DeviceModel device{std::make_shared<DeterministicService>(1e-4), 1,
                             Stall{10 * kSecond, kSecond}};
    RunSpec spec = open_spec(std::make_shared<ConstantArrivals>(1000.0), 30'000);
    const RunData data = run_virtual(spec, device, QueryRows(1), &always);
    const auto latency = data.merged(Interval::kLatency);
    CHECK(std::abs(static_cast<double>(latency->quantile(0.99)) * 1e-9 - 0.730) < 0.0073);
    CHECK(std::abs(static_cast<double>(latency->quantile(0.999)) * 1e-9 - 0.973) < 0.0097);
    CHECK(data.merged(Interval::kServiceTime)->quantile(0.99) == 100'000);
}

void service_times_have_the_moments_asked_for() {
    const LognormalService service(2e-3, 0.5);
    double sum = 0;
    double squares = 0;
    constexpr int kDraws = 200'000;
    for (std::uint64_t i = 0; i < kDraws; ++i) {
        const auto x = static_cast<double>(service.draw(1, i, 1));
        sum += x;
        squares += x * x;
    }
    const double mean = sum / kDraws;
    CHECK(std::abs(mean / 2e6 - 1.0) < 0.01);
    CHECK(std::abs(std::sqrt(squares / kDraws - mean * mean) / mean - 0.5) < 0.01);
    const TableService table({{1, 1e-3}, {4, 2e-3}});
    CHECK(table.draw(0, 0, 1) == 1'000'000 && table.draw(0, 0, 4) == 2'000'000);
    CHECK(table.draw(0, 0, 2) == 1'333'333 && table.draw(0, 0, 8) == 4'000'000);
}

void warm_up_loads_the_device_and_is_not_counted() {
    RunSpec spec = open_spec(std::make_shared<PoissonArrivals>(990.0), 1000);
    const DeviceModel device{std::make_shared<DeterministicService>(1e-3), 1, std::nullopt};
    const RunData cold = run_virtual(spec, device, QueryRows(1), &always);
    spec.warmup = 10 * kSecond;
    const RunData warm = run_virtual(spec, device, QueryRows(1), &always);
    CHECK(cold.completed() == 1000 && warm.completed() == 1000);
    CHECK(cold.plan_hash == warm.plan_hash);
    CHECK(warm.merged(Interval::kLatency)->sum() != cold.merged(Interval::kLatency)->sum());
}

}  // namespace

int main() {
    constant_arrivals_below_capacity_are_served_at_once();
    poisson_arrivals_wait_as_the_formula_says();
    a_closed_loop_of_four_waits_for_four();
    a_stall_is_charged_to_every_query_that_it_delays();
    service_times_have_the_moments_asked_for();
    warm_up_loads_the_device_and_is_not_counted();
    return check::report();
}
