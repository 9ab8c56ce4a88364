/* test_isas.c - every instruction set that the processor offers is built in, chosen when asked for, and really runs.
 *
 * What the processor offers is read from /proc/cpuinfo, which the library does not look at. Under an emulator that file
 * is the host's: there the list comes from the environment, CR_ISAS="scalar avx2". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chainrule.h"
#include "check.h"

/* A word of a list of words. */
static int lists(const char *list, const char *word)
{
    const size_t n = strlen(word);
    for (const char *at = list; (at = strstr(at, word)) != NULL; at += n) {
        const int starts = at == list || at[-1] == ' ' || at[-1] == '\t';
        if (starts && (at[n] == '\0' || at[n] == ' ' || at[n] == '\n')) {
            return 1;
        }
    }
    return 0;
}

/* The first line of /proc/cpuinfo that lists features. */
static int read_features(char *line, size_t size)
{
    FILE *const file = fopen("/proc/cpuinfo", "r");
    int found = 0;
    while (file != NULL && !found && fgets(line, (int)size, file) != NULL) {
        found = strncmp(line, "flags", 5) == 0;
    }
    if (file != NULL) {
        fclose(file);
    }
    return found;
}

/* Whether the processor offers this set; -1: nobody knows. */
static int offered(const char *isa)
{
    static char features[16384];
    const char *told = getenv("CR_ISAS");
    if (told != NULL && told[0] != '\0') {
        return lists(told, isa);
    }
#if defined(__aarch64__)
    return strcmp(isa, "scalar") == 0 || strcmp(isa, "neon") == 0; /* which the architecture has */
#elif !defined(__x86_64__)
    return strcmp(isa, "scalar") == 0;
#endif
    if (strcmp(isa, "scalar") == 0) {
        return 1;
    }
    if (strcmp(isa, "neon") == 0) {
        return 0;
    }
    if (features[0] == '\0' && !read_features(features, sizeof features)) {
        return -1;
    }
    if (strcmp(isa, "avx2") == 0) {
        return lists(features, "avx2") && lists(features, "fma");
    }
    return lists(features, "avx512f") && lists(features, "avx512bw") && lists(features, "avx512dq")
           && lists(features, "avx512vl") && lists(features, "fma");
}

static int usable(const char *isa)
{
    for (size_t i = 0; cr_isa_name(1, i) != NULL; i++) {
        if (strcmp(cr_isa_name(1, i), isa) == 0) {
            return 1;
        }
    }
    return 0;
}

/* (1 2 3) (1 10; 100 1000; 10000 100000) + (0.5 -0.5) */
static void run(const char *isa)
{
    const float x[] = {1, 2, 3}, w[] = {1, 10, 100, 1000, 10000, 100000}, bias[] = {0.5f, -0.5f};
    float y[2] = {0, 0};
    CHECK(cr_set_isa(isa) == CR_OK && strcmp(cr_isa(), isa) == 0, "%s cannot be chosen", isa);
    CHECK(cr_dense_forward_f32(1, 3, 2, x, 3, w, 2, bias, CR_RELU, 0, NULL, 0, y, 2) == CR_OK, "dense_forward");
    CHECK(y[0] == 30201.5f && y[1] == 302009.5f, "%s: %g %g", isa, (double)y[0], (double)y[1]);
    cr_check_ran(isa);
}

int main(void)
{
    static const char *const all[] = {"scalar", "avx2", "avx512", "neon"};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        const int offer = offered(all[i]);
        CHECK(offer < 0 || offer == usable(all[i]), "the processor %s %s, the library %s it",
              offer ? "offers" : "lacks",
              all[i], usable(all[i]) ? "uses" : "does not use");
        if (usable(all[i])) {
            run(all[i]);
        } else {
            CHECK(cr_set_isa(all[i]) == CR_NOT_AVAILABLE, "%s was chosen", all[i]);
        }
    }
    return cr_check_summary();
}
