// How many samples each query has, and which rows of the samples it takes.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace bytemlperf {

// Queries of one size, each from where the one before it ended; or a mix, walked again and again.
// Rows wrap around the end. Cheap to copy.
class QueryRows {
  public:
    struct Range {
        std::uint64_t first;
        std::uint32_t count;
    };

    // Query k takes rows (k * batch + i) mod rows, i = 0 .. batch - 1. Where only the sizes matter,
    // one row will do. Throws std::invalid_argument for no rows or an empty query.
    explicit QueryRows(std::uint32_t batch, std::uint64_t rows = 1);
    // Query k takes range k mod size. Throws std::invalid_argument for no ranges, an empty one, or
    // one that begins beyond the rows.
    QueryRows(std::vector<Range> mix, std::uint64_t rows);

    [[nodiscard]] std::uint32_t samples(std::uint64_t query) const noexcept {
        return mix_ ? (*mix_)[query % period_].count : batch_;
    }
    [[nodiscard]] std::uint64_t first(std::uint64_t query) const noexcept {
        return mix_ ? (*mix_)[query % period_].first : (query % period_) * batch_ % rows_;
    }
    // True where the query's rows lie side by side, so that a view serves as its batch.
    [[nodiscard]] bool contiguous(std::uint64_t query) const noexcept {
        return first(query) + samples(query) <= rows_;
    }
    // Queries after which the same rows come again.
    [[nodiscard]] std::uint64_t period() const noexcept { return period_; }
    [[nodiscard]] std::uint64_t rows() const noexcept { return rows_; }
    // Samples of the largest query.
    [[nodiscard]] std::uint32_t largest() const noexcept { return batch_; }

  private:
    std::uint64_t rows_;
    std::uint32_t batch_;  // of a mix: its largest
    std::uint64_t period_;
    std::shared_ptr<const std::vector<Range>> mix_;  // null: all queries have one size
};

}  // namespace bytemlperf
