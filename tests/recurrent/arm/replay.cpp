// Repeats calls of the native kernel that test_arm.py has recorded, on the machine that this is compiled for.
//
//     replay CALLS RESULTS [LIBRARY]
//
// With LIBRARY, the functions of that shared library are called instead of those compiled into this program.
//
// CALLS holds for each call 0 for forward or 1 for backward, and the Call: its bytes, and for each of its pointers the offset and
// what it points to, a number of bytes and these, or a tag of those below. RESULTS receives the bytes after the calls, but not
// those of the plan.

#include "../../../src/reviver/recurrent/kernel/cell.cpp"

#include <dlfcn.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>

namespace {

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

std::vector<std::vector<char>> memory;  // all that pointers point to
std::vector<size_t> results;             // which of it is written

template <class Value>
Value number(std::FILE* file) {
    Value value;
    if (std::fread(&value, 1, sizeof value, file) != sizeof value) std::exit(2);
    return value;
}

char* bytes(std::FILE* file, int64_t size) {
    memory.emplace_back(size);
    if (std::fread(memory.back().data(), 1, size, file) != static_cast<size_t>(size)) std::exit(2);
    return memory.back().data();
}

void* content(std::FILE* file, bool is_result) {
    const int64_t tag = number<int64_t>(file);
    if (tag == -1) return nullptr;
    if (tag >= 0) {
        char* const at = bytes(file, tag);
        if (is_result) results.push_back(memory.size() - 1);
        return at;
    }
    if (tag == -2) {  // a table of pointers
        std::vector<void*> table(number<int64_t>(file));
        for (void*& entry : table) entry = content(file, is_result);
        memory.emplace_back(reinterpret_cast<char*>(table.data()), reinterpret_cast<char*>(table.data() + table.size()));
        return memory.back().data();
    }
    const int64_t size = number<int64_t>(file), count = number<int64_t>(file);  // a structure
    char* const at = bytes(file, size);
    for (int64_t k = 0; k < count; ++k) {
        const int64_t offset = number<int64_t>(file);
        void* const pointer = content(file, is_result && offset != offsetof(Call, plan));
        std::memcpy(at + offset, &pointer, sizeof pointer);
    }
    return at;
}

}  // namespace

int main(int count, char** arguments) {
    Function functions[] = {reviver_cell_forward, reviver_cell_backward};
    if (count > 3) {
        void* library = dlopen(arguments[3], RTLD_NOW);
        if (!library) return std::fprintf(stderr, "%s\n", dlerror()), 4;
        functions[0] = reinterpret_cast<Function>(dlsym(library, "reviver_cell_forward"));
        functions[1] = reinterpret_cast<Function>(dlsym(library, "reviver_cell_backward"));
        if (!functions[0] || !functions[1] || functions[0] == reviver_cell_forward) return 4;
    }
    std::FILE* calls = std::fopen(arguments[1], "rb");
    std::FILE* output = std::fopen(arguments[2], "wb");
    if (!calls || !output) return 2;
    for (int64_t backward; std::fread(&backward, 1, sizeof backward, calls) == sizeof backward;) {
        memory.clear();
        results.clear();
        functions[backward](static_cast<const Call*>(content(calls, true)));
        if (!keeps_denormals()) return 3;
        for (const size_t at : results) std::fwrite(memory[at].data(), 1, memory[at].size(), output);
    }
    return std::fclose(output) == 0 ? 0 : 2;
}
