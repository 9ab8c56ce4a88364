/* cpu.c - what this machine can do. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* sched_getaffinity */
#endif

#include "cpu.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(_WIN32)
#include <windows.h>
#elif defined(__linux__)
#include <errno.h>
#include <sched.h>
#include <unistd.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#else
#include <unistd.h>
#endif

/* ---- instruction sets ----------------------------------------------------------------------- */

#if defined(__x86_64__) || defined(__i386__) || (defined(_M_X64) && !defined(_M_ARM64EC))

typedef struct {
    uint32_t eax, ebx, ecx, edx;
} cpuid_t;

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>

static cpuid_t cpuid(uint32_t leaf, uint32_t subleaf)
{
    int r[4];
    __cpuidex(r, (int)leaf, (int)subleaf);
    const cpuid_t out = {(uint32_t)r[0], (uint32_t)r[1], (uint32_t)r[2], (uint32_t)r[3]};
    return out;
}

static uint64_t xgetbv0(void) { return _xgetbv(0); }

#else
#include <cpuid.h> /* saves ebx where 32-bit position-independent code needs it */

static cpuid_t cpuid(uint32_t leaf, uint32_t subleaf)
{
    cpuid_t out;
    __cpuid_count(leaf, subleaf, out.eax, out.ebx, out.ecx, out.edx);
    return out;
}

/* The intrinsic would need -mxsave, and this file is compiled for every machine. */
static uint64_t xgetbv0(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}
#endif

static int has(uint64_t word, uint64_t bits) { return (word & bits) == bits; }

#define BIT(n) (UINT64_C(1) << (n))

/* Not __builtin_cpu_supports: MSVC has none, and older ones do not ask what the system saves. */
unsigned cr_cpu_features(void)
{
    const uint64_t fma = BIT(12), osxsave = BIT(27), avx = BIT(28);     /* leaf 1, ecx */
    const uint64_t avx2 = BIT(5);                                       /* leaf 7, ebx */
    const uint64_t avx512 = BIT(16) | BIT(17) | BIT(30) | BIT(31);      /* ebx: F, DQ, BW, VL */
    const uint64_t ymm = BIT(1) | BIT(2);                               /* XCR0: SSE, AVX */
    const uint64_t zmm = ymm | BIT(5) | BIT(6) | BIT(7);                /* XCR0: and opmask, ZMM */

    if (cpuid(0, 0).eax < 7 || !has(cpuid(1, 0).ecx, fma | osxsave | avx)) {
        return 0;
    }
    const uint64_t saved = xgetbv0();
    const uint64_t leaf7 = cpuid(7, 0).ebx;
    unsigned features = 0;
    if (has(saved, ymm) && has(leaf7, avx2)) {
        features |= CR_CPU_AVX2;
        /* macOS shows no ZMM state before a thread's first use, so there avx2 is chosen. */
        if (has(saved, zmm) && has(leaf7, avx512)) {
            features |= CR_CPU_AVX512;
        }
    }
    return features;
}

#elif defined(__aarch64__) || defined(_M_ARM64)
unsigned cr_cpu_features(void) { return CR_CPU_NEON; } /* part of the base architecture */
#else
unsigned cr_cpu_features(void) { return 0; }
#endif

/* ---- the number of CPUs --------------------------------------------------------------------- */

#if defined(__linux__)

static size_t affinity_count(void)
{
    /* A machine may have more CPUs than cpu_set_t has bits; the kernel then answers EINVAL. */
    for (int n_bits = CPU_SETSIZE; n_bits <= 1 << 20; n_bits *= 2) {
        cpu_set_t *const set = CPU_ALLOC((size_t)n_bits);
        if (set == NULL) {
            break;
        }
        const size_t size = CPU_ALLOC_SIZE((size_t)n_bits);
        const int failed = sched_getaffinity(0, size, set);
        const int too_small = failed && errno == EINVAL;
        const int count = failed ? 0 : CPU_COUNT_S(size, set);
        CPU_FREE(set);
        if (count > 0) {
            return (size_t)count;
        }
        if (!too_small) {
            break;
        }
    }
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (size_t)online : 1;
}

/* The first line of the file at directory + name, without its newline; 0 if there is none. */
static int read_line(const char *directory, const char *name, char *line, size_t size)
{
    char path[PATH_MAX];
    const int n = snprintf(path, sizeof path, "%s/%s", directory, name);
    if (n < 0 || (size_t)n >= sizeof path) {
        return 0;
    }
    FILE *const file = fopen(path, "re");
    if (file == NULL) {
        return 0;
    }
    const int found = fgets(line, (int)size, file) != NULL;
    fclose(file);
    if (found) {
        line[strcspn(line, "\n")] = '\0';
    }
    return found;
}

