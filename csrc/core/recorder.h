// What is kept of each query: five intervals in histograms, a time series, raw stamps.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "core/clock.h"
#include "core/histogram.h"
#include "core/stamp_buffer.h"
#include "core/timeline.h"

namespace bytemlperf {

enum class Interval : std::uint8_t { kLatency, kServiceTime, kScheduleLag, kQueueWait, kGilWait };
inline constexpr std::size_t kIntervals = 5;

struct ErrorClass {
    std::uint64_t count = 0;
    std::string first;
};

// What complete() takes goes into a short journal, post() carries it to the books. A model leaves
// none of the books' memory in the caches, and a query of its own would fetch it all: histograms,
// time series, stamps. A journal's worth fetches it once.
//
// One thread writes; others may read the histograms, the counters and the published stamps.
class Recorder {
  public:
    // `stamp_bytes`: memory for raw stamps; recording goes on without them when it is full.
    Recorder(std::uint32_t instance, std::size_t stamp_bytes, bool closed_loop);

    void complete(std::uint64_t query, std::uint32_t client, const Stamps& s,
                  std::uint32_t samples) noexcept {
        journal_[entries_++] = {query, client, samples, s};
    }
    // The journal is full, or its oldest entry is old enough to be missed by who reads the books.
    // Asked after each complete().
    [[nodiscard]] bool due() const noexcept {
        return entries_ == kJournal ||
               journal_[entries_ - 1].stamps.completed - journal_[0].stamps.entered > kOldestEntry;
    }
    [[nodiscard]] bool empty() const noexcept { return entries_ == 0; }
    // Completions after `window_end` count in the latency, not in the throughput. In closed loop,
    // where clients were busy until the end, the part inside the window does: a client whose
    // queries take as long as the window would have no throughput else.
    void post(Nanos window_start, Nanos window_end) noexcept;
    void time_out() noexcept {
        timeouts_.store(timeouts_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }
    void batch() noexcept { ++batches_; }
    void fail(const std::string& kind, const std::string& message, Nanos at, Nanos window_start);

    [[nodiscard]] const Histogram& histogram(Interval i) const noexcept {
        return histograms_[static_cast<std::size_t>(i)];
    }
    [[nodiscard]] std::uint64_t completed() const noexcept {
        return histogram(Interval::kLatency).count();
    }
    [[nodiscard]] std::uint64_t errors() const noexcept {
        return errors_.load(std::memory_order_relaxed);
    }
    [[nodiscard]] std::uint64_t timeouts() const noexcept {
        return timeouts_.load(std::memory_order_relaxed);
    }
    // May be read, and memory prepared, while the run goes on.
    [[nodiscard]] const StampBuffer& stamps() const noexcept { return stamps_; }
    [[nodiscard]] StampBuffer& stamps() noexcept { return stamps_; }

    // The rest is read after the run only.
    [[nodiscard]] bool stamps_complete() const noexcept { return stamps_complete_; }
    [[nodiscard]] const Timeline& timeline() const noexcept { return timeline_; }
    [[nodiscard]] std::uint64_t batches() const noexcept { return batches_; }
    [[nodiscard]] double queries_in_window() const noexcept {
        return static_cast<double>(queries_in_window_) + queries_cut_;
    }
    [[nodiscard]] double samples_in_window() const noexcept {
        return static_cast<double>(samples_in_window_) + samples_cut_;
    }
    [[nodiscard]] Nanos last_completed() const noexcept { return last_completed_; }
    [[nodiscard]] const std::map<std::string, ErrorClass>& error_classes() const noexcept {
        return error_classes_;
    }

  private:
    struct Entry {
        std::uint64_t query;
        std::uint32_t client;
        std::uint32_t samples;
        Stamps stamps;
    };
    static constexpr std::uint32_t kJournal = 64;
    static constexpr Nanos kOldestEntry = 20'000'000;

    void post(const Entry& entry, Nanos window_start, Nanos window_end) noexcept;
    Histogram& of(Interval i) noexcept { return histograms_[static_cast<std::size_t>(i)]; }

    std::uint32_t instance_;
    bool closed_loop_;
    std::uint32_t entries_ = 0;
    std::array<Entry, kJournal> journal_;
    std::array<Histogram, kIntervals> histograms_;
    Timeline timeline_;
    std::uint64_t queries_in_window_ = 0;
    std::uint64_t samples_in_window_ = 0;
    double queries_cut_ = 0.0;  // by the end of the window: the shares inside
    double samples_cut_ = 0.0;
    Nanos last_completed_ = 0;
    StampBuffer stamps_;
    bool stamps_complete_ = true;
    std::uint64_t batches_ = 0;
    std::atomic<std::uint64_t> errors_{0};
    std::atomic<std::uint64_t> timeouts_{0};
    std::map<std::string, ErrorClass> error_classes_;
};

}  // namespace bytemlperf
