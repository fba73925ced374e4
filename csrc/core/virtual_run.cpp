#include "core/virtual_run.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <queue>
#include <utility>
#include <vector>

namespace bytemlperf {

namespace {

constexpr std::uint64_t kAskEvery = 1U << 16U;  // batches

// What open-loop clients submit: the warm-up's plan, then the one that is measured.
class PlannedSource {
  public:
    PlannedSource(const RunSpec& spec, const OpenLoop& pattern)
        : clients_(pattern.clients),
          warmup_(pattern.window_is_drain ? 0 : spec.warmup),
          warm_(pattern.process->stream(spec.warmup_seed()), {std::nullopt, warmup_}),
          plan_(pattern.process->stream(spec.seed), spec.limit) {
        pop();
    }

    // The next submission, or nothing where none comes without an answer.
    [[nodiscard]] const std::optional<Submission>& peek() const noexcept { return next_; }
    void pop() {
        if (next_) last_ = next_->submitted;
        next_.reset();
        if (warming_) {
            const auto query = warm_.next();
            if (query) set(*query, query->offset - warmup_, false);
            warming_ = query.has_value();
        }
        if (!warming_) {
            if (const auto query = plan_.next()) set(*query, query->offset, true);
        }
    }
    void answered(const Submission& /*s*/, Nanos /*at*/) noexcept {}
    // When it became known that nothing more comes; never, as long as something may.
    [[nodiscard]] Nanos ended_at() const noexcept { return next_ ? kNever : last_; }
    // When the sources themselves end the window.
    [[nodiscard]] Nanos window_end() const noexcept { return kNever; }

  private:
    void set(const PlannedQuery& query, Nanos at, bool counted) noexcept {
        next_ = {query.index, static_cast<std::uint32_t>(query.index % clients_), counted, at, at};
    }

    std::uint32_t clients_;
    Nanos warmup_;
    PlanCursor warm_;
    PlanCursor plan_;
    bool warming_ = true;
    Nanos last_ = 0;
    std::optional<Submission> next_;
};

// What closed-loop clients submit: each its next query when it has thought after its answer.
class TurnSource {
  public:
    TurnSource(const RunSpec& spec, const ClosedLoop& pattern)
        : think_time_(pattern.think_time.get()),
          think_seed_(spec.think_seed()),
          end_(spec.limit.queries.value_or(UINT64_MAX)),
          submit_until_(spec.limit.duration.value_or(kNever)),
          next_query_(pattern.clients),
          next_warm_(pattern.clients) {
        for (std::uint32_t c = 0; c < pattern.clients; ++c) {
            next_query_[c] = next_warm_[c] = c;
            turns_.emplace(-spec.warmup, c);
        }
        look();
    }

    [[nodiscard]] const std::optional<Submission>& peek() const noexcept { return next_; }
    void pop() {
        std::uint64_t& query = (next_->counted ? next_query_ : next_warm_)[next_->client];
        query += next_query_.size();
        turns_.pop();
        look();
    }
    void answered(const Submission& s, Nanos at) {
        if (s.counted && next_query_[s.client] >= end_) {
            window_end_ = std::min(window_end_, at);
            return;
        }
        const Nanos pause = think_time_ ? think_time_->draw(think_seed_, s.query, 1) : 0;
        turns_.emplace(at + pause, s.client);
        look();
    }
    [[nodiscard]] Nanos ended_at() const noexcept { return kNever; }
    // When the first client ran out of queries.
    [[nodiscard]] Nanos window_end() const noexcept { return window_end_; }

  private:
    using Turn = std::pair<Nanos, std::uint32_t>;  // when a client submits next, and which

    void look() {
        next_.reset();
        while (!turns_.empty()) {
            const auto [at, client] = turns_.top();
            const bool counted = at >= 0;
            const std::uint64_t query = (counted ? next_query_ : next_warm_)[client];
            const bool first = query == client;
            // A client that has no query at all, or whose time is over, submits no more.
            if (!counted || (query < end_ && (at < submit_until_ || first))) {
                next_ = {query, client, counted, at, at};
                return;
            }
            turns_.pop();
        }
    }

