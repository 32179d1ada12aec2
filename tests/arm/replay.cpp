// Repeats calls of the native operator that test_arm.py has recorded, on the machine that this is compiled for.
//
//     replay CALLS RESULTS
//
// CALLS holds for each call: 0 for forward or 1 for backward, the Call as the other machine had it, and for each of its
// pointers the number of bytes it points to (-1 for null) and these bytes. RESULTS receives the bytes after the calls.

#include "../../src/reviver/lstm/operator.cpp"

#include <cstddef>
#include <cstdio>

namespace {

// Only pointers stand between `seed` and `stop_at_first`.
constexpr size_t pointer_count = (offsetof(Call, stop_at_first) - offsetof(Call, seed)) / sizeof(void*);

// Whether a number this small survives an addition on this thread and on those of the OpenMP pool.
bool keeps_denormals() {
    int flushed = 0;
#pragma omp parallel num_threads(4) reduction(+ : flushed)
    {
        volatile float denormal = 1e-40f;
        if (!(denormal + denormal > 0.0f)) ++flushed;
    }
    return flushed == 0;
}

bool read(void* to, size_t bytes, std::FILE* file) { return std::fread(to, 1, bytes, file) == bytes; }

}  // namespace

int main(int, char** arguments) {
    std::FILE* calls = std::fopen(arguments[1], "rb");
    std::FILE* results = std::fopen(arguments[2], "wb");
    if (!calls || !results) return 2;
    int64_t backward;
    while (read(&backward, sizeof backward, calls)) {
        Call call;
        void* pointers[pointer_count];
        std::vector<std::vector<char>> memory(pointer_count);
        if (!read(&call, sizeof call, calls)) return 2;
        for (size_t k = 0; k < pointer_count; ++k) {
            int64_t bytes;
            if (!read(&bytes, sizeof bytes, calls)) return 2;
            memory[k].resize(std::max<int64_t>(bytes, 0));
            if (!read(memory[k].data(), memory[k].size(), calls)) return 2;
            pointers[k] = bytes < 0 ? nullptr : memory[k].data();
        }
        std::memcpy(&call.seed, pointers, sizeof pointers);
        (backward ? reviver_lstm_backward : reviver_lstm_forward)(&call);
        if (!keeps_denormals()) return 3;
        for (const auto& bytes : memory) std::fwrite(bytes.data(), 1, bytes.size(), results);
    }
    return std::fclose(results) == 0 ? 0 : 2;
}
