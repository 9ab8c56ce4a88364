/* test_arrays.inc.h - the tests of one dtype; included twice by test_arrays.c. */

/* a[i] are these numbers, exactly. */
#define CHECK_ARE(a, ...)                                                                                              \
    do {                                                                                                               \
        const double wanted_[] = {__VA_ARGS__};                                                                        \
        for (size_t i_ = 0; i_ < sizeof wanted_ / sizeof wanted_[0]; i_++) {                                           \
            CHECK((double)(a)[i_] == wanted_[i_], "%s, f%d: " #a "[%zu] is %g, not %g", cr_isa(), CR_DTYPE, i_,        \
                  (double)(a)[i_], wanted_[i_]);                                                                       \
        }                                                                                                              \
    } while (0)

static void RN(test_products)(void)
{
    const REAL x[] = {1, 2, 3, 4}, w[] = {1, 0, 2, -1, 3, 1}, bias[] = {10, 20, 30}, dz[] = {1, 2, 3, -1, 0, 1};
    REAL y[6], pre[6], dx[4], dw[6], db[3];
    CHECK(RN(dense_forward)(2, 2, 3, x, 2, w, 3, bias, CR_RELU6, 0, pre, 3, y, 3) == CR_OK, "dense_forward");
    CHECK_ARE(pre, 9, 26, 34, 9, 32, 40);
    CHECK_ARE(y, 6, 6, 6, 6, 6, 6);
    CHECK(RN(dense_backward_input)(2, 2, 3, dz, 3, w, 3, CR_RELU, 0, x, 2, dx, 2) == CR_OK, "dense_backward_input");
    CHECK_ARE(dx, 7, 8, 1, 2);
    CHECK(RN(dense_backward_weight)(2, 2, 3, x, 2, dz, 3, dw, 3, db) == CR_OK, "dense_backward_weight");
    CHECK_ARE(dw, -2, 2, 6, -2, 4, 10);
    CHECK_ARE(db, 0, 2, 4);
    CHECK(RN(dense_forward)(2, 2, 3, x, 2, w, 3, NULL, CR_N_ACTIVATIONS, 0, NULL, 0, y, 3) == CR_BAD_ARGUMENT, "kind");
    CHECK(RN(dense_backward_input)(2, 2, 3, dz, 3, w, 3, CR_SOFTMAX, 0, x, 2, dx, 2) == CR_BAD_ARGUMENT, "by row");
    CHECK(RN(dense_backward_input)(2, 2, 3, dz, 3, w, 3, CR_RELU, 0, NULL, 0, dx, 2) == CR_BAD_ARGUMENT, "no saved");
}

/* Large enough for several threads: sums of ones are whole numbers. */
static void RN(test_threads)(void)
{
    const size_t n = 280; /* n^3 multiplications are enough for three, and take valgrind a minute */
    REAL *ones = malloc(n * n * sizeof(REAL)), *out = malloc(n * n * sizeof(REAL));
    const size_t before = cr_get_num_threads();
    for (size_t i = 0; i < n * n; i++) {
        ones[i] = 1;
    }
    cr_set_num_threads(3);
    for (int kind = 0; kind < 3; kind++) {
        memset(out, 0, n * n * sizeof(REAL));
        const cr_status status =
            kind == 0   ? RN(dense_forward)(n, n, n, ones, n, ones, n, NULL, CR_IDENTITY, 0, NULL, 0, out, n)
            : kind == 1 ? RN(dense_backward_input)(n, n, n, ones, n, ones, n, CR_IDENTITY, 0, NULL, 0, out, n)
                        : RN(dense_backward_weight)(n, n, n, ones, n, ones, n, out, n, NULL);
        size_t n_wrong = 0;
        for (size_t i = 0; i < n * n; i++) {
            n_wrong += out[i] != (REAL)n;
        }
        CHECK(status == CR_OK && n_wrong == 0, "product %d, f%d, %s: %zu wrong", kind, CR_DTYPE, cr_isa(), n_wrong);
    }
    cr_set_num_threads(before);
    free(ones);
    free(out);
}

