// The stamps of single queries, in memory that is made ready before it is written.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/clock.h"

namespace bytemlperf {

// The life of one query. Each difference of neighbours is one interval, so that they sum exactly
// to the latency, completed - intended.
struct Stamps {
    Nanos intended;   // the plan; in closed loop = submitted
    Nanos submitted;  // the client hands it over
    Nanos ready;      // its batch is closed and gathered
    Nanos entered;    // the backend may be called (a Python one: the GIL is held)
    Nanos completed;  // the backend has answered
};

// Layout of Result.stamps; the binding describes it to numpy field by field.
struct StampRecord {
    std::uint64_t query;
    std::uint32_t client;
    std::uint32_t instance;
    Stamps stamps;
};

// One thread appends; others may read what is published, and prepare memory ahead. The first write
// to a page costs a fault of microseconds, which would stand in the measurement.
class StampBuffer {
  public:
    // Reserves address space for `bytes`; no memory yet.
    explicit StampBuffer(std::size_t bytes);
    ~StampBuffer();
    StampBuffer(const StampBuffer&) = delete;
    StampBuffer& operator=(const StampBuffer&) = delete;

    // False when it is full.
    bool push(const StampRecord& record) noexcept {
        const std::size_t n = count_.load(std::memory_order_relaxed);
        if (n >= capacity_) return false;
        records_[n] = record;
        count_.store(n + 1, std::memory_order_release);
        return true;
    }
    // Makes memory ready for `ahead` records beyond those that are written. One thread at a time.
    void prepare(std::size_t ahead) noexcept;

    [[nodiscard]] std::size_t count() const noexcept {
        return count_.load(std::memory_order_acquire);
    }
    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
    [[nodiscard]] const StampRecord* data() const noexcept { return records_; }

  private:
    std::size_t capacity_;
    std::size_t mapped_bytes_ = 0;
    std::size_t prepared_bytes_ = 0;
    StampRecord* records_ = nullptr;
    std::atomic<std::size_t> count_{0};
};

}  // namespace bytemlperf
