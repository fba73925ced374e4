#include "core/composed.h"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

#include "core/random.h"

namespace bytemlperf {

namespace {

constexpr std::uint64_t kParts = 3;  // the stream of a seed that seeds the parts

// Seeds of the two parts. Neither keeps the whole's: parts of parts would meet the same seed again.
std::array<std::uint64_t, 2> part_seeds(std::uint64_t seed) noexcept {
    const auto words = Philox(seed, kParts).block(0);
    return {std::uint64_t{words[0]} << 32U | words[1], std::uint64_t{words[2]} << 32U | words[3]};
}

// A stream read one by one.
class Reader {
  public:
    explicit Reader(std::unique_ptr<ArrivalStream> stream) : stream_(std::move(stream)) {}

    [[nodiscard]] Nanos peek() {
        if (next_ == chunk_.size()) {
            stream_->fill(chunk_);
            next_ = 0;
        }
        return chunk_[next_];
    }
    void pop() noexcept { ++next_; }

  private:
    std::unique_ptr<ArrivalStream> stream_;
    std::array<Nanos, 64> chunk_{};
    std::size_t next_ = chunk_.size();
};

class ReplayStream final : public ArrivalStream {
  public:
    explicit ReplayStream(std::shared_ptr<const std::vector<Nanos>> offsets)
        : offsets_(std::move(offsets)) {}

    void fill(std::span<Nanos> offsets) override {
        for (Nanos& offset : offsets) {
            offset = next_ < offsets_->size() ? (*offsets_)[next_++] : kNever;
        }
    }

  private:
    std::shared_ptr<const std::vector<Nanos>> offsets_;
    std::size_t next_ = 0;
};

class SuperposedStream final : public ArrivalStream {
  public:
    SuperposedStream(std::unique_ptr<ArrivalStream> a, std::unique_ptr<ArrivalStream> b)
        : a_(std::move(a)), b_(std::move(b)) {}

    void fill(std::span<Nanos> offsets) override {
        for (Nanos& offset : offsets) {
            Reader& first = a_.peek() <= b_.peek() ? a_ : b_;
            offset = first.peek();
            if (offset != kNever) first.pop();
        }
    }

  private:
    Reader a_;
    Reader b_;
};

class SequenceStream final : public ArrivalStream {
  public:
    SequenceStream(std::unique_ptr<ArrivalStream> first, Nanos length,
                   std::unique_ptr<ArrivalStream> second)
        : first_(std::move(first)), length_(length), second_(std::move(second)) {}

    void fill(std::span<Nanos> offsets) override {
        for (Nanos& offset : offsets) {
            if (in_first_ && first_.peek() < length_) {
                offset = first_.peek();
                first_.pop();
                continue;
            }
            in_first_ = false;
            offset = second_.peek();
            if (offset == kNever) continue;
            offset += length_;
            second_.pop();
        }
    }

  private:
    Reader first_;
    Nanos length_;
    Reader second_;
    bool in_first_ = true;
};

}  // namespace

ReplayArrivals::ReplayArrivals(std::vector<Nanos> offsets)
    : offsets_(std::make_shared<const std::vector<Nanos>>(std::move(offsets))) {
    if (!std::is_sorted(offsets_->begin(), offsets_->end()) ||
        (!offsets_->empty() && offsets_->front() < 0)) {
        throw std::invalid_argument("the times of a replay must ascend from 0 or more");
    }
}

std::unique_ptr<ArrivalStream> ReplayArrivals::stream(std::uint64_t /*seed*/) const {
    return std::make_unique<ReplayStream>(offsets_);
}

std::unique_ptr<ArrivalStream> SuperposedArrivals::stream(std::uint64_t seed) const {
    const auto [a, b] = part_seeds(seed);
    return std::make_unique<SuperposedStream>(a_->stream(a), b_->stream(b));
}

std::unique_ptr<ArrivalStream> SequenceArrivals::stream(std::uint64_t seed) const {
    const auto [first, second] = part_seeds(seed);
    return std::make_unique<SequenceStream>(first_->stream(first), length_,
                                            second_->stream(second));
}

}  // namespace bytemlperf
