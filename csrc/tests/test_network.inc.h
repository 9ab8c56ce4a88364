/* test_network.inc.h - network tests of one dtype; included twice by test_network.c. */

/* A network with arrays of its own and a batch of data to train on. */
typedef struct RN(subject) {
    const design *design;
    cr_network *net;
    cr_network_sizes sizes;
    REAL *parameters, *gradients, *running, *state[2]; /* one block */
    REAL *x, *target, *weight;
    int32_t *labels;
    size_t ld_x, ld_target;
} RN(subject);

/* Rows of data for epochs of three batches, two for the large designs; the last is short. */
#define DATA_ROWS(design) (((design)->n_rows > 200 ? 2 : 3) * (design)->n_rows - (design)->n_rows / 3)

static RN(subject) RN(subject_new)(const design *d, const cr_optimizer *optimizer, int weighted)
{
    RN(subject) s = {.design = d, .ld_x = d->n_in + 3};
    CHECK(cr_network_measure(d->n_in, d->n_layers, d->layers, &s.sizes) == CR_OK, "%s: measure", d->name);
    const size_t n = s.sizes.n_parameters + 1, n_rows = DATA_ROWS(d), n_out = s.sizes.n_out;
    s.ld_target = n_out + 2;
    s.parameters = calloc(4 * n + s.sizes.n_running + 1, sizeof(REAL));
    s.gradients = s.parameters + n;
    s.state[0] = s.gradients + n;
    s.state[1] = s.state[0] + n;
    s.running = s.state[1] + n;
    for (size_t i = 0; i + 1 < n; i++) {
        s.parameters[i] = (REAL)(0.4 * noise(i));
    }
    for (size_t i = 0; i < s.sizes.n_running; i++) {
        s.running[i] = (REAL)(1.0 + 0.5 * noise(i + 77));
    }
    s.x = calloc(n_rows * s.ld_x, sizeof(REAL));
    s.target = calloc(n_rows * s.ld_target, sizeof(REAL));
    s.labels = d->labels ? calloc(n_rows, sizeof(int32_t)) : NULL;
    s.weight = weighted ? calloc(n_rows, sizeof(REAL)) : NULL;
    for (size_t i = 0; i < n_rows; i++) {
        for (size_t j = 0; j < d->n_in; j++) {
            s.x[i * s.ld_x + j] = (REAL)noise(1000 * i + j + 5);
        }
        for (size_t j = 0; j < n_out; j++) {
            s.target[i * s.ld_target + j] = (REAL)(0.5 + 0.5 * noise(1000 * i + j + 500000));
        }
        if (s.labels != NULL) {
            s.labels[i] = (int32_t)((7 * i + i / 3) % n_out);
        }
        if (weighted) {
            s.weight[i] = (REAL)(i % 4 == 1 ? 0.0 : 1.0 + noise(i));
        }
    }
    const cr_network_arrays arrays = {.parameters = s.parameters, .gradients = s.gradients, .running = s.running};
    CHECK(cr_network_create(DTYPE, d->n_in, d->n_layers, d->layers, &arrays, 42, &s.net) == CR_OK, "create");
    CHECK(cr_network_set_loss(s.net, d->loss, &loss_options) == CR_OK, "set_loss");
    CHECK(cr_network_set_optimizer(s.net, optimizer, s.state[0], s.state[1]) == CR_OK, "set_optimizer");
    return s;
}

static void RN(subject_free)(RN(subject) *s)
{
    cr_network_destroy(s->net);
    free(s->parameters);
    free(s->x);
    free(s->target);
    free(s->labels);
    free(s->weight);
}

/* Rows first .. first+n-1 of the subject's data. */
static cr_rows RN(rows)(const RN(subject) *s, size_t first, size_t n)
{
    return (cr_rows){.n_rows = n,
                     .x = s->x + first * s->ld_x,
                     .ld_x = s->ld_x,
                     .target = s->labels ? NULL : s->target + first * s->ld_target,
                     .ld_target = s->ld_target,
                     .labels = s->labels ? s->labels + first : NULL,
                     .weight = s->weight ? s->weight + first : NULL};
}

