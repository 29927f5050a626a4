/* The right side of a convolution's product, found in memory through offsets: there is no matrix of patches.

   out[g][m][column] = act(sum over k of left[g][m][k] * right[g][offset[k] + from(column)] + bias[g][m] +
   more)

   `right` is the input itself, or a copy with zeros around it and a part for each remainder of the strides,
   so that neighbouring columns are neighbours in memory whatever the stride, padding and dilation. Columns
   come in runs. */

#ifndef real
#ifndef CAFFENORM_GATHER_H
#define CAFFENORM_GATHER_H

#include "tiles.h"
#ifdef _OPENMP
#include <omp.h>
#endif

#define ALIGNMENT 64
/* How many rows ahead packing asks for: they lie far apart, where the processor does not look for them itself. */
#define AHEAD 16
/* Values that a thread copies at a time. */
#define COPY_GRAIN 8192

/* How an image is copied before it is used: `channels` of `rows` rows of `length` values; row r takes
   count[r] values from from[r] on in its channel, `step` apart, behind left[r] zeros and before zeros. rows
   is 0 where nothing is copied. */
struct source {
    Py_ssize_t channels, channel_size, rows, length, step;
    const Py_ssize_t *from, *left, *count;
};

/* Columns: `runs` an image, each of `run` neighbours, from from[i] on in the right side and from to[i] on in the output,
   where they are `step` apart. The packed left side starts at left_at; left[..][k] is weight[k] in a row of
   weights. */
struct product {
    Py_ssize_t depth, runs, run, step, left_at;
    const Py_ssize_t *offset, *weight, *from, *to;
};

/* One or several products over the same copy. Where two numbers could be meant: rows of one group; right_image,
   right_group, out_image and so on are distances from image to image, from group to group. */
struct products {
    Py_ssize_t images, chunk, groups, rows;
    Py_ssize_t in_image, right_image, right_group, out_image, out_group, out_row, weight_group, weight_row;
    struct source source;
    Py_ssize_t count;
    const struct product *product;
};

/* A piece of a run: `count` columns, column `at` of the panel first. */
struct segment {
    Py_ssize_t from, to, at, count;
};

