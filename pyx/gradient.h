/* The gradient of a product's left side: dw[g][m][k] += sum over columns of dy[g][m][column] * right[g][offset[k] + ...].

   dy is turned first, a few images at a time, so that the rows of a column are neighbours: they are the vectors of a
   tile, and the values of the right side, read where they lie, are its scalars. Nothing is packed for each tap.

   A sum runs over a stretch of columns in order, and over the stretches in order, whatever the number of threads. */

#ifndef real
#ifndef CAFFENORM_GRADIENT_H
#define CAFFENORM_GRADIENT_H

#include "gather.h"

/* Columns of a stretch, whose part of dy stays in the second-level cache (192 KiB for 48 rows in float). */
#define STRETCH 1024
/* Images are turned together up to this many bytes. */
#define TURNED_BYTES (4 << 20)
/* Tiles of depths, and groups of rows, that a thread takes at a time. */
#define DEPTH_TILES 12
#define ROW_GROUPS 4

/* Four elements of two vectors of four, two of two vectors of two. */
#if defined(__clang__) || __GNUC__ >= 12
#define PICK_4(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#define PICK_2(a, b, i, j) __builtin_shufflevector(a, b, i, j)
#else
#define PICK_4(a, b, i, j, k, l) __builtin_shuffle(a, b, (four_whole){i, j, k, l})
#define PICK_2(a, b, i, j) __builtin_shuffle(a, b, (two_whole){i, j})
#endif
typedef int32_t four_whole __attribute__((vector_size(16)));
typedef int64_t two_whole __attribute__((vector_size(16)));
typedef float four_f32 __attribute__((vector_size(16), may_alias, aligned(4)));
typedef double two_f64 __attribute__((vector_size(16), may_alias, aligned(8)));

/* A block of BLOCK x BLOCK values, turned. */
#define BLOCK_f32 4
#define BLOCK_f64 2
INLINE void turn_f32(const float *x, Py_ssize_t x_row, float *y, Py_ssize_t y_row)
{
    const four_f32 a = *(const four_f32 *)x, b = *(const four_f32 *)(x + x_row);
    const four_f32 c = *(const four_f32 *)(x + 2 * x_row), d = *(const four_f32 *)(x + 3 * x_row);
    const four_f32 ab = PICK_4(a, b, 0, 4, 1, 5), cd = PICK_4(c, d, 0, 4, 1, 5);
    const four_f32 ab_far = PICK_4(a, b, 2, 6, 3, 7), cd_far = PICK_4(c, d, 2, 6, 3, 7);
    *(four_f32 *)y = PICK_4(ab, cd, 0, 1, 4, 5);
    *(four_f32 *)(y + y_row) = PICK_4(ab, cd, 2, 3, 6, 7);
    *(four_f32 *)(y + 2 * y_row) = PICK_4(ab_far, cd_far, 0, 1, 4, 5);
    *(four_f32 *)(y + 3 * y_row) = PICK_4(ab_far, cd_far, 2, 3, 6, 7);
}
INLINE void turn_f64(const double *x, Py_ssize_t x_row, double *y, Py_ssize_t y_row)
{
    const two_f64 a = *(const two_f64 *)x, b = *(const two_f64 *)(x + x_row);
    *(two_f64 *)y = PICK_2(a, b, 0, 2);
    *(two_f64 *)(y + y_row) = PICK_2(a, b, 1, 3);
}

#define BODY "gradient.h"
#include "for_reals.h"

#define gradient_bytes(x, c, threads) FOR_REAL(gradient_bytes, x)(c, threads)
#define left_gradient(c, x, ...) FOR_REAL(left_gradient, x)(c, x, __VA_ARGS__)

#endif
#else

#define muladd NAME(muladd)
#define BLOCK NAME(BLOCK)
#define WIDTH (3 * NATIVE) /* rows of a group: a tile's vectors */
#define EACH_ROW _Pragma("GCC unroll 8") for (int r = 0; r < TILE_ROWS; r++)
#define EACH_VEC _Pragma("GCC unroll 8") for (int v = 0; v < vecs; v++)

