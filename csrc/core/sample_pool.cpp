#include "core/sample_pool.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace bytemlperf {

SamplePool::SamplePool(std::vector<Column> columns, QueryRows queries)
    : columns_(std::move(columns)), queries_(std::move(queries)) {}

std::byte* SamplePool::gather(const Column& column, std::uint64_t query,
                              std::byte* slot) const noexcept {
    std::uint64_t row = queries_.first(query);
    std::uint64_t left = queries_.samples(query);
    while (left > 0) {  // one copy, or more where the rows wrap around the end of the pool
        const std::uint64_t run = std::min(left, queries_.rows() - row);
        std::memcpy(slot, column.data + row * column.row_bytes, run * column.row_bytes);
        slot += run * column.row_bytes;
        left -= run;
        row = 0;
    }
    return slot;
}

}  // namespace bytemlperf
