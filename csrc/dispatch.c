/* dispatch.c - choose one target when first asked; name, list, refuse. Also the thread-count setting. */
#include <stdatomic.h>
#include <string.h>

#include "cpu.h"
#include "kernel_table.h"
#include "team.h"

/* Slowest first: the last usable one is the default. The build says which targets were compiled. */
static const cr_target *const built_targets[] = {
    &cr_target_scalar,
#ifdef CR_HAVE_NEON
    &cr_target_neon,
#endif
#ifdef CR_HAVE_AVX2
    &cr_target_avx2,
#endif
#ifdef CR_HAVE_AVX512
    &cr_target_avx512,
#endif
};
enum { N_TARGETS = sizeof built_targets / sizeof built_targets[0] };

static _Atomic(const cr_target *) current_target;
static atomic_size_t thread_limit; /* 0: not set, use the processors available */

static int usable(const cr_target *target)
{
    return (cr_cpu_features() & target->features) == target->features;
}

const cr_target *cr_current_target(void)
{
    const cr_target *target = atomic_load_explicit(&current_target, memory_order_acquire);
    if (target == NULL) {
        /* Two threads may both come here; they find the same answer. */
        for (size_t i = 0; i < N_TARGETS; i++) {
            if (usable(built_targets[i])) {
                target = built_targets[i];
            }
        }
        atomic_store_explicit(&current_target, target, memory_order_release);
    }
    return target;
}

const char *cr_isa(void)
{
    return cr_current_target()->name;
}

const char *cr_isa_name(int which, size_t index)
{
    for (size_t i = 0; i < N_TARGETS; i++) {
        if (which != 0 && !usable(built_targets[i])) {
            continue;
        }
        if (index-- == 0) {
            return built_targets[i]->name;
        }
    }
    return NULL;
}

cr_status cr_set_isa(const char *name)
{
    for (size_t i = 0; name != NULL && i < N_TARGETS; i++) {
        if (strcmp(built_targets[i]->name, name) == 0 && usable(built_targets[i])) {
            atomic_store_explicit(&current_target, built_targets[i], memory_order_release);
            return CR_OK;
        }
    }
    return CR_NOT_AVAILABLE;
}

const char *cr_compiler(void)
{
#define CR_TEXT_(x) #x
#define CR_TEXT(x) CR_TEXT_(x)
#if defined(__clang__)
    return "clang " CR_TEXT(__clang_major__) "." CR_TEXT(__clang_minor__);
#elif defined(__GNUC__)
    return "gcc " CR_TEXT(__GNUC__) "." CR_TEXT(__GNUC_MINOR__);
#elif defined(_MSC_VER)
    return "MSVC " CR_TEXT(_MSC_VER);
#else
    return "unknown";
#endif
}

size_t cr_cpu_count_available(void)
{
    return cr_cpu_count();
}

void cr_set_num_threads(size_t n)
{
    atomic_store_explicit(&thread_limit, n > CR_MAX_THREADS ? CR_MAX_THREADS : n, memory_order_relaxed);
}

size_t cr_get_num_threads(void)
{
    size_t n = atomic_load_explicit(&thread_limit, memory_order_relaxed);
    if (n == 0) {
        size_t count = cr_cpu_count();
        count = count > CR_MAX_THREADS ? CR_MAX_THREADS : count;
        /* Unless another thread has set a limit meanwhile: n is that, then. */
        if (atomic_compare_exchange_strong_explicit(&thread_limit, &n, count, memory_order_relaxed,
                                                    memory_order_relaxed)) {
            n = count;
        }
    }
    return n;
}
