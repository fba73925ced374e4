// A query on its way from a client to an instance, and the batch that it becomes a part of.
#pragma once

#include <cstdint>
#include <span>

#include "core/clock.h"

namespace bytemlperf {

struct Submission {
    std::uint64_t query;
    std::uint32_t client;
    bool counted;  // false during warm-up
    Nanos intended;
    Nanos submitted;
};

// What a backend runs in one call: one query, or several that the batcher merged.
struct Batch {
    std::span<const Submission> queries;  // in the order in which they were submitted
    std::uint32_t samples;
    std::uint32_t slot;  // staging slot that its inputs lie in, below Backend::slots()
    bool keep;           // keep the outputs of the counted queries, where the backend can
};

}  // namespace bytemlperf
