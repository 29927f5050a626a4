/* Convolutions and other products with a packed left side: see gather.h for what is computed.

   A panel of columns is packed into contiguous rows, which stay in cache, and meets the rows of the left
   side; jobs are (group, panel, part of the rows). The sum of an element runs over k in order, in blocks of
   DEPTH that are carried in memory, whatever the number of threads. */

#ifndef real
#ifndef CAFFENORM_PRODUCTS_H
#define CAFFENORM_PRODUCTS_H

#include "gather.h"

/* Rows of a packed panel: 512 of 48 floats are 96 KiB of a second-level cache. 128 to 512 measure alike. */
#define DEPTH 512
/* Pieces of runs that a thread takes at a time where groups have one row. */
#define LINES 32

/* Panels of that many vectors of columns: three vectors each; what is left over makes the last ones four, two
   or one. */
static Py_ssize_t panels_of(Py_ssize_t vecs)
{
    return vecs / 3 + (vecs % 3 && !(MANY_REGISTERS && vecs % 3 == 1 && vecs > 1));
}

/* How many vectors a panel has, and its first one. */
static Py_ssize_t panel_vecs(Py_ssize_t panel, Py_ssize_t vecs, Py_ssize_t *first)
{
    const Py_ssize_t last_three = vecs / 3 - 1;
    *first = 3 * panel;
    if (vecs % 3 == 1 && last_three >= 0 && panel >= last_three) {
        if (MANY_REGISTERS)
            return 4;
        *first -= panel - last_three;
        return 2;
    }
    return panel <= last_three ? 3 : vecs % 3;
}

/* In how many parts the rows of a panel are shared out so that all threads finish soonest. Each part packs
   the panel again, which takes about as long as a tile. */
static Py_ssize_t parts_of(Py_ssize_t panels, Py_ssize_t tiles, int threads)
{
    Py_ssize_t best = 1, best_cost = 0;
    for (Py_ssize_t parts = 1; parts <= least(tiles, 4 * (Py_ssize_t)threads); parts++) {
        const Py_ssize_t cost = ceil_div(panels * parts, threads) * (1 + ceil_div(tiles, parts));
        if (parts == 1 || cost < best_cost) {
            best = parts;
            best_cost = cost;
        }
    }
    return best;
}

#define BODY "products.h"
#include "for_reals.h"

#define products_bytes(x, c, threads) FOR_REAL(products_bytes, x)(c, threads)
#define run_products(c, left, x, ...) FOR_REAL(run_products, x)(c, left, x, __VA_ARGS__)

#endif
#else

#define ending NAME(ending)

/* Values of work space that a thread needs. */
static Py_ssize_t NAME(panel_space)(const struct products *c)
{
    return (DEPTH + 1 + ceil_div(c->rows, TILE_ROWS) * TILE_ROWS) * WIDEST * NATIVE;
}

/* The ending for the rows of a group from one on; its `more` then goes with `out` of that row. */
INLINE ending NAME(ending_at)(const struct products *c, const ending *e, Py_ssize_t group, Py_ssize_t row)
{
    ending here = *e;
    if (here.bias)
        here.bias += group * c->rows + row;
    if (here.more)
        here.more += (group * c->rows + row) * here.more_stride;
    return here;
}

/* Brings sums, `width` a row, to where their columns stand in the output. */
static void NAME(scatter)(const real *sum, Py_ssize_t width, Py_ssize_t rows, Py_ssize_t step,
                          const struct segment *s, Py_ssize_t n, real *out, Py_ssize_t stride, const ending *e)
{
    for (Py_ssize_t r = 0; r < rows; r++, sum += width, out += stride) {
        const real bias = e->bias ? e->bias[r] : 0;
        const real *more = e->more ? e->more + r * e->more_stride : NULL;
        for (Py_ssize_t j = 0; j < n; j++)
            for (Py_ssize_t i = 0; i < s[j].count; i += step == 1 ? NATIVE : 1) {
                const Py_ssize_t to = s[j].to + i * step, count = step == 1 ? least(NATIVE, s[j].count - i) : 1;
                NAME(put)(load(sum + s[j].at + i), all(bias), more ? more + to : NULL, out + to, count, e);
            }
    }
}

