/* xor.c - a network without Python: 2-8-1 learns XOR. The caller owns all arrays; the network borrows them. */
#include <stdio.h>
#include <stdlib.h>

#include "chainrule.h"

enum { N_WEIGHTS = 2 * 8 + 8 + 8 * 1 + 1 };

static void check(cr_status status)
{
    if (status != CR_OK) {
        fprintf(stderr, "%s\n", cr_status_message(status));
        exit(1);
    }
}

int main(void)
{
    static float weights[N_WEIGHTS], gradients[N_WEIGHTS], m[N_WEIGHTS], v[N_WEIGHTS];
    static const float x[] = {0, 0, 0, 1, 1, 0, 1, 1}, target[] = {0, 1, 1, 0};
    const cr_layer layers[] = {{.kind = CR_LAYER_DENSE, .n_out = 8, .use_bias = 1, .activation = CR_TANH},
                               {.kind = CR_LAYER_DENSE, .n_out = 1, .use_bias = 1, .activation = CR_IDENTITY}};
    const cr_network_arrays arrays = {.parameters = weights, .gradients = gradients};
    const cr_loss_options no_options = {0};
    const cr_optimizer adam = {.kind = CR_ADAM, .beta_1 = 0.9, .beta_2 = 0.999, .epsilon = 1e-8};
    const cr_rows rows = {.n_rows = 4, .x = x, .ld_x = 2, .target = target, .ld_target = 1};
    double random[N_WEIGHTS], loss = 0;
    float y[4];
    cr_network *network;

    cr_random_normal(1, CR_PURPOSE_INIT, 0, 0, 0, N_WEIGHTS, random);
    for (int i = 0; i < N_WEIGHTS; i++) {
        weights[i] = (float)random[i];
    }
    check(cr_network_create(CR_F32, 2, 2, layers, &arrays, 1, &network));
    check(cr_network_set_loss(network, CR_SQUARED_ERROR, &no_options));
    check(cr_network_set_optimizer(network, &adam, m, v));
    for (int step = 0; step < 500; step++) {
        check(cr_network_train_step(network, &rows, 0.05, &loss));
    }
    check(cr_network_predict(network, 4, x, 2, y, 1));
    printf("%s, loss %.6f:", cr_isa(), loss);
    for (int i = 0; i < 4; i++) {
        printf(" %.3f", (double)y[i]);
    }
    printf("\n");
    cr_network_destroy(network);
    return 0;
}
