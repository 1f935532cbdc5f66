// Memory of the GPU and of the host, and the copies between.

#include "gpu.h"

#include <cstdlib>
#include <cstring>

// In front of what is given, where its size is kept.
static const size_t HEADER = 256;

static Result allocate(Address *to, size_t bytes) {
    if (gpu.counts->memory_bytes + (int64_t)bytes > gpu.memory_bytes) return OUT_OF_MEMORY;
    uint8_t *block = (uint8_t *)aligned_alloc(HEADER, HEADER + (bytes / HEADER + 1) * HEADER);
    memcpy(block, &bytes, sizeof bytes);
    memset(block + HEADER, 0xa5, bytes);
    gpu.counts->memory_bytes += bytes;
    return *to = (Address)(block + HEADER), SUCCESS;
}

static void release(Address memory) {
    size_t bytes;
    memcpy(&bytes, (void *)(memory - HEADER), sizeof bytes);
    gpu.counts->memory_bytes -= bytes;
    give_back(memory, bytes);
}

void give_back(Address memory, size_t bytes) { memset((void *)memory, 0x5a, bytes); }

API Result cuMemGetInfo_v2(size_t *free_bytes, size_t *total) {
    NEEDS_CONTEXT;
    *total = gpu.memory_bytes;
    return *free_bytes = gpu.memory_bytes - gpu.counts->memory_bytes, SUCCESS;
}
API Result cuDeviceGetDefaultMemPool(void **pool, int) { return *pool = &gpu, SUCCESS; }
API Result cuMemPoolSetAttribute(void *, int attribute, void *) { return attribute == 4 ? SUCCESS : INVALID_VALUE; }

API Result cuMemAlloc_v2(Address *to, size_t bytes) {
    NEEDS_CONTEXT;
    return allocate(to, bytes);
}
API Result cuMemAllocAsync(Address *to, size_t bytes, void *) {
    NEEDS_CONTEXT;
    return allocate(to, bytes);
}
API Result cuMemFree_v2(Address memory) {
    NEEDS_CONTEXT;
    return release(memory), SUCCESS;
}
// Where nothing else is to be done before, a GPU does it at once.
API Result cuMemFreeAsync(Address memory, void *stream) {
    NEEDS_CONTEXT;
    if (stream_of(stream)->waiting.empty()) return release(memory), SUCCESS;
    return ask(stream, [memory] { release(memory); });
}
API Result cuMemHostAlloc(void **to, size_t bytes, unsigned) {
    NEEDS_CONTEXT;
    gpu.counts->pinned++;
    return *to = malloc(bytes), SUCCESS;
}
API Result cuMemFreeHost(void *memory) {
    NEEDS_CONTEXT;
    gpu.counts->pinned--;
    return free(memory), SUCCESS;
}

API Result cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t bytes, void *stream) {
    NEEDS_CONTEXT;
    gpu.counts->uploaded_bytes += bytes;
    return ask(stream, [=] { memcpy((void *)to, from, bytes); });
}
API Result cuMemcpyDtoHAsync_v2(void *to, Address from, size_t bytes, void *stream) {
    NEEDS_CONTEXT;
    return ask(stream, [=] { memcpy(to, (void *)from, bytes); });
}
API Result cuMemsetD8Async(Address to, unsigned char value, size_t bytes, void *stream) {
    NEEDS_CONTEXT;
    return ask(stream, [=] { memset((void *)to, value, bytes); });
}

// `CUDA_MEMCPY2D`.
struct Copy {
    size_t from_x, from_y;
    int from_type;
    const void *from_host;
    Address from;
    void *from_array;
    size_t from_pitch, to_x, to_y;
    int to_type;
    void *to_host;
    Address to;
    void *to_array;
    size_t to_pitch, bytes, rows;
};
// On the device alone.
API Result cuMemcpy2DAsync_v2(const Copy *copy, void *stream) {
    NEEDS_CONTEXT;
    const Copy c = *copy;
    const int device = 2;
    if (c.from_type != device || c.to_type != device || c.from_x || c.from_y || c.to_x || c.to_y) return INVALID_VALUE;
    if (c.bytes > c.from_pitch || c.bytes > c.to_pitch) return INVALID_VALUE;
    return ask(stream, [c] {
        for (size_t row = 0; row < c.rows; row++)
            memcpy((void *)(c.to + row * c.to_pitch), (void *)(c.from + row * c.from_pitch), c.bytes);
    });
}
