#include "core/virtual_run.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <utility>

namespace bytemlperf {

namespace {

constexpr std::uint64_t kAskEvery = 1U << 16U;

// Free times of the servers; the earliest serves next.
class Servers {
  public:
    Servers(const DeviceModel& model, std::uint32_t batch, std::uint64_t seed)
        : model_(model), batch_(batch), seed_(seed) {
        for (std::uint32_t i = 0; i < model.servers; ++i) free_.push(INT64_MIN);
    }

    // Serves a query that was submitted at `at`, not earlier than the ones before it.
    Stamps serve(std::uint64_t query, Nanos at) {
        Nanos start = std::max(at, free_.top());
        if (model_.stall) start = model_.stall->delay(start);
        const Nanos completed = start + model_.service->draw(seed_, query, batch_);
        free_.pop();
        free_.push(completed);
        return {at, at, start, start, completed};
    }

  private:
    const DeviceModel& model_;
    std::uint32_t batch_;
    std::uint64_t seed_;
    std::priority_queue<Nanos, std::vector<Nanos>, std::greater<>> free_;
};

void run_open(const RunSpec& spec, const OpenLoop& pattern, std::uint32_t batch, Servers& servers,
              RunData& data, bool (*keep_going)()) {
    Recorder& recorder = *data.recorders.front();
    if (spec.warmup > 0 && !pattern.window_is_drain) {
        PlanCursor cursor(pattern.process->stream(spec.warmup_seed()), {{}, spec.warmup});
        while (const auto query = cursor.next()) {
            servers.serve(query->index, query->offset - spec.warmup);
        }
    }
    PlanCursor cursor(pattern.process->stream(spec.seed), spec.limit);
    const auto clients = pattern.clients;
    while (const auto query = cursor.next()) {
        if (query->index % kAskEvery == 0 && !keep_going()) {
            data.window_end = query->offset;
            break;
        }
        recorder.complete(query->index, static_cast<std::uint32_t>(query->index % clients),
                          servers.serve(query->index, query->offset), batch, 0, data.window_end);
    }
}

void run_closed(const RunSpec& spec, const ClosedLoop& pattern, std::uint32_t batch,
                Servers& servers, RunData& data, bool (*keep_going)()) {
    Recorder& recorder = *data.recorders.front();
    using Turn = std::pair<Nanos, std::uint32_t>;  // when a client submits next, and which
    std::priority_queue<Turn, std::vector<Turn>, std::greater<>> turns;
    for (std::uint32_t c = 0; c < pattern.clients; ++c) turns.emplace(-spec.warmup, c);
    std::vector<std::uint64_t> next(pattern.clients);
    for (std::uint32_t c = 0; c < pattern.clients; ++c) next[c] = c;
    std::vector<std::uint64_t> warm = next;
    const std::uint64_t end = spec.limit.queries.value_or(UINT64_MAX);
    const Nanos submit_until = spec.limit.duration.value_or(kNever);
    for (std::uint64_t asked = 0; !turns.empty(); ++asked) {
        if (asked % kAskEvery == 0 && !keep_going()) break;
        const auto [now, client] = turns.top();
        turns.pop();
        const bool counted = now >= 0;
        std::uint64_t& query = counted ? next[client] : warm[client];
        const bool first = query == client;
        if (counted && now >= submit_until && !first) continue;
        const Stamps stamps = servers.serve(query, now);
        if (counted) {
            recorder.complete(query, client, stamps, batch, 0, data.window_end);
        }
        query += pattern.clients;
        if (counted && query >= end) {
            data.window_end = std::min(data.window_end, stamps.completed);
        } else {
            turns.emplace(stamps.completed + pattern.think_time, client);
        }
    }
}

}  // namespace

RunData run_virtual(const RunSpec& spec, const DeviceModel& device, std::uint32_t batch,
                    bool (*keep_going)()) {
    RunData data;
    data.recorders.push_back(std::make_unique<Recorder>(0, spec.stamp_bytes));
    data.window_end = spec.limit.duration.value_or(kNever);
    Servers servers(device, batch, spec.seed);
    if (const auto* pattern = std::get_if<OpenLoop>(&spec.pattern)) {
        const PlanSummary plan = summarize_plan(*pattern->process, spec.seed, spec.limit);
        data.planned = plan.queries;
        data.plan_hash = plan.hash;
        if (!spec.limit.duration && !pattern->window_is_drain)
            data.window_end = plan.last_offset + 1;
        run_open(spec, *pattern, batch, servers, data, keep_going);
        if (pattern->window_is_drain) data.window_end = data.last_completed();
    } else {
        run_closed(spec, std::get<ClosedLoop>(spec.pattern), batch, servers, data, keep_going);
        data.planned = spec.limit.queries.value_or(data.completed());
        if (data.window_end == kNever) data.window_end = data.last_completed();  // cut short
    }
    return data;
}

}  // namespace bytemlperf
