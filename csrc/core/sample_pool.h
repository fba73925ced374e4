// The input samples as contiguous rows, and the rows that each query takes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "bytemlperf/backend.h"
#include "core/query_rows.h"

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

class SamplePool {
  public:
    SamplePool(std::vector<Column> columns, QueryRows queries);

    [[nodiscard]] const std::vector<Column>& columns() const noexcept { return columns_; }
    [[nodiscard]] const QueryRows& queries() const noexcept { return queries_; }
    // Copies the query's rows of one column to `slot`. Returns where they end. Needs no GIL.
    std::byte* gather(const Column& column, std::uint64_t query, std::byte* slot) const noexcept;

  private:
    std::vector<Column> columns_;
    QueryRows queries_;
};

}  // namespace bytemlperf