    const ServiceTime* think_time_;  // null: none
    std::uint64_t think_seed_;
    std::uint64_t end_;
    Nanos submit_until_;
    Nanos window_end_ = kNever;
    std::vector<std::uint64_t> next_query_;
    std::vector<std::uint64_t> next_warm_;
    std::priority_queue<Turn, std::vector<Turn>, std::greater<>> turns_;
    std::optional<Submission> next_;
};

// The batcher and the device. Batches are formed one after the other by whichever server is free
// first, so that each is known, with its answer, before the next one begins.
template <typename Source>
class VirtualDevice {
  public:
    VirtualDevice(const RunSpec& spec, const DeviceModel& model, const QueryRows& queries,
                  Source& source, RunData& data)
        : spec_(spec),
          model_(model),
          queries_(queries),
          source_(source),
          data_(data),
          recorder_(*data.recorders.front()),
          servers_(model.servers) {
        for (std::uint32_t i = 0; i < model.servers; ++i) idle_.emplace(INT64_MIN, i);
    }

    // Runs one batch. False when everything is answered.
    bool step() {
        const std::optional<Nanos> closed = form();
        if (!closed) {
            for (Server& server : servers_) record(server);
            return false;
        }
        Server& server = servers_[idle_.top().second];
        record(server);
        server.queries.swap(forming_);
        server.start = model_.stall ? model_.stall->delay(*closed) : *closed;
        server.completed =
            server.start +
            model_.service->draw(spec_.seed, server.queries.front().query, forming_samples_);
        const std::uint32_t index = idle_.top().second;
        idle_.pop();
        idle_.emplace(server.completed, index);
        for (const Submission& s : server.queries) {
            source_.answered(s, std::min(server.completed, deadline(s)));
        }
        return true;
    }

  private:
    struct Server {
        std::vector<Submission> queries;  // of the batch that it runs or ran last
        Nanos start = 0;
        Nanos completed = 0;
    };

    [[nodiscard]] Nanos deadline(const Submission& s) const noexcept {
        return spec_.timeout > 0 ? s.intended + spec_.timeout : kNever;
    }

    // Fills `forming_`; returns when the batch closes.
    std::optional<Nanos> form() {
        const Nanos idle = idle_.top().first;
        forming_.clear();
        forming_samples_ = 0;
        for (const Submission& s : std::exchange(carried_, {})) add(s, idle);
        std::optional<Submission> s;
        while (!full() && (s = source_.peek())) {
            if (!forming_.empty() && s->submitted > closes_at(idle)) break;
            if (!fits(*s)) return std::max({idle, forming_.back().submitted, s->submitted});
            source_.pop();
            add(*s, idle);
        }
        if (forming_.empty()) return std::nullopt;
        const Nanos newest = std::max(idle, forming_.back().submitted);
        if (full()) return newest;
        const Nanos closed = std::min(closes_at(idle), std::max(newest, source_.ended_at()));
        cut_to_preferred();
        return closed;
    }

    [[nodiscard]] bool full() const noexcept {
        if (!spec_.batching.dynamic()) return !forming_.empty();
        return forming_samples_ >= spec_.batching.max_samples;
    }

    [[nodiscard]] bool fits(const Submission& s) const noexcept {
        return forming_.empty() ||
               forming_samples_ + queries_.samples(s.query) <= spec_.batching.max_samples;
    }

    // Adds a query to the forming batch, unless it has timed out already.
    void add(const Submission& s, Nanos idle) {
        const Nanos taken = std::max(idle, s.submitted);
        if (deadline(s) > taken) {
            forming_.push_back(s);
            forming_samples_ += queries_.samples(s.query);
            return;
        }
        if (s.counted) recorder_.time_out();
        source_.answered(s, taken);
    }

