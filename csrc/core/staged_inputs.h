// Where the inputs of isolated backends come from, and where in a staging slot they go.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/sample_pool.h"
#include "core/submission.h"

namespace bytemlperf {

// Either rows of a pool, or ready queries that are handed over as they are. The memory of the
// samples belongs to the caller and outlives this.
class StagedInputs {
  public:
    // A part of a ready query: bytes, and their place in a slot.
    struct Piece {
        const std::byte* data;
        std::size_t bytes;
        std::size_t offset;
    };
    struct ReadyQuery {
        std::vector<Piece> pieces;
        std::uint32_t samples;
    };

    // `offsets`: of each column in a slot of `slot_bytes`. Throws std::invalid_argument.
    StagedInputs(std::shared_ptr<const SamplePool> pool, std::vector<std::size_t> offsets,
                 std::size_t slot_bytes);
    // Query k takes entry k mod size. Throws std::invalid_argument where there is none, or a piece
    // does not fit a slot.
    StagedInputs(std::vector<ReadyQuery> queries, std::size_t slot_bytes);

    [[nodiscard]] std::size_t slot_bytes() const noexcept { return slot_bytes_; }
    [[nodiscard]] std::uint32_t samples(std::uint64_t query) const noexcept {
        return pool_ ? pool_->queries().samples(query) : queries_[query % queries_.size()].samples;
    }
    // Which of the layouts that the child knows the query's inputs have.
    [[nodiscard]] std::uint32_t layout(std::uint64_t query) const noexcept {
        return pool_ ? 0 : static_cast<std::uint32_t>(query % queries_.size());
    }
    // What all batches share: copied to a slot once.
    void prepare(std::byte* slot) const noexcept;
    void gather(const Batch& batch, std::byte* slot) const noexcept;

  private:
    std::shared_ptr<const SamplePool> pool_;
    std::vector<std::size_t> offsets_;
    std::vector<ReadyQuery> queries_;
    std::size_t slot_bytes_;
};

}  // namespace bytemlperf
