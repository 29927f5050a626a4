// Runs kernels: threads of a block as coroutines, blocks one after another.
//
// A thread runs until it waits: at a barrier for its block, at a warp function for the lanes of the mask. When
// none can go on, a barrier at which all threads stand opens; anything else is an error, as it hangs or is
// undefined on a device. The order of warps and lanes changes with each barrier and that of blocks with each
// launch, so that code which needs one of them goes wrong here. Shared memory is filled with NaNs before a block.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cuda_emulation.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define TELL_SANITIZER 1
#else
#define TELL_SANITIZER 0
#endif
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace {

using emulation::Runtime;
using emulation::WarpOp;

const int MAX_THREADS = 1024;
const long MAX_SHARED = 48 * 1024;
const size_t STACK = TELL_SANITIZER ? 256 * 1024 : 64 * 1024;

enum State { READY, AT_BARRIER, AT_WARP, DONE };

#if defined(__x86_64__)
using Context = void*;
// Saves what a call must keep on the stack, swaps stacks, and takes it back from there.
extern "C" void emulation_switch(Context* from, Context* to);
asm(R"(
.text
.type emulation_switch, @function
emulation_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq (%rsi), %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size emulation_switch, .-emulation_switch
)");
void begin_at(Context* context, unsigned char* stack, size_t size, void (*start)()) {
    void** top = reinterpret_cast<void**>(stack + size) - 2;  // leaves %rsp as after a call
    *top = reinterpret_cast<void*>(start);
    *context = top - 6;
}
#else
using Context = ucontext_t;
void emulation_switch(Context* from, Context* to) { swapcontext(from, to); }
void begin_at(Context* context, unsigned char* stack, size_t size, void (*start)()) {
    getcontext(context);
    context->uc_stack.ss_sp = stack;
    context->uc_stack.ss_size = size;
    context->uc_link = nullptr;
    makecontext(context, start, 0);
}
#endif

struct Thread {
    Context context;
    void* fake_stack;  // the sanitizer's
    uint3 index;
    State state;
    const char* file;
    int line;
    WarpOp op;
    unsigned mask;
    unsigned long long value;
    int argument, width;
};

Thread threads[MAX_THREADS];
unsigned char* stacks = nullptr;
Context scheduler;
#if TELL_SANITIZER
void* scheduler_fake_stack;
const void* scheduler_stack;
size_t scheduler_stack_size;
#endif
int running = 0;
char* failure = nullptr;  // where the message goes
size_t failure_size = 0;
bool failed = false;
unsigned long long random_state = 0x9e3779b97f4a7c15ull;
void (*body)(void*, void**);
void* body_function;
void** body_arguments;

unsigned next_random() {
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return static_cast<unsigned>(random_state >> 33);
}

Runtime instance;

void to_scheduler(bool for_good) {
#if TELL_SANITIZER
    __sanitizer_start_switch_fiber(for_good ? nullptr : &threads[running].fake_stack, scheduler_stack,
                                   scheduler_stack_size);
#endif
    emulation_switch(&threads[running].context, &scheduler);
#if TELL_SANITIZER
    __sanitizer_finish_switch_fiber(threads[running].fake_stack, nullptr, nullptr);
#endif
    (void)for_good;
}

void start_thread() {
#if TELL_SANITIZER
    __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_stack_size);
#endif
    body(body_function, body_arguments);
    threads[running].state = DONE;
    to_scheduler(true);
}

void resume(int number) {
    running = number;
    instance.thread = threads[number].index;
#if TELL_SANITIZER
    __sanitizer_start_switch_fiber(&scheduler_fake_stack, stacks + number * (STACK + 4096) + 4096, STACK);
#endif
    emulation_switch(&scheduler, &threads[number].context);
#if TELL_SANITIZER
    __sanitizer_finish_switch_fiber(scheduler_fake_stack, nullptr, nullptr);
#endif
}