/* Is all that training changes (but the gradients) the same, bit for bit? */
static int RN(same)(const RN(subject) *a, const RN(subject) *b)
{
    const size_t n = a->sizes.n_parameters * sizeof(REAL);
    return memcmp(a->parameters, b->parameters, n) == 0 && memcmp(a->state[0], b->state[0], n) == 0
           && memcmp(a->state[1], b->state[1], n) == 0
           && memcmp(a->running, b->running, a->sizes.n_running * sizeof(REAL)) == 0
           && cr_network_steps(a->net) == cr_network_steps(b->net)
           && cr_network_forwards(a->net) == cr_network_forwards(b->net);
}

/* A step by hand: forward, loss, backward, update. */
static double RN(explicit_step)(RN(subject) *s, const cr_rows *r, double learning_rate)
{
    const size_t n_out = s->sizes.n_out;
    REAL *y = malloc(r->n_rows * n_out * sizeof(REAL) + 1);
    REAL *dx = malloc(r->n_rows * s->design->n_in * sizeof(REAL) + 1);
    const double penalty = cr_network_penalty(s->net);
    double loss = 0.0;
    CHECK(cr_network_forward(s->net, r->n_rows, r->x, r->ld_x, 1, y, n_out) == CR_OK, "forward");
    CHECK(RN(loss)(s->design->loss, &loss_options, 1, r->n_rows, n_out, y, n_out, r->target, r->ld_target, r->labels,
                   r->weight, y, n_out, &loss) == CR_OK, "loss");
    CHECK(cr_network_backward(s->net, r->n_rows, y, n_out, dx, s->design->n_in) == CR_OK, "backward");
    CHECK(cr_network_update(s->net, learning_rate) == CR_OK, "update");
    free(y);
    free(dx);
    return loss + penalty;
}

/* Explicit steps, train_step, fit in order, fit by an order: the same bits in weights, states and losses. */
static void RN(test_paths)(void)
{
    for (size_t k = 0; k < n_designs * N_OPTIMIZERS_TESTED; k++) {
        const design *d = &designs[k / N_OPTIMIZERS_TESTED];
        const size_t o = k % N_OPTIMIZERS_TESTED;
        const cr_optimizer *optimizer = &optimizers[o].optimizer;
        const double rate = optimizers[o].learning_rate;
        const int weighted = (int)(k % 2);
        const size_t n_rows = DATA_ROWS(d), n_batches = (n_rows + d->n_rows - 1) / d->n_rows;
        RN(subject) by_hand = RN(subject_new)(d, optimizer, weighted);
        RN(subject) stepped = RN(subject_new)(d, optimizer, weighted);
        RN(subject) fitted = RN(subject_new)(d, optimizer, weighted);
        RN(subject) shuffled = RN(subject_new)(d, optimizer, weighted);
        double loss[4] = {0}, fit_loss[4] = {0}, shuffled_loss[4] = {0};
        int equal = 1;
        for (size_t i = 0; i < n_batches; i++) {
            const size_t first = i * d->n_rows;
            const cr_rows r = RN(rows)(&stepped, first, n_rows - first < d->n_rows ? n_rows - first : d->n_rows);
            const double loss_by_hand = RN(explicit_step)(&by_hand, &r, rate);
            CHECK(cr_network_train_step(stepped.net, &r, rate, &loss[i]) == CR_OK, "train_step");
            equal &= loss_by_hand == loss[i] && isfinite(loss[i]);
        }
        CHECK(equal, "%s, %s: loss of explicit steps and train_step differ", d->name, optimizers[o].name);
        CHECK(RN(same)(&by_hand, &stepped), "%s, %s: explicit steps and train_step differ", d->name,
              optimizers[o].name);

        /* The same rows moved to other places, and an order that brings them back. */
        int64_t *order = malloc(n_rows * sizeof *order);
        cr_random_permutation(3, 0, n_rows, order);
        for (size_t i = 0; i < n_rows; i++) {
            const size_t to = (size_t)order[i];
            memcpy(shuffled.x + to * shuffled.ld_x, fitted.x + i * fitted.ld_x, d->n_in * sizeof(REAL));
            memcpy(shuffled.target + to * shuffled.ld_target, fitted.target + i * fitted.ld_target,
                   fitted.sizes.n_out * sizeof(REAL));
            if (fitted.labels) {
                shuffled.labels[to] = fitted.labels[i];
            }
            if (weighted) {
                shuffled.weight[to] = fitted.weight[i];
            }
        }
        const cr_rows all = RN(rows)(&fitted, 0, n_rows), all_shuffled = RN(rows)(&shuffled, 0, n_rows);
        size_t next = 99;
        CHECK(cr_network_fit(fitted.net, &all, NULL, d->n_rows, &rate, 1, 0, INFINITY, fit_loss, &next) == CR_OK
                  && next == n_batches, "fit");
        CHECK(memcmp(loss, fit_loss, sizeof loss) == 0 && RN(same)(&stepped, &fitted),
              "%s, %s: train_step and fit differ", d->name, optimizers[o].name);
        /* One step a call, as when the time is up at once. */
        for (next = 0; next < n_batches;) {
            const size_t before = next;
            CHECK(cr_network_fit(shuffled.net, &all_shuffled, order, d->n_rows, &rate, 1, before, 0.0, shuffled_loss,
                                 &next) == CR_OK && next == before + 1, "fit of one step went to %zu", next);
        }
        CHECK(memcmp(loss, shuffled_loss, sizeof loss) == 0 && RN(same)(&stepped, &shuffled),
              "%s, %s: train_step and fit by an order differ", d->name, optimizers[o].name);
        free(order);
        RN(subject_free)(&by_hand);
        RN(subject_free)(&stepped);
        RN(subject_free)(&fitted);
        RN(subject_free)(&shuffled);
    }
}

