// The kernels as C++: what they need of CUDA, for threads that run one after another.

#include <cmath>
#include <cstring>

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
