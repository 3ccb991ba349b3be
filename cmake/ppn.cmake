# One static library per folder, one set of warnings, one way to declare a test.

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
find_package(PkgConfig REQUIRED)
pkg_check_modules(SODIUM REQUIRED IMPORTED_TARGET libsodium)
pkg_search_module(MSGPACK REQUIRED IMPORTED_TARGET msgpack msgpack-c)
pkg_check_modules(LMDB REQUIRED IMPORTED_TARGET lmdb)
pkg_check_modules(MICROHTTPD REQUIRED IMPORTED_TARGET libmicrohttpd)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl)
pkg_check_modules(OPENSSL REQUIRED IMPORTED_TARGET openssl>=3.0)
find_path(EV_INCLUDE_DIR ev.h REQUIRED)
find_library(EV_LIBRARY ev REQUIRED)
find_package(Threads REQUIRED)

# Assertions stay in release builds: PPN_ASSERT does not look at NDEBUG, and the flag is dropped so
# that a library's own assert() stays too.
foreach(type RELEASE RELWITHDEBINFO MINSIZEREL)
    string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_${type} "${CMAKE_C_FLAGS_${type}}")
endforeach()

add_library(ppn_flags INTERFACE)
target_compile_definitions(ppn_flags INTERFACE _GNU_SOURCE PPN_VERSION="${PROJECT_VERSION}")
target_include_directories(ppn_flags INTERFACE ${PROJECT_SOURCE_DIR}/src)
target_compile_options(ppn_flags INTERFACE
    -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wstrict-prototypes
    -Wmissing-prototypes -Wvla -Wundef -Wswitch-enum -Wformat=2 -Werror
    -fstack-protector-strong -fno-strict-aliasing)
if(PPN_SANITIZE)
    target_compile_options(ppn_flags INTERFACE
        -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(ppn_flags INTERFACE -fsanitize=address,undefined)
elseif(CMAKE_BUILD_TYPE STREQUAL "Release" OR CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
    target_compile_options(ppn_flags INTERFACE -D_FORTIFY_SOURCE=2)
endif()
if(PPN_FUZZ)
    target_compile_options(ppn_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(PPN_COVERAGE)
    target_compile_options(ppn_flags INTERFACE --coverage)
    target_link_options(ppn_flags INTERFACE --coverage)
endif()

# ppn_library(NAME SOURCES a.c b.c [LINK other targets]) makes the static library ppn_NAME.
function(ppn_library name)
    cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
    add_library(ppn_${name} STATIC ${ARG_SOURCES})
    target_link_libraries(ppn_${name} PUBLIC ppn_flags ${ARG_LINK})
endfunction()

# ppn_core(NAME ...) is ppn_library for a pure core: tests/unit/purity checks its symbols.
function(ppn_core name)
    ppn_library(${name} ${ARGN})
    set_property(GLOBAL APPEND PROPERTY PPN_CORES ppn_${name})
endfunction()

# A sanitizer's report fails the test even where the runner exits 0 (Criterion does, on a leak).
set(PPN_TEST_FAILS "LeakSanitizer|runtime error:|AddressSanitizer")

# ppn_test(NAME SOURCES ... LINK ... [TIMEOUT S]) is a Criterion executable run by CTest.
function(ppn_test name)
    cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;LINK" ${ARGN})
    if(NOT ARG_TIMEOUT)
        set(ARG_TIMEOUT 120)
    endif()
    add_executable(${name} ${ARG_SOURCES})
    target_link_libraries(${name} PRIVATE ppn_flags ${ARG_LINK} criterion)
    # Criterion's own macros trip these two.
    target_compile_options(${name} PRIVATE -Wno-conversion -Wno-sign-conversion -Wno-pedantic)
    add_test(NAME ${name} COMMAND ${name})
    set_tests_properties(${name} PROPERTIES
        TIMEOUT ${ARG_TIMEOUT} FAIL_REGULAR_EXPRESSION "${PPN_TEST_FAILS}")
endfunction()

# ppn_check(NAME COMMAND ... [TIMEOUT S]) is any other program or script run by CTest.
function(ppn_check name)
    cmake_parse_arguments(ARG "" "TIMEOUT" "COMMAND" ${ARGN})
    if(NOT ARG_TIMEOUT)
        set(ARG_TIMEOUT 300)
    endif()
    add_test(NAME ${name} COMMAND ${ARG_COMMAND})
    set_tests_properties(${name} PROPERTIES
        TIMEOUT ${ARG_TIMEOUT} FAIL_REGULAR_EXPRESSION "${PPN_TEST_FAILS}")
endfunction()

# ppn_fuzz(NAME SOURCES ... LINK ... [CORPUS NAME]) is a libFuzzer program fuzz_NAME; its seeds are in
# tests/fuzz/corpus/NAME (or the CORPUS named). tools/fuzz runs them all.
function(ppn_fuzz name)
    cmake_parse_arguments(ARG "" "CORPUS" "SOURCES;LINK" ${ARGN})
    if(NOT ARG_CORPUS)
        set(ARG_CORPUS ${name})
    endif()
    add_executable(fuzz_${name} ${ARG_SOURCES})
    target_link_libraries(fuzz_${name} PRIVATE ppn_flags ${ARG_LINK})
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/fuzz_${name}.corpus
        "${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${ARG_CORPUS}\n")
endfunction()
