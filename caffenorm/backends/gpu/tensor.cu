// CUDA kernels of the tensor family but softmax and the largest values: several arrays to one, reductions, and
// moving rows, columns and axes.
//
// combine         y = sum, product or maximum of up to 8 arrays: one pass, 4 B read each and 4 B written (float)
// only_winner     dx = dy where that operand won, else 0: 12 B an element
// reduce_parts    sums over rows, of values, sizes or squares, in double: chunks of rows first,
// reduce_finish   then a row's chunks in order of their index
// spread_rows     the gradient of such a sum: 4 or 8 B an element
// take_rows       rows by number; add_rows: one thread adds up what falls to a value, so results repeat
// copy_columns    some columns of one matrix to some of another: what joins and cuts blobs
// swap_axes       (outer, a, b, inner) to (outer, b, a, inner); transpose_tiles where inner is 1
// scale_add       out = scale[row] * x + y: 12 B an element

#include "common.cuh"

// --- several arrays to one ---

enum Combination { SUM, PRODUCT, MAXIMUM };

// y = combination of arrays[0] ... arrays[count - 1]; y may be any of them. `done` operands have been combined
// by a launch before, into the first array given here and, for a maximum, into `winner`, which may be null.
// A sum is that of weights times arrays, with a (leaky) ReLU of `slope` where `activated`.
// instances: C = 0, 1, 2
template <typename T, int C>
__global__ void combine(const T* x0, const T* x1, const T* x2, const T* x3, const T* x4, const T* x5, const T* x6,
                        const T* x7, double w0, double w1, double w2, double w3, double w4, double w5, double w6,
                        double w7, T* y, int* winner, index_t size, index_t count, index_t done, index_t activated,
                        double slope) {
    const T* const arrays[8] = {x0, x1, x2, x3, x4, x5, x6, x7};
    const double weights[8] = {w0, w1, w2, w3, w4, w5, w6, w7};
    for (index_t i = thread_index(); i < size; i += grid_stride()) {
        T value = C == SUM ? static_cast<T>(w0) * x0[i] : x0[i];
        index_t number = C == MAXIMUM && done && winner ? winner[i] : 0;
        for (int k = 1; k < 8; ++k) {
            if (k >= count) break;
            const T next = arrays[k][i];
            if (C == SUM) value += static_cast<T>(weights[k]) * next;
            if (C == PRODUCT) value *= next;
            if (C == MAXIMUM) {
                // Of the first two, the second is taken unless the first is larger.
                const bool later = k == 1 && !done ? !(value > next) : next > value;
                value = later ? next : value;
                number = later ? (done ? done + k - 1 : k) : number;
            }
        }
        if (C == SUM && activated) {
            const T s = static_cast<T>(slope);
            value = (value < 0 ? T(0) : value) + s * (value > 0 ? T(0) : value);
        }
        y[i] = value;
        if (C == MAXIMUM && winner) winner[i] = static_cast<int>(number);
    }
}

// dx may be dy.
template <typename T>
__global__ void only_winner(const T* dy, const int* winner, index_t number, T* dx, index_t size) {
    for (index_t i = thread_index(); i < size; i += grid_stride()) dx[i] = winner[i] == number ? dy[i] : T(0);
}

// --- reductions ---

enum Terms { VALUES, SIZES, SQUARES };

// parts[row * chunks + c] = the sum over chunk c of the row, `length` values each.
// instances: TERMS = 0, 1, 2
template <typename T, int TERMS>
__global__ void reduce_parts(const T* __restrict__ x, double* __restrict__ parts, index_t rows, index_t size,
                             index_t chunks, index_t length) {
    __shared__ double shared[32];
    for (index_t task = blockIdx.x; task < rows * chunks; task += gridDim.x) {
        const index_t first = task % chunks * length, last = min(size, first + length);
        const T* row = x + task / chunks * size;
        double sum = 0;
        for (index_t i = first + threadIdx.x; i < last; i += blockDim.x) {
            const double v = row[i];
            sum += TERMS == VALUES ? v : TERMS == SIZES ? fabs(v) : v * v;
        }
        sum = block_sum(sum, shared);
        if (threadIdx.x == 0) parts[task] = sum;
    }
}

// y[row] = factor * the sum of the row's parts.
template <typename T>
__global__ void reduce_finish(const double* __restrict__ parts, T* __restrict__ y, index_t rows, index_t chunks,
                              double factor) {
    for (index_t row = thread_index(); row < rows; row += grid_stride()) {
        double sum = 0;
        for (index_t c = 0; c < chunks; ++c) sum += parts[row * chunks + c];
        y[row] = static_cast<T>(factor * sum);
    }
}

