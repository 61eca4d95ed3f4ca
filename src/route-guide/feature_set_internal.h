/* What feature_set.c (the set) and feature_set_load.c (the file) share. */
#pragma once
#include "buf.h"
#include "feature_set.h"

/* NULL out of memory. */
struct feature_set *feature_set_new(void);
/* Copies the name. -ENOMEM, -EFBIG beyond 16 GiB. */
int feature_set_add(struct feature_set *set, struct geo_point point, struct str name);
/* After the last one. */
int feature_set_index(struct feature_set *set);
