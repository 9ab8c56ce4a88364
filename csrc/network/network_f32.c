/* network_f32.c - networks of float. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../team.h"
#include "network.h"

#define CR_DTYPE 32
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
