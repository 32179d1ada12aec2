// Repeats calls of the native kernel that test_arm.py has recorded, on the machine that this is compiled for.
//
//     replay CALLS RESULTS [LIBRARY]
//
// With LIBRARY, the functions of that shared library are called instead of those compiled into this program.
//
// CALLS holds for each call: 0 for forward or 1 for backward, the Call as the other machine had it, and for each of its
// pointers the number of bytes it points to (-1 for null) and these bytes. RESULTS receives the bytes after the calls.

#include "../../../src/reviver/recurrent/kernel/lstm.cpp"

#include <dlfcn.h>

#include <cstddef>
#include <cstdio>

namespace {

// Only pointers stand between `seed` and `stop_at_first`.
constexpr size_t pointer_count = (offsetof(Call, stop_at_first) - offsetof(Call, seed)) / sizeof(void*);

// Whether this thread and those of the OpenMP pool count denormal numbers as such: bit 24 of the mode is not set. (An
// emulator does not always compute by the mode, so a sum of denormal numbers would not tell.)
bool keeps_denormals() {
    int flushing = 0;
#pragma omp parallel num_threads(4) reduction(+ : flushing)
    {
        uint64_t mode;
        asm volatile("mrs %0, fpcr" : "=r"(mode));
        flushing += mode >> 24 & 1;
    }
    return flushing == 0;
}

using Function = void (*)(const Call*);

bool read(void* to, size_t bytes, std::FILE* file) { return std::fread(to, 1, bytes, file) == bytes; }

}  // namespace

int main(int count, char** arguments) {
    Function functions[] = {reviver_lstm_forward, reviver_lstm_backward};
    if (count > 3) {
        void* library = dlopen(arguments[3], RTLD_NOW);
        if (!library) return std::fprintf(stderr, "%s\n", dlerror()), 4;
        functions[0] = reinterpret_cast<Function>(dlsym(library, "reviver_lstm_forward"));
        functions[1] = reinterpret_cast<Function>(dlsym(library, "reviver_lstm_backward"));
        if (!functions[0] || !functions[1] || functions[0] == reviver_lstm_forward) return 4;
    }
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
        functions[backward](&call);
        if (!keeps_denormals()) return 3;
        for (const auto& bytes : memory) std::fwrite(bytes.data(), 1, bytes.size(), results);
    }
    return std::fclose(results) == 0 ? 0 : 2;
}
