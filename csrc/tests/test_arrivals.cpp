#include <algorithm>
#include <cmath>
#include <memory>
#include <numbers>
#include <stdexcept>
#include <vector>

#include "check.h"
#include "core/arrivals.h"
#include "core/bursty.h"
#include "core/composed.h"
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

void the_exponential_and_the_sine_are_accurate() {
    const Philox random(2, 0);
    double worst_exp = 0.0;
    double worst_sin = 0.0;
    for (std::uint64_t i = 0; i < 100'000; ++i) {
        const auto [u, v] = random.uniforms(i);
        const double x = 1380.0 * u - 690.0;
        worst_exp = std::max(worst_exp, std::abs(portable_exp(x) / std::exp(x) - 1.0));
        const double turns = 1000.0 * v;
        // Reduced exactly, as long double holds it.
        const long double angle =
            2.0L * std::numbers::pi_v<long double> * (turns - std::floor(turns));
        const double error = portable_sin_turns(turns) - static_cast<double>(std::sin(angle));
        worst_sin = std::max(worst_sin, std::abs(error));
    }
    CHECK(worst_exp < 0x1p-50);
    CHECK(worst_sin < 0x1p-50);
    CHECK(portable_exp(0.0) == 1.0);
    CHECK(portable_exp(-1000.0) == 0.0);
    CHECK(portable_sin_turns(3.5) == 0.0);
}

std::shared_ptr<const ArrivalProcess> poisson(double rate) {
    return std::make_shared<PoissonArrivals>(rate);
}

