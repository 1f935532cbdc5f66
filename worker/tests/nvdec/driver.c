/* What FFmpeg and cudarc load as NVIDIA's driver and NVDEC in worker/tests/nvdec.rs: the same calls, on host memory.
 *
 * It decodes nothing: of each picture that it is given it finds the packet in the clip by its bytes, and gives the picture
 * of that packet's rank. In the folder $FRAMEFLEET_TEST_NVDEC:
 *
 *   clip.mkv   the clip
 *   index      for each packet, in the order of the file: position, rank (two 64-bit numbers)
 *   pictures   both planes of each picture by rank, as NVDEC lays them out, without padding
 *   shape      five numbers as text: width, height, bytes of a sample; the picture at which decoding fails (-1: none), and
 *              with which error
 *   left       written at the end: how much memory, how many surfaces, decoders and streams were not given back; how many
 *              pictures were decoded; how many calls lacked a context
 *
 * As on a GPU, copies are done later: when somebody waits for their stream. What was given back is overwritten before.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long long ptr;
#define API __attribute__((visibility("default")))

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static __thread void *current[8];
static __thread int depth;
static int context_of_device;
static int lost;
static long memory_left, mapped_left, decoders_left, streams_left, decoded, without_context;

static uint8_t *clip, *pictures;
static size_t clip_bytes;
static uint64_t *packets;
static size_t packet_count;
static int width, height, sample, fail_at, fail_with;

static uint8_t *file(const char *name, size_t *bytes) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", getenv("FRAMEFLEET_TEST_NVDEC"), name);
    FILE *f = fopen(path, "rb");
    if (!f) { perror(path); abort(); }
    fseek(f, 0, SEEK_END);
    *bytes = ftell(f);
    rewind(f);
    uint8_t *data = malloc(*bytes + 1);
    if (fread(data, 1, *bytes, f) != *bytes) abort();
    data[*bytes] = 0;
    fclose(f);
    return data;
}

static void read_files(void) {
    size_t bytes;
    clip = file("clip.mkv", &clip_bytes);
    packets = (uint64_t *)file("index", &bytes);
    packet_count = bytes / 16;
    pictures = file("pictures", &bytes);
    char *shape = (char *)file("shape", &bytes);
    if (sscanf(shape, "%d %d %d %d %d", &width, &height, &sample, &fail_at, &fail_with) != 5) abort();
}

__attribute__((destructor)) static void tell(void) {
    if (!clip) return;
    char path[4096];
    snprintf(path, sizeof path, "%s/left", getenv("FRAMEFLEET_TEST_NVDEC"));
    FILE *f = fopen(path, "w");
    if (!f) return;
    fprintf(f, "%ld %ld %ld %ld %ld %ld", memory_left, mapped_left, decoders_left, streams_left, decoded, without_context);
    fclose(f);
}

/* Every call but the first ones needs a context, and fails once the device is lost. */
static int refused(void) {
    if (lost) return lost;
    if (depth == 0 || current[depth - 1] == NULL) { without_context++; return 201; }
    return 0;
}

#define CHECK do { int error = refused(); if (error) return error; } while (0)

