/* fuzz_network.inc.h - one case in one dtype; included twice by fuzz_network.c. */

/* A network, its arrays, and the arrays of its rows. */
typedef struct RN(subject) {
    cr_network *net;
    RN(array) parameters, gradients, running, state[2];
} RN(subject);

/* NULL if loss or optimizer were refused. */
static cr_network *RN(subject_open)(RN(subject) *s, const design *d, int general_only)
{
    random_state = d->values;
    s->parameters = RN(array_new)(1, d->sizes.n_parameters, 0, d->geometry % 4);
    s->gradients = RN(array_new)(1, d->sizes.n_parameters, 0, d->geometry / 4 % 4);
    s->running = RN(array_new)(1, d->sizes.n_running, 0, d->geometry / 16 % 4);
    for (size_t i = 0; i < d->sizes.n_parameters; i++) {
        s->parameters.at[i] = (REAL)(0.4 * noise());
    }
    for (size_t i = 0; i < d->sizes.n_running; i++) {
        s->running.at[i] = (REAL)(0.5 + 0.4 * noise());
    }
    for (int i = 0; i < 2; i++) {
        s->state[i] = RN(array_new)(1, d->sizes.n_parameters, 0, d->geometry / 64);
        memset(s->state[i].at, 0, d->sizes.n_parameters * sizeof(REAL));
    }
    const cr_network_arrays arrays = {.parameters = s->parameters.at, .gradients = s->gradients.at,
                                      .running = s->running.at};
    s->net = NULL;
    REQUIRE(cr_network_create(sizeof(REAL) == 4 ? CR_F32 : CR_F64, d->n_in, d->n_layers, d->layers, &arrays, d->values,
                              &s->net) == CR_OK, "create refused what measure took");
    s->net->general_only = general_only;
    if (cr_network_set_loss(s->net, d->loss, &d->options) != CR_OK
        || cr_network_set_optimizer(s->net, &d->optimizer, s->state[0].at, s->state[1].at) != CR_OK) {
        cr_network_destroy(s->net);
        s->net = NULL;
    }
    return s->net;
}

static void RN(subject_close)(RN(subject) *s)
{
    cr_network_destroy(s->net);
    RN(array_free)(&s->parameters);
    RN(array_free)(&s->gradients);
    RN(array_free)(&s->running);
    RN(array_free)(&s->state[0]);
    RN(array_free)(&s->state[1]);
}

static uint64_t RN(subject_digest)(const RN(subject) *s)
{
    uint64_t digest = RN(array_digest)(&s->parameters);
    digest = RN(digest)(digest, s->running.n, s->running.at);
    digest = RN(digest)(digest, s->state[0].n, s->state[0].at);
    return RN(digest)(digest, s->state[1].n, s->state[1].at);
}

static uint64_t RN(losses_digest)(uint64_t digest, size_t n, const double *losses)
{
    return cr_digest_f64(digest, n, losses);
}

/* Inference: rows alone are as in the batch. */
static uint64_t RN(run_predict)(RN(subject) *s, const design *d, const RN(array) *x)
{
    RN(array) y = RN(array_new)(d->n_rows, d->n_out, d->geometry % 3, 0);
    REQUIRE(cr_network_predict(s->net, d->n_rows, x->at, x->ld, y.at, y.ld) == CR_OK, "predict");
    RN(array_check_gaps)(&y, "predict");
    const size_t row = d->n_rows > 0 ? d->geometry % d->n_rows : 0;
    RN(array) alone = RN(array_new)(d->n_rows > 0, d->n_out, 0, 0), there = alone;
    REQUIRE(cr_network_predict(s->net, alone.rows, x->at + row * x->ld, x->ld, alone.at, alone.ld) == CR_OK, "predict");
    there.at = y.at + row * y.ld;
    there.ld = y.ld;
    REQUIRE(RN(array_digest)(&alone) == RN(array_digest)(&there), "row %zu alone differs, %s", row, cr_isa());
    const uint64_t digest = RN(array_digest)(&y);
    RN(array_free)(&alone);
    RN(array_free)(&y);
    return digest;
}

/* forward, backward, update. */
static uint64_t RN(run_by_hand)(RN(subject) *s, const design *d, const RN(array) *x, const RN(array) *dy)
{
    RN(array) y = RN(array_new)(d->n_rows, d->n_out, 1, 1), dx = RN(array_new)(d->n_rows, d->n_in, d->geometry % 2, 0);
    REQUIRE(cr_network_forward(s->net, d->n_rows, x->at, x->ld, 1, y.at, y.ld) == CR_OK, "forward");
    REQUIRE(cr_network_backward(s->net, d->n_rows, dy->at, dy->ld, dx.at, dx.ld) == CR_OK, "backward");
    RN(array_check_gaps)(&y, "forward");
    RN(array_check_gaps)(&dx, "backward");
    uint64_t digest = RN(array_digest)(&y) ^ 3 * RN(array_digest)(&dx) ^ 5 * RN(array_digest)(&s->gradients);
    REQUIRE(cr_network_update(s->net, 0.01) == CR_OK, "update");
    RN(array_free)(&y);
    RN(array_free)(&dx);
    return digest;
}