/* ---- turning dy ---- */

/* How many images are done together. */
static Py_ssize_t NAME(turned_images)(const struct products *c)
{
    const Py_ssize_t columns = c->product->runs * c->product->run;
    if (c->rows == 1)
        return c->chunk;
    const Py_ssize_t bytes = c->groups * ceil_div(c->rows, NATIVE) * NATIVE * columns * (Py_ssize_t)sizeof(real);
    const Py_ssize_t most = TURNED_BYTES / bytes;
    return least(c->chunk, most > 1 ? most : 1);
}

/* y[column][row] = x[row][column], rows padded with zeros to `width`. */
static void NAME(turn_rows)(const real *x, Py_ssize_t x_row, Py_ssize_t rows, Py_ssize_t columns, real *y,
                            Py_ssize_t width)
{
    const Py_ssize_t even_rows = rows / BLOCK * BLOCK, even_columns = columns / BLOCK * BLOCK;
    for (Py_ssize_t line = 0; line < even_columns; line += LANES) /* a cache line of each row at a time */
        for (Py_ssize_t r = 0; r < even_rows; r += BLOCK)
            for (Py_ssize_t j = line; j < least(line + LANES, even_columns); j += BLOCK)
                NAME(turn)(x + r * x_row + j, x_row, y + j * width + r, width);
    for (Py_ssize_t j = 0; j < columns; j++)
        for (Py_ssize_t r = j < even_columns ? even_rows : 0; r < width; r++)
            y[j * width + r] = r < rows ? x[r * x_row + j] : 0;
}

/* ---- tiles ---- */

/* sums[r][..] += over the columns of the segments right[at[r] + from(column)] * turned[column][..]. */
INLINE void NAME(gradient_tile)(const int vecs, const real *right, const Py_ssize_t *at, const struct segment *s,
                                Py_ssize_t n, const real *turned, real *sums)
{
    native sum[TILE_ROWS][3];
    EACH_ROW
        EACH_VEC
            sum[r][v] = all(0);
    for (Py_ssize_t j = 0; j < n; j++) {
        const real *b = turned + s[j].at * vecs * NATIVE, *a[TILE_ROWS];
        EACH_ROW
            a[r] = right + at[r] + s[j].from;
        for (Py_ssize_t i = 0; i < s[j].count; i++, b += vecs * NATIVE) {
            native one[3];
            EACH_VEC
                one[v] = load(b + v * NATIVE);
            EACH_ROW {
                const native left = all(a[r][i]);
                EACH_VEC
                    sum[r][v] = muladd(left, one[v], sum[r][v]);
            }
        }
    }
    EACH_ROW
        EACH_VEC {
            real *to = sums + r * WIDTH + v * NATIVE;
            store(to, load(to) + sum[r][v]);
        }
}

static void NAME(run_gradient_tile)(Py_ssize_t vecs, const real *right, const Py_ssize_t *at, const struct segment *s,
                                    Py_ssize_t n, const real *turned, real *sums)
{
    if (vecs == 1)
        NAME(gradient_tile)(1, right, at, s, n, turned, sums);
    else if (vecs == 2)
        NAME(gradient_tile)(2, right, at, s, n, turned, sums);
    else
        NAME(gradient_tile)(3, right, at, s, n, turned, sums);
}

/* The gradient of one tile of depths of a group of one row, in vectors along the runs of all images. */
static void NAME(gradient_line)(const struct products *c, const real *right, const real *dy, real *dw,
                                Py_ssize_t images, Py_ssize_t tile)
{
    const struct product *p = c->product;
    const Py_ssize_t rest = p->run % NATIVE, whole = p->run - rest;
    native sum[TILE_ROWS];
    EACH_ROW
        sum[r] = all(0);
    for (Py_ssize_t i = 0; i < images * p->runs; i++) {
        const real *a[TILE_ROWS], *b = dy + i / p->runs * c->out_image + p->to[i % p->runs];
        const real *start = right + i / p->runs * c->right_image + p->from[i % p->runs];
        EACH_ROW
            a[r] = start + p->offset[least(tile * TILE_ROWS + r, p->depth - 1)];
        for (Py_ssize_t j = 0; j < whole; j += NATIVE) {
            const native one = load(b + j);
            EACH_ROW
                sum[r] = muladd(one, load(a[r] + j), sum[r]);
        }
        if (rest) {
            const native one = load_some(b + whole, rest, all(0));
            EACH_ROW
                sum[r] = muladd(one, load_some(a[r] + whole, rest, all(0)), sum[r]);
        }
    }
    for (Py_ssize_t r = 0; r < least(TILE_ROWS, p->depth - tile * TILE_ROWS); r++)
        dw[tile * TILE_ROWS + r] += NAME(total)(sum[r]);
}

