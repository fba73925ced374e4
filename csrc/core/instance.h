// A backend and the one thread that ever touches it.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "core/backend.h"
#include "core/wait.h"

namespace bytemlperf {

// Runs tasks on its thread in the order posted; the thread lives as long as the instance, so that
// load, predict and unload of an SDK with thread affinity happen on one thread.
class Instance {
  public:
    using Task = std::function<void(Backend&)>;

    explicit Instance(std::unique_ptr<Backend> backend, CoreSet cores = {});
    // Closes the backend on its thread and joins. Where a call into the backend is still going on
    // after `abandon`, the thread is left behind instead.
    ~Instance();
    Instance(const Instance&) = delete;
    Instance& operator=(const Instance&) = delete;

    // Tasks must not throw. The backend is open when the task runs, or the first task opens it.
    void post(Task task);
    // Do not wait in the destructor for a call that does not return.
    void abandon() noexcept;

  private:
    struct State {
        std::unique_ptr<Backend> backend;
        std::mutex mutex;  // guards the members below
        std::condition_variable changed;
        std::deque<Task> tasks;
        bool busy = false;
        bool closing = false;
        bool abandoned = false;
    };

    static void work(State& state, const CoreSet& cores);

    std::shared_ptr<State> state_;
    std::thread thread_;
};

}  // namespace bytemlperf