/* An epoch on every usable instruction set with 1 to 4 threads: the same bits. Sets other than the chosen one, which
 * may be slow, take part in Adam's run only, with 1 and 4 threads. */
static void RN(test_threads_and_isas)(void)
{
    const char *chosen = cr_isa();
    for (size_t k = 0; k < n_designs; k++) {
        const design *d = &designs[k];
        const size_t o[] = {0, 5, 3};
        for (size_t j = 0; j < 3; j++) {
            RN(subject) first = RN(subject_new)(d, &optimizers[o[j]].optimizer, 1);
            const size_t n_rows = DATA_ROWS(d), n_out = first.sizes.n_out;
            REAL *y[2] = {calloc(n_rows * n_out, sizeof(REAL)), calloc(n_rows * n_out, sizeof(REAL))};
            double loss[2][5] = {{0}};
            const double rate = optimizers[o[j]].learning_rate;
            int is_first = 1;
            for (size_t isa = 0; cr_isa_name(1, isa) != NULL; isa++) {
                const int is_chosen = strcmp(cr_isa_name(1, isa), chosen) == 0;
                if (!is_chosen && j != 1) {
                    continue;
                }
                CHECK(cr_set_isa(cr_isa_name(1, isa)) == CR_OK, "set_isa");
                cr_check_ran(cr_isa_name(1, isa));
                const size_t step = is_chosen ? 1 : 3;
                for (size_t n_threads = 1; n_threads <= 4; n_threads += step) {
                    cr_set_num_threads(n_threads);
                    RN(subject) other = {0};
                    RN(subject) *s = &first;
                    if (!is_first) {
                        other = RN(subject_new)(d, &optimizers[o[j]].optimizer, 1);
                        s = &other;
                    }
                    const cr_rows all = RN(rows)(s, 0, n_rows);
                    double *losses = loss[!is_first];
                    size_t next;
                    CHECK(cr_network_fit(s->net, &all, NULL, d->n_rows, &rate, 1, 0, INFINITY, losses, &next) == CR_OK,
                          "fit");
                    CHECK(cr_network_evaluate(s->net, &all, &losses[4], NULL, 0) == CR_OK, "evaluate");
                    CHECK(cr_network_predict(s->net, n_rows, s->x, s->ld_x, y[!is_first], n_out) == CR_OK, "predict");
                    if (!is_first) {
                        CHECK(memcmp(loss[0], loss[1], sizeof loss[0]) == 0 && RN(same)(&first, &other),
                              "%s, %s: %s with %zu threads trains differently", d->name, optimizers[o[j]].name,
                              cr_isa(), n_threads);
                        CHECK(memcmp(y[0], y[1], n_rows * n_out * sizeof(REAL)) == 0,
                              "%s: %s with %zu threads predicts differently", d->name, cr_isa(), n_threads);
                        RN(subject_free)(&other);
                    }
                    is_first = 0;
                }
            }
            free(y[0]);
            free(y[1]);
            RN(subject_free)(&first);
        }
    }
    cr_set_num_threads(0);
    cr_set_isa(chosen);
}

