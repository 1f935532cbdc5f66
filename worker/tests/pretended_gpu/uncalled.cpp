// What FFmpeg wants to find in a driver, and does not call here.

#include "gpu.h"

#include <cstdio>
#include <cstdlib>

#define UNCALLED(name)                        \
    API Result name() {                       \
        fprintf(stderr, #name " was called\n"); \
        abort();                              \
    }

UNCALLED(cuArray3DCreate_v2)
UNCALLED(cuArrayDestroy)
UNCALLED(cuCtxCreate_v2)
UNCALLED(cuCtxDestroy_v2)
UNCALLED(cuCtxGetApiVersion)
UNCALLED(cuCtxSetLimit)
UNCALLED(cuDeviceComputeCapability)
UNCALLED(cuDevicePrimaryCtxGetState)
UNCALLED(cuDevicePrimaryCtxRelease)
UNCALLED(cuDevicePrimaryCtxReset)
UNCALLED(cuDevicePrimaryCtxSetFlags)
UNCALLED(cuGLGetDevices_v2)
UNCALLED(cuGraphicsGLRegisterImage)
UNCALLED(cuGraphicsMapResources)
UNCALLED(cuGraphicsResourceGetMappedPointer_v2)
UNCALLED(cuGraphicsSubResourceGetMappedArray)
UNCALLED(cuGraphicsUnmapResources)
UNCALLED(cuGraphicsUnregisterResource)
UNCALLED(cuLinkAddData)
UNCALLED(cuLinkComplete)
UNCALLED(cuLinkCreate)
UNCALLED(cuLinkDestroy)
UNCALLED(cuMemAllocManaged)
UNCALLED(cuMemAllocPitch_v2)
UNCALLED(cuMemcpy)
UNCALLED(cuMemcpy2D_v2)
UNCALLED(cuMemcpyAsync)
UNCALLED(cuMemcpyDtoDAsync_v2)
UNCALLED(cuMemcpyDtoD_v2)
UNCALLED(cuMemcpyDtoH_v2)
UNCALLED(cuMemcpyHtoD_v2)
UNCALLED(cuModuleGetGlobal)
UNCALLED(cuStreamAddCallback)
UNCALLED(cuStreamCreateWithPriority)
UNCALLED(cuStreamQuery)
UNCALLED(cuTexObjectCreate)
UNCALLED(cuTexObjectDestroy)
UNCALLED(cuvidCreateVideoParser)
UNCALLED(cuvidCreateVideoSource)
UNCALLED(cuvidCreateVideoSourceW)
UNCALLED(cuvidCtxLock)
UNCALLED(cuvidCtxLockCreate)
UNCALLED(cuvidCtxLockDestroy)
UNCALLED(cuvidCtxUnlock)
UNCALLED(cuvidDestroyVideoParser)
UNCALLED(cuvidDestroyVideoSource)
UNCALLED(cuvidGetDecodeStatus)
UNCALLED(cuvidGetSourceAudioFormat)
UNCALLED(cuvidGetSourceVideoFormat)
UNCALLED(cuvidGetVideoSourceState)
UNCALLED(cuvidParseVideoData)
UNCALLED(cuvidReconfigureDecoder)
UNCALLED(cuvidSetVideoSourceState)