/* ceil(quota / period), or SIZE_MAX when nothing is limited. */
static size_t quota_to_cpus(long long quota, long long period)
{
    if (quota <= 0 || period <= 0) {
        return SIZE_MAX;
    }
    return (size_t)((quota - 1) / period + 1);
}

/* The limit of one cgroup directory, whichever version it is of. */
static size_t directory_limit(const char *directory)
{
    char line[64];
    long long quota, period;
    if (read_line(directory, "cpu.max", line, sizeof line)) { /* v2: "150000 100000" */
        const int limited = sscanf(line, "%lld %lld", &quota, &period) == 2;
        return limited ? quota_to_cpus(quota, period) : SIZE_MAX;
    }
    if (!read_line(directory, "cpu.cfs_quota_us", line, sizeof line)) { /* v1: -1 is no limit */
        return SIZE_MAX;
    }
    quota = strtoll(line, NULL, 10);
    if (!read_line(directory, "cpu.cfs_period_us", line, sizeof line)) {
        return SIZE_MAX;
    }
    return quota_to_cpus(quota, strtoll(line, NULL, 10));
}

/* The least limit of the cgroup and all above it.  In a container the path may be the host's and
   not exist; the walk still ends at the mount point, which is the container's own group. */
static size_t path_limit(const char *mount, const char *group)
{
    char directory[PATH_MAX];
    const size_t n_mount = strlen(mount);
    const int n = snprintf(directory, sizeof directory, "%s%s", mount, group);
    if (n < 0 || (size_t)n >= sizeof directory) {
        return SIZE_MAX;
    }
    size_t least = SIZE_MAX;
    for (;;) {
        const size_t limit = directory_limit(directory);
        least = limit < least ? limit : least;
        char *const slash = strrchr(directory, '/');
        if (slash == NULL || (size_t)(slash - directory) < n_mount) {
            return least;
        }
        *slash = '\0';
    }
}

/* Whether a comma-separated list has the word "cpu". */
static int lists_cpu(const char *list)
{
    while (*list != '\0') {
        const size_t n = strcspn(list, ",");
        if (n == 3 && memcmp(list, "cpu", 3) == 0) {
            return 1;
        }
        list += n + (list[n] == ',');
    }
    return 0;
}

/* The least CPU quota over this process's cgroups, or SIZE_MAX. */
static size_t cgroup_count(void)
{
    FILE *const file = fopen("/proc/self/cgroup", "re");
    if (file == NULL) {
        return SIZE_MAX;
    }
    char line[PATH_MAX];
    size_t least = SIZE_MAX;
    while (fgets(line, (int)sizeof line, file) != NULL) { /* "<number>:<controllers>:<path>" */
        line[strcspn(line, "\n")] = '\0';
        char *const controllers = strchr(line, ':');
        char *const group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (group == NULL) {
            continue;
        }
        *group = '\0';
        size_t limit = SIZE_MAX;
        if (controllers[1] == '\0') { /* v2 */
            limit = path_limit("/sys/fs/cgroup", group + 1);
        } else if (lists_cpu(controllers + 1)) { /* v1; where mounted jointly, "cpu" is a link */
            limit = path_limit("/sys/fs/cgroup/cpu", group + 1);
        }
        least = limit < least ? limit : least;
    }
    fclose(file);
    return least;
}

size_t cr_cpu_count(void)
{
    const size_t allowed = affinity_count();
    const size_t quota = cgroup_count();
    return quota < allowed ? quota : allowed;
}

#elif defined(_WIN32)

size_t cr_cpu_count(void)
{
    DWORD_PTR allowed = 0, present = 0;
    if (!GetProcessAffinityMask(GetCurrentProcess(), &allowed, &present) || allowed == 0) {
        SYSTEM_INFO info; /* its threads are in several processor groups, which have no common mask */
        GetSystemInfo(&info);
        return info.dwNumberOfProcessors > 0 ? (size_t)info.dwNumberOfProcessors : 1;
    }
    size_t count = 0;
    for (; allowed != 0; allowed &= allowed - 1) {
        count++;
    }
    return count;
}

#elif defined(__APPLE__)

size_t cr_cpu_count(void)
{
    int count = 0;
    size_t size = sizeof count;
    if (sysctlbyname("hw.ncpu", &count, &size, NULL, 0) != 0 || count < 1) {
        return 1;
    }
    return (size_t)count;
}

#else

size_t cr_cpu_count(void)
{
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (size_t)online : 1;
}

#endif
