/* arrays.c - the public array functions of chainrule.h: check, set the floating-point mode, call the
 * kernels of the current target. Written once in arrays.inc.h, included for both dtypes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "kernel_table.h"
#include "pace.h"
#include "team.h"

#define CR_DTYPE 32
#include "kernels/dtype.h"
#include "arrays.inc.h"
#include "kernels/dtype_end.h"

#define CR_DTYPE 64
#include "kernels/dtype.h"
#include "arrays.inc.h"
#include "kernels/dtype_end.h"
