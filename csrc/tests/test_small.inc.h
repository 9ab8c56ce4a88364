/* test_small.inc.h - the tests of one dtype; included twice by test_small.c. */

/* A network with all its arrays; the data has every array it needs and not an element more. */
typedef struct RN(subject) {
    cr_network *net;
    size_t n_parameters;
    REAL *parameters, *gradients, *state[2];
} RN(subject);

static REAL *RN(values)(size_t n, double scale, double shift)
{
    REAL *a = malloc((n + 1) * sizeof(REAL));
    for (size_t i = 0; i < n; i++) {
        a[i] = (REAL)(shift + scale * noise());
    }
    return a;
}

static RN(subject) RN(subject_new)(const design *d, size_t k, int general_only)
{
    cr_network_sizes sizes;
    const cr_loss_options options = {.delta = 0.5, .quantile = 0.3, .label_smoothing = 0.1, .pos_weight = 2};
    CHECK(cr_network_measure(d->n_in, d->n_layers, d->layers, &sizes) == CR_OK, "%zu: measure", k);
    RN(subject) s = {.n_parameters = sizes.n_parameters};
    state = k;
    s.parameters = RN(values)(s.n_parameters, 0.4, 0);
    s.gradients = RN(values)(s.n_parameters, 0, 0);
    s.state[0] = RN(values)(s.n_parameters, 0, 0);
    s.state[1] = RN(values)(s.n_parameters, 0, 0);
    const cr_network_arrays arrays = {.parameters = s.parameters, .gradients = s.gradients};
    const cr_dtype dtype = sizeof(REAL) == sizeof(float) ? CR_F32 : CR_F64;
    CHECK(cr_network_create(dtype, d->n_in, d->n_layers, d->layers, &arrays, 1, &s.net) == CR_OK, "%zu: create", k);
    CHECK(cr_network_set_loss(s.net, d->loss, &options) == CR_OK, "%zu: set_loss", k);
    CHECK(cr_network_set_optimizer(s.net, d->optimizer, s.state[0], s.state[1]) == CR_OK, "%zu: optimizer", k);
    s.net->general_only = general_only;
    return s;
}

static void RN(subject_free)(RN(subject) *s)
{
    cr_network_destroy(s->net);
    free(s->parameters);
    free(s->gradients);
    free(s->state[0]);
    free(s->state[1]);
}

static int RN(same)(const RN(subject) *a, const RN(subject) *b)
{
    const size_t bytes = a->n_parameters * sizeof(REAL);
    return memcmp(a->parameters, b->parameters, bytes) == 0 && memcmp(a->state[0], b->state[0], bytes) == 0
           && memcmp(a->state[1], b->state[1], bytes) == 0;
}

/* Predictions of 1 to 17 rows both ways; what lies between the rows of y stays as it was. */
static void RN(test_predict)(const RN(subject) *small, const RN(subject) *general, size_t k, size_t n_in, size_t n_out)
{
    for (size_t n_rows = 1; n_rows <= 17; n_rows++) {
        const size_t ld_x = n_in + pick(3), ld_y = n_out + pick(3);
        REAL *x = RN(values)(n_rows * ld_x, 1, 0);
        REAL *y[2] = {RN(values)(n_rows * ld_y, 0, 7), RN(values)(n_rows * ld_y, 0, 7)};
        CHECK(cr_network_predict(small->net, n_rows, x, ld_x, y[0], ld_y) == CR_OK, "%zu: predict", k);
        CHECK(cr_network_predict(general->net, n_rows, x, ld_x, y[1], ld_y) == CR_OK, "%zu: predict", k);
        CHECK(memcmp(y[0], y[1], n_rows * ld_y * sizeof(REAL)) == 0, "%zu, %s: predictions of %zu rows differ", k,
              cr_isa(), n_rows);
        free(x);
        free(y[0]);
        free(y[1]);
    }
}

/* Both ways through fit, the last batch a short one, and one train_step more. Returns whether the short way was
 * taken. */
static size_t RN(test_small)(const design *d, size_t k)
{
    RN(subject) small = RN(subject_new)(d, k, 0), general = RN(subject_new)(d, k, 1);
    const size_t n_out = d->layers[d->n_layers - 1].n_out;
    const size_t n_rows = N_STEPS * d->n_rows - d->n_rows / 2, ld_x = d->n_in + pick(3), ld_target = n_out + pick(3);
    REAL *x = RN(values)(n_rows * ld_x, 1, 0), *target = RN(values)(n_rows * ld_target, 0.5, 0.5);
    REAL *weight = RN(values)(n_rows, 1, 1);
    int32_t *labels = malloc(n_rows * sizeof *labels);
    int64_t *order = malloc(n_rows * sizeof *order);
    for (size_t i = 0; i < n_rows; i++) {
        labels[i] = (int32_t)pick(n_out);
    }
    cr_random_permutation(3, k, n_rows, order);
    const cr_rows rows = {.n_rows = n_rows, .x = x, .ld_x = ld_x, .target = d->labels ? NULL : target,
                          .ld_target = ld_target, .labels = d->labels ? labels : NULL,
                          .weight = d->weighted ? weight : NULL};
    const double rate = 0.01;
    double loss[2][N_STEPS + 1];
    memset(loss, 0, sizeof loss);
    size_t next[2];
    CHECK(cr_network_fit(small.net, &rows, d->ordered ? order : NULL, d->n_rows, &rate, 1, 0, 1e9, loss[0], &next[0])
              == CR_OK, "%zu: fit", k);
    CHECK(cr_network_fit(general.net, &rows, d->ordered ? order : NULL, d->n_rows, &rate, 1, 0, 1e9, loss[1], &next[1])
              == CR_OK, "%zu: fit", k);
    cr_rows first = rows;
    first.n_rows = d->n_rows;
    CHECK(cr_network_train_step(small.net, &first, rate, &loss[0][N_STEPS]) == CR_OK, "%zu: train_step", k);
    CHECK(cr_network_train_step(general.net, &first, rate, &loss[1][N_STEPS]) == CR_OK, "%zu: train_step", k);
    CHECK(next[0] == next[1] && memcmp(loss[0], loss[1], sizeof loss[0]) == 0, "%zu, %s: losses differ", k, cr_isa());
    CHECK(RN(same)(&small, &general), "%zu, %s: parameters or states differ", k, cr_isa());
    RN(test_predict)(&small, &general, k, d->n_in, n_out);
    const size_t is_small = small.net->arena.small_lanes != 0; /* set when a batch first takes the short way */
    n_finite += isfinite(loss[0][N_STEPS]) && next[0] == N_STEPS;
    n_run++;
    RN(subject_free)(&small);
    RN(subject_free)(&general);
    free(x);
    free(target);
    free(weight);
    free(labels);
    free(order);
    return is_small;
}
