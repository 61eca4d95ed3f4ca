/* A race in src/lib: metrics.c with a plain addition in place of its atomic one. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#undef atomic_fetch_add_explicit
#define atomic_fetch_add_explicit(object, n, order) (*(volatile uint64_t *)(object) += (n))
#include "../../src/lib/obs/metrics.c"

static void *count(void *series)
{
    for (int i = 0; i < 1000; i++)
        metrics_add(series, 1);
    return NULL;
}

Test(seed, race)
{
    static const struct metrics_def def = {.name = "seed_total", .help = "Counted by two threads.", METRICS_COUNTER};
    struct metrics *metrics = metrics_new();
    struct metrics_series *series = metrics_single(metrics, &def);
    pthread_t threads[2];

    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, count, series), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    metrics_free(metrics);
}
