# Helpers that every room uses: one static library a room, one test binary a room.

find_package(Threads REQUIRED)

# Where programs look for the device libraries that they load (src/tensor/backend.cpp).
set(CMAKE_BUILD_RPATH "$ORIGIN;$ORIGIN/../lib;${CMAKE_BINARY_DIR}/lib")
set(CMAKE_INSTALL_RPATH "$ORIGIN;$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")

add_library(primus_options INTERFACE)
target_include_directories(primus_options INTERFACE ${CMAKE_SOURCE_DIR}/src)
target_compile_options(primus_options INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Werror -Wno-missing-field-initializers>
  $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra,-Wno-missing-field-initializers>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # g++ 12 sees ghosts in "text" + string (PR105651)
  target_compile_options(primus_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict>)
endif()
target_link_libraries(primus_options INTERFACE Threads::Threads)
if(PRIMUS_SANITIZE)
  # -Wmaybe-uninitialized follows the sanitizers' added branches into the standard library and is wrong there
  target_compile_options(primus_options INTERFACE -fsanitize=${PRIMUS_SANITIZE} -fno-sanitize-recover=all
                                                  -fno-omit-frame-pointer -g
                                                  $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
  target_link_options(primus_options INTERFACE -fsanitize=${PRIMUS_SANITIZE})
endif()

# primus_room(base SOURCES a.cpp b.cpp USES tensor PRIVATE_LIBS yaml-cpp)
function(primus_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;USES;PRIVATE_LIBS" ${ARGN})
  add_library(primus_${name} STATIC ${ROOM_SOURCES})
  target_link_libraries(primus_${name} PUBLIC primus_options)
  foreach(used ${ROOM_USES})
    target_link_libraries(primus_${name} PUBLIC primus_${used})
  endforeach()
  target_link_libraries(primus_${name} PRIVATE ${ROOM_PRIVATE_LIBS})
endfunction()

# primus_test(base SOURCES test_a.cpp USES base [LABELS fast])
# Each test program becomes one ctest test. Data files are found under PRIMUS_TEST_DATA.
function(primus_test name)
  cmake_parse_arguments(TEST "" "" "SOURCES;USES;PRIVATE_LIBS;LABELS" ${ARGN})
  if(NOT TEST_LABELS)
    set(TEST_LABELS fast)
  endif()
  add_executable(test_${name} ${TEST_SOURCES})
  target_compile_definitions(test_${name} PRIVATE PRIMUS_TEST_DATA="${CMAKE_SOURCE_DIR}/tests/data"
                                                  PRIMUS_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
                                                  PRIMUS_BINARY_DIR="${CMAKE_BINARY_DIR}")
  target_include_directories(test_${name} PRIVATE ${CMAKE_SOURCE_DIR})  # tests/devices.h
  foreach(used ${TEST_USES})
    target_link_libraries(test_${name} PRIVATE primus_${used})
  endforeach()
  target_link_libraries(test_${name} PRIVATE primus_options GTest::gtest GTest::gtest_main ${TEST_PRIVATE_LIBS})
  add_test(NAME ${name} COMMAND test_${name})
  # several tests run at once: threads that wait must not spin on the others' cores
  set_tests_properties(${name} PROPERTIES LABELS "${TEST_LABELS}" ENVIRONMENT "OMP_WAIT_POLICY=PASSIVE")
endfunction()
