/* dtype.h - the template mechanism: what a kernel file means by REAL, V(...) and FN(...).
 *
 * Include with CR_DTYPE set to 32 or 64 (and CR_ISA to a target's name), then the kernel files, then
 * dtype_end.h. No include guard: it is meant to be included once per dtype.
 */
#ifndef CR_CAT
#define CR_CAT_(a, b) a##b
#define CR_CAT(a, b) CR_CAT_(a, b)
#define CR_CAT4_(a, b, c, d) a##b##c##d
#define CR_CAT4(a, b, c, d) CR_CAT4_(a, b, c, d)
#define V_WIDE (V_LANES / CR_F64_LANES) /* vectors of doubles for the lanes of one of REAL */
#endif

#if CR_DTYPE == 32
#define REAL float
#define V(word) CR_CAT(cr_f32_, word)
#define V_LANES CR_F32_LANES
#define FN(op) CR_CAT4(cr_, op, _f32_, CR_ISA) /* a kernel: per dtype and per ISA */
#define RN(op) CR_CAT4(cr_, op, _, f32)        /* a dtype-only name: cr_<op>_f32 */
#define CURRENT() (cr_current_target()->f32)   /* above the kernels: those of the chosen target */
#elif CR_DTYPE == 64
#define REAL double
#define V(word) CR_CAT(cr_f64_, word)
#define V_LANES CR_F64_LANES
#define FN(op) CR_CAT4(cr_, op, _f64_, CR_ISA)
#define RN(op) CR_CAT4(cr_, op, _, f64)
#define CURRENT() (cr_current_target()->f64)
#else
#error "CR_DTYPE must be 32 or 64"
#endif