// instances: TERMS = 0, 1, 2
template <typename T, int TERMS>
__global__ void spread_rows(const T* __restrict__ x, const T* __restrict__ dy, T* __restrict__ dx, index_t count,
                            index_t size, double factor) {
    for (index_t i = thread_index(); i < count; i += grid_stride()) {
        const double whole = factor * dy[quotient(i, size)];
        const T one = static_cast<T>(whole);
        if (TERMS == VALUES) dx[i] = one;
        if (TERMS == SIZES) dx[i] = one * ((x[i] > 0 ? T(1) : T(0)) - (x[i] < 0 ? T(1) : T(0)));
        if (TERMS == SQUARES) dx[i] = static_cast<T>(2 * whole) * x[i];
    }
}

// --- rows, columns, axes ---

// y[i] = x[index[i]], 0 where there is no such row; count is that of y.
template <typename T>
__global__ void take_rows(const T* __restrict__ x, const index_t* __restrict__ index, T* __restrict__ y,
                          index_t count, index_t rows, index_t size) {
    for (index_t i = thread_index(); i < count; i += grid_stride()) {
        const Division at = divide(i, size);
        const index_t row = index[at.quotient];
        y[i] = row >= 0 && row < rows ? x[row * size + at.rest] : T(0);
    }
}

// dx[index[i]] += dy[i], in the order of i, nothing where there is no such row. Grid x runs over columns, grid y
// over stretches of dx's rows: a thread looks through all of index and adds what falls to its rows.
template <typename T>
__global__ void add_rows(const T* __restrict__ dy, const index_t* __restrict__ index, T* __restrict__ dx, index_t n,
                         index_t rows, index_t size) {
    const index_t share = (rows + gridDim.y - 1) / gridDim.y, first = share * blockIdx.y;
    const index_t end = first + share < rows ? first + share : rows;
    for (index_t column = thread_index(); column < size; column += grid_stride()) {
        for (index_t i = 0; i < n; ++i) {
            const index_t row = index[i];
            if (row >= first && row < end) dx[row * size + column] += dy[i * size + column];
        }
    }
}

// count: columns that are copied of each row.
template <typename T>
__global__ void copy_columns(const T* __restrict__ x, T* __restrict__ y, index_t rows, index_t count, index_t x_size,
                             index_t x_first, index_t y_size, index_t y_first) {
    for (index_t i = thread_index(); i < rows * count; i += grid_stride()) {
        const Division at = divide(i, count);
        y[at.quotient * y_size + y_first + at.rest] = x[at.quotient * x_size + x_first + at.rest];
    }
}

// Threads follow y, so that writes are in order.
template <typename T>
__global__ void swap_axes(const T* __restrict__ x, T* __restrict__ y, index_t count, index_t a, index_t b,
                          index_t inner) {
    for (index_t i = thread_index(); i < count; i += grid_stride()) {
        const Division at = divide(i, inner), row = divide(at.quotient, a), column = divide(row.quotient, b);
        y[i] = x[((column.quotient * a + row.rest) * b + column.rest) * inner + at.rest];
    }
}

// (matrices, a, b) to (matrices, b, a), by tiles of 32 x 32; blocks of (32, 8) threads.
template <typename T>
__global__ void __launch_bounds__(256) transpose_tiles(const T* __restrict__ x, T* __restrict__ y, index_t matrices,
                                                       index_t a, index_t b) {
    __shared__ T tile[32][33];
    const index_t down = (a + 31) / 32, across = (b + 31) / 32;
    for (index_t task = blockIdx.x; task < matrices * down * across; task += gridDim.x) {
        const index_t matrix = task / (down * across), row = task / across % down * 32, column = task % across * 32;
        const T* from = x + matrix * a * b;
        T* to = y + matrix * a * b;
        __syncthreads();  // until the tile before has been written
        for (int r = threadIdx.y; r < 32; r += blockDim.y)
            if (row + r < a && column + threadIdx.x < b) tile[r][threadIdx.x] = from[(row + r) * b + column + threadIdx.x];
        __syncthreads();  // until the tile is read
        for (int c = threadIdx.y; c < 32; c += blockDim.y)
            if (column + c < b && row + threadIdx.x < a) to[(column + c) * a + row + threadIdx.x] = tile[threadIdx.x][c];
    }
}

// out may be x or y.
template <typename T>
__global__ void scale_add(const T* __restrict__ scale, const T* x, const T* y, T* out, index_t count, index_t size) {
    for (index_t i = thread_index(); i < count; i += grid_stride()) out[i] = scale[quotient(i, size)] * x[i] + y[i];
}
