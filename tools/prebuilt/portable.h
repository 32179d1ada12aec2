// Included before the C++ file of each prebuilt library, so that it loads with glibc 2.17 and the C++ library of GCC 4.8.

#pragma once

#include <bits/functexcept.h>
#include <exception>

// glibc 2.29 has a second pow, which differs only in how it reports errors.
#if defined(__x86_64__)
__asm__(".symver pow,pow@GLIBC_2.2.5");
#elif defined(__aarch64__)
__asm__(".symver pow,pow@GLIBC_2.17");
#endif

// The C++ library has it since GCC 11; std::vector calls it if its size overflows.
void std::__throw_bad_array_new_length() { std::__throw_bad_alloc(); }

// The C++ library has it since GCC 13; code calls it if an exception leaves a function that must not throw.
extern "C" [[noreturn]] void __cxa_call_terminate(void*) noexcept { std::terminate(); }
