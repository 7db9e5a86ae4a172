# Sources of attention.
set(PRIMUS_GPU_ATTENTION_SOURCES attention.cpp)
set(PRIMUS_GPU_ATTENTION_LIBS)
