// Arrays (outer, channels, inner) whose channels' values lie in runs of `inner`: how threads walk over them,
// and how one launch takes sums and then results of channels in pieces.

#include "norm_channel.cuh"

constexpr int ROW_THREADS = 256;  // of a block that takes pieces
constexpr int WHOLE_THREADS = 512;  // at most, of a block that takes a whole channel

// A channel as (outer * inner / V) runs of V values.
struct Rows {
    index_t channels, stride, in_row, total;  // stride between rows; runs of a row, and of all of them

    template <int V>
    static __device__ __forceinline__ Rows of(index_t outer, index_t channels, index_t inner) {
        return {channels, channels * inner, inner / V, outer * (inner / V)};
    }
};

constexpr int MOST_AHEAD = 1 << 30;  // far more runs than a walk steps over

__device__ __forceinline__ int held(index_t n) { return static_cast<int>(n < MOST_AHEAD ? n : MOST_AHEAD); }

// The runs of one thread: number start + thread, and each `threads`-th from there to `end`. What is left, and
// left of the row, is counted in 32 bits, cut off at MOST_AHEAD: a walk takes some 16 steps of up to 512 runs.
template <int V>
struct Walk {
    index_t at, step, wrap;
    int left, left_in_row, in_row, threads, columns;

    __device__ __forceinline__ Walk(const Rows& rows, index_t c, index_t start, index_t end, index_t threads_) {
        const index_t k = start + threadIdx.x, row = quotient(k, rows.in_row), column = k - row * rows.in_row;
        const index_t down = quotient(threads_, rows.in_row);
        at = row * rows.stride + (c * rows.in_row + column) * V;
        threads = static_cast<int>(threads_);
        columns = static_cast<int>(threads_ - down * rows.in_row);
        step = down * rows.stride + columns * V;
        wrap = rows.stride - rows.in_row * V;
        in_row = held(rows.in_row);
        left = held(end - k);
        left_in_row = held(rows.in_row - column);
    }
    __device__ __forceinline__ bool inside() const { return left > 0; }
    __device__ __forceinline__ void next() {
        left -= threads;
        left_in_row -= columns;
        at += step;
        if (left_in_row <= 0) {
            left_in_row += in_row;
            at += wrap;
        }
    }
    // Reads N runs, or as many as are left, and says how many; all loads are on their way before one is used.
    template <typename T, int N>
    __device__ __forceinline__ int read(const T* x, Run<T, V> (&runs)[N], bool last) const {
        Walk walk = *this;
        int n = 0;
#pragma unroll
        for (int i = 0; i < N; ++i) {
            if (walk.inside()) {
                runs[i] = load_run<T, V>(x + walk.at, last);
                n = i + 1;
            }
            walk.next();
        }
        return n;
    }
};

// --- one launch for sums and results ---
//
// Blocks draw tasks from a counter: sums of group 0; sums of group 1, results of group 0; sums of group 2,
// results of group 1; ... A group is a few channels that the second-level cache holds, so that the second
// reading comes from there. Who brings a channel's last sum finishes it and raises its flag; a result waits
// for the flag. All tasks before a waiting one have been drawn by blocks that run, and wait at most for
// earlier ones: nobody waits for ever, however few blocks run at once. Parts of sums lie in fixed places and
// are added in their order: which block does what changes no bit. The block that leaves last clears the
// counters.

using counter_t = unsigned long long;  // [0] tasks drawn, [1] blocks that have left, [2 + c] sums of channel c

struct Tasks {
    index_t channels, pieces, group;  // pieces a channel, channels a group; group 0: no results
};

enum { NOTHING, SUM, RESULT, END };

struct Task {
    index_t channel, piece;
    int kind;
};

__device__ __forceinline__ Task task_number(const Tasks& tasks, index_t ticket) {
    const index_t group = tasks.group ? tasks.group : tasks.channels;
    const index_t size = group * tasks.pieces, groups = quotient(tasks.channels + group - 1, group);
    Task task{0, 0, SUM};
    index_t number = 0;  // of the group
    if (ticket >= size) {
        const index_t pair = quotient(ticket - size, 2 * size);
        ticket = ticket - size - pair * 2 * size;
        if (!tasks.group || pair >= groups || (pair == groups - 1 && ticket >= size)) return {0, 0, END};
        task.kind = pair == groups - 1 || ticket >= size ? RESULT : SUM;
        number = task.kind == SUM ? pair + 1 : pair;
        if (ticket >= size) ticket -= size;
    }
    // Results begin where the sums ended: that is in the cache, if not all is.
    if (task.kind == RESULT) ticket = size - 1 - ticket;
    task.piece = quotient(ticket, group);  // neighbours at the same time: they share pages of memory
    task.channel = number * group + ticket - task.piece * group;
    if (task.channel >= tasks.channels) task.kind = NOTHING;
    return task;
}