API int cuInit(unsigned flags) {
    pthread_mutex_lock(&lock);
    if (!clip) read_files();
    pthread_mutex_unlock(&lock);
    return 0;
}
API int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
API int cuDeviceGetCount(int *count) { *count = 1; return 0; }
API int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
API int cuDeviceGetName(char *name, int length, int device) { snprintf(name, length, "Test"); return 0; }
API int cuDeviceGetAttribute(int *value, int attribute, int device) {
    /* Compute capability 9.0; memory pools are supported (115). */
    *value = attribute == 75 ? 9 : attribute == 76 ? 0 : 1;
    return 0;
}
API int cuDevicePrimaryCtxRetain(void **context, int device) { *context = &context_of_device; return 0; }
API int cuDevicePrimaryCtxRelease_v2(int device) { return 0; }
API int cuDeviceGetDefaultMemPool(void **pool, int device) { *pool = &context_of_device; return 0; }
API int cuMemPoolSetAttribute(void *pool, int attribute, void *value) { return attribute == 4 ? 0 : 1; }
API int cuCtxGetCurrent(void **context) { *context = depth ? current[depth - 1] : NULL; return 0; }
API int cuCtxSetCurrent(void *context) { if (!depth) depth = 1; current[depth - 1] = context; return 0; }
API int cuCtxPushCurrent_v2(void *context) { current[depth++] = context; return lost; }
API int cuCtxPopCurrent_v2(void **context) { if (!depth) return 201; depth--; if (context) *context = current[depth]; return 0; }
API int cuCtxSetFlags(unsigned flags) { return refused(); }
API int cuCtxSynchronize(void) { return refused(); }
API int cuCtxGetDevice(int *device) { *device = 0; return 0; }
API int cuMemGetInfo_v2(size_t *free_bytes, size_t *total) { CHECK; *free_bytes = *total = (size_t)8 << 30; return 0; }
API int cuGetErrorName(int error, const char **name) { *name = "CUDA_ERROR_OF_TEST"; return 0; }
API int cuGetErrorString(int error, const char **text) { *text = "made by the test"; return 0; }

struct copy { uint8_t *to; const uint8_t *from; size_t to_pitch, from_pitch, bytes, rows; uint8_t *freed; };
struct stream { struct copy copies[4096]; int count; };

API int cuStreamCreate(struct stream **stream, unsigned flags) {
    CHECK;
    *stream = calloc(1, sizeof **stream);
    __sync_fetch_and_add(&streams_left, 1);
    return 0;
}
API int cuStreamDestroy_v2(struct stream *stream) {
    free(stream);
    __sync_fetch_and_add(&streams_left, -1);
    return 0;
}
static int later(struct stream *stream, struct copy copy) {
    pthread_mutex_lock(&lock);
    if (stream->count == 4096) abort();
    stream->copies[stream->count++] = copy;
    pthread_mutex_unlock(&lock);
    return 0;
}
API int cuStreamSynchronize(struct stream *stream) {
    CHECK;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < stream->count; i++) {
        struct copy c = stream->copies[i];
        if (c.freed) { memset(c.freed, 0xdd, c.bytes); continue; }
        for (size_t row = 0; row < c.rows; row++) memcpy(c.to + row * c.to_pitch, c.from + row * c.from_pitch, c.bytes);
    }
    stream->count = 0;
    pthread_mutex_unlock(&lock);
    return 0;
}
API int cuMemAllocAsync(ptr *memory, size_t bytes, struct stream *stream) {
    CHECK;
    size_t *block = malloc(bytes + 64);
    block[0] = bytes;
    memset(block + 8, 0xcc, bytes);
    *memory = (ptr)(uintptr_t)(block + 8);
    __sync_fetch_and_add(&memory_left, (long)bytes);
    return 0;
}
API int cuMemFreeAsync(ptr memory, struct stream *stream) {
    CHECK;
    size_t *block = (size_t *)(uintptr_t)memory - 8;
    __sync_fetch_and_add(&memory_left, -(long)block[0]);
    /* Nobody may have it again in this process, so that what is read too late is seen. */
    return later(stream, (struct copy){ .bytes = block[0], .freed = (uint8_t *)(block + 8) });
}
struct copy_2d {
    size_t from_x, from_y; int from_type; const void *from_host; ptr from; void *from_array; size_t from_pitch;
    size_t to_x, to_y; int to_type; void *to_host; ptr to; void *to_array; size_t to_pitch;
    size_t bytes, rows;
};
API int cuMemcpy2DAsync_v2(const struct copy_2d *c, struct stream *stream) {
    CHECK;
    if (c->from_type != 2 || c->to_type != 2 || c->from_x || c->from_y || c->to_x || c->to_y) return 1;
    if (c->bytes > c->from_pitch || c->bytes > c->to_pitch) return 1;
    return later(stream, (struct copy){ (uint8_t *)(uintptr_t)c->to, (uint8_t *)(uintptr_t)c->from, c->to_pitch,
                                        c->from_pitch, c->bytes, c->rows, NULL });
}
API int cuMemcpyDtoHAsync_v2(void *to, ptr from, size_t bytes, struct stream *stream) {
    CHECK;
    return later(stream, (struct copy){ to, (uint8_t *)(uintptr_t)from, bytes, bytes, bytes, 1, NULL });
}

