// A native backend behind the C interface of bytemlperf/backend.h, loaded from a shared library.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "bytemlperf/backend.h"
#include "core/backend.h"
#include "core/query_rows.h"
#include "core/sample_pool.h"

namespace bytemlperf {

// A loaded library; it stays loaded as long as an instance of it lives.
class PluginLibrary {
  public:
    // Throws std::runtime_error, naming the file: not loadable, no entry point, another version of
    // the interface, or a table that is too small.
    explicit PluginLibrary(const std::string& path);
    ~PluginLibrary();
    PluginLibrary(const PluginLibrary&) = delete;
    PluginLibrary& operator=(const PluginLibrary&) = delete;

    [[nodiscard]] const bytemlperf_backend_api& api() const noexcept { return *api_; }
    [[nodiscard]] bool asynchronous() const noexcept { return asynchronous_; }
    [[nodiscard]] std::uint32_t max_in_flight() const noexcept { return max_in_flight_; }
    [[nodiscard]] std::string name() const { return api_->name != nullptr ? api_->name : path_; }

  private:
    void check() const;

    std::string path_;
    void* handle_ = nullptr;
    const bytemlperf_backend_api* api_ = nullptr;
    bool asynchronous_ = false;
    std::uint32_t max_in_flight_ = 0;
};

struct PluginOptions {
    std::string config;                      // a JSON object
    std::shared_ptr<const SamplePool> pool;  // may be null: batches without inputs
    QueryRows queries;                       // where there is a pool: the pool's
    std::uint32_t capacity = 1;              // samples of the largest batch
    // Takes the outputs of a batch that are to be kept; called after the stamp.
    std::function<void(std::span<const Submission>, const bytemlperf_outputs&)> keep;
};

class PluginBackend final : public Backend {
  public:
    PluginBackend(Clock clock, std::shared_ptr<const PluginLibrary> library, PluginOptions options);
    ~PluginBackend() override;

    void open() override;
    [[nodiscard]] std::uint32_t max_in_flight() const noexcept override {
        return library_->max_in_flight();
    }
    void run_starts(const std::shared_ptr<CompletionSink>& sink,
                    Nanos window_start) noexcept override;
    bool gather(const Batch& batch) noexcept override;
    bool predict(const Batch& batch, CallStamps& stamps) noexcept override;
    bool submit(const Batch& batch, Handle handle, CallStamps& stamps) noexcept override;
    [[nodiscard]] std::uint32_t samples(std::uint64_t query) const noexcept override {
        return options_.queries.samples(query);
    }
    [[nodiscard]] Failure failure() const override { return failure_; }
    void close() noexcept override;

  private:
    // One staging slot: the tensors that describe its batch, and memory for gathered rows.
    struct Slot {
        std::vector<std::vector<std::byte>> memory;     // by column
        std::vector<std::vector<std::int64_t>> shapes;  // by column, the batch's first
        std::vector<bytemlperf_tensor> tensors;
        std::vector<Submission> kept;  // queries of an asynchronous batch whose outputs are kept
        std::uint32_t samples = 0;
    };

    static void on_done(void* context, bytemlperf_handle handle, const bytemlperf_outputs* outputs,
                        const char* error);
    static void on_tokens(void* context, bytemlperf_handle handle, std::uint32_t count);
    void complete(Handle handle, const bytemlperf_outputs* outputs, const char* error);
    [[nodiscard]] bytemlperf_batch describe(const Batch& batch) noexcept;
    [[nodiscard]] std::string last_error() const;

    Clock clock_;
    std::shared_ptr<const PluginLibrary> library_;
    PluginOptions options_;
    bytemlperf_host host_{};
    bytemlperf_instance* instance_ = nullptr;
    std::vector<Slot> slots_;
    std::mutex mutex_;  // guards sink_: a late reply may come while the next run begins
    std::shared_ptr<CompletionSink> sink_;
    Failure failure_;
};

}  // namespace bytemlperf
