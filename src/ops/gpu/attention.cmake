# Sources of attention. cuDNN is opened when it is used (attention_cudnn.cpp): only its headers are needed here, and those
# of its C++ front end (PyPI: nvidia-cudnn-frontend), which take a minute to compile.

set(PRIMUS_GPU_ATTENTION_SOURCES
  attention.cu attention_cudnn.cpp flash_decode.cu flash_mma.cu flash_plain.cu flash_single_pass.cu
  flash_wgmma.cu)
set(PRIMUS_GPU_ATTENTION_LIBS)

find_path(PRIMUS_CUDNN_INCLUDE cudnn.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
find_path(PRIMUS_CUDNN_FRONTEND_INCLUDE cudnn_frontend.h HINTS ${PROJECT_SOURCE_DIR}/build/deps/cudnn-frontend/include)
if(NOT PRIMUS_CUDNN_INCLUDE)
  message(FATAL_ERROR "There is no cudnn.h: install cuDNN 9, or name its folder with -DPRIMUS_CUDNN_INCLUDE=")
endif()
if(NOT PRIMUS_CUDNN_FRONTEND_INCLUDE)
  message(FATAL_ERROR "There is no cudnn_frontend.h: run scripts/fetch_cudnn_frontend.sh")
endif()
set_source_files_properties(attention_cudnn.cpp PROPERTIES
  COMPILE_OPTIONS "-O1;-isystem;${PRIMUS_CUDNN_FRONTEND_INCLUDE};-isystem;${PRIMUS_CUDNN_INCLUDE}")
