#include "core/staged_inputs.h"

#include <cstring>
#include <stdexcept>
#include <utility>

namespace bytemlperf {

StagedInputs::StagedInputs(std::shared_ptr<const SamplePool> pool, std::vector<std::size_t> offsets,
                           std::size_t slot_bytes)
    : pool_(std::move(pool)), offsets_(std::move(offsets)), slot_bytes_(slot_bytes) {
    if (pool_->columns().size() != offsets_.size()) {
        throw std::invalid_argument("every column needs an offset in the slot");
    }
}

StagedInputs::StagedInputs(std::vector<ReadyQuery> queries, std::size_t slot_bytes)
    : queries_(std::move(queries)), slot_bytes_(slot_bytes) {
    if (queries_.empty()) throw std::invalid_argument("ready queries need one entry or more");
    for (const ReadyQuery& query : queries_) {
        for (const Piece& piece : query.pieces) {
            if (piece.offset > slot_bytes || piece.bytes > slot_bytes - piece.offset) {
                throw std::invalid_argument("a query does not fit its slot");
            }
        }
    }
}

void StagedInputs::prepare(std::byte* slot) const noexcept {
    if (!pool_) return;
    for (std::size_t i = 0; i < offsets_.size(); ++i) {
        const Column& column = pool_->columns()[i];
        if (column.shared) std::memcpy(slot + offsets_[i], column.data, column.row_bytes);
    }
}

void StagedInputs::gather(const Batch& batch, std::byte* slot) const noexcept {
    if (!pool_) {
        for (const Piece& piece : queries_[layout(batch.queries.front().query)].pieces) {
            std::memcpy(slot + piece.offset, piece.data, piece.bytes);
        }
        return;
    }
    for (std::size_t i = 0; i < offsets_.size(); ++i) {
        const Column& column = pool_->columns()[i];
        if (column.shared) continue;
        std::byte* into = slot + offsets_[i];
        for (const Submission& s : batch.queries) into = pool_->gather(column, s.query, into);
    }
}

}  // namespace bytemlperf
