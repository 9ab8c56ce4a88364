/* fit.inc.h - training steps: one, or an epoch of them; evaluation; the check of labels and targets. */

/* Whether there is no NaN among n targets. Up to eight are looked at here sooner than a kernel is called. */
static int RN(targets_are_sound)(size_t n, const REAL *target)
{
    if (n > 8) {
        return CURRENT()->all_within(n, target, 0, -INFINITY, INFINITY);
    }
    int bad = 0;
    for (size_t i = 0; i < n; i++) {
        bad |= target[i] != target[i];
    }
    return !bad;
}

cr_status RN(network_check_rows)(const cr_network *net, const cr_rows *rows, size_t *row)
{
    const size_t n_out = net->sizes.n_out;
    if (rows->labels != NULL) {
        for (size_t i = 0; i < rows->n_rows; i++) {
            if (rows->labels[i] < 0 || (size_t)rows->labels[i] >= n_out) {
                *row = i;
                return CR_BAD_LABEL;
            }
        }
        return CR_OK;
    }
    const REAL *target = rows->target;
    if (rows->ld_target == n_out && RN(targets_are_sound)(rows->n_rows * n_out, target)) {
        return CR_OK; /* rows side by side, all at once */
    }
    for (size_t i = 0; i < rows->n_rows; i++) {
        if (!RN(targets_are_sound)(n_out, target + i * rows->ld_target)) {
            *row = i;
            return CR_BAD_TARGET;
        }
    }
    return CR_OK;
}

/* The weighted mean of row losses; no weight at all makes no loss. */
static double RN(mean_loss)(const RN(kernels) *kernels, const double *row_loss, size_t n_rows, double total_weight)
{
    const double sum = kernels->sum_losses(n_rows, row_loss);
    return total_weight != 0.0 ? sum / total_weight : 0.0;
}

static double RN(total_weight)(const REAL *weight, const int64_t *order, size_t n_rows)
{
    double total = 0.0;
    if (weight == NULL) {
        return (double)n_rows;
    }
    for (size_t i = 0; i < n_rows; i++) {
        total += (double)weight[order == NULL ? i : (size_t)order[i]];
    }
    return total;
}

/* ---- one step ------------------------------------------------------------------------------------------ */

/* Networks of up to so many parameters are updated in one flat pass: the calls for slabs and biases would cost more
 * than a second trip through the first-level cache. */
#define FLAT_PARAMETERS ((size_t)2048)

static RN(mode) RN(choose_mode)(const cr_network *net, size_t n_threads)
{
    const cr_optimizer *o = &net->optimizer;
    if (o->clip_norm > 0.0 || (n_threads == 1 && net->sizes.n_parameters <= FLAT_PARAMETERS)) {
        return RN(GRADIENTS_ONLY);
    }
    return net->plain_sgd && !net->has_penalty && !(o->clip_value > 0.0) ? RN(FUSED_SGD) : RN(FUSED_SLABS);
}

/* Point p at rows first .. first+n-1 of `order`, or of the rows themselves without one; the batch has the size p was
 * made for. Returns the total weight. */
static double RN(set_batch)(RN(pass) *p, const cr_rows *rows, const int64_t *order, size_t first, size_t n)
{
    const cr_arena *a = &p->net->arena;
    if (order != NULL && n == 1) { /* one row need not be moved */
        first = (size_t)order[first];
        order = NULL;
    }
    if (order != NULL) {
        const size_t left = rows->n_rows - first - n;
        p->order = order + first;
        p->source = rows;
        p->n_next = left < n ? left : n;
        p->x = a->x;
        p->ld_x = a->ld_x;
        p->target = rows->target == NULL ? NULL : a->target;
        p->ld_target = a->ld_target;
        p->labels = rows->labels == NULL ? NULL : a->labels;
        p->weight = rows->weight == NULL ? NULL : a->weight;
        return RN(total_weight)(rows->weight, p->order, n);
    }
    p->order = NULL;
    p->ld_x = rows->ld_x;
    p->ld_target = rows->ld_target;
    p->x = n == 0 ? a->x : (const REAL *)rows->x + first * rows->ld_x;
    p->target = rows->target == NULL ? NULL : (const REAL *)rows->target + first * rows->ld_target;
    p->labels = rows->labels == NULL ? NULL : rows->labels + first;
    p->weight = rows->weight == NULL ? NULL : (const REAL *)rows->weight + first;
    return RN(total_weight)(p->weight, NULL, n);
}

