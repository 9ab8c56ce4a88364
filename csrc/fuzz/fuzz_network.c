/* fuzz_network.c - small networks of any layers, loss and optimizer: descriptions sound and unsound, prediction,
 * explicit backpropagation, training; the same bits on every instruction set, by the short way of small networks and
 * the general passes, by fit and step by step; a row alone as in its batch; refusals change nothing. */
#include "fuzz.h"
#include "network/network.h"

#define MAX_LAYERS 5
#define MAX_PARAMETERS 6000

/* All that the input says of one case. */
typedef struct design {
    size_t n_in, n_layers, n_rows, n_out;
    cr_layer layers[MAX_LAYERS];
    cr_network_sizes sizes;
    cr_loss loss;
    cr_loss_options options;
    cr_optimizer optimizer;
    int labels, weighted, bad_rows;
    unsigned geometry;
    enum fill fill;
    uint64_t values; /* seed of the numbers */
} design;

static double take_of(size_t n, const double *choices)
{
    return choices[take(n)];
}
#define TAKE_OF(...) take_of(sizeof (double[]){__VA_ARGS__} / sizeof(double), (double[]){__VA_ARGS__})

/* Settings that the contract excludes come up now and then: they must be refused, or be harmless. */
static cr_layer take_layer(void)
{
    return (cr_layer){
        .kind = (cr_layer_kind)(take_byte() < 150 ? CR_LAYER_DENSE : take(CR_N_LAYER_KINDS + (take_byte() > 250))),
        .n_out = take_byte() < 250 ? 1 + take(70) : (size_t)1 << take(64),
        .use_bias = (int)take(2),
        .activation = (int)take(CR_N_ACTIVATIONS + (take_byte() > 250)),
        .alpha = TAKE_OF(0.3, 1.0, 0.01, 0.0, 2.0, -1.0, NAN),
        .l1 = TAKE_OF(0.0, 0.0, 0.0, 0.001, 0.0, 0.0, -1.0),
        .l2 = TAKE_OF(0.0, 0.0, 0.0, 0.01, 0.0, 0.0, INFINITY),
        .rate = TAKE_OF(0.5, 0.1, 0.0, 0.999, 1.0, NAN),
        .epsilon = TAKE_OF(1e-5, 1e-3, 1e-5, 0.0, NAN),
        .momentum = TAKE_OF(0.9, 0.5, 0.0, 1.0, 1.5),
    };
}

static cr_optimizer take_optimizer(void)
{
    return (cr_optimizer){
        .kind = (cr_optimizer_kind)take(CR_N_OPTIMIZERS),
        .nesterov = (int)take(2),
        .momentum = TAKE_OF(0.0, 0.0, 0.9),
        .weight_decay = TAKE_OF(0.0, 0.0, 0.01),
        .beta_1 = TAKE_OF(0.9, 0.0, 0.5, 1.0),
        .beta_2 = TAKE_OF(0.999, 0.0, 0.9, NAN),
        .epsilon = TAKE_OF(1e-8, 1e-3, 1e-8, -1.0),
        .rho = TAKE_OF(0.9, 0.5, 1.0, 2.0),
        .clip_norm = TAKE_OF(0.0, 0.0, 0.0, 0.1),
        .clip_value = TAKE_OF(0.0, 0.0, 0.0, 0.01),
    };
}

/* Whether there is a network of that sort, of a size worth running. */
static int take_design(design *d)
{
    d->geometry = take_byte();
    d->fill = (enum fill)(take_byte() < 230 ? FILL_UNIT : take(N_FILLS));
    d->n_in = take_byte() < 250 ? 1 + take(70) : (size_t)1 << take(64);
    d->n_rows = take_byte() < 250 ? 1 + take(24) : take(300);
    d->n_layers = take(MAX_LAYERS + 1);
    for (size_t i = 0; i < d->n_layers; i++) {
        d->layers[i] = take_layer();
        if (d->layers[i].kind != CR_LAYER_DENSE && take_byte() < 250) {
            d->layers[i].n_out = 0;
        }
    }
    d->loss = (cr_loss)take(CR_N_LOSSES);
    d->options = (cr_loss_options){.delta = TAKE_OF(1.0, 0.1, 0.0), .quantile = TAKE_OF(0.5, 0.1, 2.0),
                                   .label_smoothing = TAKE_OF(0.0, 0.1, -1.0), .pos_weight = TAKE_OF(1.0, 3.0, NAN)};
    d->optimizer = take_optimizer();
    const unsigned way = take_byte();
    d->labels = cr_loss_takes_labels((int)d->loss) && (way & 1);
    d->weighted = (way >> 1) & 1;
    d->bad_rows = (way >> 2) % 16 == 15;
    seed_random();
    d->values = random_state;
    if (cr_network_measure(d->n_in, d->n_layers, d->layers, &d->sizes) != CR_OK) {
        return 0;
    }
    d->n_out = d->sizes.n_out;
    size_t widest = d->n_in;
    for (size_t i = 0; i < d->n_layers; i++) {
        widest = d->layers[i].kind == CR_LAYER_DENSE && d->layers[i].n_out > widest ? d->layers[i].n_out : widest;
    }
    return d->sizes.n_parameters <= MAX_PARAMETERS && widest <= 300;
}

#define CR_DTYPE 32
#include "kernels/dtype.h"
#include "fuzz_network.inc.h"
#include "kernels/dtype_end.h"
#define CR_DTYPE 64
#include "kernels/dtype.h"
#include "fuzz_network.inc.h"
#include "kernels/dtype_end.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input_open(data, size);
    design d;
    memset(&d, 0, sizeof d);
    const int wide = (int)take(2);
    if (!take_design(&d)) {
        return 0;
    }
    uint64_t first = 0;
    for (size_t t = 0; cr_isa_name(1, t) != NULL; t++) {
        REQUIRE(cr_set_isa(cr_isa_name(1, t)) == CR_OK, "set_isa");
        for (int general_only = 0; general_only < 2; general_only++) {
            const uint64_t digest = wide ? cr_run_f64(&d, general_only) : cr_run_f32(&d, general_only);
            first = t == 0 && general_only == 0 ? digest : first;
            REQUIRE(digest == first, "%s, %s: bits differ from %s", cr_isa(),
                    general_only ? "general passes" : "any way", cr_isa_name(1, 0));
        }
    }
    return 0;
}
