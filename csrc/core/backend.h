// What the generator drives: one loaded copy of a model, on a thread of its own.
#pragma once

#include <cstdint>
#include <string>

#include "core/clock.h"

namespace bytemlperf {

// The part of a query's stamps that the backend sets. `entered` comes in as the query's `ready`
// stamp; a backend that has to wait before it may call (for the GIL) moves it.
struct CallStamps {
    Nanos entered;
    Nanos completed;
};

struct Failure {
    std::string kind;     // class of the error, e.g. a Python exception's type
    std::string message;  // of the first one
};

// All calls on one instance come from one thread, in the order open, (gather, predict)*, close.
class Backend {
  public:
    Backend() = default;
    Backend(const Backend&) = delete;
    Backend& operator=(const Backend&) = delete;
    virtual ~Backend() = default;

    // Builds and loads the instance. Throws std::exception with a message for the user.
    virtual void open() {}

    // Makes the query's inputs ready in the instance's staging slot. Returns false where there was
    // nothing to do, because a view serves or there are no inputs.
    virtual bool gather(std::uint64_t /*query*/) noexcept { return false; }

    // Runs the query and stamps the call. Returns false where it failed: see failure().
    // `keep`: keep the outputs of this query, where the backend can.
    virtual bool predict(std::uint64_t query, bool keep, CallStamps& stamps) noexcept = 0;

    // Samples in this query.
    [[nodiscard]] virtual std::uint32_t samples(std::uint64_t query) const noexcept = 0;

    // Why the last predict() returned false.
    [[nodiscard]] virtual Failure failure() const { return {}; }

    // Told once a run when its window begins.
    virtual void window_starts(Nanos /*at*/) noexcept {}

    // Unloads; must not throw, since nothing can be done about it.
    virtual void close() noexcept {}
};

// Answers at once: what remains is the cost of the generator itself.
class NullBackend final : public Backend {
  public:
    NullBackend(Clock clock, std::uint32_t batch) : clock_(clock), batch_(batch) {}

    bool predict(std::uint64_t /*query*/, bool /*keep*/, CallStamps& stamps) noexcept override {
        stamps.completed = clock_.now();
        return true;
    }
    [[nodiscard]] std::uint32_t samples(std::uint64_t /*query*/) const noexcept override {
        return batch_;
    }

  private:
    Clock clock_;
    std::uint32_t batch_;
};

}  // namespace bytemlperf
