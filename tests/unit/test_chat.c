#include "chat.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static const struct geo_point here = {1, 2};

static uint64_t dropped(struct metrics *metrics)
{
    static const struct metrics_def def = {.name = "route_chat_dropped_notes_total", .type = METRICS_COUNTER};

    return metrics_counter_value(metrics_single(metrics, &def));
}

static int say(struct chat *chat, struct geo_point point, int number, struct chat_notes *ret_notes)
{
    char text[16];

    snprintf(text, sizeof(text), "%d", number);
    return chat_append(chat, point, str_of(text), ret_notes);
}

/* How many notes there are after one more. */
static size_t count_at(struct chat *chat, struct geo_point point)
{
    struct chat_notes notes;
    size_t count;

    cr_assert_eq(say(chat, point, -1, &notes), 0);
    count = notes.count;
    chat_notes_release(&notes);
    return count;
}

Test(chat, returns_all_notes_of_a_location_oldest_first)
{
    struct chat *chat = chat_new(0, NULL);
    struct chat_notes notes;

    for (int i = 0; i < 3; i++) {
        cr_assert_eq(say(chat, (struct geo_point){0, 0}, 100 + i, &notes), 0);
        chat_notes_release(&notes);
        cr_assert_eq(say(chat, here, i, &notes), 0);
        cr_assert_eq(notes.count, (size_t)i + 1);
        for (int j = 0; j <= i; j++) {
            cr_assert_eq(atoi(notes.notes[j]->message), j);
            cr_assert(geo_point_eq(notes.notes[j]->location, here));
        }
        chat_notes_release(&notes);
    }
    chat_free(chat);
}

Test(chat, refuses_what_is_too_long_or_not_text)
{
    struct chat *chat = chat_new(0, NULL);
    struct chat_notes notes = {0};
    static char text[CHAT_MAX_MESSAGE + 1];

    memset(text, 'x', sizeof(text));
    cr_assert_eq(chat_append(chat, here, (struct str){text, CHAT_MAX_MESSAGE + 1}, &notes), -EMSGSIZE);
    cr_assert_eq(chat_append(chat, here, STR("\xc3("), &notes), -EINVAL);
    cr_assert_eq(notes.count, 0);
    cr_assert_eq(chat_append(chat, here, (struct str){text, CHAT_MAX_MESSAGE}, &notes), 0);
    cr_assert_eq(notes.count, 1);
    chat_notes_release(&notes);
    cr_assert_eq(chat_append(chat, here, STR(""), &notes), 0);
    cr_assert_eq(notes.count, 2);
    chat_notes_release(&notes);
    chat_free(chat);
}

Test(chat, drops_the_oldest_note_of_a_full_location)
{
    struct metrics *metrics = metrics_new();
    struct chat *chat = chat_new(0, metrics);
    struct chat_notes notes;

    for (int i = 0; i < CHAT_MAX_NOTES + 3; i++) {
        cr_assert_eq(say(chat, here, i, &notes), 0);
        if (i < CHAT_MAX_NOTES + 2)
            chat_notes_release(&notes);
    }
    cr_assert_eq(notes.count, CHAT_MAX_NOTES);
    for (int i = 0; i < CHAT_MAX_NOTES; i++)
        cr_assert_eq(atoi(notes.notes[i]->message), i + 3);
    chat_notes_release(&notes);
    cr_assert_eq(dropped(metrics), 3);
    chat_free(chat);
    metrics_free(metrics);
}

Test(chat, forgets_the_location_that_was_written_longest_ago)
{
    struct metrics *metrics = metrics_new();
    struct chat *chat = chat_new(0, metrics);

    for (int i = 0; i < CHAT_MAX_LOCATIONS; i++)
        cr_assert_eq(count_at(chat, (struct geo_point){i, 0}), 1);
    cr_assert_eq(count_at(chat, (struct geo_point){0, 0}), 2, "now the newest");
    cr_assert_eq(dropped(metrics), 0);
    cr_assert_eq(count_at(chat, (struct geo_point){CHAT_MAX_LOCATIONS, 0}), 1);
    cr_assert_eq(dropped(metrics), 1);
    cr_assert_eq(count_at(chat, (struct geo_point){0, 0}), 3);
    cr_assert_eq(count_at(chat, (struct geo_point){2, 0}), 2);
    cr_assert_eq(count_at(chat, (struct geo_point){1, 0}), 1, "was forgotten");
    cr_assert_eq(dropped(metrics), 2, "and is back at the expense of the next");
    chat_free(chat);
    metrics_free(metrics);
}

