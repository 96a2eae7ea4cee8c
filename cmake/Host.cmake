# Installing on a host: the service, its users and folders, an example configuration, and the Debian
# package (cpack --config build/release/CPackConfig.cmake).
set(HOST ${CMAKE_SOURCE_DIR}/compose/host)

# What depends on where the tree ends up, which is known when it is installed: below /usr the
# configuration is in /etc, else in the tree itself. What the operator has edited is left alone.
install(CODE "set(HOST \"${HOST}\")")
install(SCRIPT ${HOST}/install.cmake)
install(FILES ${HOST}/bulkhead-keys@.timer DESTINATION lib/systemd/system)
install(PROGRAMS ${HOST}/fetch-keys.sh DESTINATION libexec/bulkhead RENAME fetch-keys)
install(FILES ${HOST}/sysusers.conf DESTINATION lib/sysusers.d RENAME bulkhead.conf)
install(FILES ${HOST}/tmpfiles.conf DESTINATION lib/tmpfiles.d RENAME bulkhead.conf)
install(FILES ${HOST}/tcp.conf LICENSE SECURITY.md DESTINATION share/doc/bulkhead)
install(DIRECTORY docs/ DESTINATION share/doc/bulkhead
        FILES_MATCHING PATTERN "*.md" PATTERN man EXCLUDE)
install(FILES LICENSE DESTINATION share/doc/bulkhead RENAME copyright)

# The reference of the directives is written once, in docs/CONFIGURATION.md.
set(MANUAL ${CMAKE_BINARY_DIR}/bulkhead.conf.5)
add_custom_command(
  OUTPUT ${MANUAL}
  COMMAND awk -f ${CMAKE_SOURCE_DIR}/cmake/manual.awk ${CMAKE_SOURCE_DIR}/docs/CONFIGURATION.md
          > ${MANUAL}
  DEPENDS ${CMAKE_SOURCE_DIR}/cmake/manual.awk ${CMAKE_SOURCE_DIR}/docs/CONFIGURATION.md
  VERBATIM)
add_custom_target(manual ALL DEPENDS ${MANUAL})
install(FILES ${MANUAL} DESTINATION share/man/man5)
install(FILES docs/man/bulkheadd.8 docs/man/bulkheadctl.8 DESTINATION share/man/man8)

set(CPACK_GENERATOR DEB)
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGE_NAME bulkhead)
set(CPACK_PACKAGE_CONTACT "The Bulkhead maintainers <bulkhead@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "privilege-separated MQTT broker")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# loaded by name, so no tool sees it
set(CPACK_DEBIAN_PACKAGE_DEPENDS "libwebsockets-evlib-ev")
# for fetch-keys alone
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "curl, ca-certificates")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${HOST}/postinst ${HOST}/prerm ${HOST}/postrm ${HOST}/conffiles)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
include(CPack)
