# What `cmake --install` puts where: library, headers, tool, pkg-config files, CMake package.
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/wscengine)
install(DIRECTORY core/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")

# Two export sets, so that a user of the shared library needs neither OpenSSL's nor wslay's development files.
if(WSC_BUILD_SHARED)
  install(TARGETS wscengine EXPORT wscengine-shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT wscengine-shared NAMESPACE wscengine:: DESTINATION ${package_dir})
endif()
if(WSC_BUILD_STATIC)
  install(TARGETS wscengine_static EXPORT wscengine-static ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT wscengine-static NAMESPACE wscengine:: DESTINATION ${package_dir})
endif()
configure_package_config_file(cmake/wscengine-config.cmake.in ${PROJECT_BINARY_DIR}/wscengine-config.cmake
                              INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/wscengine-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/wscengine-config.cmake ${PROJECT_BINARY_DIR}/wscengine-config-version.cmake
        DESTINATION ${package_dir})

# pkg-config's prefix is where the file itself lies, so that a moved or staged installation still works.
file(RELATIVE_PATH pc_to_prefix /x/${CMAKE_INSTALL_LIBDIR}/pkgconfig /x)
foreach(pc IN ITEMS wscengine wscengine-static)
  configure_file(cmake/${pc}.pc.in ${PROJECT_BINARY_DIR}/${pc}.pc @ONLY)
endforeach()
if(WSC_BUILD_SHARED)
  install(FILES ${PROJECT_BINARY_DIR}/wscengine.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endif()
if(WSC_BUILD_STATIC)
  install(FILES ${PROJECT_BINARY_DIR}/wscengine-static.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endif()

if(TARGET wsc)
  file(RELATIVE_PATH bin_to_lib /x/${CMAKE_INSTALL_BINDIR} /x/${CMAKE_INSTALL_LIBDIR})
  set_target_properties(wsc PROPERTIES INSTALL_RPATH "$ORIGIN/${bin_to_lib}")
  install(TARGETS wsc RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  if(NOT CMAKE_CROSSCOMPILING) # they are printed by wsc itself
    set(words ${PROJECT_BINARY_DIR}/words)
    file(MAKE_DIRECTORY ${words})
    add_custom_command(
      OUTPUT ${words}/wsc.1 ${words}/wsc ${words}/_wsc ${words}/wsc.fish
      COMMAND wsc --manual > ${words}/wsc.1
      COMMAND wsc --completion bash > ${words}/wsc
      COMMAND wsc --completion zsh > ${words}/_wsc
      COMMAND wsc --completion fish > ${words}/wsc.fish
      DEPENDS wsc
      COMMENT "Writing the manual page and completions of wsc")
    add_custom_target(wsc_words ALL DEPENDS ${words}/wsc.1 ${words}/wsc ${words}/_wsc ${words}/wsc.fish)
    install(FILES ${words}/wsc.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
    install(FILES ${words}/wsc DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
    install(FILES ${words}/_wsc DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
    install(FILES ${words}/wsc.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
  endif()
endif()
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
