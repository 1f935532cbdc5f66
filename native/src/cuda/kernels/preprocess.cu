// From pictures to a model's input, a thread for each of its pixels: scale, turn, convert to RGB, normalise, lay out.
//
// It is models/src/preprocess.rs once more, and gives the same to the bit: the same integers, the same products, in the
// same order. Nothing may be fused, so it is compiled without.

// As in models/src/preprocess/taps.rs.
constexpr int ROW_BITS = 8;
constexpr int COLUMN_BITS = 14;

// What gathered Y, U and V count for in a channel of the input, what is added, the values of black and white, and the
// value beside the picture.
struct Channel {
    float y, u, v, offset;
    float black, white;
    float padding;
};

// `PictureParameters` in preprocessing.rs, which says more.
struct PictureParameters {
    u64 planes[3];
    double scale_across, scale_down;
    u32 pitch[3];
    u32 step[3];
    u32 shift_right, depth;
    u32 width, height;
    u32 chroma_shift_x, chroma_shift_y;
    u32 content_width, content_height, content_left, content_top;
    u32 is_quarter_turn, is_backwards_across, is_backwards_down;
    Channel channels[3];
};

// `InputParameters` in preprocessing.rs. Steps are in elements.
struct InputParameters {
    u64 picture_step, channel_step, row_step;
    u32 column_step;
    u32 width, height;
    u32 element;
};

// A place between a luma sample and the next.
struct Place {
    u32 first;
    // How far towards the next, 0 to below 1. At the last sample it is 0.
    double towards;
};

// Two samples of a plane, of which the second counts for `weight`.
struct Tap {
    u32 first, second;
    int weight;
};

// Where an output sample lies on `length` luma samples: centres on centres, clamped at the edges.
__device__ inline Place place(u32 output, double scale, u32 length) {
    const double last = length - 1;
    double position = (output + 0.5) * scale - 0.5;
    position = position > 0.0 ? position : 0.0;
    position = position < last ? position : last;
    const u32 first = (u32)position;
    return {first, position - first};
}

// On a plane of which each sample stands for `1 << shift` luma samples.
__device__ inline Tap tap(Place place, u32 shift, int bits) {
    const u32 first = place.first >> shift;
    const u32 second = (place.first + 1) >> shift;
    const int weight = first == second ? 0 : (int)round(place.towards * (1 << bits));
    // What counts for nothing is not fetched: a picture that shrinks to a third is read by a third of its rows.
    return {first, weight == 0 ? first : second, weight};
}

__device__ inline int sample(const PictureParameters &picture, int plane, u32 column, u32 row) {
    const u64 address = picture.planes[plane] + (u64)row * picture.pitch[plane];
    const u64 index = (u64)column * picture.step[plane];
    if (picture.depth == 8) return ((const u8 *)address)[index];
    const int value = ((const u16 *)address)[index] >> picture.shift_right;
    // Bits above the depth are no part of a sample.
    const int most = (1 << picture.depth) - 1;
    return value < most ? value : most;
}

// Blends two rows, to 8.8 fixed point on the scale of 8 bits.
__device__ inline int blend_rows(const PictureParameters &picture, int plane, u32 column, Tap row) {
    const int first = sample(picture, plane, column, row.first);
    const int second = sample(picture, plane, column, row.second);
    return (first * ((1 << ROW_BITS) - row.weight) + second * row.weight) >> (picture.depth - 8);
}

__device__ inline float gather(const PictureParameters &picture, int plane, Tap column, Tap row) {
    const int first = blend_rows(picture, plane, column.first, row);
    const int second = blend_rows(picture, plane, column.second, row);
    return (float)(first * ((1 << COLUMN_BITS) - column.weight) + second * column.weight);
}

__device__ inline float convert(const Channel &channel, float y, float u, float v) {
    const float value = y * channel.y + ((u * channel.u + v * channel.v) + channel.offset);
    const float above = value > channel.black ? value : channel.black;
    return above < channel.white ? above : channel.white;
}

__device__ inline void store(void *output, u32 element, u64 index, float value) {
    if (element == F32) {
        ((float *)output)[index] = value;
    } else if (element == F16) {
        ((u16 *)output)[index] = half_from_float(value);
    } else {
        const float above = value > 0.0f ? value : 0.0f;
        const float within = above < 255.0f ? above : 255.0f;
        // From 2^23 on an f32 is a whole number: the sum rounds, ties to even, and its low bits are the number.
        ((u8 *)output)[index] = (u8)__float_as_uint(within + 8388608.0f);
    }
}

// The three channels of the pixel that lies at (x, y) of the content.
__device__ inline void look(const PictureParameters &picture, u32 x, u32 y, float *values) {
    const bool turned = picture.is_quarter_turn;
    u32 across = turned ? y : x;
    u32 down = turned ? x : y;
    if (picture.is_backwards_across) across = (turned ? picture.content_height : picture.content_width) - 1 - across;
    if (picture.is_backwards_down) down = (turned ? picture.content_width : picture.content_height) - 1 - down;
    const Place column = place(across, picture.scale_across, picture.width);
    const Place row = place(down, picture.scale_down, picture.height);
    const float luma = gather(picture, 0, tap(column, 0, COLUMN_BITS), tap(row, 0, ROW_BITS));
    const Tap chroma_column = tap(column, picture.chroma_shift_x, COLUMN_BITS);
    const Tap chroma_row = tap(row, picture.chroma_shift_y, ROW_BITS);
    const float u = gather(picture, 1, chroma_column, chroma_row);
    const float v = gather(picture, 2, chroma_column, chroma_row);
    for (int channel = 0; channel < 3; channel++) values[channel] = convert(picture.channels[channel], luma, u, v);
}

// The grid is the input's columns, its rows, and the pictures of the batch.
extern "C" __global__ void preprocess(const PictureParameters *pictures, const __grid_constant__ InputParameters input,
                                      void *output) {
    const u32 x = blockIdx.x * blockDim.x + threadIdx.x;
    const u32 y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= input.width || y >= input.height) return;
    const PictureParameters &picture = pictures[blockIdx.z];
    float values[3] = {picture.channels[0].padding, picture.channels[1].padding, picture.channels[2].padding};
    // Left of the content and above it, these wrap around and are large.
    const u32 column = x - picture.content_left;
    const u32 row = y - picture.content_top;
    if (column < picture.content_width && row < picture.content_height) look(picture, column, row, values);
    const u64 pixel = blockIdx.z * input.picture_step + y * input.row_step + (u64)x * input.column_step;
    for (int channel = 0; channel < 3; channel++) {
        store(output, input.element, pixel + channel * input.channel_step, values[channel]);
    }
}
