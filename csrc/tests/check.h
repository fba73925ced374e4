// The tests' only tool: CHECK counts and prints what does not hold, REPORT ends main().
#pragma once

#include <atomic>
#include <cstdio>

namespace check {

inline std::atomic<int> failures{0};
inline std::atomic<int> checks{0};

inline void that(bool holds, const char* what, const char* file, int line) {
    ++checks;
    if (!holds) {
        ++failures;
        std::fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
    }
}

inline int report() {
    std::printf("%d checks, %d failed\n", checks.load(), failures.load());
    return failures == 0 && checks > 0 ? 0 : 1;
}

}  // namespace check

#define CHECK(condition) check::that((condition), #condition, __FILE__, __LINE__)