/* ---- blocks ---- */

/* dw[m][k] += sums[k][m] for `rows` m and `depth` k. */
static void NAME(add_turned)(const real *sums, Py_ssize_t rows, Py_ssize_t depth, real *dw, Py_ssize_t dw_row)
{
    real turned[WIDTH * TILE_ROWS];
    for (Py_ssize_t k = 0; k < depth; k += TILE_ROWS, sums += TILE_ROWS * WIDTH) {
        for (Py_ssize_t m = 0; m < WIDTH; m += BLOCK)
            for (Py_ssize_t r = 0; r < TILE_ROWS; r += BLOCK)
                NAME(turn)(sums + r * WIDTH + m, WIDTH, turned + m * TILE_ROWS + r, TILE_ROWS);
        for (Py_ssize_t m = 0; m < rows; m++)
            for (Py_ssize_t r = 0; r < least(TILE_ROWS, depth - k); r++)
                dw[m * dw_row + k + r] += turned[m * TILE_ROWS + r];
    }
}

/* A block of the gradient of one group: tiles of depths from `tile` to `tile_end`, groups of rows from `set` to
   `set_end`, over `columns` columns. `turned` is that of the group, `sums` work space for the block. */
static void NAME(gradient_block)(const struct products *c, const real *right, const real *turned, real *dw,
                                 Py_ssize_t columns, Py_ssize_t tile, Py_ssize_t tile_end, Py_ssize_t set,
                                 Py_ssize_t set_end, real *sums)
{
    const struct product *p = c->product;
    struct segment s[STRETCH];
    const Py_ssize_t tiles = tile_end - tile;
    for (Py_ssize_t i = 0; i < tiles * (set_end - set) * TILE_ROWS * WIDTH; i++)
        sums[i] = 0;
    for (Py_ssize_t first = 0; first < columns; first += STRETCH) {
        const Py_ssize_t count = least(STRETCH, columns - first), n = cut(c, p, first, count, STRETCH, s);
        for (Py_ssize_t i = set; i < set_end; i++) {
            const Py_ssize_t width = least(WIDTH, ceil_div(c->rows - i * WIDTH, NATIVE) * NATIVE);
            for (Py_ssize_t t = tile; t < tile_end; t++) {
                Py_ssize_t at[TILE_ROWS];
                for (Py_ssize_t r = 0; r < TILE_ROWS; r++)
                    at[r] = p->offset[least(t * TILE_ROWS + r, p->depth - 1)];
                NAME(run_gradient_tile)(width / NATIVE, right, at, s, n, turned + i * WIDTH * columns + first * width,
                                        sums + ((i - set) * tiles + t - tile) * TILE_ROWS * WIDTH);
            }
        }
    }
    for (Py_ssize_t i = set; i < set_end; i++, sums += tiles * TILE_ROWS * WIDTH)
        NAME(add_turned)(sums, least(WIDTH, c->rows - i * WIDTH),
                         least(tiles * TILE_ROWS, p->depth - tile * TILE_ROWS),
                         dw + i * WIDTH * c->weight_row + tile * TILE_ROWS, c->weight_row);
}

/* Values of turned rows of one group and column. */
INLINE Py_ssize_t NAME(turned_width)(const struct products *c) { return ceil_div(c->rows, NATIVE) * NATIVE; }

