/* The limits of cgroups, in folders that have the files of version 1 or 2. */
#include "cgroup.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char mount[] = "/tmp/test_cgroup.XXXXXX";
static char groups[sizeof(mount) + sizeof("/self")];

/* Makes the folders on the way, too. */
static void put(const char *name, const char *text)
{
    char path[512];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", mount, name);
    for (char *slash = path + sizeof(mount); (slash = strchr(slash, '/')) != NULL; *slash++ = '/') {
        *slash = '\0';
        mkdir(path, 0700);
    }
    file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

static void open_folder(void)
{
    cr_assert_not_null(mkdtemp(mount));
    snprintf(groups, sizeof(groups), "%s/self", mount);
}

static void remove_folder(void)
{
    char command[64];

    snprintf(command, sizeof(command), "rm -r %s", mount);
    cr_assert_eq(system(command), 0);
}

TestSuite(cgroup, .init = open_folder, .fini = remove_folder);

Test(cgroup, version_2_takes_the_least_of_the_groups_above)
{
    put("self", "0::/pods/pod/main\n");
    put("pods/memory.max", "max\n");
    put("pods/cpu.max", "max 100000\n");
    put("pods/pod/memory.max", "134217728\n");
    put("pods/pod/cpu.max", "150000 100000\n");
    put("pods/pod/main/memory.max", "268435456\n");
    put("pods/pod/main/cpu.max", "300000 100000\n");
    cr_assert_eq(cgroup_memory_bytes_in(groups, mount), 134217728);
    cr_assert_eq(cgroup_cpus_in(groups, mount), 2);
}

Test(cgroup, version_2_in_a_container)
{
    put("self", "0::/\n");
    put("memory.max", "67108864\n");
    put("cpu.max", "100000 100000\n");
    cr_assert_eq(cgroup_memory_bytes_in(groups, mount), 67108864);
    cr_assert_eq(cgroup_cpus_in(groups, mount), 1);
}

Test(cgroup, version_1_wins_where_it_has_the_controller)
{
    put("self", "9:name=systemd:/\n7:cpu,cpuacct:/pods/pod\n4:memory:/pods/pod\n0::/\n");
    put("memory.max", "1\n");
    put("memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("memory/pods/pod/memory.limit_in_bytes", "134217728\n");
    put("cpu/pods/pod/cpu.cfs_quota_us", "50000\n");
    put("cpu/pods/pod/cpu.cfs_period_us", "100000\n");
    cr_assert_eq(cgroup_memory_bytes_in(groups, mount), 134217728);
    cr_assert_eq(cgroup_cpus_in(groups, mount), 1);
}

Test(cgroup, version_1_in_a_container_whose_own_group_is_mounted)
{
    put("self", "4:memory:/docker/abc\n3:cpu:/docker/abc\n");
    put("memory/memory.limit_in_bytes", "33554432\n");
    put("cpu/cpu.cfs_quota_us", "-1\n");
    put("cpu/cpu.cfs_period_us", "100000\n");
    cr_assert_eq(cgroup_memory_bytes_in(groups, mount), 33554432);
    cr_assert_eq(cgroup_cpus_in(groups, mount), 0);
}

Test(cgroup, no_limit_is_0)
{
    cr_assert_eq(cgroup_memory_bytes_in(groups, mount), 0, "no such file");
    put("self", "\n5\n6:memory\n0::/a\n");
    cr_assert_eq(cgroup_memory_bytes_in(groups, mount), 0, "no limit is stated");
    put("a/memory.max", "max\n");
    put("a/cpu.max", "max 100000\n");
    cr_assert_eq(cgroup_memory_bytes_in(groups, mount), 0);
    cr_assert_eq(cgroup_cpus_in(groups, mount), 0);
}
