/* arrays.inc.h - the array functions of one dtype; see arrays.c. Contracts: chainrule_kernels.inc.h. */

/* x as REAL, rounded here and not before cr_fp_enter: no compiler moves a volatile read across it. */
CR_INLINE REAL RN(rounded)(double x)
{
    if (sizeof(REAL) == sizeof(double)) {
        return (REAL)x;
    }
    volatile double here = x;
    return (REAL)here;
}

/* ---- products: rows of the output are split between threads ---------------------------------------- */

typedef struct RN(product) {
    enum { RN(FORWARD), RN(INPUT), RN(WEIGHT) } kind;
    size_t n_rows, n_in, n_out;        /* as in the public functions */
    size_t rows_per_task, n_split;     /* n_split: rows of the output */
    const REAL *a, *b, *bias, *saved;  /* x or dz; weight or dz */
    size_t ld_a, ld_b, ld_saved, ld_pre, ld_out;
    int activation;
    REAL alpha;
    REAL *pre, *out;
    REAL *scratch; /* n_scratch elements a worker */
    size_t n_scratch;
} RN(product);

static void RN(product_task)(void *argument, size_t index, size_t worker)
{
    const RN(product) *p = argument;
    const RN(kernels) *k = CURRENT();
    const size_t first = index * p->rows_per_task;
    const size_t n = p->n_split - first < p->rows_per_task ? p->n_split - first : p->rows_per_task;
    REAL *scratch = p->scratch + worker * p->n_scratch;
    switch (p->kind) {
    case RN(FORWARD):
        k->dense_forward(n, p->n_in, p->n_out, p->a + first * p->ld_a, p->ld_a, p->b, p->ld_b, p->bias,
                         p->activation, p->alpha, p->pre ? p->pre + first * p->ld_pre : NULL, p->ld_pre,
                         p->out + first * p->ld_out, p->ld_out, NULL, scratch);
        break;
    case RN(INPUT):
        k->dense_backward_input(n, p->n_in, p->n_out, p->a + first * p->ld_a, p->ld_a, p->b, p->ld_b, p->activation,
                                p->alpha, p->saved ? p->saved + first * p->ld_saved : NULL, p->ld_saved,
                                p->out + first * p->ld_out, p->ld_out, scratch);
        break;
    case RN(WEIGHT):
        k->dense_backward_weight(p->n_rows, n, p->n_out, p->a + first, p->ld_a, p->b, p->ld_b,
                                 p->out + first * p->ld_out, p->ld_out, scratch);
        break;
    }
}

static cr_status RN(run_product)(RN(product) *p)
{
    const size_t tile = CURRENT()->tile_rows;
    const double work = (double)p->n_rows * (double)p->n_in * (double)p->n_out;
    size_t n_threads = cr_threads_worth(work / CR_CORE_RATE(sizeof(REAL)), CR_RULE_SECONDS, cr_get_num_threads());
    /* Two tasks a thread, whole tiles: a late helper then costs at most half a share. */
    size_t n_tasks = n_threads == 1 ? 1 : 2 * n_threads;
    p->rows_per_task = (p->n_split / n_tasks / tile + 1) * tile;
    if (n_tasks == 1 || p->rows_per_task > p->n_split) {
        p->rows_per_task = p->n_split;
        n_threads = 1;
    }
    n_tasks = p->n_split == 0 ? 1 : (p->n_split + p->rows_per_task - 1) / p->rows_per_task;

    /* Small products must not wait for fresh pages from the system. */
    p->n_scratch = p->kind != RN(WEIGHT) || work < CR_SCRATCH_WORK ? CR_SCRATCH_MIN : CR_SCRATCH_MAX;
    void *block = malloc(n_threads * p->n_scratch * sizeof(REAL) + 64);
    if (block == NULL) {
        return CR_NO_MEMORY;
    }
    p->scratch = (REAL *)(((uintptr_t)block + 63) & ~(uintptr_t)63);
    cr_parallel_for(n_tasks, n_threads, RN(product_task), p);
    free(block);
    return CR_OK;
}

cr_status RN(dense_forward)(size_t n_rows, size_t n_in, size_t n_out, const REAL *x, size_t ld_x, const REAL *weight,
                            size_t ld_weight, const REAL *bias, int activation, double alpha, REAL *pre,
                            size_t ld_pre, REAL *y, size_t ld_y)
{
    if (cr_activation_name(activation) == NULL) {
        return CR_BAD_ARGUMENT;
    }
    const cr_fp_mode mode = cr_fp_enter();
    RN(product) p = {.kind = RN(FORWARD), .n_rows = n_rows, .n_in = n_in, .n_out = n_out, .n_split = n_rows,
                     .a = x, .ld_a = ld_x, .b = weight, .ld_b = ld_weight, .bias = bias, .activation = activation,
                     .alpha = RN(rounded)(alpha), .pre = pre, .ld_pre = ld_pre, .out = y, .ld_out = ld_y};
    const cr_status status = RN(run_product)(&p);
    cr_fp_leave(mode);
    return status;
}

