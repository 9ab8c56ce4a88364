/* chainrule_functions.inc.h - the functions of chainrule.h, whose types and conventions hold. A file of its own because
 * chainrule_api.h reads it a second time, as the members of a table. Not for use on its own. */

const char *cr_status_message(cr_status status);

/* ---- kinds ------------------------------------------------------------------------------------ */

const char *cr_activation_name(int kind);          /* "relu", ...; NULL outside the list */
int cr_activation_saves_input(int kind);           /* 1: the derivative needs x; 0: it needs y */
int cr_activation_by_row(int kind);                /* 1: softmax, log_softmax */
double cr_activation_default_alpha(int kind);      /* 0.01 leaky_relu, 1 elu and celu, else 0 */

const char *cr_loss_name(int kind);
int cr_loss_takes_labels(int kind); /* 1: cross_entropy and softmax_cross_entropy */
/* What targets other than labels must be for the loss's formula to hold: least <= t <= greatest, or, with *of_size 1,
 * least <= |t| <= greatest. */
void cr_loss_target_range(int kind, double *least, double *greatest, int *of_size);

/* Number of state arrays (0, 1 or 2), each as long as the parameters. */
int cr_optimizer_n_states(const cr_optimizer *optimizer);

/* ---- the processor ---------------------------------------------------------------------------- */

/* The chosen instruction set: "scalar", "avx2", "avx512" or "neon". */
const char *cr_isa(void);
/* Names of the sets that are built in (which = 0) or built in and usable here (which = 1); NULL past
 * the end of the list. Slowest first. */
const char *cr_isa_name(int which, size_t index);
/* Choose one by name; call it before other threads use the library. CR_NOT_AVAILABLE changes nothing. */
cr_status cr_set_isa(const char *name);
const char *cr_compiler(void);

size_t cr_cpu_count_available(void);
void cr_set_num_threads(size_t n); /* upper bound for later calls; 0 means the default */
size_t cr_get_num_threads(void);

/* ---- random numbers (counter based: Philox 4x32-10, Salmon et al. 2011) ------------------------- */

/* Word `index` of stream (seed, purpose, stream, epoch): out[i] is word first_index + i. */
void cr_random_u32(uint64_t seed, uint32_t purpose, uint32_t stream, uint64_t epoch, uint64_t first_index,
                   size_t n, uint32_t *out);
/* Uniform in [0, 1) with 53 bits; standard normal by the inverse CDF. Element i is number first_index + i of
 * its stream, made of words 2 (first_index + i) and the next. Limits of the names: philox.h. */
void cr_random_uniform(uint64_t seed, uint32_t purpose, uint32_t stream, uint64_t epoch, uint64_t first_index,
                       size_t n, double *out);
void cr_random_normal(uint64_t seed, uint32_t purpose, uint32_t stream, uint64_t epoch, uint64_t first_index,
                      size_t n, double *out);
/* order = a permutation of 0 .. n-1 (Fisher-Yates) fixed by (seed, epoch). */
void cr_random_permutation(uint64_t seed, uint64_t epoch, size_t n, int64_t *order);

/* ---- kernels on arrays, once per dtype ---------------------------------------------------------- */

#define CR_REAL float
#define CR_NAME(op) cr_##op##_f32
#include "chainrule_kernels.inc.h"
#undef CR_REAL
#undef CR_NAME
#define CR_REAL double
#define CR_NAME(op) cr_##op##_f64
#include "chainrule_kernels.inc.h"
#undef CR_REAL
#undef CR_NAME

/* ---- networks ------------------------------------------------------------------------------------ */

/* Sizes that a description leads to; CR_BAD_ARGUMENT if the description is not sound or overflows. Settings are looked
 * at as doubles here; a network of float also wants them to be finite, and above 0 where they must be, as floats. */
cr_status cr_network_measure(size_t n_in, size_t n_layers, const cr_layer *layers, cr_network_sizes *sizes);

/* A network over the caller's arrays. */
cr_status cr_network_create(cr_dtype dtype, size_t n_in, size_t n_layers, const cr_layer *layers,
                            const cr_network_arrays *arrays, uint64_t seed, cr_network **network);
