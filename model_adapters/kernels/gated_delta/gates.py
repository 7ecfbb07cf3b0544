"""The two gates of the rule inside a kernel: read, or computed from the outputs of the projections."""

import triton
import triton.language as tl

# exp(-40) is too small to change any fp32 sum. The floor keeps sums of log-decays exact, and replaces a decay of
# exactly 0 (log -inf), whose differences would be NaN, by one with the same outputs.
LOWEST_LOG_DECAY = tl.constexpr(-40.0)


@triton.jit
def load_gates(p_decay, p_beta, m_t, p_decay_rate_log, p_decay_bias, beta_scale, RAW_GATES: tl.constexpr):
    """Log-decay and beta in fp32 at the given addresses; masked tokens neither decay nor write (both 0)."""
    b_decay = tl.load(p_decay, mask=m_t, other=0.0).to(tl.float32)
    b_beta = tl.load(p_beta, mask=m_t, other=0.0).to(tl.float32)
    if RAW_GATES:
        b_shifted = b_decay + tl.load(p_decay_bias).to(tl.float32)
        b_softplus = tl.maximum(b_shifted, 0.0) + tl.log(1.0 + tl.exp(-tl.abs(b_shifted)))
        b_decay = -tl.exp(tl.load(p_decay_rate_log).to(tl.float32)) * b_softplus
        b_beta = beta_scale / (1.0 + tl.exp(-b_beta))
        b_decay = tl.where(m_t, b_decay, 0.0)
        b_beta = tl.where(m_t, b_beta, 0.0)
    return tl.maximum(b_decay, LOWEST_LOG_DECAY), b_beta