static void RN(test_elementwise)(void)
{
    const REAL x[] = {-2, 0, 3, 0.5}, dy[] = {1, 2, 3, 4}, zero[] = {0, 0, 0, 0};
    REAL y[4];
    CHECK(RN(activation)(CR_LEAKY_RELU, 0.5, 2, 2, x, 2, y, 2) == CR_OK, "activation");
    CHECK_ARE(y, -1, 0, 3, 0.5);
    CHECK(RN(activation_backward)(CR_LEAKY_RELU, 0.5, 1, 4, dy, 4, x, 4, y, 4) == CR_OK, "activation_backward");
    CHECK_ARE(y, 0.5, 1, 3, 4);
    CHECK(RN(activation)(CR_SOFTMAX, 0, 2, 2, zero, 2, y, 2) == CR_OK, "softmax");
    CHECK_ARE(y, 0.5, 0.5, 0.5, 0.5);
    CHECK(RN(activation)(-1, 0, 1, 4, x, 4, y, 4) == CR_BAD_ARGUMENT, "kind");
    CHECK(RN(activation_backward)(CR_TANH, 0, 1, 4, dy, 4, NULL, 0, y, 4) == CR_BAD_ARGUMENT, "no saved");
    CHECK(RN(function)(CR_EXP, 4, zero, y) == CR_OK, "exp");
    CHECK_ARE(y, 1, 1, 1, 1);
    CHECK(RN(function)(CR_N_FUNCTIONS, 4, zero, y) == CR_BAD_ARGUMENT, "kind");
    CHECK(RN(dropout)(0.0, 1, 2, 3, 0, 2, 2, x, 2, y, 2) == CR_OK, "dropout");
    CHECK_ARE(y, -2, 0, 3, 0.5);
    CHECK(RN(dropout)(0.5, 1, 2, 3, 0, 1, 4, dy, 4, y, 4) == CR_OK, "dropout");
    for (size_t i = 0; i < 4; i++) {
        CHECK(y[i] == 0 || y[i] == 2 * dy[i], "dropout keeps twice or nothing");
    }
    CHECK(RN(dropout)(1.0, 1, 2, 3, 0, 1, 4, dy, 4, y, 4) == CR_BAD_ARGUMENT, "rate 1");
}

static void RN(test_losses)(void)
{
    const REAL p[] = {1, 2, 3, 4}, t[] = {1, 1, 1, 1}, weight[] = {1, 3}, none[] = {0, 0}, bad[] = {1, (REAL)NAN, 1, 1};
    const int32_t labels[] = {0, 1}, outside[] = {0, 2};
    REAL grad[4];
    double loss = 0;
    CHECK(RN(loss)(CR_SQUARED_ERROR, &options, 1, 2, 2, p, 2, t, 2, NULL, weight, grad, 2, &loss) == CR_OK, "loss");
    CHECK(loss == (0.5 + 3 * 6.5) / 4, "loss %g", loss);
    CHECK_ARE(grad, 0, 0.25, 1.5, 2.25);
    CHECK(RN(loss)(CR_SQUARED_ERROR, &options, 0, 2, 2, p, 2, t, 2, NULL, NULL, NULL, 0, &loss) == CR_OK && loss == 7,
          "sum %g", loss);
    CHECK(RN(loss)(CR_SQUARED_ERROR, &options, 1, 2, 2, p, 2, t, 2, NULL, none, grad, 2, &loss) == CR_OK && loss == 0,
          "no weight at all: %g", loss);
    CHECK(RN(loss)(CR_SOFTMAX_CROSS_ENTROPY, &options, 1, 2, 2, t, 2, NULL, 0, labels, NULL, grad, 2, &loss) == CR_OK
              && fabs(loss - 0.6931471805599453) < 1e-6, "log 2: %.9g", loss);
    CHECK_ARE(grad, -0.25, 0.25, 0.25, -0.25);
    const double before = loss;
    CHECK(RN(loss)(CR_SOFTMAX_CROSS_ENTROPY, &options, 1, 2, 2, p, 2, NULL, 0, outside, NULL, grad, 2, &loss)
              == CR_BAD_LABEL, "label");
    CHECK(RN(loss)(CR_HUBER, &options, 1, 2, 2, p, 2, NULL, 0, labels, NULL, grad, 2, &loss) == CR_BAD_ARGUMENT,
          "labels");
    CHECK(RN(loss)(CR_HUBER, &options, 1, 2, 2, p, 2, bad, 2, NULL, weight, grad, 2, &loss) == CR_BAD_TARGET, "NaN");
    CHECK(RN(loss)(CR_HUBER, &options, 1, 2, 2, p, 2, t, 2, labels, NULL, grad, 2, &loss) == CR_BAD_ARGUMENT, "both");
    CHECK(RN(loss)(CR_HUBER, NULL, 1, 2, 2, p, 2, t, 2, NULL, NULL, grad, 2, &loss) == CR_BAD_ARGUMENT, "no options");
    CHECK(loss == before, "a refusal changes the loss to %g", loss);
    CHECK_ARE(grad, -0.25, 0.25, 0.25, -0.25);
    CHECK(RN(loss)(CR_HUBER, &options, 1, 2, 2, grad, 2, bad, 2, NULL, NULL, grad, 2, &loss) == CR_BAD_TARGET,
          "in place");
    CHECK_ARE(grad, -0.25, 0.25, 0.25, -0.25);
    CHECK(RN(loss)(CR_HUBER, &options, 1, 2, 2, p, 2, bad, 2, NULL, NULL, grad, 2, &loss) == CR_BAD_TARGET, "apart");
    CHECK(RN(loss)(CR_HUBER, &options, 1, 2, 2, p, 2, bad, 2, NULL, NULL, NULL, 0, &loss) == CR_BAD_TARGET,
          "no gradient");
    CHECK(loss == before, "a NaN target changes the loss to %g", loss);
    CHECK(RN(loss)(CR_HUBER, &options, 1, 2, 1, p, 2, bad, 2, NULL, NULL, NULL, 0, &loss) == CR_OK, "a gap may be NaN");
}

