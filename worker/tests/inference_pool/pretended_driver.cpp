// A CUDA driver without a GPU: as much of the driver's interface as this program calls, on the host's memory, with the
// program's own kernels compiled for the CPU.
//
// Nothing is done before somebody waits for it, and then in the order of the streams: whoever reuses memory that is still
// to be copied, or looks at what is still to be made, gets something else than he should.
//
// There are three GPUs. The first is sound; the second has little memory; the third is lost after some launches.

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>

#define __device__
#define __global__
#define __grid_constant__

struct Three {
    unsigned int x, y, z;
};
static thread_local Three blockIdx, blockDim, threadIdx;

static unsigned int __float_as_uint(float value) {
    unsigned int bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float __uint_as_float(unsigned int bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static unsigned int atomicAdd(unsigned int *count, unsigned int more) {
    const unsigned int before = *count;
    *count += more;
    return before;
}

#include "shared.h"
#include "preprocess.cu"
#include "survivors.cu"

typedef int Result;
typedef u64 Address;

static const Result SUCCESS = 0, OUT_OF_MEMORY = 2, NO_DEVICE = 101, NOT_READY = 600, NOT_FOUND = 500, LAUNCH_FAILED = 719;
static const int GPUS = 3, SMALL = 1, BREAKS = 2;
static const u64 MEMORY = 8ull << 30, SMALL_MEMORY = SMALL_MEMORY_BYTES;
static const u64 LAUNCHES_UNTIL_LOST = 120;

struct Stream {
    int gpu = 0;
    std::deque<std::function<void()>> waiting;
    u64 done = 0, asked = 0;
};

struct Event {
    Stream *stream = nullptr;
    u64 number = 0;
};

struct Gpu {
    Stream legacy;
    u64 used = 0, launches = 0;
    bool lost = false;
};

static std::recursive_mutex lock;
static Gpu gpus[GPUS];
static std::map<Address, std::pair<int, u64>> sizes;
static std::map<Stream *, bool> streams;
static thread_local Gpu *current = nullptr;

#define CALL(name) extern "C" __attribute__((visibility("default"))) Result name
#define ALONE std::lock_guard<std::recursive_mutex> guard(lock)
#define WHILE_IT_LASTS \
    ALONE;             \
    if (!current) return 201; \
    if (current->lost) return LAUNCH_FAILED

static Stream *stream_of(void *stream) { return stream ? (Stream *)stream : &current->legacy; }

static void run_until(Stream *stream, u64 number) {
    while (stream->done < number && !stream->waiting.empty()) {
        auto work = std::move(stream->waiting.front());
        stream->waiting.pop_front();
        work();
        stream->done++;
    }
}

static Result ask(void *on, std::function<void()> work) {
    Stream *stream = stream_of(on);
    stream->waiting.push_back(std::move(work));
    stream->asked++;
    return SUCCESS;
}

static Result allocate(Address *to, size_t bytes) {
    const int gpu = (int)(current - gpus);
    if (gpu == SMALL && current->used + bytes > SMALL_MEMORY) return OUT_OF_MEMORY;
    *to = (Address)aligned_alloc(256, (bytes / 256 + 1) * 256);
    memset((void *)*to, 0xa5, bytes);
    current->used += bytes;
    sizes[*to] = {gpu, bytes};
    return SUCCESS;
}

static void release(Address memory) {
    auto found = sizes.find(memory);
    if (found == sizes.end()) abort();
    gpus[found->second.first].used -= found->second.second;
    memset((void *)memory, 0x5a, found->second.second);
    free((void *)memory);
    sizes.erase(found);
}

CALL(cuInit)(unsigned int) { return SUCCESS; }
CALL(cuDriverGetVersion)(int *version) { return *version = 13000, SUCCESS; }
CALL(cuDeviceGetCount)(int *count) { return *count = GPUS, SUCCESS; }
CALL(cuDeviceGet)(int *device, int ordinal) { return ordinal < GPUS ? (*device = ordinal, SUCCESS) : NO_DEVICE; }
CALL(cuDeviceGetName)(char *name, int length, int) { return strncpy(name, "Pretended GPU", length), SUCCESS; }
CALL(cuDeviceTotalMem_v2)(size_t *bytes, int device) {
    return *bytes = device == SMALL ? SMALL_MEMORY : MEMORY, SUCCESS;
}
CALL(cuDeviceGetAttribute)(int *value, int attribute, int) {
    // Compute capability 8.9, and memory that is given in the order of a stream.
    *value = attribute == 75 ? 8 : attribute == 76 ? 9 : attribute == 115 ? 1 : 0;
    return SUCCESS;
}
CALL(cuDevicePrimaryCtxRetain)(void **context, int device) { return *context = &gpus[device], SUCCESS; }
CALL(cuDevicePrimaryCtxRelease_v2)(int) { return SUCCESS; }
CALL(cuDevicePrimaryCtxSetFlags_v2)(int, unsigned int) { return SUCCESS; }
CALL(cuCtxGetCurrent)(void **context) { return *context = current, SUCCESS; }
CALL(cuCtxSetCurrent)(void *context) { return current = (Gpu *)context, SUCCESS; }
CALL(cuCtxSetFlags)(unsigned int) { return SUCCESS; }
CALL(cuCtxSynchronize)() {
    WHILE_IT_LASTS;
    for (auto &stream : streams) run_until(stream.first, stream.first->asked);
    run_until(&current->legacy, current->legacy.asked);
    return SUCCESS;
}
CALL(cuMemGetInfo_v2)(size_t *free_bytes, size_t *total) {
    WHILE_IT_LASTS;
    *total = current == &gpus[SMALL] ? SMALL_MEMORY : MEMORY;
    *free_bytes = *total - current->used;
    return SUCCESS;
}
CALL(cuDeviceGetDefaultMemPool)(void **pool, int) { return *pool = nullptr, SUCCESS; }
CALL(cuMemPoolSetAttribute)(void *, int, void *) { return SUCCESS; }

CALL(cuStreamCreate)(void **stream, unsigned int) {
    WHILE_IT_LASTS;
    Stream *made = new Stream;
    made->gpu = (int)(current - gpus);
    streams[made] = true;
    return *stream = made, SUCCESS;
}
CALL(cuStreamDestroy_v2)(void *stream) {
    ALONE;
    // What a lost GPU was asked for is never done.
    if (!gpus[((Stream *)stream)->gpu].lost) run_until((Stream *)stream, ((Stream *)stream)->asked);
    streams.erase((Stream *)stream);
    delete (Stream *)stream;
    return SUCCESS;
}
CALL(cuStreamSynchronize)(void *stream) {
    WHILE_IT_LASTS;
    return run_until(stream_of(stream), stream_of(stream)->asked), SUCCESS;
}

CALL(cuEventCreate)(void **event, unsigned int) { return *event = new Event, SUCCESS; }
CALL(cuEventDestroy_v2)(void *event) { return delete (Event *)event, SUCCESS; }
CALL(cuEventRecord)(void *event, void *stream) {
    WHILE_IT_LASTS;
    ((Event *)event)->stream = stream_of(stream);
    ((Event *)event)->number = stream_of(stream)->asked;
    return SUCCESS;
}
// A little is done whenever somebody looks.
CALL(cuEventQuery)(void *event) {
    WHILE_IT_LASTS;
    const Event *of = (Event *)event;
    if (!of->stream || of->stream->done >= of->number) return SUCCESS;
    run_until(of->stream, of->stream->done + 1);
    return NOT_READY;
}
CALL(cuEventSynchronize)(void *event) {
    WHILE_IT_LASTS;
    const Event *of = (Event *)event;
    if (of->stream) run_until(of->stream, of->number);
    return SUCCESS;
}
CALL(cuStreamWaitEvent)(void *stream, void *event, unsigned int) {
    WHILE_IT_LASTS;
    const Event of = *(Event *)event;
    return ask(stream, [of] {
        if (of.stream) run_until(of.stream, of.number);
    });
}
CALL(cuEventElapsedTime)(float *ms, void *, void *) { return *ms = 1.0f, SUCCESS; }
CALL(cuEventElapsedTime_v2)(float *ms, void *, void *) { return *ms = 1.0f, SUCCESS; }

CALL(cuMemAllocAsync)(Address *to, size_t bytes, void *) {
    WHILE_IT_LASTS;
    return allocate(to, bytes);
}
CALL(cuMemAlloc_v2)(Address *to, size_t bytes) {
    WHILE_IT_LASTS;
    return allocate(to, bytes);
}
CALL(cuMemFreeAsync)(Address memory, void *stream) {
    WHILE_IT_LASTS;
    return ask(stream, [memory] { release(memory); });
}
CALL(cuMemFree_v2)(Address memory) {
    ALONE;
    return release(memory), SUCCESS;
}
CALL(cuMemHostAlloc)(void **to, size_t bytes, unsigned int) { return *to = malloc(bytes), SUCCESS; }
CALL(cuMemFreeHost)(void *memory) { return free(memory), SUCCESS; }
CALL(cuMemcpyHtoDAsync_v2)(Address to, const void *from, size_t bytes, void *stream) {
    WHILE_IT_LASTS;
    return ask(stream, [=] { memcpy((void *)to, from, bytes); });
}
CALL(cuMemcpyDtoHAsync_v2)(void *to, Address from, size_t bytes, void *stream) {
    WHILE_IT_LASTS;
    return ask(stream, [=] { memcpy(to, (void *)from, bytes); });
}
CALL(cuMemsetD8Async)(Address to, unsigned char value, size_t bytes, void *stream) {
    WHILE_IT_LASTS;
    return ask(stream, [=] { memset((void *)to, value, bytes); });
}

CALL(cuModuleLoadData)(void **module, const void *) { return *module = (void *)1, SUCCESS; }
CALL(cuModuleUnload)(void *) { return SUCCESS; }
CALL(cuModuleGetFunction)(void **function, void *, const char *name) {
    *function = !strcmp(name, "preprocess") ? (void *)1 : !strcmp(name, "survivors") ? (void *)2 : nullptr;
    return *function ? SUCCESS : NOT_FOUND;
}

template <class Kernel>
static void launch(Three grid, Three block, Kernel kernel) {
    blockDim = block;
    for (u32 z = 0; z < grid.z; z++)
        for (u32 y = 0; y < grid.y * block.y; y++)
            for (u32 x = 0; x < grid.x * block.x; x++) {
                blockIdx = {x / block.x, y / block.y, z};
                threadIdx = {x % block.x, y % block.y, 0};
                kernel();
            }
}

CALL(cuLaunchKernel)(void *function, u32 grid_x, u32 grid_y, u32 grid_z, u32 block_x, u32 block_y, u32 block_z, u32,
                     void *stream, void **parameters, void **) {
    WHILE_IT_LASTS;
    if (current == &gpus[BREAKS] && ++current->launches > LAUNCHES_UNTIL_LOST) {
        current->lost = true;
        return LAUNCH_FAILED;
    }
    const Three grid = {grid_x, grid_y, grid_z}, block = {block_x, block_y, block_z};
    if (function == (void *)1) {
        const auto pictures = *(const PictureParameters **)parameters[0];
        const auto input = *(const InputParameters *)parameters[1];
        const auto output = *(void **)parameters[2];
        return ask(stream, [=] { launch(grid, block, [&] { preprocess(pictures, input, output); }); });
    }
    const auto head = *(const HeadParameters *)parameters[0];
    const auto list = *(Survivor **)parameters[1];
    const auto count = *(u32 **)parameters[2];
    return ask(stream, [=] { launch(grid, block, [&] { survivors(head, list, count); }); });
}

CALL(cuGetErrorName)(Result, const char **name) { return *name = "CUDA_ERROR_PRETENDED", SUCCESS; }
CALL(cuGetErrorString)(Result error, const char **text) {
    *text = error == OUT_OF_MEMORY ? "out of memory" : error == LAUNCH_FAILED ? "unspecified launch failure" : "an error";
    return SUCCESS;
}