    [[nodiscard]] Nanos closes_at(Nanos idle) const noexcept {
        return std::max(idle, forming_.front().submitted + spec_.batching.max_delay);
    }

    // As the workers do: the largest preferred size that the batch reaches.
    void cut_to_preferred() {
        const std::size_t kept = spec_.batching.cut(
            forming_.size(), forming_samples_,
            [this](std::size_t i) { return queries_.samples(forming_[i].query); });
        const auto cut = forming_.begin() + static_cast<std::ptrdiff_t>(kept);
        carried_.assign(cut, forming_.end());
        for (const Submission& s : carried_) forming_samples_ -= queries_.samples(s.query);
        forming_.erase(cut, forming_.end());
    }

    // Records the batch that a server has run, when it takes the next one: by then it is known
    // whether the window had ended when this one completed.
    void record(Server& server) {
        const Nanos window_end = std::min(data_.window_end, source_.window_end());
        bool counted = false;
        for (const Submission& s : server.queries) {
            const bool late = server.completed > deadline(s);
            counted = counted || s.counted;
            data_.late += late ? 1 : 0;
            if (late && s.counted) {
                recorder_.time_out();
            } else if (s.counted) {
                recorder_.complete(
                    s.query, s.client,
                    {s.intended, s.submitted, server.start, server.start, server.completed},
                    queries_.samples(s.query));
                if (recorder_.due()) recorder_.post(0, window_end);
            }
        }
        recorder_.post(0, window_end);
        if (counted) recorder_.batch();
        server.queries.clear();
    }

    const RunSpec& spec_;
    const DeviceModel& model_;
    const QueryRows& queries_;
    Source& source_;
    RunData& data_;
    Recorder& recorder_;
    std::vector<Server> servers_;
    using Idle = std::pair<Nanos, std::uint32_t>;  // since when, and which server
    std::priority_queue<Idle, std::vector<Idle>, std::greater<>> idle_;
    std::vector<Submission> forming_;
    std::uint32_t forming_samples_ = 0;
    std::vector<Submission> carried_;  // cut off the batch before
};

template <typename Source>
void run_to_end(VirtualDevice<Source>& device, bool (*keep_going)()) {
    for (std::uint64_t batches = 1; device.step(); ++batches) {
        if (batches % kAskEvery == 0 && !keep_going()) return;
    }
}

}  // namespace

RunData run_virtual(const RunSpec& spec, const DeviceModel& device, const QueryRows& queries,
                    bool (*keep_going)()) {
    RunData data;
    const bool closed_loop = std::holds_alternative<ClosedLoop>(spec.pattern);
    data.recorders.push_back(std::make_unique<Recorder>(0, spec.stamp_bytes, closed_loop));
    data.window_end = spec.limit.duration.value_or(kNever);
    if (const auto* pattern = std::get_if<OpenLoop>(&spec.pattern)) {
        const PlanSummary plan = summarize_plan(*pattern->process, spec.seed, spec.limit);
        data.planned = plan.queries;
        data.plan_hash = plan.hash;
        if (!spec.limit.duration && !pattern->window_is_drain) {
            data.window_end = plan.last_offset + 1;
        }
        PlannedSource source(spec, *pattern);
        VirtualDevice servers(spec, device, queries, source, data);
        run_to_end(servers, keep_going);
        if (pattern->window_is_drain) data.window_end = data.last_completed();
    } else {
        TurnSource source(spec, std::get<ClosedLoop>(spec.pattern));
        VirtualDevice servers(spec, device, queries, source, data);
        run_to_end(servers, keep_going);
        data.planned = spec.limit.queries.value_or(data.completed() + data.timeouts());
        data.window_end = std::min(data.window_end, source.window_end());
        if (data.window_end == kNever) data.window_end = data.last_completed();  // cut short
    }
    return data;
}

}  // namespace bytemlperf