cr_status RN(dense_backward_input)(size_t n_rows, size_t n_in, size_t n_out, const REAL *dz, size_t ld_dz,
                                   const REAL *weight, size_t ld_weight, int activation, double alpha,
                                   const REAL *saved, size_t ld_saved, REAL *dx, size_t ld_dx)
{
    if (cr_activation_name(activation) == NULL || cr_activation_by_row(activation)
        || (activation != CR_IDENTITY && saved == NULL && n_rows * n_in > 0)) {
        return CR_BAD_ARGUMENT;
    }
    const cr_fp_mode mode = cr_fp_enter();
    RN(product) p = {.kind = RN(INPUT), .n_rows = n_rows, .n_in = n_in, .n_out = n_out, .n_split = n_rows,
                     .a = dz, .ld_a = ld_dz, .b = weight, .ld_b = ld_weight, .activation = activation,
                     .alpha = RN(rounded)(alpha), .saved = saved, .ld_saved = ld_saved, .out = dx, .ld_out = ld_dx};
    const cr_status status = RN(run_product)(&p);
    cr_fp_leave(mode);
    return status;
}

cr_status RN(dense_backward_weight)(size_t n_rows, size_t n_in, size_t n_out, const REAL *x, size_t ld_x,
                                    const REAL *dz, size_t ld_dz, REAL *dw, size_t ld_dw, REAL *db)
{
    const cr_fp_mode mode = cr_fp_enter();
    RN(product) p = {.kind = RN(WEIGHT), .n_rows = n_rows, .n_in = n_in, .n_out = n_out, .n_split = n_in,
                     .a = x, .ld_a = ld_x, .b = dz, .ld_b = ld_dz, .out = dw, .ld_out = ld_dw};
    const cr_status status = RN(run_product)(&p);
    if (status == CR_OK && db != NULL) {
        CURRENT()->column_sums(n_rows, n_out, dz, ld_dz, db);
    }
    cr_fp_leave(mode);
    return status;
}

/* ---- elementwise and by row ------------------------------------------------------------------------- */

cr_status RN(activation)(int kind, double alpha, size_t n_rows, size_t n_cols, const REAL *x, size_t ld_x, REAL *y,
                         size_t ld_y)
{
    if (cr_activation_name(kind) == NULL) {
        return CR_BAD_ARGUMENT;
    }
    const cr_fp_mode mode = cr_fp_enter();
    CURRENT()->activation(kind, RN(rounded)(alpha), n_rows, n_cols, x, ld_x, y, ld_y);
    cr_fp_leave(mode);
    return CR_OK;
}

cr_status RN(activation_backward)(int kind, double alpha, size_t n_rows, size_t n_cols, const REAL *dy, size_t ld_dy,
                                  const REAL *saved, size_t ld_saved, REAL *dx, size_t ld_dx)
{
    if (cr_activation_name(kind) == NULL || (kind != CR_IDENTITY && saved == NULL && n_rows * n_cols > 0)) {
        return CR_BAD_ARGUMENT;
    }
    const cr_fp_mode mode = cr_fp_enter();
    CURRENT()->activation_backward(kind, RN(rounded)(alpha), n_rows, n_cols, dy, ld_dy, saved, ld_saved, dx, ld_dx);
    cr_fp_leave(mode);
    return CR_OK;
}

cr_status RN(function)(cr_function kind, size_t n, const REAL *x, REAL *y)
{
    if ((int)kind < 0 || kind >= CR_N_FUNCTIONS) {
        return CR_BAD_ARGUMENT;
    }
    const cr_fp_mode mode = cr_fp_enter();
    CURRENT()->function((int)kind, n, x, y);
    cr_fp_leave(mode);
    return CR_OK;
}

/* ---- losses ------------------------------------------------------------------------------------------ */

