#include "core/stamp_buffer.h"

#include <sys/mman.h>

#include <algorithm>
#include <new>

namespace bytemlperf {

namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20U;

std::size_t round_up(std::size_t bytes) noexcept {
    return (bytes + kHugePage - 1) / kHugePage * kHugePage;
}

}  // namespace

StampBuffer::StampBuffer(std::size_t bytes) : capacity_(bytes / sizeof(StampRecord)) {
    if (capacity_ == 0) return;
    mapped_bytes_ = bytes;
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    if (bytes >= kHugePage) madvise(memory, bytes, MADV_HUGEPAGE);
    records_ = static_cast<StampRecord*>(memory);
}

StampBuffer::~StampBuffer() {
    if (records_ != nullptr) munmap(records_, mapped_bytes_);
}

void StampBuffer::prepare(std::size_t ahead) noexcept {
    const std::size_t wanted =
        std::min(mapped_bytes_, round_up((count() + ahead) * sizeof(StampRecord)));
    if (wanted <= prepared_bytes_) return;
#ifdef MADV_POPULATE_WRITE
    // Where the kernel does not know it, pages are touched as they fill.
    madvise(reinterpret_cast<char*>(records_) + prepared_bytes_, wanted - prepared_bytes_,
            MADV_POPULATE_WRITE);
#endif
    prepared_bytes_ = wanted;
}

}  // namespace bytemlperf
