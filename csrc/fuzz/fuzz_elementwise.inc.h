/* fuzz_elementwise.inc.h - functions, activations and losses of one dtype; included twice by fuzz_elementwise.c. */

static int RN(same)(REAL a, REAL b)
{
    return (a != a && b != b) || memcmp(&a, &b, sizeof a) == 0;
}

static void RN(same_arrays)(const char *what, int kind, const RN(array) *a, const RN(array) *b)
{
    for (size_t i = 0; i < a->rows; i++) {
        for (size_t j = 0; j < a->n; j++) {
            const REAL one = a->at[i * a->ld + j], other = b->at[i * b->ld + j];
            REQUIRE(RN(same)(one, other), "%s, kind %d, %s: %a and %a at (%zu, %zu)", what, kind, cr_isa(), (double)one,
                    (double)other, i, j);
        }
    }
}

static RN(array) RN(array_copy)(const RN(array) *from)
{
    RN(array) a = RN(array_take)(from->rows, from->n);
    for (size_t i = 0; i < a.rows; i++) {
        for (size_t j = 0; j < a.n; j++) {
            a.at[i * a.ld + j] = from->at[i * from->ld + j];
        }
    }
    return a;
}

/* What must hold of y = f(x), besides the bits. */
static void RN(check_activation)(int kind, const RN(array) *x, const RN(array) *y)
{
    double least, greatest;
    range_of(kind, &least, &greatest);
    for (size_t i = 0; i < x->rows; i++) {
        int row_has_nan = 0;
        for (size_t j = 0; j < x->n; j++) {
            const REAL in = x->at[i * x->ld + j], out = y->at[i * y->ld + j];
            row_has_nan |= in != in;
            REQUIRE(out != out || (out >= (REAL)least && out <= (REAL)greatest), "activation %d, %s: f(%a) = %a", kind,
                    cr_isa(), (double)in, (double)out);
            REQUIRE(in == in || out != out, "activation %d, %s: f(NaN) = %a", kind, cr_isa(), (double)out);
            REQUIRE(in != in || out == out || cr_activation_by_row(kind), "activation %d, %s: f(%a) is NaN", kind,
                    cr_isa(), (double)in);
        }
        for (size_t j = 0; row_has_nan && cr_activation_by_row(kind) && j < x->n; j++) {
            const REAL out = y->at[i * y->ld + j];
            REQUIRE(out != out, "activation %d, %s: NaN in a row left %a", kind, cr_isa(), (double)out);
        }
    }
}

static void RN(activation_on_this_isa)(int kind, double alpha, const RN(array) *x, const RN(array) *dy, RN(array) *y,
                                       RN(array) *dx)
{
    const size_t n_rows = x->rows, n_cols = x->n;
    REQUIRE(RN(activation)(kind, alpha, n_rows, n_cols, x->at, x->ld, y->at, y->ld) == CR_OK, "activation");
    RN(array_check_gaps)(y, "activation");
    RN(check_activation)(kind, x, y);
    const RN(array) *saved = cr_activation_saves_input(kind) ? x : y;
    REQUIRE(RN(activation_backward)(kind, alpha, n_rows, n_cols, dy->at, dy->ld, saved->at, saved->ld, dx->at, dx->ld)
                == CR_OK, "activation_backward");
    RN(array_check_gaps)(dx, "activation_backward");

    RN(array) in_place = RN(array_copy)(x), back = RN(array_copy)(dy), back_saved = RN(array_copy)(saved);
    REQUIRE(RN(activation)(kind, alpha, n_rows, n_cols, in_place.at, in_place.ld, in_place.at, in_place.ld)
            == CR_OK, "");
    RN(same_arrays)("activation in place", kind, y, &in_place);
    REQUIRE(RN(activation_backward)(kind, alpha, n_rows, n_cols, back.at, back.ld, saved->at, saved->ld, back.at,
                                    back.ld) == CR_OK, "");
    RN(same_arrays)("activation_backward over dy", kind, dx, &back);
    REQUIRE(RN(activation_backward)(kind, alpha, n_rows, n_cols, dy->at, dy->ld, back_saved.at, back_saved.ld,
                                    back_saved.at, back_saved.ld) == CR_OK, "");
    RN(same_arrays)("activation_backward over what was saved", kind, dx, &back_saved);
    if (n_rows > 0 && n_cols > 0) { /* one row alone, and of an elementwise kind one element alone */
        const size_t i = take(n_rows), j = cr_activation_by_row(kind) ? 0 : take(n_cols);
        const size_t n = cr_activation_by_row(kind) ? n_cols : 1;
        RN(array) alone = RN(array_new)(1, n, 0, 0);
        REQUIRE(RN(activation)(kind, alpha, 1, n, x->at + i * x->ld + j, x->ld, alone.at, alone.ld) == CR_OK, "");
        RN(array) there = {1, n, y->ld, 0, NULL, y->at + i * y->ld + j};
        RN(same_arrays)("activation alone", kind, &there, &alone);
        RN(array_free)(&alone);
    }
    RN(array_free)(&in_place);
    RN(array_free)(&back);
    RN(array_free)(&back_saved);
}

