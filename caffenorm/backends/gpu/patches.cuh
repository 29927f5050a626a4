// A kernel's taps over channels of any number of spatial axes: what im2col, col2im and depthwise products walk.
//
// Sizes come in an array of index_t: for each of size, out, kernel, stride, pad, dilation a value an axis.

#include "window.cuh"

template <int AXES>
struct Patches {
    index_t size[AXES], out[AXES], kernel[AXES], stride[AXES], pad[AXES], dilation[AXES];

    __device__ __forceinline__ explicit Patches(const index_t* numbers) {
        for (int a = 0; a < AXES; a++) {
            size[a] = numbers[a];
            out[a] = numbers[AXES + a];
            kernel[a] = numbers[2 * AXES + a];
            stride[a] = numbers[3 * AXES + a];
            pad[a] = numbers[4 * AXES + a];
            dilation[a] = numbers[5 * AXES + a];
        }
    }

    __device__ __forceinline__ index_t plane() const { return product(size); }
    __device__ __forceinline__ index_t out_plane() const { return product(out); }
    __device__ __forceinline__ index_t taps() const { return product(kernel); }

    static __device__ __forceinline__ index_t product(const index_t (&values)[AXES]) {
        index_t all = 1;
        for (int a = 0; a < AXES; a++) all *= values[a];
        return all;
    }
};

// The positions of x that the taps meet at one output, tap after tap; the last axis runs fastest.
template <int AXES>
struct MetByTaps {
    const Patches<AXES>& p;
    index_t origin[AXES], tap[AXES];

    __device__ __forceinline__ MetByTaps(const Patches<AXES>& patches, index_t output) : p(patches) {
        for (int a = AXES - 1; a >= 0; a--) {
            const Division place = divide(output, p.out[a]);
            output = place.quotient;
            origin[a] = place.rest * p.stride[a] - p.pad[a];
            tap[a] = 0;
        }
    }

    // Begin at tap number t.
    __device__ __forceinline__ void seek(index_t t) {
        for (int a = AXES - 1; a >= 0; a--) {
            const Division place = divide(t, p.kernel[a]);
            t = place.quotient;
            tap[a] = place.rest;
        }
    }

    // Where the tap stands in a plane of x; -1 outside.
    __device__ __forceinline__ index_t at() const {
        index_t place = 0;
        bool inside = true;
        for (int a = 0; a < AXES; a++) {
            const index_t i = origin[a] + tap[a] * p.dilation[a];
            inside = inside && i >= 0 && i < p.size[a];
            place = place * p.size[a] + i;
        }
        return inside ? place : -1;
    }

    // After the last tap comes the first.
    __device__ __forceinline__ void next() {
        for (int a = AXES - 1; a >= 0; a--) {
            if (++tap[a] < p.kernel[a]) return;
            tap[a] = 0;
        }
    }
};

// The outputs whose taps meet one position of x, tap after tap.
template <int AXES>
struct MeetingTaps {
    const Patches<AXES>& p;
    index_t position[AXES], tap[AXES], output[AXES];

    __device__ __forceinline__ MeetingTaps(const Patches<AXES>& patches, index_t at) : p(patches) {
        for (int a = AXES - 1; a >= 0; a--) {
            const Division place = divide(at, p.size[a]);
            at = place.quotient;
            position[a] = place.rest + p.pad[a];
            tap[a] = 0;
            find(a);
        }
    }

    // Along one axis the output whose tap meets the position; -1 for none.
    __device__ __forceinline__ void find(int a) {
        const index_t reach = position[a] - tap[a] * p.dilation[a];
        output[a] = -1;
        if (reach < 0) return;
        const Division place = p.stride[a] == 1 ? Division{reach, 0} : divide(reach, p.stride[a]);
        if (place.rest == 0 && place.quotient < p.out[a]) output[a] = place.quotient;
    }

    // Where the output stands in a plane of y; -1 for none.
    __device__ __forceinline__ index_t at() const {
        index_t place = 0;
        bool inside = true;
        for (int a = 0; a < AXES; a++) {
            inside = inside && output[a] >= 0;
            place = place * p.out[a] + output[a];
        }
        return inside ? place : -1;
    }

    // After the last tap comes the first.
    __device__ __forceinline__ void next() {
        for (int a = AXES - 1; a >= 0; a--) {
            tap[a] = tap[a] + 1 < p.kernel[a] ? tap[a] + 1 : 0;
            find(a);
            if (tap[a] > 0) return;
        }
    }
};
