#include "core/sample_pool.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <stdexcept>
#include <utility>

namespace bytemlperf {

SamplePool::SamplePool(std::vector<Column> columns, std::uint64_t rows, std::uint32_t batch)
    : columns_(std::move(columns)), rows_(rows), batch_(batch) {
    if (rows == 0 || batch == 0) {
        throw std::invalid_argument("a sample pool needs at least one row and a batch of one");
    }
    period_ = rows / std::gcd(rows, std::uint64_t{batch});
}

void SamplePool::gather(const Column& column, std::uint64_t query, std::byte* slot) const noexcept {
    std::uint64_t row = first_row(query);
    std::uint64_t left = batch_;
    while (left > 0) {  // one copy, or more where the rows wrap around the end of the pool
        const std::uint64_t run = std::min(left, rows_ - row);
        std::memcpy(slot, column.data + row * column.row_bytes, run * column.row_bytes);
        slot += run * column.row_bytes;
        left -= run;
        row = 0;
    }
}

}  // namespace bytemlperf