template <typename... A>
void report(const char* format, A... values) {
    if (failed) return;
    failed = true;
    const int used = snprintf(failure, failure_size, "block (%u, %u, %u): ", instance.block.x, instance.block.y,
                              instance.block.z);
    snprintf(failure + used, failure_size - static_cast<size_t>(used), format, values...);
}

void fail(const char* message) {
    report("thread (%u, %u, %u): %s", instance.thread.x, instance.thread.y, instance.thread.z, message);
    threads[running].state = DONE;
    to_scheduler(true);
}

void barrier(const char* file, int line) {
    Thread& thread = threads[running];
    thread.state = AT_BARRIER;
    thread.file = file;
    thread.line = line;
    to_scheduler(false);
}

unsigned long long warp(WarpOp op, unsigned mask, unsigned long long value, int argument, int width,
                        const char* file, int line) {
    Thread& thread = threads[running];
    if (!(mask >> running % 32 & 1)) fail("calls a warp function with a mask that does not name itself");
    if (width < 1 || width > 32 || (width & (width - 1))) fail("calls a shuffle whose width is no power of 2");
    thread.state = AT_WARP;
    thread.file = file;
    thread.line = line;
    thread.op = op;
    thread.mask = mask;
    thread.value = value;
    thread.argument = argument;
    thread.width = width;
    to_scheduler(false);
    return thread.value;
}

// The lane that a shuffle of `lane` reads.
int source_lane(const Thread& thread, int lane) {
    const int first = lane / thread.width * thread.width;
    switch (thread.op) {
        case emulation::SHUFFLE:
            return first + (thread.argument & (thread.width - 1));
        case emulation::SHUFFLE_UP:
            return lane - thread.argument < first ? lane : lane - thread.argument;
        case emulation::SHUFFLE_DOWN:
            return lane + thread.argument >= first + thread.width ? lane : lane + thread.argument;
        default: {
            const int other = lane ^ thread.argument;
            return other >= first + thread.width ? lane : other;
        }
    }
}

// Lets the lanes of a mask go on if all of them have come; `first` is the warp's first thread.
bool resolve_warp(int first, int count) {
    bool progress = false;
    unsigned handled = 0;
    for (int lane = 0; lane < count; ++lane) {
        Thread& leader = threads[first + lane];
        if (leader.state != AT_WARP || (handled >> lane & 1)) continue;
        unsigned group = 0, missing = 0;
        for (int other = 0; other < count; ++other) {
            if (!(leader.mask >> other & 1)) continue;
            const Thread& thread = threads[first + other];
            if (thread.state == DONE) continue;
            const bool here = thread.state == AT_WARP && thread.op == leader.op && thread.mask == leader.mask;
            (here ? group : missing) |= 1u << other;
        }
        handled |= group;
        if (missing) continue;
        unsigned long long results[32];
        unsigned votes = 0;
        for (int other = 0; other < count; ++other)
            if ((group >> other & 1) && threads[first + other].value) votes |= 1u << other;
        for (int other = 0; other < count; ++other) {
            if (!(group >> other & 1)) continue;
            const Thread& thread = threads[first + other];
            if (thread.op == emulation::BALLOT) results[other] = votes;
            else if (thread.op == emulation::ANY) results[other] = votes != 0;
            else if (thread.op == emulation::ALL) results[other] = votes == group;
            else if (thread.op == emulation::SYNC) results[other] = 0;
            else {
                const int source = source_lane(thread, other);
                if (source != other && !(group >> source & 1)) {
                    report("%s:%d: lane %d reads lane %d, which takes no part in the shuffle", thread.file,
                           thread.line, other, source);
                    return true;
                }
                results[other] = threads[first + source].value;
            }
        }
        for (int other = 0; other < count; ++other) {
            if (!(group >> other & 1)) continue;
            threads[first + other].value = results[other];
            threads[first + other].state = READY;
        }
        progress = true;
    }
    return progress;
}

