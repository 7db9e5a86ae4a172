# Makes CUDA usable as a language of this project: nvcc, C++20, architectures, warnings.

if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  find_program(CMAKE_CUDA_COMPILER nvcc HINTS $ENV{CUDA_HOME}/bin /usr/local/cuda/bin ${PROJECT_SOURCE_DIR}/build/deps/cuda/bin)
  if(NOT CMAKE_CUDA_COMPILER)
    message(FATAL_ERROR "PRIMUS_CUDA is ON but there is no nvcc: run scripts/install_cuda.sh, or name it with CUDACXX")
  endif()
endif()
# 80 runs on every GPU from Ampere on (newer ones compile it when they first load it); 90a has Hopper's own instructions.
set(CMAKE_CUDA_ARCHITECTURES "80;90a-real" CACHE STRING "GPU architectures to compile for")
if(CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
endif()
enable_language(CUDA)

# CMake 3.25 does not know C++20 for this nvcc.
set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
list(APPEND CMAKE_CUDA_COMPILE_FEATURES cuda_std_20)
set(CMAKE_CUDA20_COMPILE_FEATURES cuda_std_20)
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)

# CMake 3.25 marks this library as outdated, whether there is one or not; CUDA 13 has none.
if(NOT TARGET CUDA::nvToolsExt)
  add_library(CUDA::nvToolsExt INTERFACE IMPORTED)
endif()
find_package(CUDAToolkit REQUIRED)
