# cmake -DSOURCE=... -DOUT=... -P commit.cmake: writes OUT, which names the commit in SOURCE, if that
# is news.
execute_process(COMMAND git -C ${SOURCE} describe --always --dirty
    OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT commit)
    set(commit unknown)
endif()
file(CONFIGURE OUTPUT ${OUT} CONTENT "#define PPN_COMMIT \"@commit@\"\n" @ONLY)