const char* describe(const Thread& thread, char* text, size_t size) {
    const char* what = thread.state == DONE ? "has ended"
                     : thread.state == AT_WARP ? "waits for its warp at" : "waits at the barrier at";
    if (thread.state == DONE) snprintf(text, size, "thread (%u, %u, %u) %s", thread.index.x, thread.index.y,
                                       thread.index.z, what);
    else snprintf(text, size, "thread (%u, %u, %u) %s %s:%d", thread.index.x, thread.index.y, thread.index.z, what,
                  thread.file, thread.line);
    return text;
}

// Opens a barrier at which all threads stand.
bool open_barrier(int count) {
    for (int i = 0; i < count; ++i) {
        const Thread& thread = threads[i];
        if (thread.state == AT_BARRIER && thread.line == threads[0].line && !strcmp(thread.file, threads[0].file)
            && threads[0].state == AT_BARRIER)
            continue;
        char one[300], other[300];
        report("not all threads reach a barrier: %s, %s", describe(threads[0], one, sizeof one),
               describe(thread.state == threads[0].state && i == 0 ? threads[count - 1] : thread, other,
                        sizeof other));
        return false;
    }
    for (int i = 0; i < count; ++i) threads[i].state = READY;
    return true;
}

// The numbers below n, from any of them on, up or down.
struct Order {
    int n, start, step;
    explicit Order(int n) : n(n) {
        const unsigned random = next_random();
        start = static_cast<int>(random / 2 % static_cast<unsigned>(n));
        step = random % 2 ? 1 : n - 1;
    }
    int at(int i) const { return static_cast<int>((start + static_cast<long>(i) * step) % n); }
};

// Runs the threads of a warp to where they wait; whether there was anything to do.
bool run_warp(int first, int size, const Order& lanes) {
    bool ran = false, waits = false;
    for (int i = 0; i < 32 && !failed; ++i) {
        const int lane = lanes.at(i);
        if (lane >= size) continue;
        if (threads[first + lane].state == READY) {
            resume(first + lane);
            ran = true;
        }
        waits |= threads[first + lane].state == AT_WARP;
    }
    return (waits && !failed && resolve_warp(first, size)) || ran;
}

void run_block(int count) {
    for (int i = 0; i < count; ++i) {
        threads[i].state = READY;
        begin_at(&threads[i].context, stacks + i * (STACK + 4096) + 4096, STACK, start_thread);
    }
    const int warps = (count + 31) / 32;
    while (!failed) {
        // Each warp in turn as far as it gets, so that it is far ahead of the next when a barrier is missing.
        const Order order(warps), lanes(32);
        bool all_done = true;
        for (int i = 0; i < warps && !failed; ++i) {
            const int first = 32 * order.at(i), size = count - first < 32 ? count - first : 32;
            while (run_warp(first, size, lanes) && !failed) {
            }
            for (int lane = 0; lane < size; ++lane) all_done &= threads[first + lane].state == DONE;
        }
        if (failed || all_done || !open_barrier(count)) return;
    }
}

bool prepare_stacks() {
    if (stacks) return true;
    void* memory = mmap(nullptr, MAX_THREADS * (STACK + 4096), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return false;
    stacks = static_cast<unsigned char*>(memory);
    for (int i = 0; i < MAX_THREADS; ++i) mprotect(stacks + i * (STACK + 4096), 4096, PROT_NONE);
    return true;
}

}  // namespace

