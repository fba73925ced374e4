#include "core/plugin.h"

#include <dlfcn.h>

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <utility>

#include "core/completions.h"

namespace bytemlperf {

namespace {

constexpr std::int32_t kMostDimensions = 32;

std::size_t bytes_of(bytemlperf_dtype dtype) noexcept {
    switch (dtype) {
        case BYTEMLPERF_BOOL:
        case BYTEMLPERF_UINT8:
        case BYTEMLPERF_INT8:
            return 1;
        case BYTEMLPERF_FLOAT16:
        case BYTEMLPERF_BFLOAT16:
            return 2;
        case BYTEMLPERF_INT32:
        case BYTEMLPERF_FLOAT32:
            return 4;
        case BYTEMLPERF_INT64:
        case BYTEMLPERF_FLOAT64:
            return 8;
    }
    return 0;
}

// Why these outputs cannot be right, or an empty string. Reads the first byte of each tensor: what
// has not been computed, or lies elsewhere, must not pass for an answer.
std::string problem_with(const bytemlperf_outputs& outputs, std::uint32_t samples) {
    if (outputs.count > 0 && outputs.tensors == nullptr) return "outputs without tensors";
    for (std::uint32_t i = 0; i < outputs.count; ++i) {
        const bytemlperf_tensor& tensor = outputs.tensors[i];
        if (tensor.size < sizeof(bytemlperf_tensor)) return "a tensor with a wrong size field";
        const std::string name = tensor.name != nullptr ? tensor.name : "?";
        if (bytes_of(tensor.dtype) == 0) return "output '" + name + "' has an unknown dtype";
        if (tensor.rank < 1 || tensor.rank > kMostDimensions || tensor.shape == nullptr) {
            return "output '" + name + "' has no shape";
        }
        if (tensor.shape[0] != static_cast<std::int64_t>(samples)) {
            return "output '" + name + "' has " + std::to_string(tensor.shape[0]) +
                   " rows for a batch of " + std::to_string(samples) + " samples";
        }
        const bool empty = std::any_of(tensor.shape, tensor.shape + tensor.rank,
                                       [](std::int64_t n) { return n <= 0; });
        if (empty) continue;
        if (tensor.data == nullptr) return "output '" + name + "' has no data";
        static_cast<void>(*static_cast<const volatile char*>(tensor.data));
    }
    return {};
}

// True where the library's table, as it was compiled, has all of this member.
template <typename Member>
bool has(const bytemlperf_backend_api& api, const Member bytemlperf_backend_api::* member) {
    const auto* begin = reinterpret_cast<const std::byte*>(&api);
    const auto* end = reinterpret_cast<const std::byte*>(&(api.*member)) + sizeof(Member);
    return static_cast<std::size_t>(end - begin) <= api.size;
}

}  // namespace

PluginLibrary::PluginLibrary(const std::string& path) : path_(path) {
    handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ == nullptr) throw std::runtime_error(path + ": cannot be loaded: " + dlerror());
    try {
        auto* entry = reinterpret_cast<const bytemlperf_backend_api* (*)()>(
            dlsym(handle_, "bytemlperf_backend"));
        if (entry == nullptr) {
            throw std::runtime_error(path + ": exports no function bytemlperf_backend()");
        }
        api_ = entry();
        check();
    } catch (...) {
        dlclose(handle_);
        throw;
    }
    asynchronous_ = (api_->capabilities & BYTEMLPERF_ASYNCHRONOUS) != 0;
    if (asynchronous_) max_in_flight_ = api_->max_in_flight;
}

