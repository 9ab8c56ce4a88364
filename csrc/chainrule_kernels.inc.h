/* chainrule_kernels.inc.h - the array functions of chainrule.h, declared once for both dtypes.
 * Included by chainrule.h with CR_REAL and CR_NAME set; not for use on its own. */

/* y = activation(x weight + bias). bias may be NULL. pre, if not NULL, receives x weight + bias. y and
 * pre must not overlap the inputs. */
cr_status CR_NAME(dense_forward)(size_t n_rows, size_t n_in, size_t n_out, const CR_REAL *x, size_t ld_x,
                                 const CR_REAL *weight, size_t ld_weight, const CR_REAL *bias, int activation,
                                 double alpha, CR_REAL *pre, size_t ld_pre, CR_REAL *y, size_t ld_y);

/* dx = (dz weight^T) * f'(.), f the activation of the layer below: saved is its output y or its input x,
 * whichever cr_activation_saves_input names (NULL for identity); by-row activations are refused.
 * dx may be the same array as saved. */
cr_status CR_NAME(dense_backward_input)(size_t n_rows, size_t n_in, size_t n_out, const CR_REAL *dz, size_t ld_dz,
                                        const CR_REAL *weight, size_t ld_weight, int activation, double alpha,
                                        const CR_REAL *saved, size_t ld_saved, CR_REAL *dx, size_t ld_dx);

/* dw = x^T dz and db = column sums of dz; db may be NULL. */
cr_status CR_NAME(dense_backward_weight)(size_t n_rows, size_t n_in, size_t n_out, const CR_REAL *x, size_t ld_x,
                                         const CR_REAL *dz, size_t ld_dz, CR_REAL *dw, size_t ld_dw, CR_REAL *db);

/* y = f(x), row by row for the by-row kinds. y may be x. */
cr_status CR_NAME(activation)(int kind, double alpha, size_t n_rows, size_t n_cols, const CR_REAL *x, size_t ld_x,
                              CR_REAL *y, size_t ld_y);
/* dx = dy * f' (softmax kinds: the Jacobian applied). dx may be dy or saved. */
cr_status CR_NAME(activation_backward)(int kind, double alpha, size_t n_rows, size_t n_cols, const CR_REAL *dy,
                                       size_t ld_dy, const CR_REAL *saved, size_t ld_saved, CR_REAL *dx, size_t ld_dx);
/* y = f(x) elementwise, contiguous. y may be x. */
cr_status CR_NAME(function)(cr_function kind, size_t n, const CR_REAL *x, CR_REAL *y);

/* Loss and gradient in one pass. Exactly one of target (n_rows, n_out) and labels (n_rows) is given;
 * weight may be NULL. mean != 0: sum_i w_i l_i / sum_i w_i and its gradient; else the plain sum. grad may be
 * NULL, or the same array as prediction. Bad labels and NaN targets are refused; NaN is looked for afterwards where
 * weight is NULL and grad is not prediction, and grad then holds unspecified values. */
cr_status CR_NAME(loss)(cr_loss kind, const cr_loss_options *options, int mean, size_t n_rows, size_t n_out,
                        const CR_REAL *prediction, size_t ld_prediction, const CR_REAL *target, size_t ld_target,
                        const int32_t *labels, const CR_REAL *weight, CR_REAL *grad, size_t ld_grad, double *loss);

/* One optimizer step on n parameters, in place; step counts from 1 (Adam's bias correction). */
cr_status CR_NAME(optimizer_update)(const cr_optimizer *optimizer, uint64_t step, double learning_rate, size_t n,
                                    CR_REAL *param, const CR_REAL *grad, CR_REAL *state_0, CR_REAL *state_1);

/* Inverted dropout with the mask of (seed, layer, forward): y = x / (1 - rate) where kept, else 0. Its backward
 * is the same call on dy. first_row is the batch position of row 0. y may be x. */
cr_status CR_NAME(dropout)(double rate, uint64_t seed, uint32_t layer, uint64_t forward, size_t first_row,
                           size_t n_rows, size_t n_cols, const CR_REAL *x, size_t ld_x, CR_REAL *y, size_t ld_y);

/* y = gamma (x - mean) / sqrt(var + epsilon) + beta over each row (Ba et al. 2016). Keeps mean and inverse
 * standard deviation of each row for the backward. y may be x only if backward will not be called. */
cr_status CR_NAME(layer_norm_forward)(size_t n_rows, size_t n_cols, double epsilon, const CR_REAL *x, size_t ld_x,
                                      const CR_REAL *gamma, const CR_REAL *beta, CR_REAL *mean, CR_REAL *inverse_std,
                                      CR_REAL *y, size_t ld_y);
/* Writes dgamma, dbeta (n_cols) and, unless NULL, dx. dx may be dy. */
cr_status CR_NAME(layer_norm_backward)(size_t n_rows, size_t n_cols, const CR_REAL *x, size_t ld_x,
                                       const CR_REAL *gamma, const CR_REAL *mean, const CR_REAL *inverse_std,
                                       const CR_REAL *dy, size_t ld_dy, CR_REAL *dgamma, CR_REAL *dbeta, CR_REAL *dx,
                                       size_t ld_dx);

/* Batch normalisation over rows (Ioffe and Szegedy 2015). training: batch mean and (biased) variance, kept in
 * mean and inverse_std and folded into the running ones (the running variance takes the unbiased n/(n-1) one);
 * else the running ones are used and mean and inverse_std are written from them. */
cr_status CR_NAME(batch_norm_forward)(int training, size_t n_rows, size_t n_cols, double epsilon, double momentum,
                                      const CR_REAL *x, size_t ld_x, const CR_REAL *gamma, const CR_REAL *beta,
                                      CR_REAL *running_mean, CR_REAL *running_variance, CR_REAL *mean,
                                      CR_REAL *inverse_std, CR_REAL *y, size_t ld_y);
/* Gradients of the same forward: training says whether mean and inverse_std depended on x. dx may be dy. */
cr_status CR_NAME(batch_norm_backward)(int training, size_t n_rows, size_t n_cols, const CR_REAL *x, size_t ld_x,
                                       const CR_REAL *gamma, const CR_REAL *mean, const CR_REAL *inverse_std,
                                       const CR_REAL *dy, size_t ld_dy, CR_REAL *dgamma, CR_REAL *dbeta, CR_REAL *dx,
                                       size_t ld_dx);

/* Sum of squares in double, fixed order; the number of elements that are not finite. */
double CR_NAME(sum_squares)(size_t n, const CR_REAL *x);
size_t CR_NAME(count_not_finite)(size_t n, const CR_REAL *x);
/* 1 if least <= x[i] <= greatest for all i, or, of_size, least <= |x[i]| <= greatest; a NaN is never within. */
int CR_NAME(all_within)(size_t n, const CR_REAL *x, int of_size, double least, double greatest);