/* predict = forward at inference = evaluate's prediction, row by row or all at once, and it changes nothing. */
static void RN(test_inference)(void)
{
    for (size_t k = 0; k < n_designs; k++) {
        RN(subject) s = RN(subject_new)(&designs[k], &optimizers[0].optimizer, 1);
        RN(subject) twin = RN(subject_new)(&designs[k], &optimizers[0].optimizer, 1);
        const size_t n_rows = DATA_ROWS(s.design), n_out = s.sizes.n_out, size = n_rows * n_out * sizeof(REAL);
        REAL *y = malloc(size), *other = malloc(size);
        double loss = 0.0, expected = 0.0;
        const cr_rows all = RN(rows)(&s, 0, n_rows);
        CHECK(cr_network_predict(s.net, n_rows, s.x, s.ld_x, y, n_out) == CR_OK, "predict");
        CHECK(cr_network_forward(s.net, n_rows, s.x, s.ld_x, 0, other, n_out) == CR_OK, "forward");
        CHECK(memcmp(y, other, size) == 0, "%s: predict and forward differ", s.design->name);
        for (size_t i = 0; i < n_rows; i++) {
            cr_network_predict(s.net, 1, s.x + i * s.ld_x, s.ld_x, other + i * n_out, n_out);
        }
        CHECK(memcmp(y, other, size) == 0, "%s: predictions depend on the batch", s.design->name);
        memset(other, 0, size);
        CHECK(cr_network_evaluate(s.net, &all, &loss, other, n_out) == CR_OK, "evaluate");
        CHECK(memcmp(y, other, size) == 0, "%s: evaluate predicts differently", s.design->name);
        CHECK(RN(loss)(s.design->loss, &loss_options, 1, n_rows, n_out, y, n_out, all.target, all.ld_target, all.labels,
                       all.weight, NULL, 0, &expected) == CR_OK, "loss");
        CHECK(loss == expected + cr_network_penalty(s.net), "%s: evaluate %g, loss %g", s.design->name, loss, expected);
        CHECK(RN(same)(&s, &twin), "%s: inference changed something", s.design->name);
        free(y);
        free(other);
        RN(subject_free)(&s);
        RN(subject_free)(&twin);
    }
}

#if !defined(_WIN32)
typedef struct RN(server) {
    const RN(subject) *subject;
    const REAL *expected;
    int good;
} RN(server);

static void *RN(serve_many)(void *argument)
{
    RN(server) *server = argument;
    const RN(subject) *s = server->subject;
    const size_t n_rows = DATA_ROWS(s->design), n_out = s->sizes.n_out;
    REAL *y = malloc(n_rows * n_out * sizeof(REAL));
    server->good = 1;
    for (int i = 0; i < 20; i++) {
        memset(y, 0, n_rows * n_out * sizeof(REAL));
        server->good &= cr_network_predict(s->net, n_rows, s->x, s->ld_x, y, n_out) == CR_OK;
        server->good &= memcmp(y, server->expected, n_rows * n_out * sizeof(REAL)) == 0;
    }
    free(y);
    return NULL;
}

static void RN(test_concurrent_predict)(void)
{
    static const char *const names[] = {"everything", "wide norms"};
    cr_set_num_threads(3);
    for (size_t k = 0; k < 2; k++) {
        RN(subject) s = RN(subject_new)(design_named(names[k]), &optimizers[0].optimizer, 0);
        const size_t n_rows = DATA_ROWS(s.design);
        REAL *y = malloc(n_rows * s.sizes.n_out * sizeof(REAL));
        cr_network_predict(s.net, n_rows, s.x, s.ld_x, y, s.sizes.n_out);
        RN(server) servers[3];
        pthread_t threads[3];
        for (size_t i = 0; i < 3; i++) {
            servers[i] = (RN(server)){&s, y, 0};
            pthread_create(&threads[i], NULL, RN(serve_many), &servers[i]);
        }
        for (size_t i = 0; i < 3; i++) {
            pthread_join(threads[i], NULL);
            CHECK(servers[i].good, "%s: concurrent predictions differ", s.design->name);
        }
        free(y);
        RN(subject_free)(&s);
    }
    cr_set_num_threads(0);
}
#endif

