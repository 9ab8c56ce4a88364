/* optimizers.inc.h - one optimizer step in one pass over parameters, gradients and state.
 *
 * All arrays are n long and distinct. Coefficients are worked out in double (cr_prepare_update) and rounded
 * to REAL once. Every step is elementwise, so an array may be cut anywhere. Subnormal state is kept.
 */

/* The rules that a pass is compiled for; the *_DECAY ones first add weight_decay * w to the gradient. */
enum {
    FN(SGD),
    FN(SGD_DECAY),
    FN(MOMENTUM),
    FN(MOMENTUM_DECAY),
    FN(NESTEROV),
    FN(NESTEROV_DECAY),
    FN(ADAM),
    FN(ADAM_DECAY),
    FN(ADAMW),
    FN(RMSPROP),
    FN(RMSPROP_DECAY),
    FN(ADAGRAD),
    FN(ADAGRAD_DECAY)
};

/* The new w; s0 and s1 are the states before and after. `rule` is a constant where this is called.
 *   SGD       w += -lr g                       one rounding: the bits of the fused product epilogue
 *   momentum  v = mu v - lr g; w += v          Nesterov: w += mu v - lr g with the new v
 *   Adam      m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w -= step m / (sqrt(v) root_scale + eps)
 *   AdamW     w -= lr decay w first
 *   RMSprop   v = rho v + (1 - rho) g^2; w -= lr g / (sqrt(v) + eps)
 *   Adagrad   s += g^2; w -= lr g / (sqrt(s) + eps) */
CR_INLINE V(t) FN(update_vector)(int rule, const cr_update *update, V(t) w, V(t) g, V(t) *s0, V(t) *s1)
{
    const V(t) minus_rate = V(set1)(-(REAL)update->learning_rate);
    const V(t) epsilon = V(set1)((REAL)update->epsilon);

    if (rule == FN(SGD_DECAY) || rule == FN(MOMENTUM_DECAY) || rule == FN(NESTEROV_DECAY) ||
        rule == FN(ADAM_DECAY) || rule == FN(RMSPROP_DECAY) || rule == FN(ADAGRAD_DECAY)) {
        g = V(fma)(V(set1)((REAL)update->weight_decay), w, g);
    }
    if (rule == FN(SGD) || rule == FN(SGD_DECAY)) {
        return V(fma)(minus_rate, g, w);
    }
    if (rule == FN(MOMENTUM) || rule == FN(MOMENTUM_DECAY)) {
        const V(t) momentum = V(set1)((REAL)update->momentum);
        *s0 = V(fma)(minus_rate, g, V(mul)(momentum, *s0));
        return V(add)(w, *s0);
    }
    if (rule == FN(NESTEROV) || rule == FN(NESTEROV_DECAY)) {
        const V(t) momentum = V(set1)((REAL)update->momentum);
        *s0 = V(fma)(minus_rate, g, V(mul)(momentum, *s0));
        return V(add)(w, V(fma)(minus_rate, g, V(mul)(momentum, *s0)));
    }
    if (rule == FN(RMSPROP) || rule == FN(RMSPROP_DECAY)) {
        const V(t) rest = V(mul)(V(set1)((REAL)(1 - update->rho)), g);
        *s0 = V(fma)(rest, g, V(mul)(V(set1)((REAL)update->rho), *s0));
        return V(fma)(minus_rate, V(div)(g, V(add)(V(sqrt)(*s0), epsilon)), w);
    }
    if (rule == FN(ADAGRAD) || rule == FN(ADAGRAD_DECAY)) {
        *s0 = V(fma)(g, g, *s0);
        return V(fma)(minus_rate, V(div)(g, V(add)(V(sqrt)(*s0), epsilon)), w);
    }
    if (rule == FN(ADAMW)) {
        const double decay = update->learning_rate * update->weight_decay;
        w = V(fma)(V(set1)(-(REAL)decay), w, w);
    }
    const V(t) rest_1 = V(set1)((REAL)(1 - update->beta_1));
    const V(t) rest_2 = V(set1)((REAL)(1 - update->beta_2));
    *s0 = V(fma)(rest_1, g, V(mul)(V(set1)((REAL)update->beta_1), *s0));
    *s1 = V(fma)(V(mul)(rest_2, g), g, V(mul)(V(set1)((REAL)update->beta_2), *s1));
    const V(t) root = V(fma)(V(sqrt)(*s1), V(set1)((REAL)update->root_scale), epsilon);
    return V(fma)(V(set1)(-(REAL)update->step_size), V(div)(*s0, root), w);
}