extern "C" {

Runtime* emulation_runtime() {
    instance.barrier = barrier;
    instance.warp = warp;
    instance.fail = fail;
    return &instance;
}

// Device memory: NaNs between two zones that nobody may write to, and whose huge values spoil what reads them.
const size_t ZONE = 512;

unsigned char* emulation_allocate(size_t size) {
    unsigned char* memory = static_cast<unsigned char*>(aligned_alloc(ZONE, (size + 3 * ZONE - 1) / ZONE * ZONE));
    if (!memory) return nullptr;
    memset(memory, 0x7f, ZONE);
    memset(memory + ZONE, 0xff, size);
    memset(memory + ZONE + size, 0x7f, ZONE);
#if TELL_SANITIZER
    __asan_poison_memory_region(memory, ZONE);
    __asan_poison_memory_region(memory + ZONE + size, ZONE);
#endif
    return memory + ZONE;
}

// Whether the zones around `data` are as they were.
int emulation_intact(const unsigned char* data, size_t size) {
#if TELL_SANITIZER
    (void)data, (void)size;
#else
    for (size_t i = 0; i < ZONE; ++i)
        if (*(data - ZONE + i) != 0x7f || data[size + i] != 0x7f) return 0;
#endif
    return 1;
}

void emulation_free(unsigned char* data, size_t size) {
#if TELL_SANITIZER
    __asan_unpoison_memory_region(data - ZONE, size + 2 * ZONE);
#else
    (void)size;
#endif
    free(data - ZONE);
}

// Runs a launch; returns 0, or 1 with a message. `statics` is the library's static shared memory.
int emulation_launch(const emulation::Entry* entry, const unsigned* grid, const unsigned* block, long shared,
                     void** arguments, unsigned char* statics, long statics_size, char* message, long message_size) {
    failure = message;
    failure_size = static_cast<size_t>(message_size);
    failed = false;
    instance.block = {0, 0, 0};
    instance.blocks = {grid[0], grid[1], grid[2]};
    instance.threads = {block[0], block[1], block[2]};
    const unsigned long long count = 1ull * block[0] * block[1] * block[2];
    if (!count || !grid[0] || !grid[1] || !grid[2]) report("a launch of no threads");
    else if (block[0] > 1024 || block[1] > 1024 || block[2] > 64 || count > MAX_THREADS)
        report("%llu threads a block, 1024 is the most", count);
    else if (grid[0] > 2147483647u || grid[1] > 65535 || grid[2] > 65535)
        report("a grid of (%u, %u, %u) blocks is more than a device takes", grid[0], grid[1], grid[2]);
    else if (shared < 0 || shared + statics_size > MAX_SHARED)
        report("%ld bytes of shared memory, %ld of them static; %ld is the most", shared + statics_size,
               statics_size, MAX_SHARED);
    else if (entry->launch_bound && count > static_cast<unsigned long long>(entry->launch_bound))
        report("%llu threads a block, the kernel's launch bounds say %ld", count, entry->launch_bound);
    else if (!prepare_stacks()) report("no memory for the stacks");
    if (failed) return 1;

    const size_t zone = 64;
    unsigned char* memory = static_cast<unsigned char*>(aligned_alloc(64, (static_cast<size_t>(shared) + zone + 127) / 64 * 64));
    instance.dynamic_shared = memory;
#if TELL_SANITIZER
    __asan_poison_memory_region(memory + shared, zone);
#endif
    body = entry->run;
    body_function = entry->function;
    body_arguments = arguments;
    int at = 0;
    for (unsigned z = 0; z < block[2]; ++z)
        for (unsigned y = 0; y < block[1]; ++y)
            for (unsigned x = 0; x < block[0]; ++x) threads[at++].index = {x, y, z};

    const unsigned long long blocks = 1ull * grid[0] * grid[1] * grid[2];
    const bool backwards = next_random() % 2;
    for (unsigned long long i = 0; i < blocks && !failed; ++i) {
        const unsigned long long number = backwards ? blocks - 1 - i : i;
        instance.block = {static_cast<unsigned>(number % grid[0]), static_cast<unsigned>(number / grid[0] % grid[1]),
                          static_cast<unsigned>(number / grid[0] / grid[1])};
        memset(memory, 0xff, static_cast<size_t>(shared));
#if !TELL_SANITIZER
        memset(memory + shared, 0xa5, zone);
#endif
        if (statics_size) memset(statics, 0xff, static_cast<size_t>(statics_size));
        run_block(static_cast<int>(count));
#if !TELL_SANITIZER
        for (size_t k = 0; k < zone; ++k)
            if (memory[shared + static_cast<long>(k)] != 0xa5) report("writes behind its dynamic shared memory");
#endif
    }
#if TELL_SANITIZER
    __asan_unpoison_memory_region(memory + shared, zone);
#endif
    free(memory);
    return failed;
}

}  // extern "C"
