// What the kernels of the window family share: division, threads over planes, windows.
//
// Sizes come in a small array of index_t that the Python plan lays out; all threads read the same numbers, so
// they come from the first-level cache.

#include "common.cuh"

__device__ __forceinline__ index_t least(index_t a, index_t b) { return a < b ? a : b; }
__device__ __forceinline__ index_t most(index_t a, index_t b) { return a > b ? a : b; }

// --- where a thread stands ---

// Grid x and a block's x run over places of a plane, grid y and a block's y over planes.
__device__ __forceinline__ index_t place_of_thread() {
    return static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ index_t first_plane() {
    return static_cast<index_t>(blockIdx.y) * blockDim.y + threadIdx.y;
}
__device__ __forceinline__ index_t plane_step() { return static_cast<index_t>(gridDim.y) * blockDim.y; }

// --- windows over planes of three axes (depth, height, width) ---

// Positions begin to end of one axis.
struct Span {
    index_t begin, end;

    __device__ __forceinline__ index_t count() const { return end - begin; }
};

// The numbers of one axis, and what follows from them.
struct Axis {
    index_t size, out, kernel, stride, pad, pad_after;

    // `numbers` holds all axes' sizes, then all axes' outs, and so on.
    __device__ __forceinline__ Axis(const index_t* numbers, int axis)
        : size(numbers[axis]),
          out(numbers[3 + axis]),
          kernel(numbers[6 + axis]),
          stride(numbers[9 + axis]),
          pad(numbers[12 + axis]),
          pad_after(numbers[15 + axis]) {}

    // The part of window o that lies inside; empty spans have count 0.
    __device__ __forceinline__ Span inside(index_t o) const {
        const index_t start = o * stride - pad;
        const Span span = {most(start, 0), least(start + kernel, size)};
        return {span.begin, most(span.begin, span.end)};
    }

    // How many positions of window o an average divides by.
    __device__ __forceinline__ index_t positions(index_t o, bool count_pads) const {
        const Span span = inside(o);
        if (!count_pads || span.count() == 0) return span.count();
        const index_t start = o * stride - pad;
        return least(start + kernel, size + pad_after) - start;
    }

    // The windows that position i lies in.
    __device__ __forceinline__ Span windows(index_t i) const {
        const index_t at = i + pad;
        const index_t first = at < kernel ? 0 : divide(at - kernel, stride).quotient + 1;
        return {first, most(first, least(divide(at, stride).quotient + 1, out))};
    }
};

struct Windows {
    Axis depth, height, width;
    bool count_pads;

    __device__ __forceinline__ explicit Windows(const index_t* numbers)
        : depth(numbers, 0), height(numbers, 1), width(numbers, 2), count_pads(numbers[18] != 0) {}

    __device__ __forceinline__ index_t plane() const { return depth.size * height.size * width.size; }
    __device__ __forceinline__ index_t out_plane() const { return depth.out * height.out * width.out; }
};

// A place in a grid of three axes.
struct Place {
    index_t depth, height, width;
};

__device__ __forceinline__ Place place_in(index_t at, index_t height, index_t width) {
    const Division row = divide(at, width), plane = divide(row.quotient, height);
    return {plane.quotient, plane.rest, row.rest};
}

// Three spans: a window's positions, or the windows of a position.
struct Box {
    Span depth, height, width;

    __device__ __forceinline__ index_t count() const { return depth.count() * height.count() * width.count(); }
};

__device__ __forceinline__ Box window_at(const Windows& w, index_t position) {
    const Place o = place_in(position, w.height.out, w.width.out);
    return {w.depth.inside(o.depth), w.height.inside(o.height), w.width.inside(o.width)};
}

__device__ __forceinline__ Box windows_of(const Windows& w, index_t position) {
    const Place i = place_in(position, w.height.size, w.width.size);
    return {w.depth.windows(i.depth), w.height.windows(i.height), w.width.windows(i.width)};
}

// Calls each(at) for the places of a box in row order; `height` and `width` are the sizes of the grid around it.
template <typename Each>
__device__ __forceinline__ void each_place(const Box& box, index_t height, index_t width, Each& each) {
    for (index_t d = box.depth.begin; d < box.depth.end; d++)
        for (index_t h = box.height.begin; h < box.height.end; h++) {
            const index_t row = (d * height + h) * width;
            for (index_t w = box.width.begin; w < box.width.end; w++) each(row + w);
        }
}