/* Forward, loss, backward and update for the batch p points at: any network. */
static void RN(general_step)(RN(pass) *p)
{
    p->training = 1;
    p->forward = p->net->forwards;
    p->has_loss = 1;
    RN(run_phase_1)(p, 1, 1);
    RN(run_phase_2)(p);
    if (p->mode == RN(GRADIENTS_ONLY)) {
        RN(apply_gradients)(p->net, p->kernels, &p->update, p->n_threads);
    }
}

/* The same for those that small.inc.h admits. */
static void RN(small_step)(RN(pass) *p)
{
    const cr_network *net = p->net;
    if (p->order != NULL) {
        RN(gather_rows)(p, 0, p->n_rows);
    }
    const RN(small_batch) batch = {.n_rows = p->n_rows, .x = p->x, .ld_x = p->ld_x, .target = p->target,
                                   .ld_target = p->ld_target, .labels = p->labels, .weight = p->weight,
                                   .loss = (int)net->loss, .loss_options = &net->loss_options,
                                   .loss_scale = p->loss_scale, .row_loss = net->arena.row_loss};
    p->kernels->small_step(&batch, net->arena.small, net->n_layers, net->sizes.n_parameters, net->arrays.parameters,
                           net->arrays.gradients, net->state[0], net->state[1], &p->update,
                           RN(scratch_of)(p, 0));
}

/* One training step on the batch p points at. Returns its loss. */
static double RN(step)(RN(pass) *p, double total_weight, double learning_rate)
{
    cr_network *net = p->net;
    const double penalty = net->has_penalty ? RN(network_penalty)(net) : 0.0;
    cr_prepare_update(&net->optimizer, net->steps + 1, learning_rate, &p->update);
    p->loss_scale = (REAL)(total_weight != 0.0 ? 1.0 / total_weight : 0.0);
    const cr_lap lap = cr_lap_begin(&net->training, p->n_rows, p->threads);
    if (lap.n_threads != p->n_threads) {
        RN(set_threads)(p, lap.n_threads);
    }
    p->mode = RN(choose_mode)(net, p->n_threads);
    if (p->is_small) {
        RN(small_step)(p);
    } else {
        RN(general_step)(p);
    }
    cr_lap_end(&lap);
    net->steps++;
    net->forwards++;
    net->last.valid = 0; /* its arrays are this step's now */
    return RN(mean_loss)(p->kernels, net->arena.row_loss, p->n_rows, total_weight) + penalty;
}

cr_status RN(network_train_step)(cr_network *net, const cr_rows *rows, double learning_rate, double *loss)
{
    size_t bad_row;
    cr_status status = RN(network_check_rows)(net, rows, &bad_row);
    if (status == CR_OK) {
        status = RN(network_reserve)(net, rows->n_rows);
    }
    if (status != CR_OK) {
        return status;
    }
    RN(pass) p = {.net = net};
    RN(pass_for)(&p, net, rows->n_rows);
    p.is_small = RN(is_small)(net, p.kernels, rows->n_rows);
    const double total_weight = RN(set_batch)(&p, rows, NULL, 0, rows->n_rows);
    *loss = RN(step)(&p, total_weight, learning_rate);
    return CR_OK;
}

/* ---- an epoch ------------------------------------------------------------------------------------------ */

