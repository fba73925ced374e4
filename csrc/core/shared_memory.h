// Memory that another process can map: an anonymous file, and this process's view of it.
#pragma once

#include <cstddef>
#include <span>

namespace bytemlperf {

class SharedMemory {
  public:
    // Filled with zeros. Throws std::system_error where the system has no room.
    SharedMemory(const char* name, std::size_t bytes);
    ~SharedMemory();
    SharedMemory(const SharedMemory&) = delete;
    SharedMemory& operator=(const SharedMemory&) = delete;

    [[nodiscard]] int fd() const noexcept { return fd_; }
    [[nodiscard]] std::byte* data() const noexcept { return data_; }
    // `bytes` from `offset` on, in a file that the other process may have made longer; empty where
    // it is not that long.
    [[nodiscard]] std::span<const std::byte> range(std::size_t offset, std::size_t bytes) noexcept;

  private:
    int fd_ = -1;
    std::byte* data_ = nullptr;
    std::size_t bytes_;
};

// A file descriptor that this object closes.
class OwnedFd {
  public:
    OwnedFd() = default;
    explicit OwnedFd(int fd) noexcept : fd_(fd) {}
    ~OwnedFd() { reset(); }
    OwnedFd(const OwnedFd&) = delete;
    OwnedFd& operator=(const OwnedFd&) = delete;

    void reset(int fd = -1) noexcept;
    [[nodiscard]] int get() const noexcept { return fd_; }

  private:
    int fd_ = -1;
};

}  // namespace bytemlperf
