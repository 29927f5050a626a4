/* Includes the file that BODY names twice, once for float and once for double. What BODY sees:

   real        the element type, float or double
   NAME(stem)  the name of this type's version of a function: stem_f32 or stem_f64
   LANES       elements in 64 bytes, 16 or 8
   native      the widest vector of the instruction set, with the operators of C; NATIVE elements, PARTS of them in 64 bytes
   load(p), store(p, v), stream(p, v)           all elements; stream goes past the caches and needs an aligned p
   load_some(p, count, rest), store_some(p, v, count)   the first `count` elements; others are taken from `rest`
   all(a)      a vector of equal elements
   act(z, slope), act_slope(z, slope), not_above(z)  of the activation, see lanes.h
   any_greater(a, b)   whether some element of a is greater than that of b

   FOR_REAL(function, x) picks the version of `function` by the type that x points to. */

#define PASTE_(stem, suffix) stem##_##suffix
#define PASTE(stem, suffix) PASTE_(stem, suffix)
#define NAME(stem) PASTE(stem, SUFFIX)
#define NATIVE ((Py_ssize_t)(NATIVE_BYTES / sizeof(real)))
#define LANES ((Py_ssize_t)(64 / sizeof(real)))
#define native NAME(native)
#define load NAME(load)
#define store NAME(store)
#define stream NAME(stream)
#define load_some NAME(load_some)
#define store_some NAME(store_some)
#define all NAME(all)
#define act NAME(act)
#define act_slope NAME(act_slope)
#define not_above NAME(not_above)
#define any_greater NAME(any_greater)

#define real float
#define SUFFIX f32
#include BODY
#undef real
#undef SUFFIX
#define real double
#define SUFFIX f64
#include BODY
#undef real
#undef SUFFIX

#undef NATIVE
#undef LANES
#undef native
#undef load
#undef store
#undef stream
#undef load_some
#undef store_some
#undef all
#undef act
#undef act_slope
#undef not_above
#undef any_greater
#undef NAME
#undef PASTE
#undef PASTE_
#undef BODY