/* A watch that looks at the clock about every WATCH_SECONDS rather than at every step: a look costs 25 ns, the step
 * of a tiny network 100. */
#define WATCH_SECONDS 200e-6

typedef struct RN(watch) {
    double end, last;
    size_t stride, left; /* steps between looks; steps until the next */
} RN(watch);

static RN(watch) RN(watch_for)(double seconds)
{
    const double now = cr_seconds();
    return (RN(watch)){.end = now + seconds, .last = now, .stride = 1, .left = 1};
}

static int RN(time_is_up)(RN(watch) *watch)
{
    if (--watch->left > 0) {
        return 0;
    }
    const double now = cr_seconds();
    const double per_look = now - watch->last;
    watch->last = now;
    if (per_look < WATCH_SECONDS / 2 && watch->stride < 65536) {
        watch->stride *= 2;
    } else if (per_look > WATCH_SECONDS) {
        watch->stride = 1; /* steps have become slow: begin again */
    }
    watch->left = watch->stride;
    return now >= watch->end;
}

cr_status RN(network_fit)(cr_network *net, const cr_rows *rows, const int64_t *order, size_t batch_size,
                          const double *learning_rate, size_t n_learning_rates, size_t first_step, double seconds,
                          double *step_loss, size_t *next_step)
{
    const size_t n_steps = rows->n_rows / batch_size + (rows->n_rows % batch_size != 0);
    *next_step = first_step;
    if (first_step == n_steps) {
        return CR_OK;
    }
    const cr_status status = RN(network_reserve)(net, rows->n_rows < batch_size ? rows->n_rows : batch_size);
    if (status != CR_OK) {
        return status;
    }
    RN(watch) watch = RN(watch_for)(seconds);
    RN(pass) p = {.net = net};
    for (size_t i = first_step; i < n_steps; i++) {
        const size_t first = i * batch_size;
        const size_t left = rows->n_rows - first;
        const size_t n = left < batch_size ? left : batch_size;
        if (i == first_step || n != p.n_rows) {
            RN(pass_for)(&p, net, n);
            p.is_small = RN(is_small)(net, p.kernels, n);
        }
        const double total_weight = RN(set_batch)(&p, rows, order, first, n);
        step_loss[i] = RN(step)(&p, total_weight, learning_rate[n_learning_rates == 1 ? 0 : i]);
        *next_step = i + 1;
        if (!isfinite(step_loss[i]) || RN(time_is_up)(&watch)) {
            break;
        }
    }
    return CR_OK;
}

/* ---- evaluation ---------------------------------------------------------------------------------------- */

cr_status RN(network_evaluate)(cr_network *net, const cr_rows *rows, double *loss, REAL *prediction,
                               size_t ld_prediction)
{
    const size_t n_rows = rows->n_rows;
    size_t bad_row;
    const cr_status status = RN(network_check_rows)(net, rows, &bad_row);
    if (status != CR_OK) {
        return status;
    }
    const cr_lap lap = RN(serving_lap)(net, n_rows);
    cr_workspace *workspace = cr_workspace_take(net, lap.n_threads);
    if (workspace == NULL || !cr_workspace_losses(workspace, n_rows)) {
        if (workspace != NULL) {
            cr_workspace_give(net, workspace);
        }
        cr_lap_end(&lap);
        return CR_NO_MEMORY;
    }
    RN(serving) s = {.net = net, .kernels = CURRENT(), .workspace = workspace, .n_rows = n_rows, .x = rows->x,
                     .ld_x = rows->ld_x, .y = prediction, .ld_y = ld_prediction, .rows = rows};
    RN(serve)(&s, lap.n_threads);
    cr_lap_end(&lap);
    *loss = RN(mean_loss)(s.kernels, workspace->row_loss, n_rows, RN(total_weight)(rows->weight, NULL, n_rows))
            + RN(network_penalty)(net);
    cr_workspace_give(net, workspace);
    return CR_OK;
}