/* After reserve nothing allocates for batches up to it, and a failed reserve leaves all as it was. */
static void RN(test_memory)(void)
{
    for (size_t k = 0; k < n_designs; k++) {
        RN(subject) s = RN(subject_new)(&designs[k], &optimizers[5].optimizer, 1);
        const design *d = s.design;
        const cr_rows all = RN(rows)(&s, 0, DATA_ROWS(d)), batch = RN(rows)(&s, 0, d->n_rows);
        const size_t n_out = s.sizes.n_out;
        REAL *y = malloc(d->n_rows * n_out * sizeof(REAL));
        int64_t *order = malloc(DATA_ROWS(d) * sizeof *order);
        cr_random_permutation(1, 0, DATA_ROWS(d), order);
        double loss[4];
        const double rate = 0.01;
        size_t next;
        CHECK(cr_network_reserve(s.net, d->n_rows) == CR_OK, "reserve");
        /* The first parallel region of the process starts threads, which is not the network's doing. */
        cr_network_train_step(s.net, &batch, 0.01, loss);
        cr_network_predict(s.net, d->n_rows, s.x, s.ld_x, y, n_out);
        CHECK(s.net->arena.slab_size * sizeof(REAL) % 64 == 0, "%s: one worker's slab begins on a line", d->name);
        const void *block = s.net->arena.block, *spare = atomic_load(&s.net->spare);
        const size_t in_use = BYTES_IN_USE();
        cr_network_train_step(s.net, &batch, 0.01, loss);
        cr_network_fit(s.net, &all, order, d->n_rows, &rate, 1, 0, INFINITY, loss, &next);
        cr_network_forward(s.net, d->n_rows, s.x, s.ld_x, 1, y, n_out);
        cr_network_backward(s.net, d->n_rows, y, n_out, NULL, 0);
        cr_network_update(s.net, 0.01);
        cr_network_predict(s.net, d->n_rows, s.x, s.ld_x, y, n_out);
        CHECK(in_use == BYTES_IN_USE() && block == s.net->arena.block && spare == atomic_load(&s.net->spare),
              "%s: something allocated", d->name);
        cr_network_forward(s.net, d->n_rows, s.x, s.ld_x, 1, y, n_out);
        CHECK(cr_network_reserve(s.net, SIZE_MAX / 8) == CR_NO_MEMORY, "too large a reserve");
        CHECK(cr_network_backward(s.net, d->n_rows, y, n_out, NULL, 0) == CR_OK, "a failed reserve lost the forward");
        free(y);
        free(order);
        RN(subject_free)(&s);
    }
}

