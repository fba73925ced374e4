// What a run is asked for and what it leaves.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "core/arrivals.h"
#include "core/device.h"
#include "core/random.h"
#include "core/recorder.h"
#include "core/wait.h"

namespace bytemlperf {

// Each client submits again when it has thought after its answer.
struct ClosedLoop {
    std::uint32_t clients = 1;
    std::shared_ptr<const ServiceTime> think_time;  // none: at once
};

// `clients` threads submit what the process plans, whatever the backend does.
struct OpenLoop {
    std::shared_ptr<const ArrivalProcess> process;
    std::uint32_t clients = 1;
    // Everything is due at once, so the window lasts until the last answer.
    bool window_is_drain = false;
};

// When a batch closes: at `max_samples`, or `max_delay` after its oldest query was submitted; a
// batch that closes early is cut to the largest of the `preferred` sizes that it reaches.
struct Batching {
    std::uint32_t max_samples = 0;  // 0: every query is a batch of its own
    Nanos max_delay = 0;
    std::vector<std::uint32_t> preferred;  // ascending

    [[nodiscard]] bool dynamic() const noexcept { return max_samples > 0; }
    // How many of the first of `count` queries, of `samples` in all, a batch that closes early
    // keeps; `size_of(i)`: samples of the i-th.
    template <typename SizeOf>
    [[nodiscard]] std::size_t cut(std::size_t count, std::uint32_t samples, SizeOf size_of) const {
        const auto above = std::upper_bound(preferred.begin(), preferred.end(), samples);
        if (above == preferred.begin()) return count;
        std::uint32_t left = *std::prev(above);
        std::size_t kept = 0;
        while (kept < count && size_of(kept) <= left) left -= size_of(kept++);
        return kept > 0 ? kept : count;
    }
};

// Processors of client and instance threads: the i-th takes entry i modulo their number.
struct Pinning {
    std::vector<CoreSet> clients;
    std::vector<CoreSet> instances;

    [[nodiscard]] static CoreSet of(const std::vector<CoreSet>& sets, std::size_t i) {
        return sets.empty() ? CoreSet{} : sets[i % sets.size()];
    }
    // A thread that spins on a core where another one works would take its time.
    [[nodiscard]] bool overlaps() const;
};

struct RunSpec {
    std::variant<ClosedLoop, OpenLoop> pattern;
    Batching batching;
    Nanos timeout = 0;  // of a query, from intended; 0: none
    PlanLimit limit;    // the first bound reached ends the window
    Nanos warmup = 0;
    std::uint64_t seed = 0;
    std::size_t stamp_bytes = 0;
    double keep_share = 0.0;   // of the counted queries, whose outputs are kept; 0 to 1
    std::string partial_path;  // see save_and_exit()
    std::uint32_t threads_per_instance = 1;  // that the backend computes with
    Pinning pinning;
    bool asynchronous = false;  // set by the generator from its backends

    // The warm-up walks a plan of its own, so that it does not change the one that is measured.
    [[nodiscard]] std::uint64_t warmup_seed() const noexcept { return seed ^ 0x5741524DU; }
    // Think times are drawn as a simulated device's service times are, and not equal to them.
    [[nodiscard]] std::uint64_t think_seed() const noexcept { return seed ^ 0x5448494EU; }

    // Whether a query's outputs are kept: a draw by its number, the same however it is batched.
    [[nodiscard]] bool keeps(std::uint64_t query) const noexcept {
        if (keep_share <= 0.0 || keep_share >= 1.0) return keep_share >= 1.0;
        return Philox(seed, kKeepStream).uniforms(query)[0] < keep_share;
    }
    static constexpr std::uint64_t kKeepStream = 0x4B454550U;
};

// What one thread of a run cost.
struct ThreadUsage {
    bool client = false;  // a client's own thread; else an instance's
    std::uint32_t index = 0;
    Nanos cpu = 0;
    Nanos wall = 0;
    std::int64_t voluntary_switches = 0;
    std::int64_t involuntary_switches = 0;  // it was preempted
};

enum class Phase : std::uint8_t { kLoad, kWarmup, kMeasure, kDrain, kDone };

struct Live {
    Phase phase = Phase::kLoad;
    Nanos elapsed = 0;  // in the window
    std::uint64_t completed = 0;
    std::uint64_t errors = 0;
    Nanos p99 = 0;
};

struct RunData {
    RunData() = default;
    RunData(RunData&&) = default;
    RunData& operator=(RunData&&) = default;

    std::vector<std::unique_ptr<Recorder>> recorders;  // one an instance, and the watchdog's
    std::uint64_t planned = 0;
    std::uint64_t plan_hash = 0;  // 0 in closed loop, which has no plan
    Nanos window_start = 0;
    Nanos window_end = 0;
    std::vector<ThreadUsage> threads;
    bool spinning = false;
    std::uint64_t late = 0;       // replies that came after their query had timed out
    std::uint64_t repeated = 0;   // second completions of a batch
    std::uint32_t abandoned = 0;  // instances with a call that did not return
    double clock_drift_ppm = 0.0;

    [[nodiscard]] std::unique_ptr<Histogram> merged(Interval interval) const;
    [[nodiscard]] Timeline timeline() const;
    [[nodiscard]] std::map<std::string, ErrorClass> error_classes() const;
    [[nodiscard]] std::uint64_t completed() const;
    [[nodiscard]] std::uint64_t errors() const;
    [[nodiscard]] std::uint64_t timeouts() const;
    [[nodiscard]] std::uint64_t batches() const;
    [[nodiscard]] double queries_in_window() const;
    [[nodiscard]] double samples_in_window() const;
    [[nodiscard]] Nanos last_completed() const;
    [[nodiscard]] bool stamps_complete() const;
};

}  // namespace bytemlperf