void PluginLibrary::check() const {
    if (api_ == nullptr) throw std::runtime_error(path_ + ": bytemlperf_backend() returned NULL");
    if (api_->abi_version != BYTEMLPERF_ABI_VERSION) {
        throw std::runtime_error(path_ + ": was built for version " +
                                 std::to_string(api_->abi_version) + " of the interface, this is " +
                                 std::to_string(BYTEMLPERF_ABI_VERSION) +
                                 ": rebuild it with this bytemlperf/backend.h");
    }
    if (!has(*api_, &bytemlperf_backend_api::last_error)) {
        throw std::runtime_error(path_ + ": its table says it has " + std::to_string(api_->size) +
                                 " bytes, too few for the functions that every backend has");
    }
    if (api_->create == nullptr || api_->load == nullptr || api_->destroy == nullptr ||
        api_->last_error == nullptr) {
        throw std::runtime_error(path_ + ": create, load, destroy and last_error must not be NULL");
    }
    if ((api_->capabilities & BYTEMLPERF_ASYNCHRONOUS) == 0) {
        if (api_->predict == nullptr) throw std::runtime_error(path_ + ": predict is NULL");
        return;
    }
    if (!has(*api_, &bytemlperf_backend_api::max_in_flight) || api_->submit == nullptr) {
        throw std::runtime_error(path_ + ": says it is asynchronous and has no submit");
    }
    if (api_->max_in_flight < 1 || api_->max_in_flight > Completions::kSlots) {
        throw std::runtime_error(path_ + ": max_in_flight is " +
                                 std::to_string(api_->max_in_flight) + ", not between 1 and " +
                                 std::to_string(Completions::kSlots));
    }
}

PluginLibrary::~PluginLibrary() {
    dlclose(handle_);
}

PluginBackend::PluginBackend(Clock clock, std::shared_ptr<const PluginLibrary> library,
                             PluginOptions options)
    : clock_(clock), library_(std::move(library)), options_(std::move(options)) {
    host_ = {sizeof(bytemlperf_host), this, &PluginBackend::on_done, &PluginBackend::on_tokens};
    slots_.resize(std::max(1U, library_->max_in_flight()));
    if (!options_.pool) return;
    for (Slot& slot : slots_) {
        for (const Column& column : options_.pool->columns()) {
            slot.memory.emplace_back(column.shared ? 0 : column.row_bytes * options_.capacity);
            std::vector<std::int64_t> shape;
            if (!column.shared) shape.push_back(0);
            shape.insert(shape.end(), column.shape.begin(), column.shape.end());
            slot.shapes.push_back(std::move(shape));
        }
        for (std::size_t i = 0; i < slot.shapes.size(); ++i) {
            const Column& column = options_.pool->columns()[i];
            slot.tensors.push_back({sizeof(bytemlperf_tensor), column.name.c_str(), column.dtype,
                                    static_cast<std::int32_t>(slot.shapes[i].size()),
                                    slot.shapes[i].data(), const_cast<std::byte*>(column.data)});
        }
    }
}

PluginBackend::~PluginBackend() {
    close();
}

void PluginBackend::open() {
    if (instance_ != nullptr) return;
    const bytemlperf_backend_api& api = library_->api();
    if (api.create(options_.config.c_str(), &host_, &instance_) != 0 || instance_ == nullptr) {
        const std::string reason = last_error();
        instance_ = nullptr;
        throw std::runtime_error(library_->name() + ": create failed: " + reason);
    }
    if (api.load(instance_, options_.capacity) != 0) {
        const std::string reason = last_error();
        close();
        throw std::runtime_error(library_->name() + ": load failed: " + reason);
    }
}

void PluginBackend::close() noexcept {
    if (instance_ != nullptr) library_->api().destroy(std::exchange(instance_, nullptr));
}

std::string PluginBackend::last_error() const {
    const char* text = library_->api().last_error(instance_);
    return text != nullptr ? text : "no reason given";
}

void PluginBackend::run_starts(const std::shared_ptr<CompletionSink>& sink, Nanos) noexcept {
    const std::lock_guard lock(mutex_);
    sink_ = sink;
}

