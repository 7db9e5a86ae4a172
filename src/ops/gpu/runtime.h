#pragma once

#include <cstddef>
#include <string>

#include "ops/gpu/platform.h"
#include "tensor/stream.h"

/// The GPU runtime under names that CUDA and HIP share, so that one source serves both. Files that are for one vendor
/// alone (cuBLASLt, cuDNN) are the only others that say cuda*.
#if defined(PRIMUS_HIP)
#include <hip/hip_runtime.h>
#define PRIMUS_GPU_NAME(name) hip##name
#else
#include <cuda_runtime.h>
#define PRIMUS_GPU_NAME(name) cuda##name
#endif

namespace primus::ops::gpu {

using gpuError_t = PRIMUS_GPU_NAME(Error_t);
using gpuStream_t = PRIMUS_GPU_NAME(Stream_t);
using gpuEvent_t = PRIMUS_GPU_NAME(Event_t);
using gpuGraph_t = PRIMUS_GPU_NAME(Graph_t);
using gpuGraphExec_t = PRIMUS_GPU_NAME(GraphExec_t);
using gpuFuncAttributes = PRIMUS_GPU_NAME(FuncAttributes);

#if defined(PRIMUS_HIP)
using gpuDeviceProp = hipDeviceProp_t;
using gpuDeviceAttr_t = hipDeviceAttribute_t;
#define gpuDevAttrMultiProcessorCount hipDeviceAttributeMultiprocessorCount
#define gpuDevAttrComputeCapabilityMajor hipDeviceAttributeComputeCapabilityMajor
#define gpuDevAttrComputeCapabilityMinor hipDeviceAttributeComputeCapabilityMinor
#define gpuDevAttrMaxSharedMemoryPerBlock hipDeviceAttributeMaxSharedMemoryPerBlock
#define gpuDevAttrL2CacheSize hipDeviceAttributeL2CacheSize
#define gpuMallocHost hipHostMalloc
#define gpuFreeHost hipHostFree
#else
using gpuDeviceProp = cudaDeviceProp;
using gpuDeviceAttr_t = cudaDeviceAttr;
#define gpuDevAttrMultiProcessorCount cudaDevAttrMultiProcessorCount
#define gpuDevAttrComputeCapabilityMajor cudaDevAttrComputeCapabilityMajor
#define gpuDevAttrComputeCapabilityMinor cudaDevAttrComputeCapabilityMinor
#define gpuDevAttrMaxSharedMemoryPerBlock cudaDevAttrMaxSharedMemoryPerBlockOptin
#define gpuDevAttrL2CacheSize cudaDevAttrL2CacheSize
#define gpuMallocHost cudaMallocHost
#define gpuFreeHost cudaFreeHost
#endif

#define gpuSuccess PRIMUS_GPU_NAME(Success)
#define gpuErrorMemoryAllocation PRIMUS_GPU_NAME(ErrorMemoryAllocation)
#define gpuErrorNoDevice PRIMUS_GPU_NAME(ErrorNoDevice)
#define gpuErrorInsufficientDriver PRIMUS_GPU_NAME(ErrorInsufficientDriver)
#define gpuGetErrorString PRIMUS_GPU_NAME(GetErrorString)
#define gpuGetLastError PRIMUS_GPU_NAME(GetLastError)
#define gpuGetDeviceCount PRIMUS_GPU_NAME(GetDeviceCount)
#define gpuGetDeviceProperties PRIMUS_GPU_NAME(GetDeviceProperties)
#define gpuSetDevice PRIMUS_GPU_NAME(SetDevice)
#define gpuDriverGetVersion PRIMUS_GPU_NAME(DriverGetVersion)
#define gpuRuntimeGetVersion PRIMUS_GPU_NAME(RuntimeGetVersion)
#define gpuMemGetInfo PRIMUS_GPU_NAME(MemGetInfo)
#define gpuMalloc PRIMUS_GPU_NAME(Malloc)
#define gpuFree PRIMUS_GPU_NAME(Free)
#define gpuMemcpyAsync PRIMUS_GPU_NAME(MemcpyAsync)
#define gpuMemcpyHostToDevice PRIMUS_GPU_NAME(MemcpyHostToDevice)
#define gpuMemcpyDeviceToHost PRIMUS_GPU_NAME(MemcpyDeviceToHost)
#define gpuMemcpyDeviceToDevice PRIMUS_GPU_NAME(MemcpyDeviceToDevice)
#define gpuMemsetAsync PRIMUS_GPU_NAME(MemsetAsync)
#define gpuStreamCreateWithFlags PRIMUS_GPU_NAME(StreamCreateWithFlags)
#define gpuStreamNonBlocking PRIMUS_GPU_NAME(StreamNonBlocking)
#define gpuStreamDestroy PRIMUS_GPU_NAME(StreamDestroy)
#define gpuStreamSynchronize PRIMUS_GPU_NAME(StreamSynchronize)
#define gpuStreamWaitEvent PRIMUS_GPU_NAME(StreamWaitEvent)
#define gpuEventCreate PRIMUS_GPU_NAME(EventCreate)
#define gpuEventCreateWithFlags PRIMUS_GPU_NAME(EventCreateWithFlags)
#define gpuEventDisableTiming PRIMUS_GPU_NAME(EventDisableTiming)
#define gpuEventDestroy PRIMUS_GPU_NAME(EventDestroy)
#define gpuEventRecord PRIMUS_GPU_NAME(EventRecord)
#define gpuEventSynchronize PRIMUS_GPU_NAME(EventSynchronize)
#define gpuEventElapsedTime PRIMUS_GPU_NAME(EventElapsedTime)
#define gpuEventQuery PRIMUS_GPU_NAME(EventQuery)
#define gpuErrorNotReady PRIMUS_GPU_NAME(ErrorNotReady)
#define gpuStreamBeginCapture PRIMUS_GPU_NAME(StreamBeginCapture)
#define gpuStreamEndCapture PRIMUS_GPU_NAME(StreamEndCapture)
#define gpuStreamCaptureModeThreadLocal PRIMUS_GPU_NAME(StreamCaptureModeThreadLocal)
#define gpuGraphInstantiateWithFlags PRIMUS_GPU_NAME(GraphInstantiateWithFlags)
#define gpuGraphDestroy PRIMUS_GPU_NAME(GraphDestroy)
#define gpuGraphExecDestroy PRIMUS_GPU_NAME(GraphExecDestroy)
#define gpuGraphUpload PRIMUS_GPU_NAME(GraphUpload)
#define gpuGraphLaunch PRIMUS_GPU_NAME(GraphLaunch)
#define gpuFuncGetAttributes PRIMUS_GPU_NAME(FuncGetAttributes)
#define gpuFuncSetAttribute PRIMUS_GPU_NAME(FuncSetAttribute)
#define gpuFuncAttributeMaxDynamicSharedMemorySize PRIMUS_GPU_NAME(FuncAttributeMaxDynamicSharedMemorySize)
#define gpuDeviceGetAttribute PRIMUS_GPU_NAME(DeviceGetAttribute)
#define gpuOccupancyMaxActiveBlocksPerMultiprocessor PRIMUS_GPU_NAME(OccupancyMaxActiveBlocksPerMultiprocessor)

/// The runtime's stream; makes the stream's device the current one of this thread.
gpuStream_t stream_of(const Stream& stream);

/// What operations may read on the host about the stream's device, queried once.
struct DeviceLimits {
  int multiprocessors = 0;
  int compute_capability = 0;               // 90 for 9.0
  std::size_t shared_memory_per_block = 0;  // the most that a kernel may ask for (opt-in)
  std::size_t l2_bytes = 0;
};
const DeviceLimits& limits_of(const Stream& stream);

/// Scratch memory of a stream, shared by everything on it: its content lasts until the next operation. At least
/// kWorkspaceBytes, aligned to 256 bytes.
struct Workspace {
  void* data = nullptr;
  std::size_t bytes = 0;
};
constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;
Workspace workspace_of(const Stream& stream);

/// Throws DeviceError that names what failed. Work on a GPU is asynchronous: an error may come from work put on
/// the stream earlier, which the message says; with PRIMUS_GPU_SYNC=1 every launch waits, and the message is exact.
[[noreturn]] void fail(gpuError_t error, const char* what);

inline void check(gpuError_t error, const char* what) {
  if (error != gpuSuccess) [[unlikely]]
    fail(error, what);
}

/// PRIMUS_GPU_SYNC=1: every launch is waited for, to find the one that fails.
bool waits_for_every_launch();

/// After a kernel launch.
void check_launch(const Stream& stream, const char* what);

}  // namespace primus::ops::gpu

/// GPU_CHECK(gpuMemsetAsync(…)): throws, naming the call.
#define GPU_CHECK(call) ::primus::ops::gpu::check(call, #call)

/// GPU_LAUNCH_CHECK(stream, "rms_norm_forward") behind every kernel launch, with the name of the operation.
#define GPU_LAUNCH_CHECK(stream, name) ::primus::ops::gpu::check_launch(stream, name)
