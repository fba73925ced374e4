#include "core/shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace bytemlperf {

SharedMemory::SharedMemory(const char* name, std::size_t bytes)
    : fd_(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING)),
      bytes_(std::max<std::size_t>(bytes, 1)) {
    void* mapped = MAP_FAILED;
    if (fd_ >= 0 && ftruncate(fd_, static_cast<off_t>(bytes_)) == 0) {
        mapped = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
    }
    if (mapped == MAP_FAILED) {
        const std::error_code reason(errno, std::generic_category());
        if (fd_ >= 0) close(fd_);
        throw std::system_error(reason, "no shared memory of " + std::to_string(bytes_) + " bytes");
    }
    data_ = static_cast<std::byte*>(mapped);
    // A file made shorter would end this process at its next access.
    fcntl(fd_, F_ADD_SEALS, F_SEAL_SHRINK);
}

SharedMemory::~SharedMemory() {
    munmap(data_, bytes_);
    close(fd_);
}

std::span<const std::byte> SharedMemory::range(std::size_t offset, std::size_t bytes) noexcept {
    if (offset > bytes_ || bytes > bytes_ - offset) {
        struct stat status{};
        if (fstat(fd_, &status) != 0) return {};
        const auto longer = static_cast<std::size_t>(status.st_size);
        if (longer <= bytes_) return {};
        void* moved = mremap(data_, bytes_, longer, MREMAP_MAYMOVE);
        if (moved == MAP_FAILED) return {};
        data_ = static_cast<std::byte*>(moved);
        bytes_ = longer;
        if (offset > bytes_ || bytes > bytes_ - offset) return {};
    }
    return {data_ + offset, bytes};
}

void OwnedFd::reset(int fd) noexcept {
    if (fd_ >= 0) close(fd_);
    fd_ = fd;
}

}  // namespace bytemlperf
