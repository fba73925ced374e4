// What is kept of each query: five intervals in histograms, a time series, raw stamps.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "core/histogram.h"
#include "core/stamp_buffer.h"

namespace bytemlperf {

enum class Interval : std::uint8_t { kLatency, kServiceTime, kScheduleLag, kQueueWait, kGilWait };
inline constexpr std::size_t kIntervals = 5;

// The latencies of one window as bare bucket counts. Buckets lie in small blocks that are allocated
// when the first latency falls into them: of the whole range a window sees a few.
class WindowCounts {
  public:
    void add(std::size_t bucket, std::uint64_t count = 1) {
        if (!blocks_) blocks_ = std::make_unique<Blocks>();
        std::unique_ptr<Block>& block = (*blocks_)[bucket / kBlock];
        if (!block) block = std::make_unique<Block>();
        (*block)[bucket % kBlock] += count;
    }
    void merge(const WindowCounts& other);
    // Non-empty ones, ascending.
    [[nodiscard]] std::vector<std::pair<std::size_t, std::uint64_t>> buckets() const;

  private:
    static constexpr std::size_t kBlock = 64;
    using Block = std::array<std::uint64_t, kBlock>;
    using Blocks = std::array<std::unique_ptr<Block>, (Histogram::kBuckets + kBlock - 1) / kBlock>;

    std::unique_ptr<Blocks> blocks_;
};

// Completions by time: 128 windows whose width doubles, by merging pairs, when the run outgrows
// them. Their latencies are what intervals are computed from where raw stamps no longer fit.
class Timeline {
  public:
    struct Bin {
        std::uint64_t queries = 0;
        std::uint64_t errors = 0;
        Nanos latency_sum = 0;
        Nanos latency_max = 0;
        WindowCounts latencies;
    };
    static constexpr std::size_t kBins = 128;

    // `bucket` is the latency's in a Histogram.
    void complete(Nanos since_start, Nanos latency, std::size_t bucket) noexcept {
        Bin& bin = at(since_start);
        ++bin.queries;
        bin.latency_sum += latency;
        if (latency > bin.latency_max) bin.latency_max = latency;
        bin.latencies.add(bucket);
    }
    void error(Nanos since_start) noexcept { ++at(since_start).errors; }
    void merge(const Timeline& other);

    [[nodiscard]] Nanos bin_width() const noexcept { return Nanos{1} << shift_; }
    [[nodiscard]] const std::array<Bin, kBins>& bins() const noexcept { return bins_; }

  private:
    Bin& at(Nanos since_start) noexcept {
        const Nanos t = since_start > 0 ? since_start : 0;
        while ((t >> shift_) >= static_cast<Nanos>(kBins)) halve();
        return bins_[static_cast<std::size_t>(t >> shift_)];
    }
    void halve() noexcept;

    unsigned shift_ = 20;  // about 1 ms
    std::array<Bin, kBins> bins_{};
};

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