CR_INLINE void FN(update_pass)(int rule, const cr_update *update, size_t n, REAL *param, const REAL *grad,
                               REAL *state_0, REAL *state_1)
{
    /* A copy that nothing points to: its members stay in registers. */
    const cr_update own = *update;
    const int n_states = rule == FN(SGD) || rule == FN(SGD_DECAY) ? 0
                         : rule == FN(ADAM) || rule == FN(ADAM_DECAY) || rule == FN(ADAMW) ? 2 : 1;
    /* Vectors of a whole line: Zen 4 brings lines from memory sooner that are touched twice (10^7 elements: 1.02 to
     * 1.11). The other rules, of three streams and more, gain nothing by it. */
    const int far = rule == FN(SGD) && V_LANES * sizeof(REAL) >= 64 && n > CR_FAR_BYTES / sizeof(REAL);
    size_t i = 0, part = FN(before_line)(param, n); /* first, and again at the end: a part of a vector */
    for (;;) {
        if (part > 0) {
            const V(mask_t) live = V(mask_first)(part);
            V(t) s0 = n_states > 0 ? V(load_masked)(live, state_0 + i) : V(zero)();
            V(t) s1 = n_states > 1 ? V(load_masked)(live, state_1 + i) : V(zero)();
            const V(t) w = V(load_masked)(live, param + i), g = V(load_masked)(live, grad + i);
            V(store_masked)(live, param + i, FN(update_vector)(rule, &own, w, g, &s0, &s1));
            if (n_states > 0) {
                V(store_masked)(live, state_0 + i, s0);
            }
            if (n_states > 1) {
                V(store_masked)(live, state_1 + i, s1);
            }
            i += part;
        }
        for (; i + V_LANES <= n; i += V_LANES) {
            if (far) {
                V(prefetch)(param + i + V_LANES / 2);
                V(prefetch)(grad + i + V_LANES / 2);
            }
            V(t) s0 = n_states > 0 ? V(load)(state_0 + i) : V(zero)();
            V(t) s1 = n_states > 1 ? V(load)(state_1 + i) : V(zero)();
            V(store)(param + i, FN(update_vector)(rule, &own, V(load)(param + i), V(load)(grad + i), &s0, &s1));
            if (n_states > 0) {
                V(store)(state_0 + i, s0);
            }
            if (n_states > 1) {
                V(store)(state_1 + i, s1);
            }
        }
        part = (n - i) % V_LANES; /* of one lane there are no parts: the compiler sees it */
        if (part == 0) {
            return;
        }
    }
}

/* The kernel: the options choose a rule once. A zero decay has its own rule, so that plain SGD keeps the
 * fused epilogue's bits even where w is infinite. */