static void RN(test_updates)(void)
{
    REAL w[] = {1, 2}, state_0[] = {0, 0}, state_1[] = {0, 0};
    const REAL g[] = {2, -4};
    const cr_optimizer sgd = {.kind = CR_SGD}, momentum = {.kind = CR_SGD, .momentum = 0.5};
    const cr_optimizer adam = {.kind = CR_ADAM, .beta_1 = 0, .beta_2 = 0, .epsilon = 0};
    CHECK(RN(optimizer_update)(&sgd, 1, 0.25, 2, w, g, NULL, NULL) == CR_OK, "sgd");
    CHECK_ARE(w, 0.5, 3);
    CHECK(RN(optimizer_update)(&momentum, 1, 0.25, 2, w, g, state_0, NULL) == CR_OK, "momentum");
    CHECK_ARE(state_0, -0.5, 1);
    CHECK_ARE(w, 0, 4);
    CHECK(RN(optimizer_update)(&adam, 1, 0.5, 2, w, g, state_0, state_1) == CR_OK, "adam");
    CHECK_ARE(w, -0.5, 4.5);
    CHECK(RN(optimizer_update)(&adam, 0, 0.5, 2, w, g, state_0, state_1) == CR_BAD_ARGUMENT, "step 0");
    CHECK(RN(optimizer_update)(&adam, 1, 0.5, 2, w, g, state_0, NULL) == CR_BAD_ARGUMENT, "no second state");
    CHECK(RN(optimizer_update)(NULL, 1, 0.5, 2, w, g, state_0, state_1) == CR_BAD_ARGUMENT, "no optimizer");
    const cr_optimizer none = {.kind = CR_N_OPTIMIZERS, .momentum = 0.5};
    CHECK(RN(optimizer_update)(&none, 1, 0.5, 2, w, g, NULL, NULL) == CR_BAD_ARGUMENT, "an unknown kind");
    CHECK_ARE(w, -0.5, 4.5);
    const REAL odd[] = {3, (REAL)INFINITY, -4, (REAL)NAN, 0, (REAL)-INFINITY};
    CHECK(RN(count_not_finite)(6, odd) == 3 && RN(count_not_finite)(1, odd) == 0, "count_not_finite");
    CHECK(RN(sum_squares)(1, odd) == 9 && RN(sum_squares)(0, odd) == 0, "sum_squares");
}

/* Of numbers about 0, with a variance of 1 - epsilon, so that the root is 1. */
static void RN(test_norms)(void)
{
    const double epsilon = 0.75;
    const REAL x[] = {-0.5, 0.5, 0.5, -0.5}, gamma[] = {2, 4}, beta[] = {1, 1}, dy[] = {1, 1, 1, 1};
    REAL y[4], dx[4], mean[2], inverse_std[2], dgamma[2], dbeta[2],
         running_mean[] = {0, 0}, running_variance[] = {1, 1};
    CHECK(RN(layer_norm_forward)(2, 2, epsilon, x, 2, gamma, beta, mean, inverse_std, y, 2) == CR_OK, "layer norm");
    CHECK_ARE(mean, 0, 0);
    CHECK_ARE(inverse_std, 1, 1);
    CHECK_ARE(y, 0, 3, 2, -1);
    CHECK(RN(layer_norm_backward)(2, 2, x, 2, gamma, mean, inverse_std, dy, 2, dgamma, dbeta, dx, 2) == CR_OK, "back");
    CHECK_ARE(dgamma, 0, 0);
    CHECK_ARE(dbeta, 2, 2);
    CHECK_ARE(dx, -0.75, 0.75, -0.75, 0.75); /* g = gamma: g - mean g - n mean(g n) */
    CHECK(RN(batch_norm_forward)(1, 2, 2, epsilon, 0.5, x, 2, gamma, beta, running_mean, running_variance, mean,
                                 inverse_std, y, 2) == CR_OK, "batch norm");
    CHECK_ARE(y, 0, 3, 2, -1);
    CHECK_ARE(running_variance, 0.75, 0.75); /* half of 1 and half of the unbiased 1/2 */
    CHECK(RN(batch_norm_backward)(1, 2, 2, x, 2, gamma, mean, inverse_std, dy, 2, dgamma, dbeta, dx, 2) == CR_OK,
          "back");
    CHECK_ARE(dx, 0, 0, 0, 0);
    CHECK_ARE(dbeta, 2, 2);
    running_variance[0] = running_variance[1] = 0.25;
    CHECK(RN(batch_norm_forward)(0, 2, 2, epsilon, 0.5, x, 2, gamma, beta, running_mean, running_variance, mean,
                                 inverse_std, y, 2) == CR_OK, "batch norm, inference");
    CHECK_ARE(y, 0, 3, 2, -1);
    CHECK(RN(batch_norm_backward)(0, 2, 2, x, 2, gamma, mean, inverse_std, dy, 2, dgamma, dbeta, dx, 2) == CR_OK,
          "back");
    CHECK_ARE(dx, 2, 4, 2, 4);
}

