// im2col and col2im: all values that a kernel meets, in columns; any number of spatial axes.
//
// im2col: a thread owns one output position and writes its taps, channel after channel; neighbours write
// neighbours. x is read once a tap, all but the first time from cache; the columns are written once.
// col2im: a thread owns one position of x and adds up the columns that stand for it, tap after tap: it repeats
// bit by bit and needs no zeros first. The columns are read once.

#include "patches.cuh"

// columns[channel][tap][output] = x[channel][output * stride + tap * dilation - pad], zeros outside.
// instances: AXES = 1, 2, 3
template <typename T, int AXES>
__global__ void im2col(const T* __restrict__ x, T* __restrict__ columns, const index_t* __restrict__ numbers,
                       index_t channels) {
    const Patches<AXES> p(numbers);
    const index_t output = place_of_thread(), out = p.out_plane(), plane = p.plane(), taps = p.taps();
    if (output >= out) return;
    MetByTaps<AXES> met(p, output);
    for (index_t c = first_plane(); c < channels; c += plane_step()) {
        const T* from = x + c * plane;
        T* to = columns + c * taps * out + output;
        for (index_t t = 0; t < taps; t++, met.next()) {
            const index_t at = met.at();
            to[t * out] = at < 0 ? T(0) : from[at];
        }
    }
}

// instances: AXES = 1, 2, 3
template <typename T, int AXES>
__global__ void col2im(const T* __restrict__ columns, T* __restrict__ x, const index_t* __restrict__ numbers,
                       index_t channels) {
    const Patches<AXES> p(numbers);
    const index_t position = place_of_thread(), out = p.out_plane(), plane = p.plane(), taps = p.taps();
    if (position >= plane) return;
    MeetingTaps<AXES> meeting(p, position);
    for (index_t c = first_plane(); c < channels; c += plane_step()) {
        const T* from = columns + c * taps * out;
        T sum = 0;
        for (index_t t = 0; t < taps; t++, meeting.next()) {
            const index_t at = meeting.at();
            if (at >= 0) sum += from[t * out + at];
        }
        x[c * plane + position] = sum;
    }
}
