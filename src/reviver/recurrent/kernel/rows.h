// Threads that flush denormal numbers to zero while they work; rows of the batch, blocks of rows, and buffers.

#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <thread>
#include <type_traits>
#include <vector>
#include "call.h"
#include "matmul.h"
#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(__SSE__)
#include <xmmintrin.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
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
#ifdef _OPENMP  // the thread pool of torch, see recurrent/kernel/prebuilt.py
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

// The rows of one thread, sorted by descending length, so that the active rows of a step come first.
struct Rows {
    std::vector<int64_t> rows, lengths;

    Rows(const Call& call, int64_t part, int64_t parts) {
        if (!call.lengths) {
            for (int64_t b = call.B * part / parts; b < call.B * (part + 1) / parts; ++b) rows.push_back(b);
            lengths.assign(rows.size(), call.T);
            return;
        }
        std::vector<int64_t> order(call.B);
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return call.lengths[a] > call.lengths[b]; });
        for (int64_t k = part; k < call.B; k += parts) {
            rows.push_back(order[k]);
            lengths.push_back(call.lengths[order[k]]);
        }
    }
    int64_t size() const { return static_cast<int64_t>(rows.size()); }
    int64_t active(int64_t t) const {
        if (lengths.empty() || lengths.back() > t) return size();
        return std::partition_point(lengths.begin(), lengths.end(), [&](int64_t length) { return length > t; }) - lengths.begin();
    }
};

int64_t work_of_step(const Call& call) { return call.plan->sums * call.H * (call.H + call.I); }

int64_t parts_of(const Call& call) {  // at least some tens of microseconds of work per thread
    const int64_t work = (call.end - call.begin) * call.B * work_of_step(call);
    return std::max<int64_t>(1, std::min({call.threads, call.B, work / 500000}));
}

// The units that a thread computes at each step. In general these are all units of its rows. Of a batch with a single row the
// threads share the units, and wait for each other at `barrier` after each segment.
struct Units {
    int64_t first, last;
    StepBarrier* barrier;
    int64_t threads;
};

int64_t parts_of_units(const Call& call) {  // at least a microsecond of work per thread and step, and a core for each thread
    return std::max<int64_t>(1, std::min({call.threads, core_count(), ceil_div(call.H, 2 * V), work_of_step(call) / 30000}));
}

// Calls block(first, count) for blocks of n rows of nearly equal size, at most max.
template <class Block>
INLINE void in_blocks(int64_t n, int64_t max, const Block& block) {
    const int64_t blocks = ceil_div(n, max);
    for (int64_t k = 0; k < blocks; ++k) {
        const int64_t first = n * k / blocks;
        block(first, static_cast<int>(n * (k + 1) / blocks - first));
    }
}

// Calls kernel with 1 <= count <= max as a compile-time constant.
template <int max, class Kernel>
INLINE void with_constant(int64_t count, const Kernel& kernel) {
    if constexpr (max > 1)
        if (count < max) return with_constant<max - 1>(count, kernel);
    kernel(std::integral_constant<int, max>());
}

bool is_zero(const float* values, int64_t n) {
    return std::all_of(values, values + n, [](float value) { return value == 0.0f; });
}

// The operating system clears new memory page by page; with large pages this takes a quarter less time.
void prefer_large_pages(void* memory, int64_t bytes) {
#if defined(__linux__)
    constexpr uintptr_t page = 2 << 20;
    const uintptr_t start = (reinterpret_cast<uintptr_t>(memory) + page - 1) / page * page;
    const uintptr_t end = (reinterpret_cast<uintptr_t>(memory) + bytes) / page * page;
    if (memory && end > start + page) madvise(reinterpret_cast<void*>(start), end - start, MADV_HUGEPAGE);
#else
    (void)memory, (void)bytes;
#endif
}

struct Buffer {  // floats aligned to a cache line
    float* data;
    explicit Buffer(int64_t n) : data(static_cast<float*>(std::aligned_alloc(64, ceil_div(n * 4, 64) * 64 + 64))) {}
    ~Buffer() { std::free(data); }
    Buffer(const Buffer&) = delete;
};

// Rows of numbers as rows of words, in a buffer if they need a conversion.
template <class Format>
class Converted {
    const int64_t length, size;  // of a row and of all, in words
    Buffer data;

public:
    Converted(int64_t rows, int64_t numbers) : length(padded<Format>(numbers)), size(Format::converts ? (rows + Amx::max_rows - 1) * length : 0), data(size) {
        std::fill(data.data, data.data + size, 0.0f);
    }
    const float* row(int64_t r, const float* from, int64_t n) {
        if (!Format::converts) return from;
        Format::along(from, n, data.data + r * length);
        return data.data + r * length;
    }
};

// Calls work(format) with the format of the operands of a call.
template <class Work>
void with_format(const Call& call, const Work& work) {
    call.bf16 ? work(BFloat16()) : work(Float32());
}

}  // namespace
