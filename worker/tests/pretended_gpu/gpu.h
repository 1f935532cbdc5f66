// What the parts of a CUDA driver without a GPU share. Its GPU's memory is the host's.
//
// Nothing is done before somebody waits for it, and then in the order of the streams: whoever reuses memory that is still to
// be copied, or looks at what is still to be made, gets something else than he should. What was given back is overwritten.
//
// The tests speak with it through the folder $FRAMEFLEET_PRETENDED_GPU:
//
//   settings  as text: bytes of memory; the launch of a kernel at which the GPU is lost; the picture at which NVDEC fails,
//             and with which error. -1 is never
//   clips     a folder for each clip that NVDEC knows: see nvdec.cpp
//   counts    `Counts`, at any time
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

typedef int Result;
typedef unsigned long long Address;

enum : Result {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NO_DEVICE = 101,
    INVALID_CONTEXT = 201,
    NOT_FOUND = 500,
    NOT_READY = 600,
    LAUNCH_FAILED = 719,
};

// As `Counts` of driver.rs has them. What may be given back is counted until it is.
struct Counts {
    std::atomic<int64_t> contexts, memory_bytes, pinned, streams, events, modules, surfaces, decoders;
    std::atomic<int64_t> calls_without_context, uploaded_bytes, preprocessed_batches, decoded_pictures;
};

struct Stream {
    std::deque<std::function<void()>> waiting;
    uint64_t done = 0, asked = 0;
};

struct Gpu {
    std::recursive_mutex lock;
    Counts *counts;
    long long memory_bytes, launch_of_loss, failing_picture, failure;
    long long launches = 0;
    // The error that every call gives from now on.
    Result lost = SUCCESS;
    // Those that were made, and the one that is meant by none.
    std::vector<Stream *> streams;
    Stream legacy;
};

extern Gpu gpu;

// Of the folder in which the tests speak with this.
std::string path_of(const std::string &name);
std::vector<uint8_t> file(const std::string &path);

// Has the GPU for a call of this thread, unless it is refused: without a context, and when the GPU is lost.
struct Call {
    std::lock_guard<std::recursive_mutex> alone{gpu.lock};
    const Result refused;
    Call();
};

#define API extern "C" __attribute__((visibility("default")))
#define NEEDS_CONTEXT \
    const Call call;  \
    if (call.refused) return call.refused

Stream *stream_of(void *stream);
Result ask(void *stream, std::function<void()> work);
void run_until(Stream *stream, uint64_t number);

// What was there is overwritten, and nobody gets this memory again: who still reads it sees something else.
void give_back(Address memory, size_t bytes);
