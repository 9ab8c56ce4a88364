/* check.h - the few lines of test framework: count, tell, and fail at the end. */
#ifndef CR_CHECK_H
#define CR_CHECK_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned long cr_n_passed, cr_n_failed;
static char cr_isas_ran[64]; /* " scalar avx2", for the summary */

/* To be called for every instruction set that a test runs on. */
static inline void cr_check_ran(const char *isa)
{
    if (strstr(cr_isas_ran, isa) == NULL && strlen(cr_isas_ran) + strlen(isa) + 2 < sizeof cr_isas_ran) {
        strcat(strcat(cr_isas_ran, " "), isa);
    }
}

/* CHECK(condition, format, ...): one test.  The message says what went wrong. */
#define CHECK(condition, ...)                                                                     \
    do {                                                                                          \
        if (condition) {                                                                          \
            cr_n_passed++;                                                                        \
        } else {                                                                                  \
            cr_n_failed++;                                                                        \
            printf("%s:%d: ", __FILE__, __LINE__);                                                \
            printf(__VA_ARGS__);                                                                  \
            printf("\n");                                                                         \
        }                                                                                         \
    } while (0)

/* xorshift64*: the same cases on every machine. */
static uint64_t cr_check_state = 0x9E3779B97F4A7C15u;

static inline uint64_t cr_check_bits(void)
{
    cr_check_state ^= cr_check_state >> 12;
    cr_check_state ^= cr_check_state << 25;
    cr_check_state ^= cr_check_state >> 27;
    return cr_check_state * 0x2545F4914F6CDD1Du;
}

/* Whether to run fewer cases, and say so: CR_TEST_QUICK is set, because an emulator would take long. */
static inline int cr_check_quick(void)
{
    const int quick = getenv("CR_TEST_QUICK") != NULL;
    if (quick) {
        printf("(CR_TEST_QUICK: not all cases) ");
    }
    return quick;
}

/* For the end of main: the summary, and the exit status.  A run that checked nothing has failed. */
static inline int cr_check_summary(void)
{
    printf("%lu passed, %lu failed%s%s\n", cr_n_passed, cr_n_failed, cr_isas_ran[0] ? "; ran:" : "", cr_isas_ran);
    return cr_n_failed != 0 || cr_n_passed == 0;
}

#endif
