#include "cgroup.h"
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GROUPS "/proc/self/cgroup"
#define MOUNT  "/sys/fs/cgroup"
/* Version 1 says "no limit" by the largest number of pages. */
#define UNLIMITED (INT64_MAX / 2)

/* The limit of one group, 0 for none. */
typedef uint64_t read_limit(const char *folder, bool version_1);

/* Reads up to two numbers; "max" and whatever else is not a number is no limit. */
static int read_numbers(const char *folder, const char *name, long long *first, long long *second)
{
    char path[PATH_MAX];
    FILE *file;
    int count;

    if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path))
        return 0;
    file = fopen(path, "re");
    if (file == NULL)
        return 0;
    count = fscanf(file, "%lld %lld", first, second);
    fclose(file);
    return count;
}

static uint64_t read_memory(const char *folder, bool version_1)
{
    long long bytes = 0, ignored;

    if (read_numbers(folder, version_1 ? "memory.limit_in_bytes" : "memory.max", &bytes, &ignored) < 1)
        return 0;
    return bytes > 0 && bytes < UNLIMITED ? (uint64_t)bytes : 0;
}

static uint64_t read_cpus(const char *folder, bool version_1)
{
    long long quota = 0, period = 0, ignored;

    if (version_1) {
        read_numbers(folder, "cpu.cfs_quota_us", &quota, &ignored);
        read_numbers(folder, "cpu.cfs_period_us", &period, &ignored);
    } else {
        read_numbers(folder, "cpu.max", &quota, &period);
    }
    return quota > 0 && period > 0 ? (uint64_t)((quota + period - 1) / period) : 0;
}

static bool is_listed(const char *controllers, const char *controller)
{
    size_t len = strlen(controller);

    for (; *controllers != '\0'; controllers += strcspn(controllers, ","), controllers += *controllers == ',')
        if (strncmp(controllers, controller, len) == 0 && (controllers[len] == ',' || controllers[len] == '\0'))
            return true;
    return false;
}

/* Takes a line "ID:CONTROLLERS:PATH" apart; version 2 has no controllers. True where the controller's group is there.
 */
static bool find_group(char *line, const char *controller, char **ret_path, bool *ret_version_1)
{
    char *controllers = strchr(line, ':'), *path = controllers != NULL ? strchr(++controllers, ':') : NULL;

    if (path == NULL)
        return false;
    *path++ = '\0';
    path[strcspn(path, "\n")] = '\0';
    if (*controllers != '\0' && !is_listed(controllers, controller))
        return false;
    *ret_version_1 = *controllers != '\0';
    *ret_path = path;
    return true;
}

/* The folder of the controller's group, "" where it has none. Returns the length of its mount point: a controller that
 * version 1 has is not in version 2. */
static size_t find_folder(const char *groups, const char *mount, const char *controller, char folder[PATH_MAX],
                          bool *ret_version_1)
{
    char line[PATH_MAX], *path;
    FILE *file = fopen(groups, "re");
    bool version_1 = false;
    size_t mount_len = 0;

    folder[0] = '\0';
    while (file != NULL && !version_1 && fgets(line, sizeof(line), file) != NULL) {
        if (!find_group(line, controller, &path, &version_1))
            continue;
        mount_len = strlen(mount) + (version_1 ? 1 + strlen(controller) : 0);
        if (snprintf(folder, PATH_MAX, "%s%s%s%s", mount, version_1 ? "/" : "", version_1 ? controller : "", path) >=
            PATH_MAX)
            folder[mount_len < PATH_MAX ? mount_len : 0] = '\0';
    }
    if (file != NULL)
        fclose(file);
    *ret_version_1 = version_1;
    return mount_len;
}

/* A container of version 1 may see its own group as the mount point, under a path that does not exist there: so the way
 * up begins at whatever exists. */
static uint64_t least(const char *groups, const char *mount, const char *controller, read_limit *read)
{
    char folder[PATH_MAX], *slash;
    bool version_1;
    size_t mount_len = find_folder(groups, mount, controller, folder, &version_1);
    uint64_t limit, result = 0;

    while (folder[0] != '\0') {
        limit = read(folder, version_1);
        if (limit != 0 && (result == 0 || limit < result))
            result = limit;
        slash = strrchr(folder, '/');
        if (slash == NULL || slash < folder + mount_len)
            break;
        *slash = '\0';
    }
    return result;
}

uint64_t cgroup_memory_bytes_in(const char *groups, const char *mount)
{
    return least(groups, mount, "memory", read_memory);
}

unsigned cgroup_cpus_in(const char *groups, const char *mount)
{
    uint64_t cpus = least(groups, mount, "cpu", read_cpus);

    return cpus < UINT_MAX ? (unsigned)cpus : UINT_MAX;
}

uint64_t cgroup_memory_bytes(void)
{
    return cgroup_memory_bytes_in(GROUPS, MOUNT);
}

unsigned cgroup_cpus(void)
{
    return cgroup_cpus_in(GROUPS, MOUNT);
}