INLINE Py_ssize_t ceil_div(Py_ssize_t a, Py_ssize_t b) { return (a + b - 1) / b; }
INLINE Py_ssize_t least(Py_ssize_t a, Py_ssize_t b) { return a < b ? a : b; }
INLINE Py_ssize_t aligned_size(Py_ssize_t bytes) { return ceil_div(bytes, ALIGNMENT) * ALIGNMENT; }
INLINE int this_thread(void)
{
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

/* Columns `first` to `first + count`, counted through all images, as pieces of runs of at most `most` columns. */
static Py_ssize_t cut(const struct products *c, const struct product *p, Py_ssize_t first, Py_ssize_t count,
                      Py_ssize_t most, struct segment *s)
{
    Py_ssize_t run = first / p->run, start = first % p->run, image = run / p->runs, at = 0, n = 0;
    run %= p->runs;
    while (at < count) {
        const Py_ssize_t length = least(least(p->run - start, count - at), most);
        s[n].from = image * c->right_image + p->from[run] + start;
        s[n].to = image * c->out_image + p->to[run] + start * p->step;
        s[n].at = at;
        s[n++].count = length;
        at += length;
        start += length;
        if (start < p->run)
            continue;
        start = 0;
        if (++run == p->runs) {
            run = 0;
            image++;
        }
    }
    return n;
}

/* Whether the pieces are neighbours in the right side, and in the output. */
static int comes_in_one(const struct segment *s, Py_ssize_t n)
{
    for (Py_ssize_t i = 1; i < n; i++)
        if (s[i].from != s[0].from + s[i].at)
            return 0;
    return 1;
}
static int goes_in_one(const struct product *p, const struct segment *s, Py_ssize_t n)
{
    for (Py_ssize_t i = 1; i < n; i++)
        if (s[i].to != s[0].to + s[i].at)
            return 0;
    return p->step == 1;
}

#define BODY "gather.h"
#include "for_reals.h"

#define pack_left(c, p, weights, left, tile) FOR_REAL(pack_left, weights)(c, p, weights, left, tile)

#endif
#else

/* Rows `first` to `last` of a channel's copy. */
static void NAME(copy_rows)(const struct source *s, const real *in, real *out, Py_ssize_t first, Py_ssize_t last)
{
    for (Py_ssize_t r = first; r < last; r++) {
        const real *x = in + s->from[r];
        real *y = out + r * s->length, *end = y + s->length;
        const Py_ssize_t count = s->count[r], step = s->step;
        for (Py_ssize_t i = 0; i < s->left[r]; i++)
            *y++ = 0;
        if (step == 1)
            for (Py_ssize_t i = 0; i < count; i++)
                y[i] = x[i];
        else if (step == 2)
            for (Py_ssize_t i = 0; i < count; i++)
                y[i] = x[2 * i];
        else
            for (Py_ssize_t i = 0; i < count; i++)
                y[i] = x[step * i];
        for (y += count; y < end; y++)
            *y = 0;
    }
}

/* Bytes of the copy of a chunk of images. */
static Py_ssize_t NAME(copy_bytes)(const struct products *c)
{
    return c->source.rows ? aligned_size(c->chunk * c->right_image * (Py_ssize_t)sizeof(real)) : 0;
}

/* Copies `images` images as their source says, shared out to the team of threads that calls this; it waits. */
static void NAME(copy_images)(const struct products *c, const real *in, Py_ssize_t images, real *copy)
{
    const struct source *s = &c->source;
    const Py_ssize_t size = s->rows * s->length, parts = least(s->rows, ceil_div(size, COPY_GRAIN));
#pragma omp for schedule(static)
    for (Py_ssize_t i = 0; i < images * s->channels * parts; i++) {
        const Py_ssize_t part = i % parts, channel = i / parts % s->channels, image = i / parts / s->channels;
        NAME(copy_rows)(s, in + image * c->in_image + channel * s->channel_size,
                        copy + image * c->right_image + channel * size, part * s->rows / parts,
                        (part + 1) * s->rows / parts);
    }
}

/* b[k][column] = x[offset[k] + ...] for the columns of the segments, zeros from `count` to `width`, which is whole
   vectors. Segments overwrite each other's far ends, so they go in order. */
static void NAME(pack)(const real *x, const Py_ssize_t *offset, Py_ssize_t depth, const struct segment *s,
                       Py_ssize_t n, Py_ssize_t count, Py_ssize_t width, real *b)
{
    if (count == width && comes_in_one(s, n)) {
        for (Py_ssize_t k = 0; k < depth; k++, b += width) {
            const real *from = x + s[0].from + offset[k],
                       *ahead = x + s[0].from + offset[least(k + AHEAD, depth - 1)];
            for (Py_ssize_t i = 0; i < width; i += NATIVE) {
                prefetch(ahead + i);
                store(b + i, load(from + i));
            }
        }
        return;
    }
    for (Py_ssize_t k = 0; k < depth; k += AHEAD, b += AHEAD * width) {
        const Py_ssize_t rows = least(AHEAD, depth - k), *here = offset + k;
        for (Py_ssize_t j = 0; j < n; j++) {
            const real *from = x + s[j].from;
            real *to = b + s[j].at;
            const Py_ssize_t live = s[j].count, room = width - s[j].at;
            if (live == NATIVE)
                for (Py_ssize_t r = 0; r < rows; r++)
                    store(to + r * width, load(from + here[r]));
            else if (room >= NATIVE)
                for (Py_ssize_t r = 0; r < rows; r++)
                    store(to + r * width, load_some(from + here[r], live, all(0)));
            else
                for (Py_ssize_t r = 0; r < rows; r++)
                    store_some(to + r * width, load_some(from + here[r], live, all(0)), room);
        }
        for (Py_ssize_t i = count; i < width; i += NATIVE)
            for (Py_ssize_t r = 0; r < rows; r++)
                store_some(b + r * width + i, all(0), least(NATIVE, width - i));
    }
}

/* Packs a tile of the left side of a product: TILE_ROWS values for each k, zeros beyond the group's last row. */
static void NAME(pack_left)(const struct products *c, const struct product *p, const real *weights, real *left,
                            Py_ssize_t tile)
{
    const Py_ssize_t tiles = ceil_div(c->rows, TILE_ROWS), first = tile % tiles * TILE_ROWS, row = c->weight_row;
    const real *w = weights + tile / tiles * c->weight_group + first * row;
    const Py_ssize_t rows = least(TILE_ROWS, c->rows - first);
    real *to = left + p->left_at + tile * p->depth * TILE_ROWS;
    for (Py_ssize_t k = 0; k < p->depth; k++, to += TILE_ROWS) {
        const real *from = w + p->weight[k];
        for (Py_ssize_t r = 0; r < TILE_ROWS; r++)
            to[r] = r < rows ? from[r * row] : 0;
    }
}

#endif
