#include <cmath>
#include <stdexcept>
#include <vector>

#include "check.h"
#include "core/arrivals.h"
#include "core/random.h"

using namespace bytemlperf;

namespace {

void philox_gives_the_published_vectors() {
    // Known answers of the Random123 distribution for philox4x32-10.
    const auto zero = Philox(0, 0).block(0);
    CHECK((zero == std::array<std::uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
    const auto ones = Philox(UINT64_MAX, UINT64_MAX).block(UINT64_MAX);
    CHECK((ones == std::array<std::uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

void the_logarithm_is_within_two_units_in_the_last_place() {
    const Philox random(1, 0);
    for (std::uint64_t i = 0; i < 100'000; ++i) {
        const double x = random.uniforms(i)[0];
        const double exact = std::log(x);
        if (std::abs(portable_log(x) - exact) > 2 * std::abs(exact) * 0x1p-52) {
            CHECK(!"portable_log is off");
            return;
        }
    }
    CHECK(portable_log(1.0) == 0.0);
}

void plans_are_golden() {
    // If these change, the plans of all published results change with them.
    const PlanLimit limit{100'000, std::nullopt};
    CHECK(summarize_plan(PoissonArrivals(1000.0), 7, limit).hash == 0x5ef538ba46e99cee);
    CHECK(summarize_plan(ConstantArrivals(3.0), 7, limit).hash == 0xa475baec93773722);
}

void any_number_of_clients_walks_one_plan() {
    const PoissonArrivals process(5000.0);
    std::vector<Nanos> whole(1000);
    process.stream(42)->fill(whole);
    for (const std::uint32_t clients : {1U, 2U, 8U}) {
        std::size_t seen = 0;
        for (std::uint32_t c = 0; c < clients; ++c) {
            PlanCursor cursor(process.stream(42), {1000, std::nullopt}, clients, c);
            while (const auto query = cursor.next()) {
                if (query->offset == whole[query->index] && query->index % clients == c) ++seen;
            }
        }
        CHECK(seen == 1000);
    }
}

void rates_are_met_without_bias() {
    for (const double rate : {1.0, 3e5, 1e6, 5e8}) {
        const PlanSummary plan =
            summarize_plan(PoissonArrivals(rate), 11, {1'000'000, std::nullopt});
        // The sum of n gaps has a standard deviation of sqrt(n) gaps.
        const double expected = 1e6 / rate * 1e9;
        CHECK(std::abs(static_cast<double>(plan.last_offset) - expected) < 4e-3 * expected);
    }
    const PlanSummary constant =
        summarize_plan(ConstantArrivals(3.0), 0, {std::nullopt, 10 * kSecond});
    CHECK(constant.queries == 30);
}

void impossible_rates_are_refused() {
    for (const double rate : {0.0, -1.0, 1e-6, 2e9, std::nan("")}) {
        bool refused = false;
        try {
            const PoissonArrivals process(rate);
        } catch (const std::invalid_argument&) {
            refused = true;
        }
        CHECK(refused);
    }
}

}  // namespace

int main() {
    philox_gives_the_published_vectors();
    the_logarithm_is_within_two_units_in_the_last_place();
    plans_are_golden();
    any_number_of_clients_walks_one_plan();
    rates_are_met_without_bias();
    impossible_rates_are_refused();
    return check::report();
}