// By the first warp, when lane 0 has written the sums of one piece: whether they are the channel's last.
__device__ __forceinline__ bool brings_last_sum(counter_t* flag, index_t pieces) {
    int last = 0;
    if (threadIdx.x == 0) {
        __threadfence();  // the sums before the count
        last = atomicAdd(flag, 1ull) + 1 == static_cast<counter_t>(pieces);
        __threadfence();  // the count before the others' sums
    }
    __syncwarp();  // until lane 0 has counted: all lanes read those sums
    return __shfl_sync(0xffffffffu, last, 0) != 0;
}

// By the first warp, when lane 0 has written what the channel's sums come to.
__device__ __forceinline__ void raise_flag(counter_t* flag) {
    if (threadIdx.x == 0) {
        __threadfence();  // the results before the flag
        atomicAdd(flag, 1ull);
    }
}

__device__ __forceinline__ void wait_for_flag(const counter_t* flag, index_t pieces) {
    if (threadIdx.x == 0) {
        while (load_fresh(flag) <= static_cast<counter_t>(pieces)) __nanosleep(100);
        __threadfence();  // the flag before what it stands for
    }
    __syncthreads();  // until the channel is finished
}

template <class Work>
__device__ __forceinline__ void take_tasks(const Tasks& tasks, counter_t* counters, Work& work) {
    __shared__ Task drawn[2];
    __shared__ int last;
    const bool first = threadIdx.x == 0;
    counter_t ticket = first ? atomicAdd(counters, 1ull) : 0;
    for (int turn = 0;; turn ^= 1) {
        if (first) drawn[turn] = task_number(tasks, static_cast<index_t>(ticket));
        __syncthreads();  // until the task is there, and all are done with the last one
        const Task task = drawn[turn];
        if (task.kind == END) break;
        if (first) ticket = atomicAdd(counters, 1ull);  // on its way while the task is done
        counter_t* flag = counters + 2 + task.channel;
        if (task.kind == SUM) work.sum(task.channel, task.piece, flag);
        if (task.kind == RESULT) {
            wait_for_flag(flag, tasks.pieces);
            work.result(task.channel, task.piece);
        }
    }
    if (first) {
        __threadfence();  // the flags before the leaving: none may be raised after it is cleared
        last = atomicAdd(counters + 1, 1ull) + 1 == gridDim.x;
        __threadfence();  // the others' leaving before the clearing
    }
    __syncthreads();  // until it is known who leaves last
    if (!last) return;
    for (index_t c = threadIdx.x; c < tasks.channels; c += blockDim.x) counters[2 + c] = 0;
    if (first) counters[0] = counters[1] = 0;
}

// The moments of channels by pieces; `parts` has the mean and m2 of each piece.
template <typename T, int V, int N>
struct MomentTasks {
    using A = Real<T>;
    const T* x;
    Statistics<A> statistics;
    Rows rows;
    index_t inner, pieces, runs_in_piece;
    A* parts;

    __device__ __forceinline__ index_t end_of(index_t piece) const {
        return min((piece + 1) * runs_in_piece, rows.total);
    }
    __device__ __forceinline__ A pivot(index_t c) const { return finite_or_zero(load(x + c * inner)); }

    __device__ __forceinline__ void sum(index_t c, index_t piece, counter_t* flag) {
        __shared__ Moments<A> shared[ROW_THREADS / 32];
        Moments<A> all{A(0), A(0), A(0)};
        Run<T, V> runs[N];
        const A first = pivot(c);
        for (index_t start = piece * runs_in_piece; start < end_of(piece); start += N * ROW_THREADS) {
            const int n = Walk<V>(rows, c, start, end_of(piece), ROW_THREADS).read(x, runs, false);
            all = merged(all, moments_of(runs, n, first));
        }
        all = block_moments(all, shared);
        if (threadIdx.x >= 32) return;
        if (threadIdx.x == 0) {
            parts[2 * (c * pieces + piece)] = all.mean;
            parts[2 * (c * pieces + piece) + 1] = all.m2;
        }
        if (brings_last_sum(flag, pieces)) {
            finish(c, first);
            raise_flag(flag);
        }
    }

    __device__ __forceinline__ double values_in(index_t piece) const {
        return static_cast<double>(end_of(piece) - piece * runs_in_piece) * V;
    }

    // By the first warp.
    __device__ __forceinline__ void finish(index_t c, A first) const {
        const A* part = parts + 2 * c * pieces;
        double sum = 0, m2 = 0;
        for (index_t k = threadIdx.x; k < pieces; k += 32) sum += values_in(k) * load_fresh(part + 2 * k);
        const double count = static_cast<double>(rows.total) * V, mean = warp_sum(sum) / count;
        for (index_t k = threadIdx.x; k < pieces; k += 32) {
            const double d = load_fresh(part + 2 * k) - mean;
            m2 += load_fresh(part + 2 * k + 1) + values_in(k) * d * d;
        }
        m2 = warp_sum(m2);
        if (threadIdx.x == 0) keep(statistics, c, first + mean, m2, count);
    }
};
