// An asynchronous native backend: up to eight batches in flight, answered by a thread of its own.
// It doubles its float32 input "x" into the output "y".
//
//   c++ -std=c++17 -O2 -shared -fPIC -pthread -I"$(python -c 'import bytemlperf;
//   print(bytemlperf.get_include())')" pipeline.cpp -o pipeline.so
#include <bytemlperf/backend.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

struct bytemlperf_instance {
    struct Job {
        bytemlperf_handle handle;
        bytemlperf_tensor x;  // its memory is the caller's until the batch has completed
    };

    explicit bytemlperf_instance(const bytemlperf_host* to)
        : host(to), thread([this] { work(); }) {}
    ~bytemlperf_instance() {
        {
            const std::lock_guard<std::mutex> lock(mutex);
            ending = true;
        }
        changed.notify_one();
        thread.join();
    }

    void push(const Job& job) {
        {
            const std::lock_guard<std::mutex> lock(mutex);
            jobs.push_back(job);
        }
        changed.notify_one();
    }

    void work() {
        std::vector<float> y;
        for (;;) {
            std::unique_lock<std::mutex> lock(mutex);
            changed.wait(lock, [this] { return ending || !jobs.empty(); });
            if (jobs.empty()) return;
            const Job job = jobs.front();
            jobs.pop_front();
            lock.unlock();
            answer(job, y);
        }
    }

    void answer(const Job& job, std::vector<float>& y) {
        std::size_t n = 1;
        for (std::int32_t i = 0; i < job.x.rank; ++i) n *= static_cast<std::size_t>(job.x.shape[i]);
        const auto* x = static_cast<const float*>(job.x.data);
        y.assign(x, x + n);
        for (float& value : y) value *= 2.0F;
        bytemlperf_tensor tensor = job.x;
        tensor.name = "y";
        tensor.data = y.data();
        const bytemlperf_outputs outputs{sizeof(bytemlperf_outputs), 1, &tensor};
        host->done(host->context, job.handle, &outputs, nullptr);
    }

    const bytemlperf_host* host;
    std::mutex mutex;  // guards jobs and ending
    std::condition_variable changed;
    std::deque<Job> jobs;
    bool ending = false;
    std::thread thread;  // last: it uses all of the above
};

namespace {

int create(const char*, const bytemlperf_host* host, bytemlperf_instance** instance) {
    *instance = new bytemlperf_instance(host);
    return 0;
}

int load(bytemlperf_instance*, uint32_t) {
    return 0;
}

int submit(bytemlperf_instance* self, const bytemlperf_batch* batch, bytemlperf_handle handle) {
    self->push({handle, batch->inputs[0]});
    return 0;
}

void destroy(bytemlperf_instance* self) {
    delete self;
}

const char* last_error(bytemlperf_instance*) {
    return "cannot fail";
}

}  // namespace

const bytemlperf_backend_api* bytemlperf_backend() {
    static const bytemlperf_backend_api api{sizeof(bytemlperf_backend_api),
                                            BYTEMLPERF_ABI_VERSION,
                                            BYTEMLPERF_ASYNCHRONOUS,
                                            "pipeline 1.0",
                                            create,
                                            load,
                                            nullptr,
                                            destroy,
                                            last_error,
                                            submit,
                                            8};
    return &api;
}
