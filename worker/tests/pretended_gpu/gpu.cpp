// The GPU, and the contexts of threads on it.

#include "gpu.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

Gpu gpu;

// The contexts that a thread has taken up, the current one last. There is one, and a GPU's address stands for it.
static thread_local std::vector<void *> contexts;

static void *current() { return contexts.empty() ? nullptr : contexts.back(); }

static Result refusal() {
    if (gpu.lost) return gpu.lost;
    if (current()) return SUCCESS;
    if (gpu.counts) gpu.counts->calls_without_context++;
    return INVALID_CONTEXT;
}

Call::Call() : refused(refusal()) {}

std::string path_of(const std::string &name) { return std::string(getenv("FRAMEFLEET_PRETENDED_GPU")) + "/" + name; }

std::vector<uint8_t> file(const std::string &path) {
    FILE *opened = fopen(path.c_str(), "rb");
    if (!opened) {
        perror(path.c_str());
        abort();
    }
    std::vector<uint8_t> bytes;
    uint8_t piece[65536];
    while (size_t read = fread(piece, 1, sizeof piece, opened)) bytes.insert(bytes.end(), piece, piece + read);
    fclose(opened);
    return bytes;
}

static void take_up() {
    auto settings = file(path_of("settings"));
    settings.push_back(0);
    if (sscanf((const char *)settings.data(), "%lld %lld %lld %lld", &gpu.memory_bytes, &gpu.launch_of_loss,
               &gpu.failing_picture, &gpu.failure) != 4)
        abort();
    const int shared = open(path_of("counts").c_str(), O_RDWR | O_CREAT, 0600);
    if (shared < 0 || ftruncate(shared, sizeof(Counts))) abort();
    gpu.counts = (Counts *)mmap(nullptr, sizeof(Counts), PROT_READ | PROT_WRITE, MAP_SHARED, shared, 0);
    if (gpu.counts == MAP_FAILED) abort();
    close(shared);
}

API Result cuInit(unsigned) {
    std::lock_guard<std::recursive_mutex> alone(gpu.lock);
    if (!gpu.counts) take_up();
    return SUCCESS;
}
API Result cuDriverGetVersion(int *version) { return *version = 13000, SUCCESS; }
API Result cuDeviceGetCount(int *count) { return *count = 1, SUCCESS; }
API Result cuDeviceGet(int *device, int ordinal) { return ordinal == 0 ? (*device = 0, SUCCESS) : NO_DEVICE; }
API Result cuDeviceGetName(char *name, int length, int) { return snprintf(name, length, "Pretended GPU"), SUCCESS; }
API Result cuDeviceTotalMem_v2(size_t *bytes, int) { return *bytes = gpu.memory_bytes, SUCCESS; }
API Result cuDeviceGetAttribute(int *value, int attribute, int) {
    // Alignment of textures, compute capability 8.9, and memory that is given in the order of a stream.
    *value = attribute == 14 ? 512 : attribute == 75 ? 8 : attribute == 76 ? 9 : attribute == 115 ? 1 : 0;
    return SUCCESS;
}
API Result cuDevicePrimaryCtxRetain(void **context, int) {
    gpu.counts->contexts++;
    return *context = &gpu, SUCCESS;
}
API Result cuDevicePrimaryCtxRelease_v2(int) { return gpu.counts->contexts--, SUCCESS; }
API Result cuDevicePrimaryCtxSetFlags_v2(int, unsigned) { return SUCCESS; }

API Result cuCtxGetCurrent(void **context) { return *context = current(), SUCCESS; }
API Result cuCtxSetCurrent(void *context) {
    if (contexts.empty()) contexts.push_back(nullptr);
    contexts.back() = context;
    return SUCCESS;
}
API Result cuCtxPushCurrent_v2(void *context) { return contexts.push_back(context), gpu.lost; }
API Result cuCtxPopCurrent_v2(void **context) {
    if (contexts.empty()) return INVALID_CONTEXT;
    if (context) *context = current();
    contexts.pop_back();
    return SUCCESS;
}
API Result cuCtxSetFlags(unsigned) {
    NEEDS_CONTEXT;
    return SUCCESS;
}
API Result cuCtxGetDevice(int *device) { return *device = 0, SUCCESS; }
API Result cuCtxSynchronize() {
    NEEDS_CONTEXT;
    for (Stream *stream : gpu.streams) run_until(stream, stream->asked);
    run_until(&gpu.legacy, gpu.legacy.asked);
    return SUCCESS;
}

API Result cuGetErrorName(Result, const char **name) { return *name = "CUDA_ERROR_PRETENDED", SUCCESS; }
API Result cuGetErrorString(Result error, const char **text) {
    *text = error == OUT_OF_MEMORY   ? "out of memory"
            : error == LAUNCH_FAILED ? "unspecified launch failure"
                                     : "an error of the pretended driver";
    return SUCCESS;
}
