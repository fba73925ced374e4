#include "core/instance.h"

#include <utility>

namespace bytemlperf {

Instance::Instance(std::unique_ptr<Backend> backend, CoreSet cores)
    : state_(std::make_shared<State>()) {
    state_->backend = std::move(backend);
    // The thread shares ownership: an abandoned one must find its state alive.
    thread_ = std::thread([state = state_, pinned = std::move(cores)] { work(*state, pinned); });
}

Instance::~Instance() {
    bool stuck = false;
    {
        const std::lock_guard lock(state_->mutex);
        state_->closing = true;
        stuck = state_->abandoned && state_->busy;
    }
    state_->changed.notify_one();
    if (stuck) {
        thread_.detach();
    } else {
        thread_.join();
    }
}

void Instance::post(Task task) {
    {
        const std::lock_guard lock(state_->mutex);
        state_->tasks.push_back(std::move(task));
    }
    state_->changed.notify_one();
}

void Instance::abandon() noexcept {
    const std::lock_guard lock(state_->mutex);
    state_->abandoned = true;
}

void Instance::work(State& state, const CoreSet& cores) {
    pin_thread(cores);
    std::unique_lock lock(state.mutex);
    for (;;) {
        state.changed.wait(lock, [&] { return state.closing || !state.tasks.empty(); });
        if (state.tasks.empty()) break;
        Task task = std::move(state.tasks.front());
        state.tasks.pop_front();
        state.busy = true;
        lock.unlock();
        task(*state.backend);
        task = nullptr;  // what it captured is released before the instance counts as idle
        lock.lock();
        state.busy = false;
    }
    lock.unlock();
    state.backend->close();
    state.backend.reset();
}

}  // namespace bytemlperf
