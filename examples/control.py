"""Reinforcement learning, batch 1: REINFORCE balances a pole on a cart, with a loss of our own."""

from math import cos, exp, sin

import numpy as np

import chainrule as cr

MOST_STEPS, FORCE, DT = 200, 10.0, 0.02


def push(state, action):
    """The cart-pole of Barto, Sutton and Anderson (1983), 20 ms later."""
    x, dx, angle, spin = state
    pull = (FORCE * (2 * action - 1) + 0.05 * spin**2 * sin(angle)) / 1.1
    d_spin = (9.8 * sin(angle) - cos(angle) * pull) / (0.5 * (4 / 3 - 0.1 * cos(angle) ** 2 / 1.1))
    return x + DT * dx, dx + DT * (pull - 0.05 * d_spin * cos(angle) / 1.1), angle + DT * spin, spin + DT * d_spin


def episode(policy, rng):
    """States and actions until the pole has fallen, the cart has left the track, or the time is over."""
    state, states, actions = rng.uniform(-0.05, 0.05, 4), [], []
    while len(states) < MOST_STEPS and abs(state[0]) < 2.4 and abs(state[2]) < 0.21:
        row = np.array([state], np.float32)  # the model's dtype: the call takes a third of a microsecond
        left, right = policy(row)[0]
        states.append(row[0])
        actions.append(int(rng.random() < 1 / (1 + exp(left - right))))
        state = push(state, actions[-1])
    return np.array(states), np.array(actions)


def policy_loss(logits, weights):
    """-sum_ij w_ij log p_ij and its gradient by the logits; w is advantage / n where an action was chosen, else 0."""
    log_p = cr.kernels.log_softmax(logits)
    return -float(np.sum(weights * log_p)), np.exp(log_p) * weights.sum(1, keepdims=True) - weights


def main(n_updates=60, seed=0):
    rng, lengths = np.random.default_rng(seed), []
    policy = cr.Sequential([cr.Dense(16, "tanh"), cr.Dense(2)], seed=seed)
    policy.compile(cr.Adam(0.02), policy_loss)
    policy.build(4)
    for step in range(1, n_updates + 1):
        games = [episode(policy, rng) for _ in range(8)]
        lengths.append(np.mean([len(actions) for _, actions in games]))
        x, actions = (np.concatenate(parts) for parts in zip(*games, strict=True))
        returns = np.concatenate([np.arange(len(actions), 0, -1.0) for _, actions in games])
        advantages = (returns - returns.mean()) / returns.std()
        loss = policy.train_step(x, np.eye(2)[actions] * advantages[:, None] / len(actions))
        if step % 10 == 0:
            print(f"update {step}: balances for {np.mean(lengths[-10:]):.0f} of {MOST_STEPS} steps, loss {loss:.3f}")
    return lengths


if __name__ == "__main__":
    main()