static cr_status RN(check_targets)(cr_loss kind, size_t n_rows, size_t n_out, const REAL *target, size_t ld_target,
                                   const int32_t *labels)
{
    if (labels != NULL) {
        if (!cr_loss_takes_labels(kind)) {
            return CR_BAD_ARGUMENT;
        }
        int bad = 0;
        for (size_t i = 0; i < n_rows; i++) {
            bad |= labels[i] < 0 || (size_t)labels[i] >= n_out;
        }
        return bad ? CR_BAD_LABEL : CR_OK;
    }
    if (ld_target == n_out) { /* rows side by side: one long row */
        n_out *= n_rows;
        n_rows = 1;
    }
    int good = 1;
    for (size_t i = 0; i < n_rows; i++) {
        good &= CURRENT()->all_within(n_out, target + i * ld_target, 0, (REAL)-INFINITY, (REAL)INFINITY);
    }
    return good ? CR_OK : CR_BAD_TARGET;
}

/* loss, its arguments checked but for the targets, within the floating-point mode: out of line, as cpu.h asks. */
CR_NOINLINE cr_status RN(loss_in_mode)(cr_loss kind, const cr_loss_options *options, int mean, size_t n_rows,
                                       size_t n_out, const REAL *prediction, size_t ld_prediction, const REAL *target,
                                       size_t ld_target, const int32_t *labels, const REAL *weight, REAL *grad,
                                       size_t ld_grad, double *loss)
{
    /* No loss is finite with a NaN in its targets, unless that row has no weight: so a finite one spares the look at
     * them (a sixth of the time of 10^5 elements). In place it would come too late for the predictions. */
    const int late = labels == NULL && weight == NULL && grad != prediction;
    cr_status status = late ? CR_OK : RN(check_targets)(kind, n_rows, n_out, target, ld_target, labels);
    if (status != CR_OK) {
        return status;
    }
    double total_weight = (double)n_rows;
    if (weight != NULL) {
        total_weight = 0.0;
        for (size_t i = 0; i < n_rows; i++) {
            total_weight += (double)weight[i];
        }
    }
    /* No weight at all: no loss and no gradient, rather than 0/0. */
    const double scale = !mean ? 1.0 : total_weight != 0.0 ? 1.0 / total_weight : 0.0;
    const double sum = CURRENT()->loss((int)kind, options, (REAL)scale, n_rows, n_out, prediction, ld_prediction,
                                       target, ld_target, labels, weight, NULL, grad, ld_grad);
    if (late && !isfinite(sum)) {
        status = RN(check_targets)(kind, n_rows, n_out, target, ld_target, NULL);
    }
    if (status == CR_OK) {
        *loss = !mean ? sum : total_weight != 0.0 ? sum / total_weight : 0.0;
    }
    return status;
}

cr_status RN(loss)(cr_loss kind, const cr_loss_options *options, int mean, size_t n_rows, size_t n_out,
                   const REAL *prediction, size_t ld_prediction, const REAL *target, size_t ld_target,
                   const int32_t *labels, const REAL *weight, REAL *grad, size_t ld_grad, double *loss)
{
    if (cr_loss_name((int)kind) == NULL || options == NULL || loss == NULL
        || (n_rows > 0 && (target == NULL) == (labels == NULL))) {
        return CR_BAD_ARGUMENT;
    }
    const cr_fp_mode mode = cr_fp_enter();
    const cr_status status = RN(loss_in_mode)(kind, options, mean, n_rows, n_out, prediction, ld_prediction, target,
                                              ld_target, labels, weight, grad, ld_grad, loss);
    cr_fp_leave(mode);
    return status;
}

/* ---- parameters ---------------------------------------------------------------------------------------- */

cr_status RN(optimizer_update)(const cr_optimizer *optimizer, uint64_t step, double learning_rate, size_t n,
                               REAL *param, const REAL *grad, REAL *state_0, REAL *state_1)
{
    if (step == 0 || !cr_optimizer_is_complete(optimizer, n, state_0, state_1)) {
        return CR_BAD_ARGUMENT;
    }
    const cr_fp_mode mode = cr_fp_enter();
    cr_update update;
    cr_prepare_update(optimizer, step, learning_rate, &update);
    CURRENT()->update(&update, n, param, grad, state_0, state_1);
    cr_fp_leave(mode);
    return CR_OK;
}

double RN(sum_squares)(size_t n, const REAL *x)
{
    const cr_fp_mode mode = cr_fp_enter();
    const double sum = CURRENT()->sum_squares(n, x);
    cr_fp_leave(mode);
    return sum;
}

size_t RN(count_not_finite)(size_t n, const REAL *x)
{
    const cr_fp_mode mode = cr_fp_enter();
    const size_t count = CURRENT()->count_not_finite(n, x);
    cr_fp_leave(mode);
    return count;
}

