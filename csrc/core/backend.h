// What the generator drives: one loaded copy of a model, on a thread of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "core/clock.h"
#include "core/query_rows.h"
#include "core/submission.h"

namespace bytemlperf {

// The part of a batch's stamps that the backend sets. `entered` comes in as the batch's `ready`
// stamp; a backend that has to wait before it may call (for the GIL) moves it.
struct CallStamps {
    Nanos entered;
    Nanos completed;
};

struct Failure {
    std::string kind;     // class of the error, e.g. a Python exception's type
    std::string message;  // of the first one
};

// Names a batch in flight; never used twice, also not by a later run.
using Handle = std::uint64_t;

enum class Reply : std::uint8_t { kTaken, kRepeated, kLate };

// Where an asynchronous backend reports a completed batch; may be called from any thread, also
// from inside submit().
class CompletionSink {
  public:
    virtual ~CompletionSink() = default;
    // `entered`: where it became known after submit() only; 0 keeps what submit() stamped.
    virtual Reply complete(Handle handle, Nanos at, std::optional<Failure> failure,
                           Nanos entered = 0) noexcept = 0;
};

// All calls on one instance come from one thread, in the order open, (gather, predict or submit)*,
// close.
class Backend {
  public:
    Backend() = default;
    Backend(const Backend&) = delete;
    Backend& operator=(const Backend&) = delete;
    virtual ~Backend() = default;

    // Builds and loads the instance. Throws std::exception with a message for the user.
    virtual void open() {}

    // Batches that may be in flight at once: 0 for a synchronous backend, which has predict();
    // 1 to 64 for an asynchronous one, which has submit().
    [[nodiscard]] virtual std::uint32_t max_in_flight() const noexcept { return 0; }

    // Told at the start of each run: where completions go (asynchronous backends), and when the
    // window begins.
    virtual void run_starts(const std::shared_ptr<CompletionSink>& /*sink*/,
                            Nanos /*window_start*/) noexcept {}

    // Makes the batch's inputs ready in its staging slot. Returns false where there was nothing to
    // do, because a view serves or there are no inputs.
    virtual bool gather(const Batch& /*batch*/) noexcept { return false; }

    // Runs the batch and stamps the call. Returns false where it failed: see failure().
    virtual bool predict(const Batch& /*batch*/, CallStamps& /*stamps*/) noexcept { return false; }

    // Starts the batch and stamps `entered`; its completion goes to the sink, exactly once. Returns
    // false where it could not be started: see failure().
    virtual bool submit(const Batch& /*batch*/, Handle /*handle*/,
                        CallStamps& /*stamps*/) noexcept {
        return false;
    }

    // True where a call that nobody waits for any more can be ended: interrupt(), from any thread,
    // makes every batch in flight come back with a failure.
    [[nodiscard]] virtual bool interruptible() const noexcept { return false; }
    virtual void interrupt() noexcept {}

    // Told before the instance's thread waits for work: what is held for the next call is let go.
    virtual void pause() noexcept {}

    // Samples in this query.
    [[nodiscard]] virtual std::uint32_t samples(std::uint64_t query) const noexcept = 0;

    // Why the last predict() or submit() returned false.
    [[nodiscard]] virtual Failure failure() const { return {}; }

    // Unloads; must not throw, since nothing can be done about it.
    virtual void close() noexcept {}
};

// Answers at once: what remains is the cost of the generator itself.
class NullBackend final : public Backend {
  public:
    NullBackend(Clock clock, QueryRows queries) : clock_(clock), queries_(std::move(queries)) {}

    bool predict(const Batch& /*batch*/, CallStamps& stamps) noexcept override {
        stamps.completed = clock_.now();
        return true;
    }
    [[nodiscard]] std::uint32_t samples(std::uint64_t query) const noexcept override {
        return queries_.samples(query);
    }

  private:
    Clock clock_;
    QueryRows queries_;
};

}  // namespace bytemlperf
