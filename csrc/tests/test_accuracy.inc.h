/* test_accuracy.inc.h - the walks and the reference for one dtype; included twice by test_accuracy.c. REAL is the
 * dtype tested, WIDE the type of the reference, UINT the bits of REAL. */
#define HALF ((UINT)1 << (8 * sizeof(UINT) - 1))
#define EMAX (sizeof(REAL) == sizeof(float) ? 127 : 1023)

/* The numbers in ascending order: 0 is the NaN with all bits set, HALF - 1 is -0, HALF is +0. */
static REAL RN(of_ordinal)(UINT o)
{
    const UINT bits = o < HALF ? (UINT)~o : (UINT)(o - HALF);
    REAL x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static UINT RN(ordinal)(REAL x)
{
    UINT bits;
    memcpy(&bits, &x, sizeof bits);
    return bits < HALF ? (UINT)(bits + HALF) : (UINT)~bits;
}

/* f(x) as exactly as WIDE has it. */
static WIDE RN(reference)(const subject *s, WIDE x)
{
    if (!s->is_activation) {
        switch (s->kind) {
        case CR_EXP:
            return exp(x);
        case CR_LOG:
            return log(x);
        case CR_EXPM1:
            return expm1(x);
        case CR_LOG1P:
            return log1p(x);
        default:
            return erf(x);
        }
    }
    switch (s->kind) {
    case CR_TANH:
        return tanh(x);
    case CR_SIGMOID:
        return x > 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
    case CR_SOFTPLUS:
        return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
    default:
        break;
    }
    if (isinf(x)) {
        return x > 0 ? x : (WIDE)-0.0; /* from below */
    }
    switch (s->kind) {
    case CR_GELU: { /* erfc(t + low) = erfc(t) - 2 / sqrt(pi) e^(-t^2) low */
        const WIDE c = (WIDE)root_half[0], t = -x * c;
        const WIDE low = -(fma(x, c, t) + x * (WIDE)root_half[1]);
        return x / 2 * (erfc(t) - (WIDE)two_over_root_pi * exp(-t * t) * low);
    }
    case CR_GELU_TANH: { /* x / (1 + e^-v), v = x (a + b x^2) */
        const WIDE a = (WIDE)tanh_a[0], b = (WIDE)tanh_b[0];
        const WIDE square = x * x, square_low = fma(x, x, -square);
        const WIDE p = b * square, p_low = fma(b, square, -p) + b * square_low + (WIDE)tanh_b[1] * square;
        const WIDE sum = a + p, from_p = sum - a;
        const WIDE sum_low = (a - (sum - from_p)) + (p - from_p) + p_low + (WIDE)tanh_a[1];
        const WIDE v = x * sum, low = fma(x, sum, -v) + x * sum_low;
        const WIDE e = exp(-fabs(v)), lifted = e > 0 ? e * (x > 0 ? 1 - low : 1 + low) : 0;
        return x > 0 ? x / (1 + lifted) : x * lifted / (1 + lifted);
    }
    case CR_SILU:
        return x > 0 ? x / (1 + exp(-x)) : x * exp(x) / (1 + exp(x));
    default: { /* mish: tanh(log(1 + e)) = n / (n + 2), n = e (e + 2) */
        const WIDE e = x < 50 ? exp(x) : 0, n = e * (e + 2);
        return x < 50 ? x * n / (n + 2) : x;
    }
    }
}

/* A unit in the last place of r, and r cut off where the numbers end. */
static WIDE RN(unit)(WIDE *r)
{
    const WIDE beyond = 2 * (WIDE)power_of_2(EMAX);
    *r = *r > beyond ? beyond : *r < -beyond ? -beyond : *r;
    const double near = (double)fmin(fabs(*r), (WIDE)power_of_2(1023));
    uint64_t bits;
    memcpy(&bits, &near, sizeof bits);
    bits -= near > fabs(*r); /* towards 0, so that the exponent is that of r */
    const int exponent = (int)(bits >> 52) - 1023;
    return (WIDE)power_of_2((exponent < 1 - EMAX ? 1 - EMAX : exponent) - N_MANTISSA);
}

static void RN(special)(findings *f, REAL x)
{
    f->n_special++;
    f->special_at = (double)x;
}

/* What one ascending walk has seen last. */
typedef struct RN(walk) {
    REAL y;
    int left_least, at_greatest;
} RN(walk);

static void RN(look)(const subject *s, REAL x, REAL y, findings *f, RN(walk) *w)
{
    WIDE r = RN(reference)(s, (WIDE)x);
    f->n++;
    if (isnan(r) || isnan(y)) {
        if (!(isnan(r) && isnan(y))) {
            RN(special)(f, x);
        }
        return;
    }
    if (y == 0 && !signbit(y) != !signbit(r)) {
        RN(special)(f, x);
    }
    if (isinf(r) && isinf(x) && (WIDE)y != r) {
        RN(special)(f, x);
    }
    const WIDE unit = RN(unit)(&r), given = isinf(y) ? copysign(2 * (WIDE)power_of_2(EMAX), (WIDE)y) : (WIDE)y;
    const double error = (double)(fabs(given - r) / unit);
    f->n_above_1 += error > 1;
    if (error > f->error) {
        f->error = error;
        f->at = (double)x;
    }
    if (s->rises && y < w->y) {
        f->n_falls++;
        f->fall = fmax(f->fall, (double)(((WIDE)w->y - given) / unit));
    }
    w->y = y;
    const int is_least = y == (REAL)s->least, is_greatest = y == (REAL)s->greatest;
    if ((w->left_least && is_least && x < -1) || (w->at_greatest && !is_greatest)) {
        f->n_returns++;
        f->return_at = (double)x;
    }
    w->left_least |= !is_least;
    w->at_greatest |= is_greatest && x > 0;
}

static void RN(chunk)(const subject *s, size_t n, const REAL *x, findings *f, RN(walk) *w)
{
    REAL y[CHUNK];
    cr_status status;
    if (s->is_activation) {
        status = RN(activation)(s->kind, cr_activation_default_alpha(s->kind), 1, n, x, n, y, n);
    } else {
        status = RN(function)((cr_function)s->kind, n, x, y);
    }
    CHECK(status == CR_OK, "%s: %s", s->name, cr_status_message(status));
    for (size_t i = 0; i < n; i++) {
        RN(look)(s, x[i], y[i], f, w);
    }
}

typedef enum RN(way) { RN(EVENLY), RN(BY_ORDINAL), RN(BINADES) } RN(way);

/* n inputs in ascending order, one in each of n equal strata: of the numbers from first to last, of the ordinals
 * between them, or two on both sides of each power of two. */
static void RN(go)(const subject *s, RN(way) way, REAL first, REAL last, uint64_t n, findings *f)
{
    RN(walk) w = {.y = (REAL)-INFINITY};
    REAL x[CHUNK];
    size_t k = 0;
    const UINT from = RN(ordinal)(first), span = (UINT)(RN(ordinal)(last) - from);
    const UINT stratum = (UINT)(span / n + 1); /* 1 for all floats */
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t jitter = scatter(i);
        if (way == RN(EVENLY)) {
            x[k++] = (REAL)(first + (last - first) * (((double)i + (double)(jitter >> 11) * 0x1p-53) / (double)n));
        } else if (way == RN(BY_ORDINAL)) {
            const UINT step = (UINT)(i * stratum + jitter % stratum);
            if (step <= span) {
                x[k++] = RN(of_ordinal)((UINT)(from + step));
            }
        } else {
            x[k++] = RN(of_ordinal)((UINT)(((UINT)(i / 5) << N_MANTISSA) + (UINT)(i % 5) - 2));
        }
        if (k == CHUNK || i + 1 == n) {
            RN(chunk)(s, k, x, f, &w);
            k = 0;
        }
    }
}

