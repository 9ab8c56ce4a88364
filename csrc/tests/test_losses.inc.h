/* test_losses.inc.h - the tests of one dtype; included twice by test_losses.c. */

/* s[0] + ... + s[15], folded 8-4-2-1. s is used up. */
#define FOLD(s)                                      \
    for (size_t half_ = 8; half_ > 0; half_ /= 2) {  \
        for (size_t i_ = 0; i_ < half_; i_++) {      \
            (s)[i_] += (s)[i_ + half_];              \
        }                                            \
    }

/* One call of cr_loss: rows of n_out elements, ld apart. */
typedef struct RN(call) {
    cr_loss kind;
    size_t n_rows, n_out, ld;
    int mean;
    const REAL *prediction, *target, *weight;
    const int32_t *labels;
} RN(call);

/* The contract of bits, in plain C, for losses of one operation: returns the loss. */
static double RN(reference)(const RN(call) *c, REAL *grad)
{
    double total_weight = 0, losses[16] = {0};
    for (size_t r = 0; r < c->n_rows; r++) {
        total_weight += c->weight != NULL ? (double)c->weight[r] : 1;
    }
    const REAL scale = (REAL)(!c->mean ? 1 : total_weight != 0 ? 1 / total_weight : 0);
    const double finish = c->kind == CR_SQUARED_ERROR ? 0.5 : c->kind == CR_MEAN_SQUARED_ERROR
                          ? 1 / (double)c->n_out : 1;
    for (size_t r = 0; r < c->n_rows; r++) {
        const REAL w = c->weight != NULL ? c->weight[r] : 1;
        REAL sums[16] = {0};
        for (size_t j = 0; j < c->n_out; j++) {
            const size_t at = r * c->ld + j;
            const REAL t = c->target[at], d = c->prediction[at] - t, margin = 1 - t * c->prediction[at];
            REAL term = d * d, slope = d;
            if (c->kind == CR_MEAN_SQUARED_ERROR) {
                slope *= (REAL)(2 / (double)c->n_out);
            } else if (c->kind == CR_ABSOLUTE_ERROR) {
                slope = (REAL)((d > 0) - (d < 0));
                term = slope * d;
            } else if (c->kind == CR_HINGE) { /* targets of -1 and 1: no rounding but that of the difference */
                slope = margin > 0 ? -t : 0;
                term = margin > 0 ? margin : 0;
            }
            sums[j % 16] += term;
            grad[at] = w != 0 ? scale * w * slope : 0;
        }
        FOLD(sums)
        losses[r % 16] += w != 0 ? (double)w * (finish * (double)sums[0]) : 0;
    }
    FOLD(losses)
    return !c->mean ? losses[0] : total_weight != 0 ? losses[0] / total_weight : 0;
}

/* The library's answer to c, with its gradient in a place of its own, over the predictions, or nowhere. */
static void RN(check_call)(const RN(call) *c, double loss, const REAL *grad)
{
    const size_t size = c->n_rows * c->ld + 1;
    REAL *own = malloc(size * sizeof(REAL));
    for (int place = 0; place < 3; place++) {
        double got = -1;
        memcpy(own, place == 1 ? c->prediction : grad, size * sizeof(REAL)); /* what lies between rows */
        for (size_t r = 0; place != 1 && r < c->n_rows; r++) {
            memset(own + r * c->ld, 0x55, c->n_out * sizeof(REAL));
        }
        const cr_status status =
            RN(loss)(c->kind, &options, c->mean, c->n_rows, c->n_out, place == 1 ? own : c->prediction, c->ld,
                     c->target, c->ld, c->labels, c->weight, place == 2 ? NULL : own, place == 2 ? 0 : c->ld, &got);
        size_t n_wrong = 0;
        for (size_t r = 0; place != 2 && r < c->n_rows; r++) {
            for (size_t j = 0; j < c->n_out; j++) {
                n_wrong += own[r * c->ld + j] != grad[r * c->ld + j];
            }
            for (size_t j = c->n_out; j < c->ld; j++) {
                n_wrong += own[r * c->ld + j] != (place == 1 ? c->prediction : grad)[r * c->ld + j];
            }
        }
        CHECK(status == CR_OK && memcmp(&got, &loss, sizeof got) == 0 && n_wrong == 0,
              "%s of %zu x %zu (rows %zu apart), %s, f%d, %s weights, %s: %.17g, not %.17g; %zu gradients wrong",
              cr_loss_name(c->kind), c->n_rows, c->n_out, c->ld, cr_isa(), CR_DTYPE, c->weight != NULL ? "with" : "no",
              places[place], got, loss, n_wrong);
    }
    free(own);
}

