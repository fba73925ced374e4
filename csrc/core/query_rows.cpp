#include "core/query_rows.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <utility>

namespace bytemlperf {

QueryRows::QueryRows(std::uint32_t batch, std::uint64_t rows) : rows_(rows), batch_(batch) {
    if (rows == 0 || batch == 0) {
        throw std::invalid_argument("queries need at least one row and one sample each");
    }
    period_ = rows / std::gcd(rows, std::uint64_t{batch});
}

QueryRows::QueryRows(std::vector<Range> mix, std::uint64_t rows)
    : rows_(rows), batch_(0), period_(mix.size()) {
    if (mix.empty()) throw std::invalid_argument("a mix needs one query or more");
    for (const Range& range : mix) {
        if (range.count == 0 || range.first >= rows) {
            throw std::invalid_argument("a query of a mix must begin within the rows and have one");
        }
        batch_ = std::max(batch_, range.count);
    }
    mix_ = std::make_shared<const std::vector<Range>>(std::move(mix));
}

}  // namespace bytemlperf