Test(chat, stays_within_its_memory)
{
    static char text[CHAT_MAX_MESSAGE];
    struct metrics *metrics = metrics_new();
    struct chat *chat = chat_new(10 * (CHAT_MAX_MESSAGE + 64), metrics);
    struct chat_notes notes;

    memset(text, 'x', sizeof(text));
    for (int i = 0; i < 20; i++) { /* two notes a location, so the oldest ones go by twos */
        cr_assert_eq(chat_append(chat, (struct geo_point){i / 2, 0}, (struct str){text, sizeof(text)}, &notes), 0);
        chat_notes_release(&notes);
    }
    cr_assert_eq(dropped(metrics), 10);
    cr_assert_eq(count_at(chat, (struct geo_point){0, 0}), 1, "gone");
    cr_assert_eq(count_at(chat, (struct geo_point){9, 0}), 3, "kept");
    for (int i = 0; i < 20; i++) {
        cr_assert_eq(chat_append(chat, here, (struct str){text, sizeof(text)}, &notes), 0);
        cr_assert_eq(strlen(notes.notes[notes.count - 1]->message), sizeof(text));
        chat_notes_release(&notes);
    }
    cr_assert_eq(count_at(chat, (struct geo_point){9, 0}), 1, "one location may push out all others");
    chat_free(chat);
    metrics_free(metrics);
}

Test(chat, lists_outlive_what_they_list)
{
    struct chat *chat = chat_new(0, NULL);
    struct chat_notes notes, later;

    cr_assert_eq(say(chat, here, 7, &notes), 0);
    for (int i = 0; i < CHAT_MAX_NOTES; i++) {
        cr_assert_eq(say(chat, here, 8, &later), 0);
        chat_notes_release(&later);
    }
    chat_free(chat);
    cr_assert_eq(notes.count, 1);
    cr_assert_str_eq(notes.notes[0]->message, "7");
    chat_notes_release(&notes);
    chat_notes_release(&notes);
}

enum { THREADS = 4, NOTES = 2000, LOCATIONS = 8 };

struct talker {
    struct chat *chat;
    int number, wrong;
};

static void *talk(void *arg)
{
    struct talker *talker = arg;

    for (int i = 0; i < NOTES; i++) {
        struct geo_point point = {i % LOCATIONS, 0};
        int number = talker->number * NOTES + i, last[THREADS] = {-1, -1, -1, -1};
        struct chat_notes notes;

        if (say(talker->chat, point, number, &notes) < 0 || atoi(notes.notes[notes.count - 1]->message) != number)
            talker->wrong++;
        for (size_t j = 0; j < notes.count; j++) { /* each one's notes come in the order in which it said them */
            int said = atoi(notes.notes[j]->message), who = said / NOTES;

            talker->wrong += said <= last[who] || !geo_point_eq(notes.notes[j]->location, point);
            last[who] = said;
        }
        chat_notes_release(&notes);
    }
    return NULL;
}

Test(chat, may_be_used_by_many_threads)
{
    struct metrics *metrics = metrics_new();
    struct chat *chat = chat_new(0, metrics);
    struct talker talkers[THREADS];
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++) {
        talkers[i] = (struct talker){.chat = chat, .number = i};
        cr_assert_eq(pthread_create(&threads[i], NULL, talk, &talkers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        cr_assert_eq(talkers[i].wrong, 0);
    }
    cr_assert_eq(dropped(metrics), THREADS * NOTES - LOCATIONS * CHAT_MAX_NOTES);
    chat_free(chat);
    metrics_free(metrics);
}
