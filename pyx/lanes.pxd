cdef extern from "lanes.h" nogil:
    enum: TILE
    void end_stream()
