// The input samples as contiguous rows, and the rows that each query takes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "bytemlperf/backend.h"

namespace bytemlperf {

// One input over all samples. The memory belongs to the caller and outlives the pool.
struct Column {
    std::string name;
    const std::byte* data = nullptr;
    std::size_t row_bytes = 0;  // of a shared column: all its bytes
    bool shared = false;        // the same for every batch: has no sample dimension
    bytemlperf_dtype dtype = BYTEMLPERF_UINT8;
    std::vector<std::int64_t> shape;  // of one sample; of a shared column: its own
};

// Query k takes rows (k * batch + i) mod rows, i = 0 .. batch - 1.
class SamplePool {
  public:
    // Throws std::invalid_argument for an empty pool or batch.
    SamplePool(std::vector<Column> columns, std::uint64_t rows, std::uint32_t batch);

    [[nodiscard]] const std::vector<Column>& columns() const noexcept { return columns_; }
    [[nodiscard]] std::uint64_t rows() const noexcept { return rows_; }
    [[nodiscard]] std::uint32_t batch() const noexcept { return batch_; }
    // Queries after which the same rows come again: rows / gcd(rows, batch).
    [[nodiscard]] std::uint64_t period() const noexcept { return period_; }
    [[nodiscard]] std::uint64_t first_row(std::uint64_t query) const noexcept {
        return (query % period_) * batch_ % rows_;
    }
    // True where the query's rows lie side by side, so that a view serves as its batch.
    [[nodiscard]] bool contiguous(std::uint64_t query) const noexcept {
        return first_row(query) + batch_ <= rows_;
    }
    // Copies the query's rows of one column to `slot` (batch * row_bytes). Needs no GIL.
    void gather(const Column& column, std::uint64_t query, std::byte* slot) const noexcept;

  private:
    std::vector<Column> columns_;
    std::uint64_t rows_;
    std::uint32_t batch_;
    std::uint64_t period_;
};

}  // namespace bytemlperf
