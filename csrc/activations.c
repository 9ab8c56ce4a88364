/* activations.c - what is known of each activation without computing it. */
#include "chainrule.h"

#include <stddef.h>

typedef struct activation_facts {
    const char *name;
    int saves_input;
    int by_row;
    double default_alpha;
} activation_facts;

static const activation_facts facts[CR_N_ACTIVATIONS] = {
    [CR_IDENTITY] = {"identity", 0, 0, 0.0},
    [CR_RELU] = {"relu", 0, 0, 0.0},
    [CR_LEAKY_RELU] = {"leaky_relu", 0, 0, 0.01},
    [CR_SIGMOID] = {"sigmoid", 0, 0, 0.0},
    [CR_TANH] = {"tanh", 0, 0, 0.0},
    [CR_ELU] = {"elu", 0, 0, 1.0},
    [CR_SELU] = {"selu", 0, 0, 0.0},
    [CR_CELU] = {"celu", 0, 0, 1.0},
    [CR_GELU] = {"gelu", 1, 0, 0.0},
    [CR_GELU_TANH] = {"gelu_tanh", 1, 0, 0.0},
    [CR_SILU] = {"silu", 1, 0, 0.0},
    [CR_MISH] = {"mish", 1, 0, 0.0},
    [CR_SOFTPLUS] = {"softplus", 0, 0, 0.0},
    [CR_SOFTSIGN] = {"softsign", 0, 0, 0.0},
    [CR_HARD_SIGMOID] = {"hard_sigmoid", 0, 0, 0.0},
    [CR_HARD_SWISH] = {"hard_swish", 1, 0, 0.0},
    [CR_HARD_TANH] = {"hard_tanh", 0, 0, 0.0},
    [CR_RELU6] = {"relu6", 0, 0, 0.0},
    [CR_EXPONENTIAL] = {"exponential", 0, 0, 0.0},
    [CR_SOFTMAX] = {"softmax", 0, 1, 0.0},
    [CR_LOG_SOFTMAX] = {"log_softmax", 0, 1, 0.0},
};

static int known(int kind)
{
    return kind >= 0 && kind < CR_N_ACTIVATIONS;
}

const char *cr_activation_name(int kind)
{
    return known(kind) ? facts[kind].name : NULL;
}

int cr_activation_saves_input(int kind)
{
    return known(kind) && facts[kind].saves_input;
}

int cr_activation_by_row(int kind)
{
    return known(kind) && facts[kind].by_row;
}

double cr_activation_default_alpha(int kind)
{
    return known(kind) ? facts[kind].default_alpha : 0.0;
}
