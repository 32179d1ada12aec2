// Threads that flush denormal numbers to zero while they work.

#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace {

// Flushes denormal numbers to zero on this thread during its lifetime.
class FlushToZero {
#if defined(__SSE__)
    unsigned saved = _mm_getcsr();

public:
    FlushToZero() { _mm_setcsr(saved | 0x8040); }
    ~FlushToZero() { _mm_setcsr(saved); }
#elif defined(__aarch64__)
    uint64_t saved;

public:
    FlushToZero() {
        asm volatile("mrs %0, fpcr" : "=r"(saved));
        asm volatile("msr fpcr, %0" ::"r"(saved | (uint64_t{1} << 24)));
    }
    ~FlushToZero() { asm volatile("msr fpcr, %0" ::"r"(saved)); }
#else
public:
    FlushToZero() {}
    ~FlushToZero() {}
#endif
    FlushToZero(const FlushToZero&) = delete;
};

// Calls phase(0) ... phase(parts - 1) of each phase in parallel and waits before the next phase. Waking threads costs
// tens of microseconds, so all phases share one parallel region.
template <class... Phases>
void parallel(int64_t parts, const Phases&... phases) {
    if (parts == 1) {
        const FlushToZero while_running;
        return (phases(0), ...);
    }
#ifdef _OPENMP  // the thread pool of torch, see lstm/native/openmp.py
#pragma omp parallel num_threads(static_cast<int>(parts))
    {
        const FlushToZero while_running;
        const auto run = [&](const auto& phase) {
            for (int64_t part = omp_get_thread_num(); part < parts; part += omp_get_num_threads()) phase(part);
#pragma omp barrier
        };
        (run(phases), ...);
    }
#else
    const auto run = [&](const auto& phase) {
        const auto work = [&](int64_t part) {
            const FlushToZero while_running;
            phase(part);
        };
        std::vector<std::thread> threads;
        for (int64_t part = 1; part < parts; ++part) threads.emplace_back(work, part);
        work(0);
        for (auto& thread : threads) thread.join();
    };
    (run(phases), ...);
#endif
}

// Returns how many parts of a phase run at the same time: OpenMP may give fewer threads than asked for.
int64_t concurrent_parts(int64_t parts) {
#ifdef _OPENMP
    return omp_in_parallel() ? std::min<int64_t>(parts, omp_get_num_threads()) : 1;
#else
    return parts;
#endif
}

// Returns the number of cores that this process may use.
int64_t core_count() {
#ifdef _OPENMP
    return omp_get_num_procs();
#else
    return std::max<int64_t>(1, std::thread::hardware_concurrency());
#endif
}

// A barrier for steps of a few microseconds: the threads spin, and give up their core only if another one has lost its own.
class StepBarrier {
    alignas(64) std::atomic<int64_t> arrivals{0};

public:
    // Returns once it has been called `calls` times: that of the n-th wait of k threads is n k.
    void wait(int64_t calls) {
        arrivals.fetch_add(1, std::memory_order_acq_rel);
        for (int spins = 0; arrivals.load(std::memory_order_acquire) < calls; ++spins) {
            if (spins > 1000) std::this_thread::yield();
#if defined(__SSE__)
            _mm_pause();
#endif
        }
    }
};

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace
