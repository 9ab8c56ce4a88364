/* test_memory.c - an allocation that fails, at every place where there is one: CR_NO_MEMORY or a result, a network as
 * it was, and nothing leaked (make asan looks for that).
 *
 * The linker sends the library's malloc and calloc here (-Wl,--wrap, see the Makefile). */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "chainrule.h"
#include "check.h"

#define EXPECT(condition) CHECK(condition, "%s", #condition)

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);

static long left;  /* allocations until the one that fails; 0: none is to fail */
static long asked; /* since the last arm() */

static void arm(long n)
{
    left = n;
    asked = 0;
}

static int fails(void)
{
    return ++asked == left;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

#define N_ROWS 300
#define N_IN 40
#define N_OUT 12
#define N_PARAMETERS (N_IN * 30 + 30 + 60 + 30 * N_OUT + N_OUT)

static float x[N_ROWS * N_IN], target[N_ROWS * N_OUT], y[N_ROWS * N_OUT];
static float parameters[N_PARAMETERS], gradients[N_PARAMETERS], running[60], state[2][N_PARAMETERS];
static float before[5 * N_PARAMETERS];

static void keep(float *out)
{
    memcpy(out, parameters, sizeof parameters);
    memcpy(out + N_PARAMETERS, state, sizeof state);
    memcpy(out + 3 * N_PARAMETERS, running, sizeof running);
}

static int unchanged(void)
{
    static float now[5 * N_PARAMETERS];
    keep(now);
    return memcmp(now, before, sizeof now) == 0;
}

static cr_status create(cr_network **net)
{
    const cr_layer layers[] = {{.kind = CR_LAYER_DENSE, .n_out = 30, .use_bias = 1, .activation = CR_GELU},
                               {.kind = CR_LAYER_BATCH_NORM, .epsilon = 1e-5, .momentum = 0.9},
                               {.kind = CR_LAYER_DENSE, .n_out = N_OUT, .use_bias = 1, .activation = CR_IDENTITY}};
    const cr_network_arrays arrays = {.parameters = parameters, .gradients = gradients, .running = running};
    const cr_loss_options loss = {.delta = 1, .quantile = 0.5, .pos_weight = 1};
    const cr_optimizer adam = {.kind = CR_ADAM, .beta_1 = 0.9, .beta_2 = 0.999, .epsilon = 1e-8};
    cr_status status = cr_network_create(CR_F32, N_IN, 3, layers, &arrays, 1, net);
    if (status == CR_OK) {
        EXPECT(cr_network_set_loss(*net, CR_SQUARED_ERROR, &loss) == CR_OK);
        EXPECT(cr_network_set_optimizer(*net, &adam, state[0], state[1]) == CR_OK);
    }
    return status;
}

typedef cr_status (*operation)(cr_network *net);

static const cr_rows all_rows = {.n_rows = N_ROWS, .x = x, .ld_x = N_IN, .target = target, .ld_target = N_OUT};

static cr_status predict(cr_network *net)
{
    return cr_network_predict(net, N_ROWS, x, N_IN, y, N_OUT);
}

static cr_status forward(cr_network *net)
{
    return cr_network_forward(net, N_ROWS, x, N_IN, 1, y, N_OUT);
}

static cr_status train_step(cr_network *net)
{
    double loss;
    return cr_network_train_step(net, &all_rows, 0.01, &loss);
}

static cr_status evaluate(cr_network *net)
{
    double loss;
    return cr_network_evaluate(net, &all_rows, &loss, NULL, 0);
}

static cr_status fit(cr_network *net)
{
    const double rate = 0.01;
    double losses[N_ROWS / 30];
    size_t next = 0;
    return cr_network_fit(net, &all_rows, NULL, 30, &rate, 1, 0, 1e9, losses, &next);
}

static cr_status reserve(cr_network *net)
{
    return cr_network_reserve(net, N_ROWS);
}

static long n_failures;

/* Each allocation of one operation on a fresh network fails in turn, and the operation goes well afterwards. */
static void check_operation(operation call)
{
    for (long n = 1;; n++) {
        cr_network *net = NULL;
        arm(0);
        EXPECT(create(&net) == CR_OK);
        keep(before);
        arm(n);
        const cr_status status = call(net);
        const long needed = asked;
        arm(0);
        if (needed < n) {
            EXPECT(status == CR_OK && n > 1);
            cr_network_destroy(net);
            return;
        }
        n_failures++;
        EXPECT(status == CR_NO_MEMORY);
        EXPECT(unchanged() && cr_network_steps(net) == 0 && cr_network_forwards(net) == 0);
        EXPECT(call(net) == CR_OK);
        cr_network_destroy(net);
    }
}

static void check_create(void)
{
    for (long n = 1; n < 3; n++) {
        cr_network *net = NULL;
        arm(n);
        EXPECT(create(&net) == CR_NO_MEMORY && net == NULL);
        n_failures++;
    }
}

/* Growing an arena that a batch is too large for: the old one stays in use. */
static void check_growth(void)
{
    cr_network *net = NULL;
    double loss;
    const cr_rows few = {.n_rows = 3, .x = x, .ld_x = N_IN, .target = target, .ld_target = N_OUT};
    arm(0);
    EXPECT(create(&net) == CR_OK);
    EXPECT(cr_network_train_step(net, &few, 0.01, &loss) == CR_OK);
    arm(1);
    keep(before);
    EXPECT(train_step(net) == CR_NO_MEMORY && unchanged() && cr_network_steps(net) == 1);
    EXPECT(cr_network_train_step(net, &few, 0.01, &loss) == CR_OK);
    EXPECT(asked == 1);
    arm(0);
    EXPECT(train_step(net) == CR_OK && cr_network_steps(net) == 3);
    n_failures++;
    cr_network_destroy(net);
}

/* A prediction that would have three threads, by rule (MANY rows) or for a trial (SOME), makes do with one where there
 * is no memory for more. */
static void check_fewer_threads(void)
{
    enum { SOME = 5000, MANY = 20000 };
    cr_network *net = NULL;
    float *rows = calloc((size_t)MANY * N_IN, sizeof *rows), *out = calloc((size_t)MANY * N_OUT, sizeof *out);
    float *expected = calloc((size_t)MANY * N_OUT, sizeof *expected);
    arm(0);
    EXPECT(rows != NULL && out != NULL && expected != NULL && create(&net) == CR_OK);
    for (size_t i = 0; i < (size_t)MANY * N_IN; i++) {
        rows[i] = (float)(i % 19) / 16 - 0.5f;
    }
    cr_set_num_threads(3);
    arm(1);
    EXPECT(cr_network_predict(net, MANY, rows, N_IN, out, N_OUT) == CR_OK && asked == 2);
    n_failures += 1;
    const long before_trials = n_failures;
    for (int i = 0; i < 10; i++) {
        arm(1);
        EXPECT(cr_network_predict(net, SOME, rows, N_IN, out, N_OUT) == CR_OK);
        n_failures += asked;
    }
    EXPECT(n_failures > before_trials);
    arm(0);
    EXPECT(cr_network_predict(net, MANY, rows, N_IN, expected, N_OUT) == CR_OK);
    EXPECT(memcmp(out, expected, (size_t)MANY * N_OUT * sizeof *out) == 0);
    cr_set_num_threads(0);
    cr_network_destroy(net);
    free(rows);
    free(out);
    free(expected);
}

/* The array functions that need scratch for several threads. */
static void check_arrays(void)
{
    static float a[512 * 512], b[512 * 512], c[512 * 512];
    cr_set_num_threads(3);
    for (long n = 1; n < 100; n++) {
        c[0] = -1;
        arm(n);
        const cr_status status = cr_dense_forward_f32(512, 512, 512, a, 512, b, 512, NULL, CR_IDENTITY, 0, NULL, 0, c,
                                                      512);
        const long needed = asked;
        arm(0);
        if (needed < n) {
            EXPECT(status == CR_OK);
            break;
        }
        n_failures++;
        EXPECT(status == CR_NO_MEMORY ? c[0] == -1 : status == CR_OK);
    }
    cr_set_num_threads(0);
}

/* Batches beyond what can be addressed, or had: refused, nothing wraps round. */
static void check_sizes(void)
{
    static const size_t rows[] = {SIZE_MAX, SIZE_MAX / 2, SIZE_MAX / 64, SIZE_MAX / 256, (size_t)1 << 50};
    cr_network *net = NULL;
    arm(0);
    EXPECT(create(&net) == CR_OK);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        EXPECT(cr_network_reserve(net, rows[i]) == CR_NO_MEMORY);
    }
    EXPECT(train_step(net) == CR_OK);
    cr_network_destroy(net);
    cr_network_sizes sizes;
    const cr_layer wide = {.kind = CR_LAYER_DENSE, .n_out = (size_t)1 << 16, .use_bias = 1,
                           .activation = CR_IDENTITY};
    EXPECT(cr_network_measure((size_t)1 << 16, 1, &wide, &sizes) == CR_OK);
    EXPECT(sizes.n_parameters == ((size_t)1 << 32) + ((size_t)1 << 16));
}

int main(void)
{
    for (size_t i = 0; i < N_ROWS * N_IN; i++) {
        x[i] = (float)(i % 17) / 16 - 0.5f;
    }
    for (size_t i = 0; i < N_PARAMETERS; i++) {
        parameters[i] = (float)(i % 13) / 64 - 0.1f;
    }
    for (size_t i = 0; i < 30; i++) {
        running[30 + i] = 1;
    }
    static const operation operations[] = {predict, forward, train_step, evaluate, fit, reserve};
    for (int n_threads = 1; n_threads <= 3; n_threads += 2) {
        cr_set_num_threads(n_threads);
        for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
            check_operation(operations[i]);
        }
    }
    check_create();
    check_growth();
    check_fewer_threads();
    check_arrays();
    check_sizes();
    printf("%ld allocations failed\n", n_failures);
    return cr_check_summary();
}
