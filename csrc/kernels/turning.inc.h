/* turning.inc.h - sixteen partial sums while terms come in, vector by vector: term i joins number i mod 16.
 *
 * They lie in vectors that take turns: terms are added to the first, which then goes to the end. Up to four vectors
 * have names and so stay in registers, where compilers would leave an array in memory. Doubles come first in
 * targets/, because kernels for float add up in double too.
 */

#define CR_TURNS (16 / V_LANES)

typedef struct V(turning) {
    V(t) a, b, c, d;      /* of up to four vectors */
    V(t) many[CR_TURNS];  /* of more */
    size_t next;
} V(turning);

CR_INLINE V(turning) V(turning_begin)(const REAL partial[16])
{
    V(turning) s = {.next = 0};
    if (CR_TURNS <= 4) {
        s.a = V(load)(partial);
        s.b = V(load)(partial + 1 % CR_TURNS * V_LANES);
        s.c = V(load)(partial + 2 % CR_TURNS * V_LANES);
        s.d = V(load)(partial + 3 % CR_TURNS * V_LANES);
        return s;
    }
    for (size_t v = 0; v < CR_TURNS; ++v) {
        s.many[v] = V(load)(partial + v * V_LANES);
    }
    return s;
}

CR_INLINE void V(turning_add)(V(turning) *s, V(t) terms)
{
    if (CR_TURNS <= 4) {
        const V(t) sum = V(add)(s->a, terms);
        s->a = CR_TURNS == 1 ? sum : s->b;
        s->b = CR_TURNS == 2 ? sum : s->c;
        s->c = s->d;
        s->d = sum;
    } else {
        s->many[s->next] = V(add)(s->many[s->next], terms);
    }
    s->next = (s->next + 1) % CR_TURNS;
}

CR_INLINE void V(turning_end)(V(turning) *s, REAL partial[16])
{
    if (CR_TURNS <= 4) {
        const V(t) all[4] = {s->a, s->b, s->c, s->d}; /* from number `next` on */
        for (size_t v = 0; v < CR_TURNS; ++v) {
            V(store)(partial + (s->next + v) % CR_TURNS * V_LANES, all[v]);
        }
        return;
    }
    for (size_t v = 0; v < CR_TURNS; ++v) {
        V(store)(partial + v * V_LANES, s->many[v]);
    }
}

#undef CR_TURNS
