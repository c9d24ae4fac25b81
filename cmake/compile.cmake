# How everything here is compiled, and how a program of ours is made.

add_library(wsc_warnings INTERFACE)
target_compile_options(wsc_warnings INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Wshadow)
if(WSC_WERROR)
  target_compile_options(wsc_warnings INTERFACE -Werror)
endif()

if(WSC_SANITIZE)
  string(REPLACE ";" "," sanitizers "${WSC_SANITIZE}")
  add_compile_options(-fsanitize=${sanitizers} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${sanitizers})
  # The static library is localised with objcopy, which the sanitizers' own symbols do not survive. Nothing under test needs it.
  set(WSC_BUILD_STATIC OFF)
  set(WSC_BUILD_SHARED ON)
endif()

# A program that sees what users see: public headers, the shared library when there is one.
function(wsc_add_program name)
  add_executable(${name} ${ARGN})
  target_link_libraries(${name} PRIVATE $<IF:$<BOOL:${WSC_BUILD_SHARED}>,wscengine,wscengine_static> wsc_warnings
                                        Threads::Threads)
endfunction()