static void FN(update)(const cr_update *update, size_t n, REAL *param, const REAL *grad, REAL *state_0,
                       REAL *state_1)
{
    const int decay = update->weight_decay != 0;
    int rule = FN(SGD);
    switch (update->kind) {
    case CR_ADAM:
        rule = decay ? FN(ADAM_DECAY) : FN(ADAM);
        break;
    case CR_ADAMW:
        rule = decay ? FN(ADAMW) : FN(ADAM);
        break;
    case CR_RMSPROP:
        rule = decay ? FN(RMSPROP_DECAY) : FN(RMSPROP);
        break;
    case CR_ADAGRAD:
        rule = decay ? FN(ADAGRAD_DECAY) : FN(ADAGRAD);
        break;
    default:
        if (update->momentum == 0) {
            rule = decay ? FN(SGD_DECAY) : FN(SGD);
        } else if (update->nesterov) {
            rule = decay ? FN(NESTEROV_DECAY) : FN(NESTEROV);
        } else {
            rule = decay ? FN(MOMENTUM_DECAY) : FN(MOMENTUM);
        }
    }
#define CR_PASS(name)                                                           \
    case FN(name):                                                              \
        FN(update_pass)(FN(name), update, n, param, grad, state_0, state_1);    \
        break;
    switch (rule) {
        CR_PASS(SGD)
        CR_PASS(SGD_DECAY)
        CR_PASS(MOMENTUM)
        CR_PASS(MOMENTUM_DECAY)
        CR_PASS(NESTEROV)
        CR_PASS(NESTEROV_DECAY)
        CR_PASS(ADAM)
        CR_PASS(ADAM_DECAY)
        CR_PASS(ADAMW)
        CR_PASS(RMSPROP)
        CR_PASS(RMSPROP_DECAY)
        CR_PASS(ADAGRAD)
        CR_PASS(ADAGRAD_DECAY)
    }
#undef CR_PASS
}

/* ---- what may happen to a gradient before the step --------------------------------------------- */

/* l1 sign(w) + 2 l2 w with sign(0) = 0; NaN where w is NaN. */
CR_INLINE V(t) FN(penalty_vector)(V(t) l1, V(t) two_l2, V(t) w)
{
    const V(mask_t) is_zero = V(eq)(w, V(zero)());
    return V(fma)(two_l2, w, V(keep)(V(mask_not)(is_zero), V(copysign)(l1, w)));
}

/* g += l1 sign(w) + 2 l2 w, the gradient of l1 sum|w| + l2 sum w^2. l1 >= 0. */
static void FN(add_penalty)(size_t n, REAL l1, REAL l2, const REAL *w, REAL *g)
{
    const V(t) first = V(set1)(l1), second = V(set1)(2 * l2);
    size_t i = 0;
    for (; i + V_LANES <= n; i += V_LANES) {
        const V(t) penalty = FN(penalty_vector)(first, second, V(load)(w + i));
        V(store)(g + i, V(add)(V(load)(g + i), penalty));
    }
    if (i < n) {
        const V(t) penalty = FN(penalty_vector)(first, second, V(load_tail)(w + i, n - i));
        V(store_tail)(g + i, V(add)(V(load_tail)(g + i, n - i), penalty), n - i);
    }
}

/* x *= factor */
static void FN(scale)(size_t n, REAL factor, REAL *x)
{
    const V(t) by = V(set1)(factor);
    size_t i = 0;
    for (; i + V_LANES <= n; i += V_LANES) {
        V(store)(x + i, V(mul)(V(load)(x + i), by));
    }
    if (i < n) {
        V(store_tail)(x + i, V(mul)(V(load_tail)(x + i, n - i), by), n - i);
    }
}

/* x held to [-limit, limit], limit >= 0. x stands second in both words: a NaN stays. */
CR_INLINE V(t) FN(clip_vector)(V(t) limit, V(t) x)
{
    return V(min)(limit, V(max)(V(neg)(limit), x));
}

static void FN(clip)(size_t n, REAL limit, REAL *x)
{
    const V(t) bound = V(set1)(limit);
    size_t i = 0;
    for (; i + V_LANES <= n; i += V_LANES) {
        V(store)(x + i, FN(clip_vector)(bound, V(load)(x + i)));
    }
    if (i < n) {
        V(store_tail)(x + i, FN(clip_vector)(bound, V(load_tail)(x + i, n - i)), n - i);
    }
}
