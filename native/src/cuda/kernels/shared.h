// What both kernels need. All of it is C++ that a CPU's compiler takes too: so the tests compare it with the CPU's path.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

// The type of a tensor's elements: `Element` in parameters.rs.
enum Element : u32 { F32 = 0, F16 = 1, U8 = 2 };

// IEEE 754 binary16, to the nearest, ties to even. The header for this is not there where NVRTC is installed alone.
__device__ inline u16 half_from_float(float value) {
    const u32 bits = __float_as_uint(value);
    const u32 sign = bits >> 16 & 0x8000;
    const u32 magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) return sign | 0x7e00 | (magnitude >> 13 & 0x3ff);
    // 65536 and above, infinity among them. What lies just below rounds up to infinity by itself.
    if (magnitude >= 0x47800000) return sign | 0x7c00;
    // Below 2^-14 the step is 2^-24, which is that of an f32 from 0.5 to 1: the sum rounds.
    if (magnitude < 0x38800000) return sign | (__float_as_uint(__uint_as_float(magnitude) + 0.5f) - 0x3f000000);
    return sign | ((magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13);
}

__device__ inline float float_from_half(u16 half) {
    const u32 sign = (u32)(half & 0x8000) << 16;
    const u32 magnitude = half & 0x7fff;
    const float value = magnitude >= 0x7c00  ? __uint_as_float(0x70000000 + (magnitude << 13))
                        : magnitude < 0x0400 ? (float)magnitude * 5.9604644775390625e-8f  // 2^-24
                                             : __uint_as_float(0x38000000 + (magnitude << 13));
    return __uint_as_float(__float_as_uint(value) | sign);
}