/* Refused rows change nothing; counters count; fit stops at a loss that is not finite. */
static void RN(test_errors)(void)
{
    static const char *const names[] = {"classifier", "everything"};
    for (size_t k = 0; k < 2; k++) {
        RN(subject) s = RN(subject_new)(design_named(names[k]), &optimizers[5].optimizer, 0);
        RN(subject) twin = RN(subject_new)(s.design, &optimizers[5].optimizer, 0);
        const size_t n_rows = s.design->n_rows, bad = n_rows - 2;
        const cr_rows r = RN(rows)(&s, 0, n_rows);
        const cr_status expected = s.labels ? CR_BAD_LABEL : CR_BAD_TARGET;
        double loss = 7.0;
        size_t row = 0;
        const int32_t bad_labels[] = {-1, (int32_t)s.sizes.n_out, INT32_MIN, INT32_MAX};
        for (size_t i = 0; i < 4; i++) {
            if (s.labels) {
                s.labels[bad] = bad_labels[i];
            } else {
                s.target[bad * s.ld_target + s.sizes.n_out - 1] = (REAL)NAN;
            }
            CHECK(cr_network_check_rows(s.net, &r, &row) == expected && row == bad, "check_rows: row %zu", row);
            CHECK(cr_network_train_step(s.net, &r, 0.1, &loss) == expected && loss == 7.0, "train_step took it");
            CHECK(cr_network_evaluate(s.net, &r, &loss, NULL, 0) == expected && loss == 7.0, "evaluate took it");
        }
        CHECK(RN(same)(&s, &twin), "%s: a refused batch changed something", s.design->name);
        if (s.labels) {
            s.labels[bad] = 0;
        } else {
            s.target[bad * s.ld_target + s.sizes.n_out - 1] = (REAL)0.5;
        }
        CHECK(cr_network_check_rows(s.net, &r, &row) == CR_OK, "check_rows of good rows");
        cr_network_set_counters(s.net, 10, 20);
        CHECK(cr_network_train_step(s.net, &r, 0.1, &loss) == CR_OK, "train_step");
        CHECK(cr_network_steps(s.net) == 11 && cr_network_forwards(s.net) == 21, "counters");
        REAL *y = malloc(n_rows * s.sizes.n_out * sizeof(REAL));
        CHECK(cr_network_backward(s.net, n_rows, y, s.sizes.n_out, NULL, 0) == CR_BAD_ARGUMENT,
              "backward after train_step has no forward");
        cr_network_forward(s.net, n_rows, s.x, s.ld_x, 0, y, s.sizes.n_out);
        CHECK(cr_network_forwards(s.net) == 21, "a forward at inference counted");
        cr_network_forward(s.net, n_rows, s.x, s.ld_x, 1, y, s.sizes.n_out);
        CHECK(cr_network_forwards(s.net) == 22 && cr_network_steps(s.net) == 11, "counters after forward");
        CHECK(cr_network_backward(s.net, n_rows - 1, y, s.sizes.n_out, NULL, 0) == CR_BAD_ARGUMENT, "other n_rows");

        /* A row of NaN in the second batch. */
        const cr_rows all = RN(rows)(&s, 0, DATA_ROWS(s.design));
        s.x[(n_rows + 1) * s.ld_x] = (REAL)NAN;
        double losses[4] = {0}, rates[4] = {0.01, 0.01, 0.01, 0.01};
        size_t next = 0;
        CHECK(cr_network_fit(s.net, &all, NULL, n_rows, rates, 4, 0, INFINITY, losses, &next) == CR_OK && next == 2,
              "fit went on to step %zu after a NaN", next);
        CHECK(isfinite(losses[0]) && isnan(losses[1]) && losses[2] == 0.0, "losses around a NaN");
        CHECK(cr_network_fit(s.net, &all, NULL, n_rows, rates, 2, 0, 1.0, losses, &next) == CR_BAD_ARGUMENT,
              "too few learning rates");
        CHECK(cr_network_fit(s.net, &all, NULL, 0, rates, 1, 0, 1.0, losses, &next) == CR_BAD_ARGUMENT, "batch 0");
        free(y);
        RN(subject_free)(&s);
        RN(subject_free)(&twin);
    }
}

/* Batches without weight or without rows: loss 0, and no step away from the weights. */
static void RN(test_empty_batches)(void)
{
    for (size_t k = 0; k < n_designs; k++) {
        const design *d = &designs[k];
        RN(subject) s = RN(subject_new)(d, &optimizers[0].optimizer, 1);
        RN(subject) twin = RN(subject_new)(d, &optimizers[0].optimizer, 1);
        const double penalty = cr_network_penalty(s.net);
        double loss = -1.0;
        cr_rows r = RN(rows)(&s, 0, d->n_rows);
        memset(s.weight, 0, d->n_rows * sizeof(REAL));
        CHECK(cr_network_train_step(s.net, &r, 0.1, &loss) == CR_OK && loss == penalty, "%s: no weight, loss %g",
              d->name, loss);
        r = (cr_rows){.n_rows = 0};
        CHECK(cr_network_train_step(s.net, &r, 0.1, &loss) == CR_OK && isfinite(loss), "%s: no rows, loss %g", d->name,
              loss);
        if (penalty == 0.0) {
            CHECK(memcmp(s.parameters, twin.parameters, s.sizes.n_parameters * sizeof(REAL)) == 0,
                  "%s: an empty batch moved the weights", d->name);
        }
        CHECK(cr_network_forward(s.net, 0, NULL, d->n_in, 1, NULL, s.sizes.n_out) == CR_OK, "forward of no rows");
        CHECK(cr_network_backward(s.net, 0, NULL, s.sizes.n_out, NULL, 0) == CR_OK, "backward of no rows");
        int all_zero = 1;
        for (size_t i = 0; i < s.sizes.n_parameters; i++) {
            all_zero &= s.gradients[i] == 0;
        }
        CHECK(all_zero, "%s: the gradient of no rows is not 0", d->name);
        RN(subject_free)(&s);
        RN(subject_free)(&twin);
    }
}

static void RN(test_network)(void)
{
    RN(test_paths)();
    RN(test_threads_and_isas)();
    RN(test_inference)();
#if !defined(_WIN32)
    RN(test_concurrent_predict)();
#endif
    RN(test_memory)();
    RN(test_errors)();
    RN(test_empty_batches)();
}
