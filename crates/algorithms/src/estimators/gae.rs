//! Generalised advantage estimation (Schulman et al. 2016) over one response.

/// Advantages and returns of one row, each `[T]`.
///
/// ```text
/// δ_t = r_t + γ V_{t+1} − V_t,  V_{T+1} = 0;   A_t = δ_t + γ λ A_{t+1};   returns_t = A_t + V_t
/// ```
/// `values[t]` is the critic's value before token t. λ = 1 gives the return minus the value, λ = 0
/// gives δ.
///
/// ```
/// use algorithms::estimators::gae::gae;
///
/// // reward 1 at the end, value 0.5 at every token
/// let (advantages, returns) = gae(&[0.0, 0.0, 1.0], &[0.5; 3], 1.0, 1.0);
/// assert_eq!(advantages, [0.5; 3]);
/// assert_eq!(returns, [1.0; 3]);
/// ```
pub fn gae(rewards: &[f64], values: &[f64], gamma: f64, lam: f64) -> (Vec<f64>, Vec<f64>) {
    gae_of_actions(rewards, values, &vec![gamma; rewards.len()], lam)
}

/// [`gae`] over actions of different lengths: action i has the discount `discounts[i]`, γ^n for n
/// tokens.
pub fn gae_of_actions(
    rewards: &[f64],
    values: &[f64],
    discounts: &[f64],
    lam: f64,
) -> (Vec<f64>, Vec<f64>) {
    let mut advantages = vec![0.0; rewards.len()];
    let (mut next_value, mut next_advantage) = (0.0, 0.0);
    for t in (0..rewards.len()).rev() {
        let delta = rewards[t] + discounts[t] * next_value - values[t];
        next_advantage = delta + discounts[t] * lam * next_advantage;
        next_value = values[t];
        advantages[t] = next_advantage;
    }
    let returns = advantages.iter().zip(values).map(|(a, v)| a + v).collect();
    (advantages, returns)
}
