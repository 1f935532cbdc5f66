// Runs the kernels on a CPU: reads requests from its input and writes what they give to its output, as harness.rs says.
// All memory is as large as it was said to be, so that the sanitizers see what is read or written beyond it.

#include <cmath>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "as_cpp.h"

static void read_exactly(void *bytes, size_t count) {
    if (count > 0 && fread(bytes, 1, count, stdin) != count) exit(1);
}

template <class T>
static T read() {
    T value;
    read_exactly(&value, sizeof value);
    return value;
}

static void write(const void *bytes, size_t count) { fwrite(bytes, 1, count, stdout); }

// Of its own, so that what is beside it is nobody's.
struct Memory {
    u8 *bytes;
    size_t count;

    explicit Memory(size_t count) : bytes((u8 *)malloc(count)), count(count) { memset(bytes, 0xa5, count); }
    ~Memory() { free(bytes); }
    Memory(const Memory &) = delete;

    static Memory *from_input() {
        Memory *memory = new Memory(read<u64>());
        read_exactly(memory->bytes, memory->count);
        return memory;
    }
};

// From the last thread to the first: what a kernel gives must not depend on the order.
template <class Kernel>
static void launch(Three grid, Three block, Kernel kernel) {
    blockDim = block;
    for (u32 z = grid.z; z-- > 0;)
        for (u32 y = grid.y * block.y; y-- > 0;)
            for (u32 x = grid.x * block.x; x-- > 0;) {
                blockIdx = {x / block.x, y / block.y, z};
                threadIdx = {x % block.x, y % block.y, 0};
                kernel();
            }
}

static void run_preprocess() {
    const InputParameters input = read<InputParameters>();
    std::vector<PictureParameters> pictures(read<u32>());
    Memory output(read<u64>());
    std::vector<Memory *> memories;
    for (PictureParameters &picture : pictures) {
        picture = read<PictureParameters>();
        memories.push_back(Memory::from_input());
        for (u64 &plane : picture.planes) plane += (u64)memories.back()->bytes;
    }
    const Three grid = {(input.width + 31) / 32, (input.height + 7) / 8, (u32)pictures.size()};
    launch(grid, {32, 8, 1}, [&] { preprocess(pictures.data(), input, output.bytes); });
    write(output.bytes, output.count);
    for (Memory *memory : memories) delete memory;
}

static void run_survivors() {
    HeadParameters head = read<HeadParameters>();
    Memory *first = Memory::from_input();
    Memory *last = read<u32>() == 1 ? first : Memory::from_input();
    head.scores.address += (u64)first->bytes;
    head.objectness.address += (u64)first->bytes;
    head.boxes.address += (u64)last->bytes;
    Memory list(head.capacity * sizeof(Survivor));
    u32 count = 0;
    const Three grid = {(head.places + 127) / 128, head.pictures, 1};
    launch(grid, {128, 1, 1}, [&] { survivors(head, (Survivor *)list.bytes, &count); });
    const u32 listed = count < head.capacity ? count : head.capacity;
    write(&count, sizeof count);
    write(&listed, sizeof listed);
    write(list.bytes, listed * sizeof(Survivor));
    if (last != first) delete last;
    delete first;
}

static void run_halves() {
    const u32 count = read<u32>();
    for (u32 index = 0; index < count; index++) {
        const u16 half = half_from_float(read<float>());
        const float back = float_from_half(half);
        write(&half, sizeof half);
        write(&back, sizeof back);
    }
}

// The order in which the fields are declared is that of kernels.rs.
static void tell_layouts() {
#define FIELD(type, field) (u32)offsetof(type, field)
    const u32 layouts[] = {
        sizeof(PictureParameters), FIELD(PictureParameters, planes), FIELD(PictureParameters, scale_across),
        FIELD(PictureParameters, scale_down), FIELD(PictureParameters, pitch), FIELD(PictureParameters, step),
        FIELD(PictureParameters, shift_right), FIELD(PictureParameters, depth), FIELD(PictureParameters, width),
        FIELD(PictureParameters, height), FIELD(PictureParameters, chroma_shift_x),
        FIELD(PictureParameters, chroma_shift_y), FIELD(PictureParameters, content_width),
        FIELD(PictureParameters, content_height), FIELD(PictureParameters, content_left),
        FIELD(PictureParameters, content_top), FIELD(PictureParameters, is_quarter_turn),
        FIELD(PictureParameters, is_backwards_across), FIELD(PictureParameters, is_backwards_down),
        FIELD(PictureParameters, channels),
        sizeof(Channel), FIELD(Channel, y), FIELD(Channel, u), FIELD(Channel, v), FIELD(Channel, offset),
        FIELD(Channel, black), FIELD(Channel, white), FIELD(Channel, padding),
        sizeof(InputParameters), FIELD(InputParameters, picture_step), FIELD(InputParameters, channel_step),
        FIELD(InputParameters, row_step), FIELD(InputParameters, column_step), FIELD(InputParameters, width),
        FIELD(InputParameters, height), FIELD(InputParameters, element),
        sizeof(Values), FIELD(Values, address), FIELD(Values, picture_step), FIELD(Values, place_step),
        FIELD(Values, value_step),
        sizeof(HeadParameters), FIELD(HeadParameters, scores), FIELD(HeadParameters, objectness),
        FIELD(HeadParameters, boxes), FIELD(HeadParameters, places), FIELD(HeadParameters, classes),
        FIELD(HeadParameters, has_objectness), FIELD(HeadParameters, score_element), FIELD(HeadParameters, box_element),
        FIELD(HeadParameters, capacity), FIELD(HeadParameters, confidence), FIELD(HeadParameters, pictures),
        FIELD(HeadParameters, wanted),
        sizeof(Survivor), FIELD(Survivor, picture), FIELD(Survivor, place), FIELD(Survivor, class_id),
        FIELD(Survivor, score), FIELD(Survivor, objectness), FIELD(Survivor, box),
    };
    const u32 count = sizeof layouts / sizeof *layouts;
    write(&count, sizeof count);
    write(layouts, sizeof layouts);
}

int main() {
    u32 request;
    while (fread(&request, sizeof request, 1, stdin) == 1) {
        switch (request) {
            case 0: tell_layouts(); break;
            case 1: run_preprocess(); break;
            case 2: run_survivors(); break;
            case 3: run_halves(); break;
            default: return 1;
        }
        fflush(stdout);
    }
    return 0;
}
