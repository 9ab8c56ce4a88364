/* network_functions.inc.h - what network_f32.c and network_f64.c define; included twice by network.h. Contracts as
 * in chainrule.h; the floating-point mode is set and the arguments that do not depend on the dtype are
 * checked by network.c. */

cr_status RN(network_reserve)(cr_network *net, size_t n_rows);
cr_status RN(network_predict)(cr_network *net, size_t n_rows, const REAL *x, size_t ld_x, REAL *y, size_t ld_y);
cr_status RN(network_forward)(cr_network *net, size_t n_rows, const REAL *x, size_t ld_x, int training, REAL *y,
                              size_t ld_y);
cr_status RN(network_backward)(cr_network *net, size_t n_rows, const REAL *dy, size_t ld_dy, REAL *dx, size_t ld_dx);
cr_status RN(network_update)(cr_network *net, double learning_rate);
double RN(network_penalty)(const cr_network *net);
cr_status RN(network_train_step)(cr_network *net, const cr_rows *rows, double learning_rate, double *loss);
cr_status RN(network_evaluate)(cr_network *net, const cr_rows *rows, double *loss, REAL *prediction,
                               size_t ld_prediction);
cr_status RN(network_fit)(cr_network *net, const cr_rows *rows, const int64_t *order, size_t batch_size,
                          const double *learning_rate, size_t n_learning_rates, size_t first_step, double seconds,
                          double *step_loss, size_t *next_step);
cr_status RN(network_check_rows)(const cr_network *net, const cr_rows *rows, size_t *row);