/* NVDEC. */
struct create_info {
    unsigned long width, height, decode_surfaces; int codec, chroma; unsigned long flags, depth_minus_8, intra, max_width,
        max_height, reserved; short area[4]; int output, deinterlace; unsigned long target_width, target_height,
        output_surfaces; void *ctx_lock; short target[4]; unsigned long histogram, reserved2[4];
};
struct decoder { struct create_info info; uint64_t rank[32]; unsigned mapped; };
struct picture_parameters {
    int width_mbs, height_mbs, index, field, bottom, second; unsigned bytes; const uint8_t *data; unsigned slices;
    const unsigned *offsets; int reference, intra;
};

/* From the middle of `CUVIDDECODECAPS`: the answers. */
struct capabilities {
    int codec, chroma; unsigned depth_minus_8, reserved1[3]; unsigned char is_supported, engines; unsigned short outputs;
    unsigned max_width, max_height, max_mbs; unsigned short min_width, min_height;
};
API int cuvidGetDecoderCaps(struct capabilities *caps) {
    CHECK;
    caps->is_supported = 1;
    caps->outputs = 3;
    caps->max_width = caps->max_height = 8192;
    caps->max_mbs = 1 << 18;
    caps->min_width = caps->min_height = 16;
    return 0;
}
API int cuvidCreateDecoder(struct decoder **decoder, struct create_info *info) {
    CHECK;
    if (info->decode_surfaces > 32 || info->depth_minus_8 != (unsigned long)(sample == 2 ? 2 : 0)) return 1;
    if (info->output != (sample == 2)) return 1;
    *decoder = calloc(1, sizeof **decoder);
    (*decoder)->info = *info;
    __sync_fetch_and_add(&decoders_left, 1);
    return 0;
}
API int cuvidDestroyDecoder(struct decoder *decoder) {
    free(decoder);
    __sync_fetch_and_add(&decoders_left, -1);
    return 0;
}
static uint64_t rank_of(const struct picture_parameters *p) {
    /* Without the start code that FFmpeg puts in front of slices. */
    size_t skipped = p->bytes > 3 && !p->data[0] && !p->data[1] && p->data[2] == 1 ? 3 : 0;
    size_t bytes = p->bytes - skipped < 48 ? p->bytes - skipped : 48;
    const uint8_t *found = memmem(clip, clip_bytes, p->data + skipped, bytes);
    if (!found) { fprintf(stderr, "no packet has these bytes\n"); abort(); }
    uint64_t at = found - clip, rank = 0;
    for (size_t i = 0; i < packet_count && packets[2 * i] <= at; i++) rank = packets[2 * i + 1];
    return rank;
}
API int cuvidDecodePicture(struct decoder *decoder, struct picture_parameters *p) {
    CHECK;
    if (p->index < 0 || p->index >= (int)decoder->info.decode_surfaces) return 1;
    if (__sync_fetch_and_add(&decoded, 1) == fail_at) {
        if (fail_with > 700) lost = fail_with;
        return fail_with;
    }
    decoder->rank[p->index] = rank_of(p);
    return 0;
}
API int cuvidMapVideoFrame64(struct decoder *decoder, int index, ptr *picture, unsigned *pitch, void *parameters) {
    CHECK;
    if (decoder->mapped == decoder->info.output_surfaces) return 2;
    size_t coded_height = decoder->info.target_height, row = (size_t)width * sample;
    size_t step = (decoder->info.target_width * sample + 511) / 512 * 512;
    uint8_t *surface = malloc(step * coded_height * 3 / 2 + 64);
    *(size_t *)surface = step * coded_height * 3 / 2;
    memset(surface + 64, 0xee, step * coded_height * 3 / 2);
    const uint8_t *source = pictures + decoder->rank[index] * (row * height * 3 / 2);
    for (int y = 0; y < height; y++) memcpy(surface + 64 + y * step, source + y * row, row);
    for (int y = 0; y < height / 2; y++)
        memcpy(surface + 64 + (coded_height + y) * step, source + (height + y) * row, row);
    *picture = (ptr)(uintptr_t)(surface + 64);
    *pitch = step;
    decoder->mapped++;
    __sync_fetch_and_add(&mapped_left, 1);
    return 0;
}
API int cuvidUnmapVideoFrame64(struct decoder *decoder, ptr picture) {
    uint8_t *surface = (uint8_t *)(uintptr_t)picture;
    /* The next picture comes here at once. */
    memset(surface, 0xaa, *(size_t *)(surface - 64));
    decoder->mapped--;
    __sync_fetch_and_add(&mapped_left, -1);
    return 0;
}