int RN(all_within)(size_t n, const REAL *x, int of_size, double least, double greatest)
{
    const cr_fp_mode mode = cr_fp_enter();
    const int within = CURRENT()->all_within(n, x, of_size, RN(rounded)(least), RN(rounded)(greatest));
    cr_fp_leave(mode);
    return within;
}

/* ---- dropout and normalisation --------------------------------------------------------------------------- */

cr_status RN(dropout)(double rate, uint64_t seed, uint32_t layer, uint64_t forward, size_t first_row, size_t n_rows,
                      size_t n_cols, const REAL *x, size_t ld_x, REAL *y, size_t ld_y)
{
    if (!(rate >= 0.0 && rate < 1.0)) {
        return CR_BAD_ARGUMENT;
    }
    const cr_fp_mode mode = cr_fp_enter();
    const cr_dropout_key key = {.seed = seed, .forward = forward, .layer = layer};
    CURRENT()->dropout(rate, &key, first_row, n_rows, n_cols, x, ld_x, y, ld_y);
    cr_fp_leave(mode);
    return CR_OK;
}

cr_status RN(layer_norm_forward)(size_t n_rows, size_t n_cols, double epsilon, const REAL *x, size_t ld_x,
                                 const REAL *gamma, const REAL *beta, REAL *mean, REAL *inverse_std, REAL *y,
                                 size_t ld_y)
{
    const cr_fp_mode mode = cr_fp_enter();
    CURRENT()->layer_norm_forward(n_rows, n_cols, RN(rounded)(epsilon), x, ld_x, gamma, beta, mean, inverse_std, y,
                                  ld_y);
    cr_fp_leave(mode);
    return CR_OK;
}

cr_status RN(layer_norm_backward)(size_t n_rows, size_t n_cols, const REAL *x, size_t ld_x, const REAL *gamma,
                                  const REAL *mean, const REAL *inverse_std, const REAL *dy, size_t ld_dy,
                                  REAL *dgamma, REAL *dbeta, REAL *dx, size_t ld_dx)
{
    const cr_fp_mode mode = cr_fp_enter();
    const RN(kernels) *k = CURRENT();
    k->norm_backward_parameters(0, n_rows, n_cols, x, ld_x, mean, inverse_std, dy, ld_dy, dgamma, dbeta);
    if (dx != NULL) {
        k->layer_norm_backward_input(n_rows, n_cols, x, ld_x, gamma, mean, inverse_std, dy, ld_dy, dx, ld_dx);
    }
    cr_fp_leave(mode);
    return CR_OK;
}

cr_status RN(batch_norm_forward)(int training, size_t n_rows, size_t n_cols, double epsilon, double momentum,
                                 const REAL *x, size_t ld_x, const REAL *gamma, const REAL *beta, REAL *running_mean,
                                 REAL *running_variance, REAL *mean, REAL *inverse_std, REAL *y, size_t ld_y)
{
    const cr_fp_mode mode = cr_fp_enter();
    const RN(kernels) *k = CURRENT();
    if (training && n_rows > 0) {
        k->batch_statistics(n_rows, n_cols, x, ld_x, mean, inverse_std); /* inverse_std holds the variance for now */
        k->batch_norm_fold(n_rows, n_cols, RN(rounded)(momentum), mean, inverse_std, running_mean, running_variance);
        k->inverse_std(n_cols, RN(rounded)(epsilon), inverse_std, inverse_std);
    } else {
        memmove(mean, running_mean, n_cols * sizeof(REAL));
        k->inverse_std(n_cols, RN(rounded)(epsilon), running_variance, inverse_std);
    }
    k->batch_norm_apply(n_rows, n_cols, x, ld_x, gamma, beta, mean, inverse_std, y, ld_y);
    cr_fp_leave(mode);
    return CR_OK;
}

cr_status RN(batch_norm_backward)(int training, size_t n_rows, size_t n_cols, const REAL *x, size_t ld_x,
                                  const REAL *gamma, const REAL *mean, const REAL *inverse_std, const REAL *dy,
                                  size_t ld_dy, REAL *dgamma, REAL *dbeta, REAL *dx, size_t ld_dx)
{
    const cr_fp_mode mode = cr_fp_enter();
    const RN(kernels) *k = CURRENT();
    k->norm_backward_parameters(1, n_rows, n_cols, x, ld_x, mean, inverse_std, dy, ld_dy, dgamma, dbeta);
    if (dx != NULL) {
        k->batch_norm_backward_input(n_rows, n_rows, n_cols, x, ld_x, gamma, mean, inverse_std,
                                     training ? dgamma : NULL, training ? dbeta : NULL, dy, ld_dy, dx, ld_dx);
    }
    cr_fp_leave(mode);
    return CR_OK;
}
