/* What features.c (the set) and features_load.c (the file) share. */
#pragma once
#include "buf.h"
#include "features.h"

/* NULL out of memory. */
struct features *features_new(void);
/* Copies the name. -ENOMEM, -EFBIG beyond 2^31 features. */
int features_add(struct features *features, struct geo_point point, struct str name);
/* After the last one. */
int features_index(struct features *features);