/* The places and the numbers around them. */
static void RN(go_to_places)(const subject *s, findings *f)
{
    RN(walk) w = {.y = (REAL)-INFINITY};
    for (size_t i = 0; i < N_PLACES; i++) {
        REAL x[2 * AROUND + 1];
        for (size_t k = 0; k <= 2 * AROUND; k++) {
            x[k] = RN(of_ordinal)((UINT)(RN(ordinal)((REAL)places[i]) + k - AROUND));
        }
        RN(chunk)(s, 2 * AROUND + 1, x, f, &w);
    }
}

static void RN(test)(const subject *s)
{
    const int is_float = sizeof(REAL) == sizeof(float);
    const REAL first = RN(of_ordinal)(0), last = RN(of_ordinal)((UINT)-1); /* the outermost NaNs */
    findings f = {0};
    if (full && is_float) {
        RN(go)(s, RN(BY_ORDINAL), first, last, (uint64_t)1 << 32, &f);
    } else {
        const uint64_t n = (full ? FULL_DOUBLES : n_sample) / 4;
        const REAL small = (REAL)0x1p-60, large = (REAL)1448.0;
        RN(go)(s, RN(EVENLY), (REAL)s->from, (REAL)s->to, n, &f);
        RN(go)(s, RN(BY_ORDINAL), first, last, n, &f);
        RN(go)(s, RN(BY_ORDINAL), -large, -small, n, &f);
        RN(go)(s, RN(BY_ORDINAL), small, large, n, &f);
        RN(go)(s, RN(BINADES), 0, 0, 5 * (4 * (uint64_t)EMAX + 4), &f);
        RN(go_to_places)(s, &f);
    }
    report(s, is_float ? "float" : "double", &f);
}

#undef HALF
#undef EMA