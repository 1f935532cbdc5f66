// NVDEC, as FFmpeg calls it.
//
// It decodes nothing: of each picture that it is given it finds the packet in a clip by its bytes, and gives the picture of
// that packet's rank. A clip is a folder:
//
//   clip.mkv   the clip
//   index      for each packet, in the order of the file: position, rank (two 64-bit numbers)
//   pictures   both planes of each picture by rank, as NVDEC lays them out, without padding
//   shape      three numbers as text: width, height, bytes of a sample

#include "gpu.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

struct Clip {
    std::vector<uint8_t> bytes, index, pictures;
    size_t width, height, sample;

    explicit Clip(const std::string &folder)
        : bytes(file(folder + "/clip.mkv")), index(file(folder + "/index")), pictures(file(folder + "/pictures")) {
        auto shape = file(folder + "/shape");
        shape.push_back(0);
        if (sscanf((const char *)shape.data(), "%zu %zu %zu", &width, &height, &sample) != 3) abort();
    }

    size_t row_bytes() const { return width * sample; }
    const uint8_t *picture(uint64_t rank) const { return pictures.data() + rank * (row_bytes() * height * 3 / 2); }

    uint64_t rank_at(uint64_t position) const {
        uint64_t rank = 0;
        for (size_t at = 0; at < index.size(); at += 16) {
            uint64_t entry[2];
            memcpy(entry, &index[at], sizeof entry);
            if (entry[0] > position) break;
            rank = entry[1];
        }
        return rank;
    }
};

// A picture of a clip.
struct Picture {
    const Clip *clip = nullptr;
    uint64_t rank = 0;
};

// `CUVIDDECODECREATEINFO`.
struct CreateInfo {
    unsigned long width, height, decode_surfaces;
    int codec, chroma;
    unsigned long flags, depth_minus_8, intra, max_width, max_height, reserved;
    short area[4];
    int output, deinterlace;
    unsigned long target_width, target_height, output_surfaces;
    void *ctx_lock;
    short target[4];
    unsigned long histogram, reserved2[4];
};
struct Decoder {
    CreateInfo info;
    Picture pictures[32];
    size_t mapped;
};

// `CUVIDDECODECAPS`.
struct Capabilities {
    int codec, chroma;
    unsigned depth_minus_8, reserved1[3];
    unsigned char is_supported, engines;
    unsigned short outputs;
    unsigned max_width, max_height, max_mbs;
    unsigned short min_width, min_height;
};

// The beginning of `CUVIDPICPARAMS`.
struct DecodeParameters {
    int width_mbs, height_mbs, index, field, bottom, second;
    unsigned bytes;
    const uint8_t *data;
    unsigned slices;
    const unsigned *offsets;
};

// `CUVIDPROCPARAMS` up to the stream that its picture is written on.
struct ProcessingParameters {
    int progressive, second, top_first, unpaired;
    unsigned flags, zero;
    Address raw_input;
    unsigned raw_input_pitch, raw_input_format;
    Address raw_output;
    unsigned raw_output_pitch, reserved;
    void *stream;
};

static const std::deque<Clip> &clips() {
    static const std::deque<Clip> all = [] {
        std::deque<Clip> found;
        for (const auto &folder : std::filesystem::directory_iterator(path_of("clips"))) found.emplace_back(folder.path());
        return found;
    }();
    return all;
}

static Picture picture_of(const DecodeParameters *asked) {
    // The first slice, without the start code that FFmpeg puts in front of slices.
    const uint8_t *data = asked->data;
    size_t bytes = asked->slices > 1 ? asked->offsets[1] : asked->bytes;
    if (bytes > 3 && !data[0] && !data[1] && data[2] == 1) data += 3, bytes -= 3;
    for (const Clip &clip : clips())
        if (const void *found = memmem(clip.bytes.data(), clip.bytes.size(), data, bytes))
            return {&clip, clip.rank_at((const uint8_t *)found - clip.bytes.data())};
    fprintf(stderr, "no packet of a clip has these %zu bytes\n", bytes);
    abort();
}

API Result cuvidGetDecoderCaps(Capabilities *capabilities) {
    NEEDS_CONTEXT;
    capabilities->is_supported = 1;
    capabilities->outputs = 3;
    capabilities->max_width = capabilities->max_height = 8192;
    capabilities->max_mbs = 1 << 18;
    capabilities->min_width = capabilities->min_height = 16;
    return SUCCESS;
}
API Result cuvidCreateDecoder(Decoder **decoder, const CreateInfo *info) {
    NEEDS_CONTEXT;
    if (info->decode_surfaces > 32) return INVALID_VALUE;
    gpu.counts->decoders++;
    return *decoder = new Decoder{*info, {}, 0}, SUCCESS;
}
API Result cuvidDestroyDecoder(Decoder *decoder) {
    gpu.counts->decoders--;
    return delete decoder, SUCCESS;
}
API Result cuvidDecodePicture(Decoder *decoder, const DecodeParameters *asked) {
    NEEDS_CONTEXT;
    const CreateInfo &info = decoder->info;
    if (asked->index < 0 || asked->index >= (int)info.decode_surfaces) return INVALID_VALUE;
    if (gpu.counts->decoded_pictures++ == gpu.failing_picture) {
        if (gpu.failure > 700) gpu.lost = gpu.failure;
        return gpu.failure;
    }
    const Picture picture = picture_of(asked);
    // P016 for more than 8 bits, NV12 otherwise.
    const bool deep = picture.clip->sample == 2;
    if (info.output != deep || info.depth_minus_8 != (deep ? 2u : 0u)) return INVALID_VALUE;
    decoder->pictures[asked->index] = picture;
    return SUCCESS;
}

// In front of a surface.
struct Surface {
    size_t bytes;
    bool mapped;
};
static const size_t HEADER = 64;
static Surface *surface_at(Address address) { return (Surface *)(address - HEADER); }

API Result cuvidMapVideoFrame64(Decoder *decoder, int index, Address *surface, unsigned *pitch,
                                const ProcessingParameters *processing) {
    NEEDS_CONTEXT;
    if (decoder->mapped == decoder->info.output_surfaces) return OUT_OF_MEMORY;
    const Picture picture = decoder->pictures[index];
    const Clip *clip = picture.clip;
    const size_t coded_height = decoder->info.target_height;
    const size_t step = (decoder->info.target_width * clip->sample + 511) / 512 * 512, bytes = step * coded_height * 3 / 2;
    uint8_t *to = (uint8_t *)malloc(HEADER + bytes) + HEADER;
    memset(to, 0xee, bytes);
    *surface = (Address)to;
    *surface_at(*surface) = {bytes, true};
    decoder->mapped++;
    gpu.counts->surfaces++;
    *pitch = step;
    return ask(processing->stream, [=] {
        // By then it may be another picture's.
        if (!surface_at((Address)to)->mapped) return;
        const uint8_t *from = clip->picture(picture.rank);
        const size_t row = clip->row_bytes(), height = clip->height;
        for (size_t y = 0; y < height; y++) memcpy(to + y * step, from + y * row, row);
        for (size_t y = 0; y < height / 2; y++) memcpy(to + (coded_height + y) * step, from + (height + y) * row, row);
    });
}
// The next picture comes there at once.
API Result cuvidUnmapVideoFrame64(Decoder *decoder, Address surface) {
    std::lock_guard<std::recursive_mutex> alone(gpu.lock);
    surface_at(surface)->mapped = false;
    give_back(surface, surface_at(surface)->bytes);
    decoder->mapped--;
    gpu.counts->surfaces--;
    return SUCCESS;
}
