#include "core/device.h"

#include <cmath>
#include <numbers>
#include <stdexcept>
#include <utility>

#include "core/random.h"

namespace bytemlperf {

namespace {

constexpr std::uint64_t kServiceStream = 1;  // stream 0 is the arrivals'

double checked_ns(double seconds) {
    if (!(seconds >= 0.0) || !(seconds < 1e6)) {
        throw std::invalid_argument("a service time must lie between 0 and 1e6 seconds");
    }
    return seconds * 1e9;
}

Nanos rounded(double ns) noexcept {
    return static_cast<Nanos>(ns + 0.5);
}

}  // namespace

DeterministicService::DeterministicService(double seconds) : time_(rounded(checked_ns(seconds))) {}

Nanos DeterministicService::draw(std::uint64_t, std::uint64_t, std::uint32_t) const noexcept {
    return time_;
}

ExponentialService::ExponentialService(double mean) : mean_ns_(checked_ns(mean)) {}

Nanos ExponentialService::draw(std::uint64_t seed, std::uint64_t query,
                               std::uint32_t) const noexcept {
    return rounded(-portable_log(Philox(seed, kServiceStream).uniforms(query)[0]) * mean_ns_);
}

LognormalService::LognormalService(double mean, double cv) {
    if (!(cv >= 0.0)) throw std::invalid_argument("cv must not be negative");
    const double variance = std::log1p(cv * cv);
    sigma_ = std::sqrt(variance);
    mu_ = std::log(checked_ns(mean)) - variance / 2;
}

Nanos LognormalService::draw(std::uint64_t seed, std::uint64_t query,
                             std::uint32_t) const noexcept {
    const auto [u, v] = Philox(seed, kServiceStream).uniforms(query);
    const double normal = std::sqrt(-2.0 * portable_log(u)) * std::cos(2.0 * std::numbers::pi * v);
    return rounded(std::exp(mu_ + sigma_ * normal));
}

TableService::TableService(const std::map<std::uint32_t, double>& seconds) {
    for (const auto& [samples, s] : seconds) ns_[samples] = checked_ns(s);
    if (ns_.empty() || ns_.contains(0)) {
        throw std::invalid_argument(
            "a table of service times needs entries for batches of 1 or more");
    }
}

Nanos TableService::draw(std::uint64_t, std::uint64_t, std::uint32_t samples) const noexcept {
    const auto above = ns_.lower_bound(samples);
    if (above != ns_.end() && above->first == samples) return rounded(above->second);
    const auto n = static_cast<double>(samples);
    if (above == ns_.begin()) return rounded(above->second * n / above->first);
    const auto below = std::prev(above);
    if (above == ns_.end()) return rounded(below->second * n / below->first);
    const double share = (n - below->first) / (above->first - below->first);
    return rounded(below->second + share * (above->second - below->second));
}

DeviceServer::DeviceServer(DeviceModel model, Clock clock, QueryRows queries, std::uint64_t seed,
                           bool spin)
    : model_(std::move(model)),
      clock_(clock),
      queries_(std::move(queries)),
      seed_(seed),
      spin_(spin) {}

bool DeviceServer::predict(const Batch& batch, CallStamps& stamps) noexcept {
    if (!waiter_) waiter_.emplace(clock_, spin_);
    Nanos start = stamps.entered;
    if (model_.stall) {
        start = window_start_ + model_.stall->delay(start - window_start_);
    }
    waiter_->wait_until(
        start + model_.service->draw(seed_, batch.queries.front().query, batch.samples), never_);
    stamps.completed = clock_.now();
    return true;
}

}  // namespace bytemlperf
