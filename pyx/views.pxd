# How channel-wise kernels walk over an array (outer, channels, inner).
#
# rows      inner >= COLUMNS_BELOW: a run of `inner` values belongs to one channel, vectors run along it
# columns   few values a run: vectors run across channels, a row of the array is channels * inner columns. Where that is
#           less than a few vectors, `repeat` rows are taken as one, and the rows left over are a segment of their own.
#
# Sums: a channel's values are cut into blocks and these into segments, by the shape alone, for this sets the order in which
# values are added. Tiles, some channels each, may depend on anything: their channels' sums and results are taken in turn, so
# that the second reading comes from the cache.

from lanes cimport TILE

cdef enum:
    COLUMNS_BELOW = 16
    BLOCK = 2048            # values of a run that float lanes sum before they are added in double
    ROWS = 64               # the same for columns, in rows
    SEGMENT = 32            # blocks of a segment
    RUN_BYTES = 4096        # a tile takes channels until its runs are that long: below, memory answers slowly
    CACHE_BYTES = 524288    # what a tile may take of the second-level cache
    STREAM_BYTES = 16777216
    STREAM_RUN = 1024


cdef struct View:
    Py_ssize_t outer, channels, inner
    Py_ssize_t tile, tiles          # channels a tile, and how many
    Py_ssize_t stride               # between rows; of columns, between `repeat` rows
    Py_ssize_t repeat               # 0: rows
    Py_ssize_t rows_in_block, blocks_in_row, blocks, segments


# Some channels in some rows: `rows` rows, `stride` apart, the first at `offset`. Each has n values of every channel, or as
# columns, `repeat` times all of the channels.
cdef struct Part:
    Py_ssize_t first, channels, offset, rows, stride, n, repeat


