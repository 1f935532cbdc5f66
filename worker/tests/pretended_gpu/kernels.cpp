// This program's own kernels, compiled for the CPU.

#include "gpu.h"

#include "../../../models/tests/kernels/as_cpp.h"

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

static char PREPROCESS, SURVIVORS;

API Result cuModuleLoadData(void **module, const void *) {
    NEEDS_CONTEXT;
    gpu.counts->modules++;
    return *module = &gpu, SUCCESS;
}
API Result cuModuleUnload(void *) { return gpu.counts->modules--, SUCCESS; }
API Result cuModuleGetFunction(void **function, void *, const char *name) {
    *function = !strcmp(name, "preprocess") ? &PREPROCESS : !strcmp(name, "survivors") ? &SURVIVORS : nullptr;
    return *function ? SUCCESS : NOT_FOUND;
}
API Result cuLaunchKernel(void *function, u32 grid_x, u32 grid_y, u32 grid_z, u32 block_x, u32 block_y, u32 block_z, u32,
                          void *stream, void **parameters, void **) {
    NEEDS_CONTEXT;
    if (gpu.launches++ == gpu.launch_of_loss) return gpu.lost = LAUNCH_FAILED;
    const Three grid = {grid_x, grid_y, grid_z}, block = {block_x, block_y, block_z};
    if (function == &PREPROCESS) {
        gpu.counts->preprocessed_batches++;
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