static void RN(fuzz_activation)(size_t n_rows, size_t n_cols, enum fill fill)
{
    const int kind = (int)take(CR_N_ACTIVATIONS), function = (int)take(CR_N_FUNCTIONS);
    const double alpha = take_alpha(kind);
    RN(array) x = RN(array_filled)(n_rows, n_cols, fill), dy = RN(array_filled)(n_rows, n_cols, fill);
    RN(array) first_y = RN(array_take)(n_rows, n_cols), first_dx = RN(array_take)(n_rows, n_cols);
    RN(array) first_f = RN(array_new)(1, n_cols, 0, 0);
    for (size_t t = 0; cr_isa_name(1, t) != NULL; t++) {
        REQUIRE(cr_set_isa(cr_isa_name(1, t)) == CR_OK, "set_isa");
        RN(array) y = RN(array_take)(n_rows, n_cols), dx = RN(array_take)(n_rows, n_cols);
        RN(activation_on_this_isa)(kind, alpha, &x, &dy, t == 0 ? &first_y : &y, t == 0 ? &first_dx : &dx);
        RN(array) f = RN(array_new)(1, n_rows > 0 ? n_cols : 0, 0, take(4));
        REQUIRE(RN(function)((cr_function)function, f.n, x.at, f.at) == CR_OK, "function");
        RN(array_check_gaps)(&f, "function");
        if (t == 0) {
            memcpy(first_f.at, f.at, f.n * sizeof(REAL));
        } else {
            RN(same_arrays)("activation", kind, &first_y, &y);
            RN(same_arrays)("activation_backward", kind, &first_dx, &dx);
            RN(array) there = {1, f.n, f.n, 0, NULL, first_f.at};
            RN(same_arrays)("function", function, &there, &f);
        }
        RN(array_free)(&f);
        RN(array_free)(&y);
        RN(array_free)(&dx);
    }
    RN(array_free)(&x);
    RN(array_free)(&dy);
    RN(array_free)(&first_y);
    RN(array_free)(&first_dx);
    RN(array_free)(&first_f);
}

static void RN(fuzz_loss)(size_t n_rows, size_t n_out, enum fill fill)
{
    static const double options[] = {1.0, 0.5, 0.0, 0.1};
    const cr_loss kind = (cr_loss)take(CR_N_LOSSES);
    const cr_loss_options o = {.delta = take(2) ? 1.0 : 1e-3, .quantile = options[take(4)],
                               .label_smoothing = options[take(4)], .pos_weight = options[take(4)]};
    const unsigned way = take_byte();
    const int with_labels = cr_loss_takes_labels((int)kind) && (way & 1),
              mean = (way & 2) != 0, weighted = (way & 4) != 0;
    RN(array) p = RN(array_filled)(n_rows, n_out, fill);
    RN(array) target = RN(array_filled)(n_rows, n_out, way & 8 ? FILL_UNIT : fill);
    RN(array) weight = RN(array_new)(1, n_rows, 0, take(4));
    int32_t *labels = malloc(n_rows * sizeof *labels);
    int label_is_bad = 0;
    for (size_t i = 0; i < n_rows; i++) {
        weight.at[i] = (REAL)take(3) / 2;
        labels[i] = (int32_t)take(n_out + 2) - 1;
        if (!(way & 16) && n_out > 0) {
            labels[i] = labels[i] < 0 || (size_t)labels[i] >= n_out ? 0 : labels[i];
        }
        label_is_bad |= labels[i] < 0 || (size_t)labels[i] >= n_out;
    }
    int target_is_bad = 0;
    for (size_t i = 0; i < n_rows; i++) {
        for (size_t j = 0; j < n_out; j++) {
            target_is_bad |= target.at[i * target.ld + j] != target.at[i * target.ld + j];
        }
    }
    uint64_t first_grad = 0;
    double first_loss = 0.0;
    for (size_t t = 0; cr_isa_name(1, t) != NULL; t++) {
        REQUIRE(cr_set_isa(cr_isa_name(1, t)) == CR_OK, "set_isa");
        RN(array) grad = RN(array_take)(n_rows, n_out), in_place = RN(array_copy)(&p);
        double loss = -1.0, loss_in_place = -1.0;
        cr_status status[2];
        for (int again = 0; again < 2; again++) {
            RN(array) *from = again ? &in_place : &p, *to = again ? &in_place : &grad;
            status[again] = RN(loss)(kind, &o, mean, n_rows, n_out, from->at, from->ld, with_labels ? NULL : target.at,
                                     target.ld, with_labels ? labels : NULL, weighted ? weight.at : NULL, to->at,
                                     to->ld, again ? &loss_in_place : &loss);
        }
        RN(array_check_gaps)(&grad, "loss");
        RN(array_check_gaps)(&in_place, "loss in place");
        const cr_status wanted = with_labels && label_is_bad    ? CR_BAD_LABEL
                                 : !with_labels && target_is_bad ? CR_BAD_TARGET
                                                                 : CR_OK;
        REQUIRE(status[0] == wanted && status[1] == wanted, "loss %d, %s: status %d and %d, wanted %d", kind, cr_isa(),
                status[0], status[1], wanted);
        if (wanted != CR_OK) {
            RN(same_arrays)("a refused loss changed its array", (int)kind, &p, &in_place);
        } else {
            RN(same_arrays)("loss in place", (int)kind, &grad, &in_place);
            REQUIRE(loss == loss_in_place || (loss != loss && loss_in_place != loss_in_place),
                    "loss %d in place", kind);
        }
        const uint64_t digest = RN(array_digest)(&grad);
        if (t == 0) {
            first_grad = digest;
            first_loss = loss;
        }
        REQUIRE(digest == first_grad, "gradient of loss %d: %s differs", kind, cr_isa());
        REQUIRE(loss == first_loss || (loss != loss && first_loss != first_loss), "loss %d: %s says %a, not %a", kind,
                cr_isa(), loss, first_loss);
        RN(array_free)(&grad);
        RN(array_free)(&in_place);
    }
    free(labels);
    RN(array_free)(&p);
    RN(array_free)(&target);
    RN(array_free)(&weight);
}