void cr_network_destroy(cr_network *network); /* NULL is allowed */

cr_status cr_network_set_loss(cr_network *network, cr_loss loss, const cr_loss_options *options);
/* state: arrays for the optimizer (cr_optimizer_n_states of them, each of n_parameters elements), zero or as saved. */
cr_status cr_network_set_optimizer(cr_network *network, const cr_optimizer *optimizer, void *state_0, void *state_1);

/* Counters that make a run resumable: optimizer steps taken; training forwards (keys dropout). 0 for NULL. At most
 * 2^63 - 1: what would count further is CR_BAD_ARGUMENT, and so is setting them to more. */
uint64_t cr_network_steps(const cr_network *network);
uint64_t cr_network_forwards(const cr_network *network);
cr_status cr_network_set_counters(cr_network *network, uint64_t steps, uint64_t forwards);

/* Make room for batches of up to n_rows; nothing after it allocates for such batches. */
cr_status cr_network_reserve(cr_network *network, size_t n_rows);

/* y = network(x) as at inference (dropout off, running statistics). Safe from several threads at once.
 * x, y, and every array below are of the network's dtype. */
cr_status cr_network_predict(cr_network *network, size_t n_rows, const void *x, size_t ld_x, void *y, size_t ld_y);

/* Explicit backpropagation. forward keeps what backward needs (x itself is borrowed until then, not
 * copied); training != 0 applies dropout, batch statistics and counts a training forward. backward
 * takes dy = dLoss/dy of the last forward, writes (not adds) the gradients as plain sums over rows,
 * without penalties, and dx unless it is NULL. CR_BAD_ARGUMENT if no forward of n_rows came before, or a step since:
 * it reads the weights, which must be those of the forward. */
cr_status cr_network_forward(cr_network *network, size_t n_rows, const void *x, size_t ld_x, int training,
                             void *y, size_t ld_y);
cr_status cr_network_backward(cr_network *network, size_t n_rows, const void *dy, size_t ld_dy, void *dx, size_t ld_dx);
/* Add penalty gradients, clip, apply the optimizer with the gradients as they stand; one step. */
cr_status cr_network_update(cr_network *network, double learning_rate);
/* Sum of the penalties l1 sum|w| + l2 sum w^2; NaN for NULL. */
double cr_network_penalty(const cr_network *network);

/* One step on one batch: forward(training), loss, backward, update. *loss is the loss before the
 * update, penalties included. Checks labels and NaN targets before it changes anything. The gradient array
 * holds unspecified values afterwards: most gradients never reach memory. Rows without any weight have loss 0. */
cr_status cr_network_train_step(cr_network *network, const cr_rows *rows, double learning_rate, double *loss);

/* Loss of one batch as train_step reports it, but as at inference: no dropout, nothing changed. */
cr_status cr_network_evaluate(cr_network *network, const cr_rows *rows, double *loss, void *prediction,
                              size_t ld_prediction);

/* Steps first_step .. of one epoch over `rows` in the given order: batch b is rows order[b*batch_size
 * ...] (order NULL: as they stand; else rows->n_rows is its length); the last batch may be short.
 * learning_rate[i] is for step i of this call's epoch (n_learning_rates = 1: the same for all). step_loss[i]
 * receives step i's loss. Stops at the first step that ends after `seconds`, or right after a step whose loss
 * is not finite (so the caller can see it), and tells in *next_step where to go on (= number of batches when
 * the epoch is done). Neither rows nor order are looked through here. The caller vouches for them: order holds
 * numbers of rows, 0 .. rows->n_rows - 1 (any other reads outside the arrays), and cr_network_check_rows, asked
 * before, has found labels or targets good. */
cr_status cr_network_fit(cr_network *network, const cr_rows *rows, const int64_t *order, size_t batch_size,
                         const double *learning_rate, size_t n_learning_rates, size_t first_step, double seconds,
                         double *step_loss, size_t *next_step);
/* CR_BAD_LABEL / CR_BAD_TARGET, with *row the first bad row of `rows` as they stand; CR_OK otherwise. */
cr_status cr_network_check_rows(const cr_network *network, const cr_rows *rows, size_t *row);