void plans_are_golden() {
    // If these change, the plans of all published results change with them.
    const PlanLimit limit{100'000, std::nullopt};
    CHECK(summarize_plan(PoissonArrivals(1000.0), 7, limit).hash == 0x5ef538ba46e99cee);
    CHECK(summarize_plan(ConstantArrivals(3.0), 7, limit).hash == 0xa475baec93773722);
    CHECK(summarize_plan(GammaArrivals(1000.0, 0.5), 7, limit).hash == 0xa7412d8e4a7022c6);
    CHECK(summarize_plan(GammaArrivals(1000.0, 3.0), 7, limit).hash == 0x8947bd51b803a486);
    CHECK(summarize_plan(OnOffArrivals(1000.0, 10.0, 0.1, 0.3), 7, limit).hash ==
          0xe82cfb65d1e6844d);
    CHECK(summarize_plan(SineArrivals(1000.0, 900.0, 5.0), 7, limit).hash == 0x1b366a7d40ec961e);
    const SegmentedArrivals ramp({{0.0, 2000.0, 30.0}, {2000.0, 0.0, 30.0}, {5.0, 5.0, 9.0}});
    CHECK(summarize_plan(ramp, 7, limit).hash == 0x9a14291018299a44);
    const SuperposedArrivals both(poisson(100.0), poisson(100.0));
    CHECK(summarize_plan(both, 7, limit).hash == 0xd4aaf0209b480d4b);
    const SequenceArrivals sequence(poisson(100.0), kSecond, poisson(100.0));
    CHECK(summarize_plan(sequence, 7, limit).hash == 0xb6ddf70a0dc0aec9);
    CHECK(summarize_plan(ReplayArrivals({0, 5, 5, 9}), 7, limit).hash == 0xd8f256a990f0ad88);
}

// Equal processes in one plan draw different gaps, however deep they lie.
void parts_are_independent() {
    const auto two = std::make_shared<SuperposedArrivals>(poisson(1e3), poisson(1e3));
    const SuperposedArrivals three(two, poisson(1e3));
    const auto then = std::make_shared<SequenceArrivals>(two, kSecond, two);
    const SuperposedArrivals more(then, then);
    for (const ArrivalProcess* const process :
         {static_cast<const ArrivalProcess*>(&three), static_cast<const ArrivalProcess*>(&more)}) {
        std::vector<Nanos> offsets(10'000);
        process->stream(5)->fill(offsets);
        CHECK(std::is_sorted(offsets.begin(), offsets.end()));
        const auto equal = std::adjacent_find(offsets.begin(), offsets.end());
        CHECK(equal == offsets.end());
    }
}

void a_plan_that_ends_says_never() {
    std::vector<Nanos> offsets(6);
    const auto replay = std::make_shared<ReplayArrivals>(std::vector<Nanos>{3, 7});
    SequenceArrivals(replay, 7, replay).stream(0)->fill(offsets);
    CHECK((offsets == std::vector<Nanos>{3, 10, 14, kNever, kNever, kNever}));
    SuperposedArrivals(replay, replay).stream(0)->fill(offsets);
    CHECK((offsets == std::vector<Nanos>{3, 3, 7, 7, kNever, kNever}));
    SegmentedArrivals({{1e6, 0.0, 1e-6}}).stream(0)->fill(offsets);
    CHECK(offsets.back() == kNever);
}

void the_rarest_plans_do_not_overflow() {
    std::vector<Nanos> offsets(300'000);
    PoissonArrivals(2e-5).stream(3)->fill(offsets);
    CHECK(std::is_sorted(offsets.begin(), offsets.end()));
    ConstantArrivals(2e-5).stream(3)->fill(offsets);
    CHECK(std::is_sorted(offsets.begin(), offsets.end()));
    GammaArrivals(2e-5, 30.0).stream(3)->fill(offsets);
    CHECK(std::is_sorted(offsets.begin(), offsets.end()) && offsets.back() > 0);
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
    // Of any variability; the standard deviation of the sum is cv sqrt(n) gaps.
    for (const double cv : {0.1, 1.0, 5.0}) {
        const PlanSummary plan =
            summarize_plan(GammaArrivals(1e6, cv), 11, {1'000'000, std::nullopt});
        CHECK(std::abs(static_cast<double>(plan.last_offset) / 1e9 - 1.0) < 4e-3 * cv);
    }
    const PlanSummary constant =
        summarize_plan(ConstantArrivals(3.0), 0, {std::nullopt, 10 * kSecond});
    CHECK(constant.queries == 30);
}

template <typename Make>
bool refused(Make make) {
    try {
        static_cast<void>(make());
    } catch (const std::invalid_argument&) {
        return true;
    }
    return false;
}

void impossible_patterns_are_refused() {
    for (const double rate : {0.0, -1.0, 1e-6, 2e9, std::nan("")}) {
        CHECK(refused([=] { return PoissonArrivals(rate); }));
    }
    for (const double cv : {0.0, -1.0, 31.0, std::nan("")}) {
        CHECK(refused([=] { return GammaArrivals(1.0, cv); }));
    }
    CHECK(refused([] { return OnOffArrivals(1.0, 0.0, 1e-6, 1.0); }));
    CHECK(refused([] { return OnOffArrivals(1.0, -1.0, 1.0, 1.0); }));
    CHECK(refused([] { return SegmentedArrivals({}); }));
    CHECK(refused([] { return SegmentedArrivals({{0.0, 0.0, 1.0}}); }));
    CHECK(refused([] { return SegmentedArrivals({{1.0, 1.0, 0.0}}); }));
    CHECK(refused([] { return SineArrivals(1.0, 1.5, 1.0); }));
    CHECK(refused([] { return ReplayArrivals({5, 4}); }));
    CHECK(refused([] { return ReplayArrivals({-1, 4}); }));
}

}  // namespace

int main() {
    philox_gives_the_published_vectors();
    the_logarithm_is_within_two_units_in_the_last_place();
    the_exponential_and_the_sine_are_accurate();
    plans_are_golden();
    parts_are_independent();
    a_plan_that_ends_says_never();
    the_rarest_plans_do_not_overflow();
    any_number_of_clients_walks_one_plan();
    rates_are_met_without_bias();
    impossible_patterns_are_refused();
    return check::report();
}
