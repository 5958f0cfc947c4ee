#include "emulator.h"

#include <csetjmp>
#include <map>
#include <mutex>
#include <string>
#include <ucontext.h>
#include <vector>

namespace emulator {

dim3 grid, block, at_block, at_thread;

namespace {

struct Kernel {
    unsigned threads;
    void (*kernel)();
    Body body;
};

std::map<std::string, Kernel>& kernels() {
    static std::map<std::string, Kernel> all;
    return all;
}

constexpr std::size_t STACK = 128 * 1024;
constexpr unsigned WARP = 32;

struct Thread {
    ucontext_t context;  // to start
    std::jmp_buf at;     // to resume, without a system call
    std::vector<char> stack = std::vector<char>(STACK);
    unsigned block_barriers, warp_barriers;
    bool begun, done;
};

std::vector<Thread*> threads;
std::jmp_buf scheduler;
unsigned current, running;
std::vector<char> room;
// two buffers, used alternately: a lane that is one exchange ahead writes into the other
unsigned char slots[2][1024 / WARP][WARP][32];

const Kernel* kernel;
void** arguments;

void enter() {
    kernel->body(kernel->kernel, arguments);
    threads[current]->done = true;
    _longjmp(scheduler, 1);
}

void leave() {
    if (!_setjmp(threads[current]->at)) _longjmp(scheduler, 1);
}

void resume(Thread& t) {
    if (_setjmp(scheduler)) return;
    if (t.begun) _longjmp(t.at, 1);
    t.begun = true;
    setcontext(&t.context);
}

// Whether every thread of `from .. to` that is not done has reached barrier `mine`.
template <class Count>
bool all_there(unsigned from, unsigned to, unsigned mine, Count count) {
    for (unsigned i = from; i < to; i++)
        if (!threads[i]->done && count(*threads[i]) < mine) return false;
    return true;
}

void sync_warp() {
    unsigned from = current / WARP * WARP, to = std::min(from + WARP, running);
    unsigned mine = ++threads[current]->warp_barriers;
    while (!all_there(from, to, mine, [](Thread& t) { return t.warp_barriers; })) leave();
}

}  // namespace

void enlist(const char* name, unsigned threads, void (*kernel)(), Body body) { kernels()[name] = {threads, kernel, body}; }

void* shared_memory() {
    auto at = reinterpret_cast<std::uintptr_t>(room.data());
    return reinterpret_cast<void*>((at + 15) / 16 * 16);
}

void sync_block() {
    unsigned mine = ++threads[current]->block_barriers;
    while (!all_there(0, running, mine, [](Thread& t) { return t.block_barriers; })) leave();
}

void exchange(const void* mine, unsigned size, void* all) {
    auto& warp = slots[threads[current]->warp_barriers % 2][current / WARP];
    memcpy(warp[current % WARP], mine, size);
    sync_warp();
    for (unsigned lane = 0; lane < WARP; lane++) memcpy(static_cast<char*>(all) + lane * size, warp[lane], size);
}

namespace {

float bf16_at(const void* at, unsigned i) {
    std::uint16_t half;
    memcpy(&half, static_cast<const char*>(at) + 2 * i, 2);
    std::uint32_t bits = std::uint32_t(half) << 16;
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

}  // namespace

void multiply_add(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    unsigned mine[6] = {a[0], a[1], a[2], a[3], b0, b1}, all[WARP][6];
    exchange(mine, sizeof mine, all);
    unsigned lane = at_thread.x % WARP;
    for (unsigned part = 0; part < 4; part++) {
        unsigned row = lane / 4, column = lane % 4 * 2 + part % 2;
        // the lane of a row and pair of columns holds element (row, k) of a; the lane of a column
        // and pair of rows holds element (k, column) of b
        for (unsigned k = 0; k < 16; k++) {
            const unsigned* left = all[row * 4 + k % 8 / 2];
            const unsigned* right = all[column * 4 + k % 8 / 2] + 4;
            d[part] += bf16_at(&left[k / 8 * 2 + part / 2], k % 2) * bf16_at(&right[k / 8], k % 2);
        }
    }
}

void load_matrices(unsigned (&r)[4], const void* row, bool transposed) {
    const void* rows[WARP];
    exchange(&row, sizeof row, rows);
    unsigned lane = at_thread.x % WARP;
    for (unsigned i = 0; i < 4; i++) {
        std::uint16_t two[2];
        for (unsigned j = 0; j < 2; j++) {
            unsigned from = transposed ? lane % 4 * 2 + j : lane / 4, at = transposed ? lane / 4 : lane % 4 * 2 + j;
            memcpy(&two[j], static_cast<const char*>(rows[8 * i + from]) + 2 * at, 2);
        }
        memcpy(&r[i], two, 4);
    }
}

}  // namespace emulator

// Runs a kernel. Returns 0; 1 if there is none of that name, 2 if it was compiled for fewer
// threads. `backwards`: threads and thread blocks run in reverse order.
extern "C" int wick_emulate(const char* name, const unsigned* grid, unsigned n_threads, unsigned shared, void** args, int backwards) {
    using namespace emulator;
    static std::mutex one_at_a_time;
    std::lock_guard<std::mutex> guard(one_at_a_time);
    auto found = kernels().find(name);
    if (found == kernels().end()) return 1;
    kernel = &found->second;
    if (n_threads > kernel->threads) return 2;
    arguments = args;
    running = n_threads;
    emulator::grid = {grid[0], grid[1], grid[2]};
    block = {n_threads, 1, 1};
    while (threads.size() < n_threads) threads.push_back(new Thread);
    unsigned n_blocks = grid[0] * grid[1] * grid[2];
    for (volatile unsigned turn = 0; turn < n_blocks; turn = turn + 1) {
        unsigned b = backwards ? n_blocks - 1 - turn : turn;
        at_block = {b % grid[0], b / grid[0] % grid[1], b / grid[0] / grid[1]};
        // reset shared memory between thread blocks: 0xff.. is NaN in every width
        room.assign(shared + 16, char(0xff));
        for (unsigned i = 0; i < n_threads; i++) {
            Thread& t = *threads[i];
            t.begun = t.done = false;
            t.block_barriers = t.warp_barriers = 0;
            getcontext(&t.context);
            t.context.uc_stack.ss_sp = t.stack.data();
            t.context.uc_stack.ss_size = STACK;
            t.context.uc_link = nullptr;
            makecontext(&t.context, enter, 0);
        }
        for (bool any = true; any;) {
            any = false;
            for (unsigned i = 0; i < n_threads; i++) {
                current = backwards ? n_threads - 1 - i : i;
                if (threads[current]->done) continue;
                any = true;
                at_thread = {current, 0, 0};
                resume(*threads[current]);
            }
        }
    }
    return 0;
}

// the kernels register themselves when the program starts
#include "kernels.cu"