/* What FFmpeg wants to find, and does not call here. */
#define UNUSED(name) API int name(void) { fprintf(stderr, #name " was called\n"); abort(); }
UNUSED(cuDeviceComputeCapability) UNUSED(cuCtxCreate_v2) UNUSED(cuCtxSetLimit) UNUSED(cuCtxDestroy_v2) UNUSED(cuMemAlloc_v2)
UNUSED(cuMemAllocPitch_v2) UNUSED(cuMemAllocManaged) UNUSED(cuMemsetD8Async) UNUSED(cuMemFree_v2) UNUSED(cuMemcpy)
UNUSED(cuMemcpyAsync) UNUSED(cuMemcpy2D_v2) UNUSED(cuMemcpyHtoD_v2) UNUSED(cuMemcpyHtoDAsync_v2) UNUSED(cuMemcpyDtoH_v2)
UNUSED(cuMemcpyDtoD_v2) UNUSED(cuMemcpyDtoDAsync_v2) UNUSED(cuDevicePrimaryCtxRelease) UNUSED(cuDevicePrimaryCtxSetFlags)
UNUSED(cuDevicePrimaryCtxGetState) UNUSED(cuDevicePrimaryCtxReset) UNUSED(cuStreamQuery) UNUSED(cuStreamAddCallback)
UNUSED(cuEventCreate) UNUSED(cuEventDestroy_v2) UNUSED(cuEventSynchronize) UNUSED(cuEventQuery) UNUSED(cuEventRecord)
UNUSED(cuLaunchKernel) UNUSED(cuLinkCreate) UNUSED(cuLinkAddData) UNUSED(cuLinkComplete) UNUSED(cuLinkDestroy)
UNUSED(cuModuleLoadData) UNUSED(cuModuleUnload) UNUSED(cuModuleGetFunction) UNUSED(cuModuleGetGlobal)
UNUSED(cuTexObjectCreate) UNUSED(cuTexObjectDestroy) UNUSED(cuGLGetDevices_v2) UNUSED(cuGraphicsGLRegisterImage)
UNUSED(cuGraphicsUnregisterResource) UNUSED(cuGraphicsMapResources) UNUSED(cuGraphicsUnmapResources)
UNUSED(cuGraphicsSubResourceGetMappedArray) UNUSED(cuGraphicsResourceGetMappedPointer_v2) UNUSED(cuArray3DCreate_v2)
UNUSED(cuArrayDestroy) UNUSED(cuvidGetDecodeStatus) UNUSED(cuvidReconfigureDecoder) UNUSED(cuvidCtxLockCreate)
UNUSED(cuvidCtxLockDestroy) UNUSED(cuvidCtxLock) UNUSED(cuvidCtxUnlock) UNUSED(cuvidCreateVideoSource)
UNUSED(cuvidCreateVideoSourceW) UNUSED(cuvidDestroyVideoSource) UNUSED(cuvidSetVideoSourceState)
UNUSED(cuvidGetVideoSourceState) UNUSED(cuvidGetSourceVideoFormat) UNUSED(cuvidGetSourceAudioFormat)
UNUSED(cuvidCreateVideoParser) UNUSED(cuvidParseVideoData) UNUSED(cuvidDestroyVideoParser)
UNUSED(cuStreamCreateWithPriority) UNUSED(cuCtxGetApiVersion)