static void RN(test_shape)(size_t n_rows, size_t n_out, size_t gap, int weighted)
{
    const size_t ld = n_out + gap, size = n_rows * ld + 1;
    REAL *prediction = malloc(size * sizeof(REAL)), *target = malloc(size * sizeof(REAL));
    REAL *weight = malloc((n_rows + 1) * sizeof(REAL)), *grad = calloc(size, sizeof(REAL));
    int32_t *labels = malloc((n_rows + 1) * sizeof(int32_t));
    for (size_t i = 0; i < size; i++) {
        prediction[i] = (REAL)(1 + next_random() % 1000) / 1003; /* probabilities, too */
        target[i] = next_random() % 5 == 0 ? prediction[i] : (REAL)(next_random() % 1000) / 1007;
    }
    for (size_t r = 0; r < n_rows; r++) {
        weight[r] = (REAL)(next_random() % 3) / 7;
        labels[r] = (int32_t)(next_random() % n_out);
        if (weighted && weight[r] == 0 && next_random() % 2 == 0) {
            prediction[r * ld + next_random() % n_out] = (REAL)NAN; /* of a row that is not there */
        }
    }
    RN(call) c = {.n_rows = n_rows, .n_out = n_out, .ld = ld, .prediction = prediction, .target = target,
                  .weight = weighted ? weight : NULL};
    const cr_loss kinds[] = {CR_SQUARED_ERROR, CR_MEAN_SQUARED_ERROR, CR_ABSOLUTE_ERROR};
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        c.kind = kinds[k];
        c.mean = k != 1;
        RN(check_call)(&c, RN(reference)(&c, grad), grad);
    }
    for (size_t i = 0; i < size; i++) {
        target[i] = next_random() % 2 == 0 ? 1 : -1;
    }
    c.kind = CR_HINGE;
    RN(check_call)(&c, RN(reference)(&c, grad), grad);
    /* Labels are their one-hot rows. */
    for (size_t r = 0; r < n_rows; r++) {
        for (size_t j = 0; j < n_out; j++) {
            target[r * ld + j] = (size_t)labels[r] == j;
        }
    }
    c.kind = CR_CROSS_ENTROPY;
    double loss = 0;
    memset(grad, 0, size * sizeof(REAL));
    CHECK(RN(loss)(c.kind, &options, c.mean, n_rows, n_out, prediction, ld, target, ld, NULL, c.weight, grad, ld, &loss)
              == CR_OK, "cross entropy of one-hot rows");
    c.target = NULL;
    c.labels = labels;
    RN(check_call)(&c, loss, grad);
    free(prediction);
    free(target);
    free(weight);
    free(grad);
    free(labels);
}

static void RN(test_losses)(void)
{
    /* Short rows and long ones, few and many, with and without whole vectors, and what is more than a turn. */
    const size_t rows[] = {1, 2, 3, 15, 16, 17, 50, 1100};
    const size_t columns[] = {1, 2, 3, 4, 5, 8, 9, 16, 17, 33, 48, 49, 64, 1000, 1024, 1025, 2100};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t j = 0; j < sizeof columns / sizeof columns[0] && rows[i] * columns[j] <= 36000; j++) {
            for (int which = 0; which < 4; which++) {
                RN(test_shape)(rows[i], columns[j], which % 2 * 3, which / 2);
            }
        }
    }
}