static Py_ssize_t NAME(turned_bytes)(const struct products *c)
{
    const Py_ssize_t columns = NAME(turned_images)(c) * c->product->runs * c->product->run;
    return c->rows == 1 ? 0 : aligned_size(c->groups * NAME(turned_width)(c) * columns * (Py_ssize_t)sizeof(real));
}

/* Bytes of work space for `left_gradient`: the copy of some images, their turned dy, then each thread's sums. */
static Py_ssize_t NAME(block_bytes)(void)
{
    return aligned_size(DEPTH_TILES * ROW_GROUPS * TILE_ROWS * WIDTH * (Py_ssize_t)sizeof(real));
}
static Py_ssize_t NAME(gradient_bytes)(const struct products *c, int threads)
{
    return NAME(copy_bytes)(c) + NAME(turned_bytes)(c) + threads * NAME(block_bytes)();
}

/* Adds to dw the gradient of the left side of the only product, for all images. Its columns are those of dy in order, and
   its depths those of the weights. */
static void NAME(left_gradient)(const struct products *c, const real *in, const real *dy, real *dw, int threads,
                                unsigned char *work)
{
    const struct product *p = c->product;
    const Py_ssize_t columns = p->runs * p->run, chunk = NAME(turned_images)(c), turned_width = NAME(turned_width)(c);
    const Py_ssize_t tiles = ceil_div(p->depth, TILE_ROWS), sets = ceil_div(c->rows, WIDTH);
    const Py_ssize_t set_blocks = ceil_div(sets, ROW_GROUPS);
    const Py_ssize_t wanted = ceil_div(2 * threads, c->groups * set_blocks), needed = ceil_div(tiles, DEPTH_TILES);
    const Py_ssize_t tile_blocks = least(tiles, wanted > needed ? wanted : needed);
    real *turned = (real *)(work + NAME(copy_bytes)(c));

#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        real *mine = (real *)(work + NAME(copy_bytes)(c) + NAME(turned_bytes)(c) +
                              NAME(block_bytes)() * this_thread());
        for (Py_ssize_t image = 0; image < c->images; image += chunk) {
            const Py_ssize_t images = least(chunk, c->images - image), all_columns = images * columns;
            const real *right = in + image * c->in_image, *from = dy + image * c->out_image;
#pragma omp for schedule(static) nowait
            for (Py_ssize_t i = 0; i < (c->rows == 1 ? 0 : c->groups * images * sets); i++) {
                const Py_ssize_t set = i % sets, n = i / sets % images, group = i / sets / images;
                const Py_ssize_t width = least(WIDTH, turned_width - set * WIDTH);
                NAME(turn_rows)(from + n * c->out_image + group * c->out_group + set * WIDTH * c->out_row, c->out_row,
                                least(WIDTH, c->rows - set * WIDTH), columns,
                                turned + (group * turned_width + set * WIDTH) * all_columns + n * columns * width,
                                width);
            }
            if (c->source.rows) {
                NAME(copy_images)(c, right, images, (real *)work);
                right = (const real *)work;
            } else {
#pragma omp barrier
            }
            if (c->rows == 1) {
#pragma omp for schedule(dynamic)
                for (Py_ssize_t job = 0; job < c->groups * tiles; job++)
                    NAME(gradient_line)(c, right + job / tiles * c->right_group, from + job / tiles * c->out_group,
                                        dw + job / tiles * c->weight_group, images, job % tiles);
                continue;
            }
#pragma omp for schedule(dynamic)
            for (Py_ssize_t job = 0; job < c->groups * set_blocks * tile_blocks; job++) {
                const Py_ssize_t block = job % tile_blocks, rest = job / tile_blocks % set_blocks;
                const Py_ssize_t group = job / tile_blocks / set_blocks;
                NAME(gradient_block)(c, right + group * c->right_group, turned + group * turned_width * all_columns,
                                     dw + group * c->weight_group, all_columns, block * tiles / tile_blocks,
                                     (block + 1) * tiles / tile_blocks, rest * sets / set_blocks,
                                     (rest + 1) * sets / set_blocks, mine);
            }
        }
    }
}

#undef muladd
#undef BLOCK
#undef WIDTH
#undef EACH_ROW
#undef EACH_VEC
#endif
