/* Copies what a loop has left in the first-level cache to memory past the caches. */

#ifndef real
#ifndef CAFFENORM_STREAM_OUT_H
#define CAFFENORM_STREAM_OUT_H

#include <string.h>
#include "lanes.h"

/* Bytes of a result from which on it is streamed, unless it overwrites an operand: reading the old lines first costs a third
   of a copy's time, and so large a result leaves the caches anyway. */
#define STREAMED_BYTES (1 << 24)
/* Elements that are computed before they are streamed. */
#define PART 1024

#define BODY "stream_out.h"
#include "for_reals.h"

#endif
#else

/* to starts on a cache line. */
LOCAL void NAME(stream_out)(const real *from, real *to, Py_ssize_t n)
{
    Py_ssize_t i = 0;
    for (; i + NATIVE <= n; i += NATIVE)
        stream(to + i, load(from + i));
    if (i < n)
        memcpy(to + i, from + i, (size_t)(n - i) * sizeof(real));
}

#endif