/* An epoch by fit, and by train_step with rows gathered here. */
static uint64_t RN(run_training)(RN(subject) *s, RN(subject) *twin, const design *d, const cr_rows *rows, size_t batch)
{
    const size_t n_steps = (rows->n_rows + batch - 1) / batch;
    double *losses = calloc(n_steps + 1, sizeof *losses), rate = 0.05;
    size_t next = 0;
    while (next < n_steps) { /* one step a call: it stops as soon as `seconds` are over */
        const size_t before = next;
        REQUIRE(cr_network_fit(s->net, rows, NULL, batch, &rate, 1, next, 0.0, losses, &next) == CR_OK, "fit");
        REQUIRE(next == before + 1, "fit went from step %zu to %zu", before, next);
    }
    for (size_t i = 0; i < n_steps; i++) {
        cr_rows part = *rows;
        const size_t first = i * batch, row = sizeof(REAL);
        part.n_rows = rows->n_rows - first < batch ? rows->n_rows - first : batch;
        part.x = (const char *)rows->x + first * rows->ld_x * row;
        part.target = rows->target ? (const char *)rows->target + first * rows->ld_target * row : NULL;
        part.labels = rows->labels ? rows->labels + first : NULL;
        part.weight = rows->weight ? (const char *)rows->weight + first * row : NULL;
        double loss = -1.0;
        REQUIRE(cr_network_train_step(twin->net, &part, rate, &loss) == CR_OK, "train_step");
        REQUIRE(loss == losses[i] || (loss != loss && losses[i] != losses[i]), "step %zu: %a by fit, %a alone", i,
                losses[i], loss);
    }
    REQUIRE(RN(subject_digest)(s) == RN(subject_digest)(twin), "fit and train_step differ, %s", cr_isa());
    const uint64_t digest = RN(losses_digest)(RN(subject_digest)(s), n_steps, losses);
    free(losses);
    (void)d;
    return digest;
}

/* Labels and targets that must be refused, and leave no trace. */
static void RN(run_refused)(RN(subject) *s, const cr_rows *rows)
{
    const uint64_t before = RN(subject_digest)(s);
    size_t bad = SIZE_MAX;
    double loss;
    const cr_status wanted = rows->labels != NULL ? CR_BAD_LABEL : CR_BAD_TARGET;
    REQUIRE(cr_network_check_rows(s->net, rows, &bad) == wanted && bad == rows->n_rows - 1, "check_rows: row %zu", bad);
    REQUIRE(cr_network_train_step(s->net, rows, 0.1, &loss) == wanted, "train_step took bad rows");
    REQUIRE(RN(subject_digest)(s) == before, "a refused train_step changed the model");
}

static uint64_t RN(run)(const design *d, int general_only)
{
    RN(subject) s, twin;
    if (RN(subject_open)(&s, d, general_only) == NULL) {
        RN(subject_close)(&s);
        return 0;
    }
    RN(subject_open)(&twin, d, general_only);
    const size_t pad = d->geometry % 5 == 0 ? 3 : 0;
    RN(array) x = RN(array_new)(d->n_rows, d->n_in, pad, d->geometry % 16),
              dy = RN(array_new)(d->n_rows, d->n_out, pad, 1);
    RN(array) target = RN(array_new)(d->n_rows, d->n_out, pad, 2), weight = RN(array_new)(1, d->n_rows, 0, 0);
    int32_t *labels = malloc((d->n_rows + 1) * sizeof *labels);
    for (size_t i = 0; i < d->n_rows; i++) {
        for (size_t j = 0; j < d->n_in; j++) {
            x.at[i * x.ld + j] = d->fill == FILL_BITS ? RN(any_bits)() : (REAL)fill_number(d->fill);
        }
        for (size_t j = 0; j < d->n_out; j++) {
            dy.at[i * dy.ld + j] = (REAL)noise();
            target.at[i * target.ld + j] = (REAL)(0.5 + 0.5 * noise());
        }
        labels[i] = (int32_t)(random_bits() % d->n_out);
        weight.at[i] = (REAL)(random_bits() % 3);
    }
    const cr_rows rows = {.n_rows = d->n_rows, .x = x.at, .ld_x = x.ld, .target = d->labels ? NULL : target.at,
                          .ld_target = target.ld, .labels = d->labels ? labels : NULL,
                          .weight = d->weighted ? weight.at : NULL};
    uint64_t digest = RN(run_predict)(&s, d, &x);
    digest = 7 * digest ^ RN(run_by_hand)(&s, d, &x, &dy);
    digest ^= RN(run_by_hand)(&twin, d, &x, &dy);
    if (d->n_rows > 0) {
        digest = 7 * digest ^ RN(run_training)(&s, &twin, d, &rows, 1 + d->geometry % d->n_rows);
        double loss = 0.0;
        REQUIRE(cr_network_evaluate(s.net, &rows, &loss, NULL, 0) == CR_OK, "evaluate");
        digest = RN(losses_digest)(digest, 1, &loss);
    }
    if (d->n_rows > 0 && d->bad_rows) {
        labels[d->n_rows - 1] = (int32_t)d->n_out;
        target.at[(d->n_rows - 1) * target.ld] = (REAL)NAN;
        RN(run_refused)(&s, &rows);
    }
    free(labels);
    RN(array_free)(&x);
    RN(array_free)(&dy);
    RN(array_free)(&target);
    RN(array_free)(&weight);
    RN(subject_close)(&s);
    RN(subject_close)(&twin);
    return digest;
}
