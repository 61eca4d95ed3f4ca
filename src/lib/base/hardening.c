/* Nothing but a check that the flags by which meson.build hardens optimized builds have reached the compiler, whatever
 * wraps it. tests/hardened.py looks at the programs. */
#ifdef SLIPWAY_HARDENED

#if !defined(_FORTIFY_SOURCE) || _FORTIFY_SOURCE < 3
#error "not compiled with _FORTIFY_SOURCE=3"
#endif
#ifndef __SSP_STRONG__
#error "not compiled with -fstack-protector-strong"
#endif
#ifndef __PIC__ /* also of -fPIE */
#error "not compiled with -fPIC or -fPIE"
#endif
#if defined(__x86_64__) && (!defined(__CET__) || __CET__ != 3)
#error "not compiled with -fcf-protection=full"
#endif
#if defined(__aarch64__) && !defined(__ARM_FEATURE_BTI_DEFAULT)
#error "not compiled with -mbranch-protection=standard"
#endif

#endif

_Static_assert(1, "a file is not empty");
