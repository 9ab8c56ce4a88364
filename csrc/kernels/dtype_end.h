/* dtype_end.h - forget the dtype that dtype.h set. */
#undef REAL
#undef V
#undef V_LANES
#undef FN
#undef RN
#undef CURRENT
#undef CR_DTYPE
