/* network_f64.c - networks of double. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../team.h"
#include "network.h"

#define CR_DTYPE 64
#include "../kernels/dtype.h"
#include "small.inc.h"
#include "plan.inc.h"
#include "forward.inc.h"
#include "backward.inc.h"
#include "columns.inc.h"
#include "parameters.inc.h"
#include "update.inc.h"
#include "fit.inc.h"
#include "../kernels/dtype_end.h"
