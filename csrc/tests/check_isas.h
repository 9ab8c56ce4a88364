/* check_isas.h - a test on every instruction set that the processor has: for (size_t i = 0; cr_check_isa(i); i++). */
#ifndef CR_CHECK_ISAS_H
#define CR_CHECK_ISAS_H

#include "chainrule.h"
#include "check.h"

/* Chooses set number i, and notes that it ran; 0 if there are no more. */
static inline int cr_check_isa(size_t i)
{
    const char *const name = cr_isa_name(1, i);
    if (name == NULL) {
        return 0;
    }
    CHECK(cr_set_isa(name) == CR_OK, "%s cannot be chosen", name);
    cr_check_ran(name);
    return 1;
}

#endif
