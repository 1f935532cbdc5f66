// From the outputs of a head with thousands of places to the few that count, a thread for each place: what is copied to
// the host is kilobytes instead of megabytes. Which places pass is decided as in models/src/heads.

// Values of a tensor by picture, place and number. Steps are in elements.
struct Values {
    u64 address;
    u64 picture_step, place_step, value_step;
};

// How many classes `HeadParameters.wanted` tells of.
constexpr u32 LISTED_CLASSES = 2048;

// `HeadParameters` in survivors.rs, which says more.
struct HeadParameters {
    Values scores, objectness, boxes;
    u32 places, classes;
    u32 has_objectness;
    u32 score_element, box_element;
    u32 capacity;
    float confidence;
    u32 pictures;
    u32 wanted[LISTED_CLASSES / 32];
};

// `Survivor` in survivors.rs.
struct Survivor {
    u32 picture, place;
    int class_id;
    float score, objectness;
    float box[4];
};

__device__ inline float value(const Values &values, u32 element, u32 picture, u32 place, u32 number) {
    const u64 index = picture * values.picture_step + place * values.place_step + number * values.value_step;
    return element == F32 ? ((const float *)values.address)[index]
                          : float_from_half(((const u16 *)values.address)[index]);
}

__device__ inline bool is_wanted(const HeadParameters &head, u32 class_id) {
    return class_id >= LISTED_CLASSES || (head.wanted[class_id / 32] >> class_id % 32 & 1);
}

// Counts and lists the places that pass. The count goes on where the list is full, so that the host sees it. The grid is
// the places, and the pictures of the batch.
extern "C" __global__ void survivors(const __grid_constant__ HeadParameters head, Survivor *list, u32 *count) {
    const u32 place = blockIdx.x * blockDim.x + threadIdx.x;
    const u32 picture = blockIdx.y;
    if (place >= head.places) return;
    float objectness = __uint_as_float(0x7f800000);
    if (head.has_objectness) {
        objectness = value(head.objectness, head.score_element, picture, place, 0);
        // A class score is at most 1, so nearly every place ends here. So does NaN.
        if (!(objectness >= head.confidence)) return;
    }
    // The lower class of equal scores; NaN is never the best.
    int best = -1;
    float highest = 0.0f;
    for (u32 class_id = 0; class_id < head.classes; class_id++) {
        const float score = value(head.scores, head.score_element, picture, place, class_id);
        if (best < 0 ? score == score : score > highest) {
            best = class_id;
            highest = score;
        }
    }
    if (best < 0) return;
    const float score = head.has_objectness ? highest * objectness : highest;
    if (!(score >= head.confidence) || !is_wanted(head, best)) return;
    const u32 index = atomicAdd(count, 1u);
    if (index >= head.capacity) return;
    Survivor &survivor = list[index];
    survivor.picture = picture;
    survivor.place = place;
    survivor.class_id = best;
    survivor.score = score;
    survivor.objectness = objectness;
    for (u32 side = 0; side < 4; side++) {
        survivor.box[side] = value(head.boxes, head.box_element, picture, place, side);
    }
}