/* What the functions leave behind in one mode: bits of any of them that runs in the caller's mode differ. */
typedef struct RN(results) {
    double normals[64], loss, sum;
    REAL leaky[4], grad[4], norm[4], small[4];
    size_t n_not_finite;
    int within_0_and_1, within_bound;
} RN(results);

static void RN(compute)(int mode, RN(results) *r)
{
    const REAL x[] = {(REAL)0.1, (REAL)-0.7, (REAL)2.3, (REAL)-1.9}, target[] = {1, 0, 0, 1},
               gamma[] = {1, 3}, beta[] = {0, 1};
    const REAL weight[] = {(REAL)0.1, (REAL)0.7}, tiny[] = {CR_DTYPE == 32 ? (REAL)-1e-40 : (REAL)-1e-310};
    const REAL tenth = (REAL)0.1f, odd[] = {1, (REAL)NAN, (REAL)-INFINITY};
    const REAL w[] = {tiny[0], tiny[0]}, one[] = {1, 1, 1, 1};
    REAL mean[2], inverse_std[2];
    memset(r, 0, sizeof *r);
    set_mode(mode);
    cr_random_normal(1, CR_PURPOSE_USER, 2, 3, 4, 64, r->normals);
    RN(loss)(CR_SIGMOID_CROSS_ENTROPY, &options, 1, 2, 2, x, 2, target, 2, NULL, weight, r->grad, 2, &r->loss);
    RN(activation)(CR_LEAKY_RELU, 0.1, 1, 4, x, 4, r->leaky, 4);
    RN(layer_norm_forward)(2, 2, 0.1, x, 2, gamma, beta, mean, inverse_std, r->norm, 2);
    RN(dense_forward)(4, 1, 1, one, 1, w, 1, NULL, CR_LEAKY_RELU, 0.1, NULL, 0, r->small, 1);
    r->sum = RN(sum_squares)(4, x);
    r->n_not_finite = RN(count_not_finite)(3, odd);
    r->within_0_and_1 = RN(all_within)(1, tiny, 0, 0.0, 1.0);
    r->within_bound = RN(all_within)(1, &tenth, 0, 0.1f + 1e-12, 1.0); /* rounded, the bound is the number itself */
    set_mode(0);
}

static void RN(test_modes)(void)
{
    RN(results) standard, other;
    RN(compute)(0, &standard);
    CHECK(standard.within_0_and_1 == 0 && standard.within_bound == (CR_DTYPE == 32), "bounds");
    CHECK(standard.n_not_finite == 2, "count_not_finite");
    for (int mode = 1; mode < N_MODES; mode++) {
        RN(compute)(mode, &other);
        CHECK(memcmp(standard.normals, other.normals, sizeof other.normals) == 0, "normals in mode %d", mode);
        CHECK(standard.loss == other.loss && memcmp(standard.grad, other.grad, sizeof other.grad) == 0,
              "loss in mode %d", mode);
        CHECK(standard.within_0_and_1 == other.within_0_and_1 && standard.within_bound == other.within_bound,
              "f%d: bounds in mode %d", CR_DTYPE, mode);
        CHECK(memcmp(&standard, &other, sizeof other) == 0, "f%d, %s: results in mode %d", CR_DTYPE, cr_isa(), mode);
    }
}

static void RN(test_arrays)(void)
{
    RN(test_modes)();
    RN(test_products)();
    RN(test_threads)();
    RN(test_elementwise)();
    RN(test_losses)();
    RN(test_updates)();
    RN(test_norms)();
}
