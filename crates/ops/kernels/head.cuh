// Scores of labels over a chunk of logits [rows, V] in f32: x = logit / temperature, p =
// softmax(x). One thread block per row.
#include "common.cuh"

constexpr int HEAD_THREADS = 512;

struct Sums {
    float most, sum, weighted;  // largest x, Σ exp(x − most), Σ exp(x − most)·(x − most)
};

DEVICE Sums sums(const float* logits, u32 vocab, float inverse) {
    Sums s = {-INFINITY, 0, 0};
    for (u32 i = threadIdx.x; i < vocab; i += HEAD_THREADS) s.most = fmaxf(s.most, logits[i] * inverse);
    s.most = block_max(s.most);
    for (u32 i = threadIdx.x; i < vocab; i += HEAD_THREADS) {
        float x = logits[i] * inverse - s.most, e = expf(x);
        s.sum += e;
        // exp of a large negative number is 0, and 0·(−∞) would be NaN
        s.weighted += e == 0.f ? 0.f : e * x;
    }
    s.sum = block_sum(s.sum);
    s.weighted = block_sum(s.weighted);
    return s;
}

// Writes log p of the label and the entropy to scores [2, total] in columns first + row, log Σ exp
// x to lse [total].
KERNEL(HEAD_THREADS, token_scores, const float* logits, const u32* labels, const float* inverse_temperature, float* scores, float* lse, u32 vocab,
       u32 first, u32 total) {
    u32 row = first + blockIdx.x;
    logits += u64(blockIdx.x) * vocab;
    float inverse = inverse_temperature[row];
    Sums s = sums(logits, vocab, inverse);
    if (threadIdx.x == 0) {
        float log_sum = logf(s.sum);
        scores[row] = logits[labels[row]] * inverse - s.most - log_sum;
        scores[total + row] = log_sum - s.weighted / s.sum;
        lse[row] = s.most + log_sum;
    }
}

// The gradient of the logits from the gradient of the scores [2, total]: −p·(g_logp +
// g_entropy·(log p + H))/temperature, plus g_logp/temperature at the label.
template <class T>
DEVICE void token_scores_backward(const float* logits, const u32* labels, const float* inverse_temperature, const float* scores, const float* lse,
                                  const float* grad, T* out, u32 vocab, u32 first, u32 total) {
    u32 row = first + blockIdx.x, label = labels[row];
    logits += u64(blockIdx.x) * vocab;
    out += u64(blockIdx.x) * vocab;
    float inverse = inverse_temperature[row], norm = lse[row], entropy = scores[total + row];
    float of_logp = grad[row] * inverse, of_entropy = grad[total + row] * inverse;
    for (u32 i = threadIdx.x; i < vocab; i += HEAD_THREADS) {
        float logp = logits[i] * inverse - norm, p = expf(logp);
        float g = p == 0.f ? 0.f : -p * (of_logp + of_entropy * (logp + entropy));
        out[i] = narrow<T>(i == label ? g + of_logp : g);
    }
}

KERNEL(HEAD_THREADS, token_scores_backward_f32, const float* logits, const u32* labels, const float* inverse_temperature, const float* scores,
       const float* lse, const float* grad, float* out, u32 vocab, u32 first, u32 total) {
    token_scores_backward(logits, labels, inverse_temperature, scores, lse, grad, out, vocab, first, total);
}
KERNEL(HEAD_THREADS, token_scores_backward_bf16, const float* logits, const u32* labels, const float* inverse_temperature, const float* scores,
       const float* lse, const float* grad, bf16* out, u32 vocab, u32 first, u32 total) {
    token_scores_backward(logits, labels, inverse_temperature, scores, lse, grad, out, vocab, first, total);
}

// KL(p ‖ q) of each row, from the logits and lse of both.
KERNEL(HEAD_THREADS, token_divergence, const float* p_logits, const float* q_logits, const float* inverse_temperature, const float* p_lse,
       const float* q_lse, float* kl, u32 vocab, u32 first) {
    u32 row = first + blockIdx.x;
    p_logits += u64(blockIdx.x) * vocab;
    q_logits += u64(blockIdx.x) * vocab;
    float inverse = inverse_temperature[row], sum = 0;
    for (u32 i = threadIdx.x; i < vocab; i += HEAD_THREADS) {
        float logp = p_logits[i] * inverse - p_lse[row], logq = q_logits[i] * inverse - q_lse[row], p = expf(logp);
        sum += p == 0.f ? 0.f : p * (logp - logq);
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) kl[row] = sum;
}
