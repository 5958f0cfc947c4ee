// Draws one token from each row of logits [n, V] in f32: temperature, top-k, top-p, then the token
// at quantile u of the remaining ones, in the order of ids. One thread block per row; sums in f64.
// The rules are those of crates/ops/src/sampling/cpu.rs. The kernel is longer than 80 lines: its
// steps share the sums of the thread block.
#include "common.cuh"

constexpr int SAMPLE_THREADS = 512;

struct Drawn {
    u32 id;
    float logp, entropy, max_prob;
};

// Maps a float to an integer of the same order.
DEVICE u32 order(float x) {
    u32 bits = as_bits(x);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// How a row is drawn; temperature 0 is greedy, top_k 0 is off.
struct Rule {
    float temperature, top_p;
    u32 top_k, unused;
    double u;
};

// The smallest key t for which `enough(t)` holds; `enough` is monotonic.
template <class Enough>
DEVICE u32 lowest(u32 low, u32 high, Enough enough) {
    while (low < high) {
        u32 middle = low + (high - low) / 2;
        if (enough(middle))
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

KERNEL(SAMPLE_THREADS, sample, const float* logits, const Rule* rules, Drawn* drawn, u32 vocab) {
    __shared__ double sums[SAMPLE_THREADS];
    __shared__ u32 counts[SAMPLE_THREADS];
    __shared__ u32 found;
    logits += u64(blockIdx.x) * vocab;
    Rule rule = rules[blockIdx.x];
    bool greedy = rule.temperature == 0.f;
    float temperature = greedy ? 1.f : rule.temperature;
    u32 me = threadIdx.x;

    float most = -INFINITY;
    bool broken = false;
    for (u32 i = me; i < vocab; i += SAMPLE_THREADS) {
        broken |= !(logits[i] < INFINITY);
        most = fmaxf(most, logits[i]);
    }
    most = block_max(most);
    auto weight = [&](u32 i) { return expf((logits[i] - most) / temperature); };
    auto total = [&](auto keep) {
        double sum = 0;
        for (u32 i = me; i < vocab; i += SAMPLE_THREADS)
            if (keep(order(logits[i]))) sum += double(weight(i));
        return block_sum(sum);
    };
    auto number = [&](auto keep) {
        u32 n = 0;
        for (u32 i = me; i < vocab; i += SAMPLE_THREADS) n += keep(order(logits[i])) ? 1 : 0;
        return block_sum(n);
    };
    double sum = total([](u32) { return true; }), weighted = 0;
    for (u32 i = me; i < vocab; i += SAMPLE_THREADS) {
        float w = weight(i);
        weighted += w > 0.f ? double(w) * double((logits[i] - most) / temperature) : 0.0;
    }
    weighted = block_sum(weighted);

    // keep the tokens whose key is above `edge`, and the first `ties` of those whose key equals it
    u32 edge = 0, ties = vocab;
    double mass = sum;
    if (greedy) {
        edge = order(most), ties = 1, mass = 1;
    } else {
        if (rule.top_k > 0 && rule.top_k < vocab) {
            edge = lowest(0, order(most), [&](u32 t) { return number([&](u32 key) { return key > t; }) < rule.top_k; });
            mass = total([&](u32 key) { return key >= edge; });
        }
        if (rule.top_p < 1.f) {
            double enough = double(rule.top_p) * mass;
            edge = lowest(edge, order(most), [&](u32 t) { return total([&](u32 key) { return key > t; }) < enough; });
            double above = total([&](u32 key) { return key > edge; });
            u32 on = number([&](u32 key) { return key == edge; });
            double each = on > 0 ? total([&](u32 key) { return key == edge; }) / on : 0;
            ties = 0;
            while (ties < on && above + ties * each < enough) ties++;
            mass = above + ties * each;
        }
    }

    // each thread has a run of consecutive ids; count the ties of the runs before
    u32 each = (vocab + SAMPLE_THREADS - 1) / SAMPLE_THREADS, from = min(me * each, vocab), to = min(from + each, vocab);
    u32 on = 0;
    for (u32 i = from; i < to; i++) on += order(logits[i]) == edge ? 1 : 0;
    counts[me] = on;
    __syncthreads();
    u32 before = 0;
    for (u32 i = 0; i < me; i++) before += counts[i];
    auto run = [&](auto visit) {
        u32 seen = before;
        for (u32 i = from; i < to; i++) {
            u32 key = order(logits[i]);
            bool keep = key > edge || (key == edge && seen < ties);
            seen += key == edge ? 1 : 0;
            if (keep && visit(i, double(weight(i)))) return;
        }
    };
    double own = 0;
    run([&](u32, double w) {
        own += w;
        return false;
    });
    sums[me] = own;
    if (me == 0) found = vocab;
    __syncthreads();
    // the first run in which the running sum passes the target; if rounding leaves none, the last
    // with a positive weight
    if (me == 0) {
        double target = greedy ? 0 : rule.u * mass, running = 0, behind = 0;
        u32 last = 0;
        for (u32 i = 0; i < SAMPLE_THREADS && running <= target; i++) {
            if (sums[i] <= 0) continue;
            last = i;
            behind = running;
            running += sums[i];
        }
        counts[0] = last;
        sums[0] = target - behind;
    }
    __syncthreads();
    if (me == counts[0]) {
        double left = sums[0], running = 0;
        u32 id = vocab;
        run([&](u32 i, double w) {
            if (w > 0) id = i;
            running += w;
            return running > left;
        });
        found = id;
    }
    bool any_broken = block_sum(broken ? 1u : 0u) > 0;
    __syncthreads();
    if (me == 0) {
        u32 id = any_broken ? vocab : found;
        float x = id < vocab ? (logits[id] - most) / temperature : 0.f;
        double log_sum = log(sum);
        drawn[blockIdx.x] = {id, float(double(x) - log_sum), float(log_sum - weighted / sum), float(1.0 / (greedy ? sum : mass))};
    }
}