/* One part of the rows of a panel. */
static void NAME(run_panel)(const struct products *c, const struct product *p, const real *left, const real *right,
                            real *out, const ending *e, Py_ssize_t columns, Py_ssize_t panel, Py_ssize_t group,
                            Py_ssize_t part, Py_ssize_t parts, real *work)
{
    const Py_ssize_t tiles = ceil_div(c->rows, TILE_ROWS);
    const Py_ssize_t first_tile = part * tiles / parts, last_tile = (part + 1) * tiles / parts;
    struct segment s[WIDEST * 64 / sizeof(real)];
    Py_ssize_t first, k = 0;
    const Py_ssize_t width = panel_vecs(panel, ceil_div(columns, NATIVE), &first) * NATIVE;
    const Py_ssize_t count = least(width, columns - first * NATIVE);
    const Py_ssize_t n = cut(c, p, first * NATIVE, count, NATIVE, s);
    const int direct = goes_in_one(p, s, n);
    real *carry = work + (DEPTH + 1) * WIDEST * NATIVE;

    left += p->left_at + group * tiles * p->depth * TILE_ROWS;
    out += group * c->out_group;
    do { /* once where the depth is 0 */
        const Py_ssize_t depth = least(DEPTH, p->depth - k);
        NAME(pack)(right + group * c->right_group, p->offset + k, depth, s, n, count, width, work);
        for (Py_ssize_t t = first_tile; t < last_tile; t++) {
            const Py_ssize_t row = t * TILE_ROWS;
            NAME(tile_job) job;
            job.depth = depth;
            job.a = left + (t * p->depth + k) * TILE_ROWS;
            job.b = work;
            job.width = width;
            job.carry = carry + (t - first_tile) * TILE_ROWS * width;
            job.first = k == 0;
            job.last = direct && k + depth == p->depth;
            job.out = out + row * c->out_row + s[0].to;
            job.stride = c->out_row;
            job.valid = least(TILE_ROWS, c->rows - row);
            job.count = count;
            job.end = NAME(ending_at)(c, e, group, row);
            if (job.end.more)
                job.end.more += s[0].to;
            NAME(run_tile)(&job);
        }
        k += depth;
    } while (k < p->depth);
    if (!direct) {
        const Py_ssize_t row = first_tile * TILE_ROWS;
        const ending here = NAME(ending_at)(c, e, group, row);
        NAME(scatter)(carry, width, least(last_tile * TILE_ROWS, c->rows) - row, p->step, s, n,
                      out + row * c->out_row, c->out_row, &here);
    }
}

/* Pieces of runs, without packing: for groups of one row, where a packed panel would be used once. */
static void NAME(run_lines)(const struct products *c, const struct product *p, const real *left, const real *right,
                            real *out, const ending *e, Py_ssize_t group, Py_ssize_t first, Py_ssize_t last)
{
    const Py_ssize_t most = WIDEST * NATIVE, pieces = ceil_div(p->run, most);
    left += p->left_at + group * p->depth * TILE_ROWS;
    right += group * c->right_group;
    out += group * c->out_group;
    for (Py_ssize_t i = first; i < last; i++) {
        const Py_ssize_t image = i / pieces / p->runs, run = i / pieces % p->runs, at = i % pieces * most;
        const Py_ssize_t to = image * c->out_image + p->to[run] + at;
        ending here = NAME(ending_at)(c, e, group, 0);
        if (here.more)
            here.more += to;
        NAME(line)(left, right + image * c->right_image + p->from[run] + at, p->offset, p->depth, out + to,
                   least(most, p->run - at), &here);
    }
}

/* Bytes of work space for `run_products`: the copy of a chunk of images, then each thread's. */
static Py_ssize_t NAME(products_bytes)(const struct products *c, int threads)
{
    return NAME(copy_bytes)(c) + threads * aligned_size(NAME(panel_space)(c) * (Py_ssize_t)sizeof(real));
}

/* All products for all images. bias: a value a row, `more`: added, laid out as the output but for the
   distance of rows; both may be NULL. */
static void NAME(run_products)(const struct products *c, const real *left, const real *in, real *out,
                               const real *bias, const real *more, Py_ssize_t more_stride, int has_slope,
                               double slope, int threads, unsigned char *work)
{
    const Py_ssize_t space = aligned_size(NAME(panel_space)(c) * (Py_ssize_t)sizeof(real));
    const Py_ssize_t tiles = ceil_div(c->rows, TILE_ROWS);
    const ending first = {bias, more, more_stride, has_slope, (real)slope};

#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        real *mine = (real *)(work + NAME(copy_bytes)(c) + space * this_thread());
        for (Py_ssize_t image = 0; image < c->images; image += c->chunk) {
            const Py_ssize_t images = least(c->chunk, c->images - image);
            const real *right = in + image * c->in_image;
            real *to = out + image * c->out_image;
            ending e = first;
            if (e.more)
                e.more += image * c->out_image;
            if (c->source.rows) {
                NAME(copy_images)(c, right, images, (real *)work);
                right = (const real *)work;
            }
            for (Py_ssize_t i = 0; i < c->count; i++) {
                const struct product *p = &c->product[i];
                const Py_ssize_t columns = images * p->runs * p->run;
                if (c->rows == 1 && p->step == 1) {
                    const Py_ssize_t pieces = images * p->runs * ceil_div(p->run, WIDEST * NATIVE);
                    const Py_ssize_t blocks = ceil_div(pieces, LINES);
#pragma omp for schedule(dynamic) nowait
                    for (Py_ssize_t job = 0; job < c->groups * blocks; job++)
                        NAME(run_lines)(c, p, left, right, to, &e, job / blocks, job % blocks * LINES,
                                        least(pieces, (job % blocks + 1) * LINES));
                } else {
                    const Py_ssize_t panels = panels_of(ceil_div(columns, NATIVE));
                    const Py_ssize_t parts = parts_of(c->groups * panels, tiles, threads);
#pragma omp for schedule(dynamic) nowait
                    for (Py_ssize_t job = 0; job < c->groups * panels * parts; job++)
                        NAME(run_panel)(c, p, left, right, to, &e, columns, job / parts % panels,
                                        job / parts / panels, job % parts, parts, mine);
                }
            }
            if (c->source.rows && image + c->chunk < c->images) {
#pragma omp barrier
            }
        }
    }
}

#undef ending
#endif