// Points the slot's tensors at the batch's rows: into the pool where they lie side by side, else at
// copies. Returns whether anything was copied.
bool PluginBackend::gather(const Batch& batch) noexcept {
    if (!options_.pool) return false;
    const SamplePool& pool = *options_.pool;
    Slot& slot = slots_[batch.slot];
    const std::uint64_t first = batch.queries.front().query;
    const bool view = batch.queries.size() == 1 && pool.queries().contiguous(first);
    for (std::size_t i = 0; i < slot.tensors.size(); ++i) {
        const Column& column = pool.columns()[i];
        if (column.shared) continue;
        slot.shapes[i][0] = batch.samples;
        if (view) {
            const std::byte* rows = column.data + pool.queries().first(first) * column.row_bytes;
            slot.tensors[i].data = const_cast<std::byte*>(rows);
            continue;
        }
        std::byte* into = slot.memory[i].data();
        slot.tensors[i].data = into;
        for (const Submission& s : batch.queries) into = pool.gather(column, s.query, into);
    }
    return !view;
}

bytemlperf_batch PluginBackend::describe(const Batch& batch) noexcept {
    const Slot& slot = slots_[batch.slot];
    return {sizeof(bytemlperf_batch), batch.samples,
            static_cast<std::uint32_t>(slot.tensors.size()), slot.tensors.data()};
}

bool PluginBackend::predict(const Batch& batch, CallStamps& stamps) noexcept {
    const bytemlperf_batch given = describe(batch);
    bytemlperf_outputs outputs{sizeof(bytemlperf_outputs), 0, nullptr};
    const int status = library_->api().predict(instance_, &given, &outputs);
    if (status != 0) {
        stamps.completed = clock_.now();
        failure_ = {"NativeError", last_error()};
        return false;
    }
    std::string problem = problem_with(outputs, batch.samples);
    stamps.completed = clock_.now();
    if (!problem.empty()) {
        failure_ = {"BadOutputs", std::move(problem)};
        return false;
    }
    if (batch.keep && options_.keep) options_.keep(batch.queries, outputs);
    return true;
}

bool PluginBackend::submit(const Batch& batch, Handle handle, CallStamps& stamps) noexcept {
    Slot& slot = slots_[batch.slot];
    slot.samples = batch.samples;
    slot.kept.clear();
    if (batch.keep) slot.kept.assign(batch.queries.begin(), batch.queries.end());
    const bytemlperf_batch given = describe(batch);
    stamps.entered = clock_.now();
    if (library_->api().submit(instance_, &given, handle) == 0) return true;
    failure_ = {"NativeError", last_error()};
    return false;
}

void PluginBackend::on_done(void* context, bytemlperf_handle handle,
                            const bytemlperf_outputs* outputs, const char* error) {
    static_cast<PluginBackend*>(context)->complete(handle, outputs, error);
}

// Tokens are part of the interface from its first version; what counts them comes with generation.
void PluginBackend::on_tokens(void* /*context*/, bytemlperf_handle /*handle*/,
                              std::uint32_t /*count*/) {}

void PluginBackend::complete(Handle handle, const bytemlperf_outputs* outputs, const char* error) {
    Slot& slot = slots_[handle % Completions::kSlots % slots_.size()];
    std::optional<Failure> failure;
    if (error != nullptr) {
        failure = {"NativeError", error};
    } else if (outputs == nullptr) {
        failure = {"BadOutputs", "done() without outputs and without an error"};
    } else if (std::string problem = problem_with(*outputs, slot.samples); !problem.empty()) {
        failure = {"BadOutputs", std::move(problem)};
    }
    const Nanos at = clock_.now();
    if (!failure && !slot.kept.empty() && options_.keep) options_.keep(slot.kept, *outputs);
    std::shared_ptr<CompletionSink> sink;
    {
        const std::lock_guard lock(mutex_);
        sink = sink_;
    }
    if (sink) sink->complete(handle, at, std::move(failure));
}

}  // namespace bytemlperf