cdef inline View view_of(Py_ssize_t outer, Py_ssize_t channels, Py_ssize_t inner, Py_ssize_t itemsize,
                         int threads) noexcept nogil:
    """The way to walk over an array."""
    cdef View v
    cdef Py_ssize_t width, fits, share = (channels + threads - 1) // threads
    if channels == 1:
        inner *= outer
        outer = 1
    v.outer, v.channels, v.inner = outer, channels, inner
    v.repeat = 0
    v.rows_in_block = ROWS
    v.blocks_in_row = 1
    fits = CACHE_BYTES // (max(1, outer) * max(1, inner) * itemsize)
    if inner >= COLUMNS_BELOW:
        v.rows_in_block = BLOCK // inner if inner < BLOCK else 1
        v.blocks_in_row = 1 if inner < BLOCK else inner // BLOCK
        v.blocks = (outer + v.rows_in_block - 1) // v.rows_in_block * v.blocks_in_row
        v.segments = (v.blocks + SEGMENT - 1) // SEGMENT
        v.tile = max(1, min(min(fits, share), RUN_BYTES // (inner * itemsize)))
    else:
        width = channels * inner
        v.repeat = 64 if width <= 8 else 16 if width <= 32 else 8 if width < 64 else 1
        v.blocks = (outer // v.repeat + ROWS - 1) // ROWS
        v.segments = (v.blocks + SEGMENT - 1) // SEGMENT + (outer % v.repeat != 0)
        v.tile = channels if v.repeat > 1 else TILE // max(1, inner)
        if v.repeat == 1 and fits * inner >= 4 * COLUMNS_BELOW:
            v.tile = min(v.tile, (min(fits, share) + 15) // 16 * 16)
    v.stride = channels * inner * max(1, v.repeat)
    v.tiles = (channels + v.tile - 1) // max(1, v.tile)
    return v


cdef inline Py_ssize_t channels_of(const View* v, Py_ssize_t tile) noexcept nogil:
    return min(v.tile, v.channels - tile * v.tile)


cdef inline bint in_one_go(const View* v, int threads) noexcept nogil:
    """Whether threads should take whole tiles, sums and results, from the cache; else they share the segments of each."""
    return v.segments == 1 or v.tiles >= 8 * threads or v.tiles % threads == 0


# ---- rows ----

cdef inline Py_ssize_t first_block(const View* v, Py_ssize_t segment) noexcept nogil:
    return min(v.blocks, segment * SEGMENT)


cdef inline Part block_at(const View* v, Py_ssize_t tile, Py_ssize_t block) noexcept nogil:
    """A block of each channel of a tile, in rows."""
    cdef Part p
    cdef Py_ssize_t row = block // v.blocks_in_row * v.rows_in_block, piece = block % v.blocks_in_row
    p.first, p.channels, p.stride, p.repeat = tile * v.tile, channels_of(v, tile), v.stride, 0
    p.rows = min(v.rows_in_block, v.outer - row)
    p.offset = row * v.stride + p.first * v.inner + piece * BLOCK
    p.n = BLOCK if piece < v.blocks_in_row - 1 else v.inner - piece * BLOCK
    return p


cdef inline Py_ssize_t values_before(const View* v, Py_ssize_t block) noexcept nogil:
    """Values of a channel in the blocks before this one."""
    return min(v.outer, block // v.blocks_in_row * v.rows_in_block) * v.inner + block % v.blocks_in_row * BLOCK


# ---- columns ----

cdef inline Part strip_at(const View* v, Py_ssize_t tile, Py_ssize_t segment) noexcept nogil:
    """The columns of a tile in the rows of a segment."""
    cdef Part p
    cdef Py_ssize_t row = segment * SEGMENT * ROWS, rows = v.outer // v.repeat
    p.first, p.channels, p.n = tile * v.tile, channels_of(v, tile), v.inner
    if row < rows:
        p.offset, p.rows, p.stride, p.repeat = row * v.stride, min(SEGMENT * ROWS, rows - row), v.stride, v.repeat
    else:
        p.offset, p.rows, p.stride, p.repeat = rows * v.stride, v.outer % v.repeat, v.channels * v.inner, 1
    p.offset += p.first * v.inner
    return p


# ---- both ----

cdef inline double values_in(const View* v, Py_ssize_t segment) noexcept nogil:
    """Values of a channel in a segment."""
    cdef Part p
    if v.repeat:
        p = strip_at(v, 0, segment)
        return <double>(p.rows * p.repeat * v.inner)
    return <double>(values_before(v, first_block(v, segment + 1)) - values_before(v, first_block(v, segment)))


# ---- elementwise work: any cut will do ----

# Channels a tile and tiles, and `pieces` of each tile: of its rows, or of its runs where rows are few. Rows left over by
# `repeat` are one piece more.
cdef struct Cut:
    Py_ssize_t tile, tiles, pieces, more


cdef inline Cut whole_tiles(const View* v) noexcept nogil:
    """The tiles of a view, each in one piece."""
    cdef Cut cut
    cut.tile, cut.tiles, cut.pieces, cut.more = v.tile, v.tiles, 1, v.repeat > 1
    return cut


cdef inline Cut cut_for(const View* v, int threads) noexcept nogil:
    """A cut in which each thread has much the same to do, as far as possible in the order of memory."""
    cdef Cut cut
    cdef Py_ssize_t rows = v.outer // max(1, v.repeat), share = (v.channels + threads - 1) // threads
    cdef bint by_rows = rows >= 4 * threads or rows % threads == 0
    cut.tile = TILE if v.repeat == 0 else v.channels if v.repeat > 1 else TILE // v.inner
    cut.tile = max(1, min(cut.tile, v.channels if by_rows else share))
    cut.tiles = (v.channels + cut.tile - 1) // cut.tile
    cut.pieces = threads if by_rows or v.channels < threads and v.repeat == 0 else 1
    cut.more = v.repeat > 1
    return cut


cdef inline Part part_at(const View* v, const Cut* cut, Py_ssize_t tile, Py_ssize_t piece) noexcept nogil:
    """A piece of a tile; number `pieces` is that of the rows left over."""
    cdef Part p
    cdef Py_ssize_t rows = v.outer // max(1, v.repeat), start = 0
    p.first = tile * cut.tile
    p.channels = min(cut.tile, v.channels - p.first)
    p.offset, p.rows, p.stride, p.n, p.repeat = 0, rows, v.stride, v.inner, v.repeat
    if piece == cut.pieces:
        p.offset, p.rows, p.stride, p.repeat = rows * v.stride, v.outer % v.repeat, v.channels * v.inner, 1
    elif rows >= cut.pieces:
        start = rows * piece // cut.pieces
        p.offset, p.rows = start * v.stride, rows * (piece + 1) // cut.pieces - start
    else:
        start = v.inner * piece // cut.pieces
        p.offset, p.n = start, v.inner * (piece + 1) // cut.pieces - start
    p.offset += p.first * v.inner
    return p


cdef inline bint pays_to_stream(const View* v, Py_ssize_t itemsize) noexcept nogil:
    """Whether an output of this shape should go past the caches: it is large, and its runs are not short."""
    return v.outer * v.channels * v.inner * itemsize >= STREAM_BYTES and (v.repeat or v.inner * itemsize >= STREAM_RUN)
